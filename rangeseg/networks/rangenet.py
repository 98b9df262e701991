"""RangeNet++: DarkNet with 21 or 53 layers, strides in azimuth only, and a decoder with skip connections.

Shapes: B views, C channels, H rows (beams), W columns (azimuth), K classes; w is the width.

    f0 = stem(image)                                      (B, w, H, W)
    f1 = stage1(f0) ... f5 = stage5(f4)                   (B, 2w ... 32w, H, W / 2 ... W / 32)
    u4 = up(f5) + f4, u3 = up(u4) + f3 ... u0 = up(u1) + f0
    logits = classify(u0)                                 3x3

The decoder detaches the f's before it adds them: the encoder gets gradients only through its last stage.

Source: Milioto et al., RangeNet++: Fast and Accurate LiDAR Semantic Segmentation, IROS 2019.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from rangeseg.networks.base import Network
from rangeseg.networks.columns import MOMENTUM, DoubleColumns
from rangeseg.networks.layers import Conv1x1, Conv3x3, check_input

SLOPE = 0.1
"""LeakyReLU's slope below zero, everywhere in DarkNet."""

BLOCKS = {21: (1, 1, 2, 2, 1), 53: (1, 2, 8, 8, 4)}
"""Residual units of every stage, by the number of layers."""


class Unit(nn.Module):
    """DarkNet's residual unit: a 1x1 and a 3x3 convolution, each with BatchNorm and LeakyReLU, added to the input.

    Args:
        channels: C of the input and of the output.
        hidden: C between the two convolutions.
        wrap: see `Conv3x3`.

    Source: Redmon and Farhadi, YOLOv3, 2018, table 1.
    """

    def __init__(self, channels: int, hidden: int, *, wrap: bool = False) -> None:
        super().__init__()
        self.conv1 = Conv1x1(channels, hidden)
        self.norm1 = nn.BatchNorm2d(hidden, momentum=MOMENTUM)
        self.conv2 = Conv3x3(hidden, channels, wrap=wrap)
        self.norm2 = nn.BatchNorm2d(channels, momentum=MOMENTUM)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        inner = F.leaky_relu(self.norm1(self.conv1(image)), SLOPE, inplace=True)
        return image + F.leaky_relu(self.norm2(self.conv2(inner)), SLOPE, inplace=True)


class Stage(nn.Module):
    """A convolution to another size, BatchNorm, LeakyReLU, residual units.

    Args:
        conv: the convolution.
        hidden: C within the units.
        units: number of residual units.
        wrap: see `Conv3x3`.
    """

    def __init__(self, conv: Conv3x3 | DoubleColumns, hidden: int, units: int, *, wrap: bool = False) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(conv.out_channels, momentum=MOMENTUM)
        self.units = nn.Sequential(*(Unit(conv.out_channels, hidden, wrap=wrap) for _ in range(units)))

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W')."""
        return self.units(F.leaky_relu(self.norm(self.conv(image)), SLOPE, inplace=True))


class RangeNet(Network):
    """RangeNet++ without its softmax. The defaults give the published network; other arguments give smaller ones.

    Parameters are registered in the order of the published checkpoints, so weights map one to one by position.

    Args:
        in_channels: C.
        num_classes: K.
        blocks: 21 or 53 layers as published, or the number of residual units of every stage.
        width: w, channels of the stem; each stage doubles them. The published one is 32.
        dropout: probability that a channel is set to 0, at the same places as in the published code.
        detach: no gradient through the skip features that the decoder adds, as published.
        wrap: column 0 touches column W-1. Rolling the image by a multiple of the stride then rolls the logits.

    Raises:
        ValueError: an unknown number of layers, or no stages; on forward, an image that does not have C channels, or W
            that is not divisible by `stride`.

    Source: Milioto et al., section III-B; 24,712,980 (21) and 50,377,364 (53) parameters for C = 5, K = 20.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        blocks: int | Sequence[int] = 53,
        width: int = 32,
        dropout: float = 0.01,
        detach: bool = True,
        wrap: bool = False,
    ) -> None:
        super().__init__()
        counts = BLOCKS.get(blocks, ()) if isinstance(blocks, int) else tuple(blocks)
        if not counts:
            raise ValueError(f"RangeNet got blocks={blocks!r}; give 21, 53, or units like (1, 1, 2, 2, 1).")
        self.in_channels, self.stride, self.wrap = in_channels, (1, 2 ** len(counts)), wrap
        self.detach = detach
        self.stem = Stage(Conv3x3(in_channels, width, wrap=wrap), width, 0)
        widths = [width * 2**number for number in range(len(counts) + 1)]
        steps = list(zip(widths, widths[1:], counts, strict=False))
        self.encoder = nn.ModuleList(
            Stage(Conv3x3(before, after, stride=(1, 2), wrap=wrap), before, count, wrap=wrap)
            for before, after, count in steps
        )
        self.decoder = nn.ModuleList(
            Stage(DoubleColumns(coarse, fine, wrap=wrap), coarse, 1, wrap=wrap) for fine, coarse, _ in reversed(steps)
        )
        self.classify = Conv3x3(width, num_classes, bias=True, wrap=wrap)
        self.drop = nn.Dropout2d(dropout)

    def classifier(self) -> nn.Module:
        """The last convolution."""
        return self.classify

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W) logits."""
        check_input(image, self.in_channels, self.stride)
        features, skips = self.stem(image), []
        for stage in self.encoder:
            skips.append(features.detach() if self.detach else features)
            features = self.drop(stage(features))
        for stage, skip in zip(self.decoder, reversed(skips), strict=True):
            features = stage(features) + skip
        logits: Tensor = self.classify(self.drop(self.drop(features)))  # twice: in the published decoder and head
        return logits
