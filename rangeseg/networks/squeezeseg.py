"""SqueezeSegV2: a small network of fire modules with context attention.

Shapes: B views, C channels, H rows (beams), W columns (azimuth), K classes; w is the width.

    s0 = beside(image)                                  (B, w, H, W)      1x1, only for the last step of the decoder
    s1 = stem(image)                                    (B, w, H, W / 2)
    s2, s3 = fires(s1), fires(s2);  f = fires(s3)       (B, 2w, 4w; 8w, H, W / 4, W / 8; W / 16)
    u = up(f) + s3, up(u) + s2, up(u) + s1, up(u) + s0  4w, 2w, w, w channels
    logits = classify(u)                                3x3

The decoder detaches the s's before it adds them, so `beside` keeps its initial weights, as in the published code.

Source: Wu et al., SqueezeSegV2: Improved Model Structure and Unsupervised Domain Adaptation for Road-Object
Segmentation from a LiDAR Point Cloud, ICRA 2019, as arranged in the code of Milioto et al., RangeNet++, IROS 2019,
without its CRF.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rangeseg.networks.base import Network
from rangeseg.networks.columns import MOMENTUM, DoubleColumns, MaxPool
from rangeseg.networks.layers import Conv3x3, check_input

ATTENTION = 16
"""Number of channels that attention squeezes into one."""


class ConvNorm(nn.Module):
    """Convolution with bias, without stride in rows, and BatchNorm.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        kernel: rows and columns, 1 or 3.
        stride: of columns; only used by a kernel of 3.
        wrap: see `Conv3x3`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, *, stride: int = 1, wrap: bool = False
    ) -> None:
        super().__init__()
        self.conv = (
            nn.Conv2d(in_channels, out_channels, 1)
            if kernel == 1
            else Conv3x3(in_channels, out_channels, stride=(1, stride), bias=True, wrap=wrap)
        )
        self.norm = nn.BatchNorm2d(out_channels, momentum=MOMENTUM)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W / stride)."""
        return self.norm(self.conv(image))


class Attention(nn.Module):
    """Multiplies each pixel and channel by a factor computed from maxima of 7x7 pixels: the paper's CAM.

    Args:
        channels: C, a multiple of `ATTENTION`.
        wrap: the 7x7 pixels continue across the seam.

    Source: Wu et al., section III-A.
    """

    def __init__(self, channels: int, *, wrap: bool = False) -> None:
        super().__init__()
        self.around = MaxPool(7, wrap=wrap)
        self.squeeze = ConvNorm(channels, channels // ATTENTION)
        self.unsqueeze = ConvNorm(channels // ATTENTION, channels)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        hidden = F.relu(self.squeeze(self.around(image)), inplace=True)
        return self.unsqueeze(hidden).sigmoid() * image


class Fire(nn.Module):
    """A 1x1 convolution to few channels, then a 1x1 and a 3x3 convolution to many, concatenated.

    Args:
        in_channels: C of the input.
        few: channels of the first convolution.
        many: channels of each of the two; the output has twice as many.
        up: double the number of columns after the first convolution.
        wrap: see `Conv3x3`.

    Source: Iandola et al., SqueezeNet, 2016, section 3.2; Wu et al., SqueezeSeg, ICRA 2018, figure 4, for `up`.
    """

    def __init__(self, in_channels: int, few: int, many: int, *, up: bool = False, wrap: bool = False) -> None:
        super().__init__()
        self.squeeze = ConvNorm(in_channels, few)
        self.doubling = DoubleColumns(few, few, wrap=wrap) if up else None
        self.expand1x1 = ConvNorm(few, many)
        self.expand3x3 = ConvNorm(few, many, 3, wrap=wrap)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 2 many, H, W), or (B, 2 many, H, 2 W) with `up`."""
        hidden = F.relu(self.squeeze(image), inplace=True)
        if self.doubling is not None:
            hidden = F.relu(self.doubling(hidden), inplace=True)
        return F.relu(torch.cat((self.expand1x1(hidden), self.expand3x3(hidden)), dim=1), inplace=True)


class SqueezeSegV2(Network):
    """SqueezeSegV2 without its softmax and CRF. The defaults give the published network; others give smaller ones.

    Parameters are registered in the order of the published checkpoints, so weights map one to one by position.

    Args:
        in_channels: C.
        num_classes: K.
        width: w, channels of the stem, a multiple of 16; the published one is 64.
        dropout: probability that a channel is set to 0, at the same places as in the published code.
        detach: no gradient through the skip features that the decoder adds, as published; `beside` is then frozen.
        wrap: column 0 touches column W-1. Rolling the image by a multiple of the stride then rolls the logits.

    Raises:
        ValueError: `width` is not a positive multiple of 16; on forward, an image that does not have C channels, or W
            that is not divisible by 16.

    Source: Wu et al., 2019, and Milioto et al., 2019; 928,464 parameters for C = 5, K = 20.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        width: int = 64,
        dropout: float = 0.01,
        detach: bool = True,
        wrap: bool = False,
    ) -> None:
        super().__init__()
        if width < ATTENTION or width % ATTENTION:
            raise ValueError(
                f"SqueezeSegV2 got width={width}; give a multiple of {ATTENTION} (its attention reduces {ATTENTION} "
                "channels to one)."
            )
        self.in_channels, self.stride, self.wrap = in_channels, (1, 16), wrap
        self.detach = detach
        w, q = width, width // 4

        def fire(before: int, few: int, many: int, up: bool = False) -> Fire:
            return Fire(before, few, many, up=up, wrap=wrap)

        self.stem = nn.ModuleDict(
            {"narrow": ConvNorm(in_channels, w, 3, stride=2, wrap=wrap), "attend": Attention(w, wrap=wrap)}
        )
        self.beside = ConvNorm(in_channels, w).requires_grad_(not detach)
        attended = (fire(w, q, w), Attention(2 * w, wrap=wrap), fire(2 * w, q, w), Attention(2 * w, wrap=wrap))
        deeper = (fire(2 * w, 2 * q, 2 * w), fire(4 * w, 2 * q, 2 * w))
        deepest = (fire(4 * w, 3 * q, 3 * w), fire(6 * w, 3 * q, 3 * w), fire(6 * w, w, 4 * w), fire(8 * w, w, 4 * w))
        self.encoder = nn.ModuleList(
            nn.Sequential(MaxPool(3, 2, wrap=wrap), *fires) for fires in (attended, deeper, deepest)
        )
        self.decoder = nn.ModuleList(
            (fire(8 * w, w, 2 * w, True), fire(4 * w, 2 * q, w, True), fire(2 * w, q, w // 2, True))
        )
        self.decoder.append(fire(w, q, w // 2, True))
        self.classify = Conv3x3(w, num_classes, bias=True, wrap=wrap)
        self.drop = nn.Dropout2d(dropout)

    def classifier(self) -> nn.Module:
        """The last convolution."""
        return self.classify

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W) logits."""
        check_input(image, self.in_channels, self.stride)
        features = self.stem["attend"](F.relu(self.stem["narrow"](image), inplace=True))
        skips = [self.beside(image)]
        for fires in self.encoder:
            skips.append(features)
            features = self.drop(fires(features))
        for fire, skip in zip(self.decoder, reversed(skips), strict=True):
            features = fire(features) + (skip.detach() if self.detach else skip)
        logits: Tensor = self.classify(self.drop(self.drop(features)))  # twice: in the published decoder and head
        return logits
