"""FIDNet: a pixel-wise stem, one residual stage per scale, and 1x1 convolutions on all scales, interpolated back.

Shapes: B views, C channels, H rows (beams), W columns (azimuth), K classes; w is the width of the stages.

    f0 = stem(image)                            (B, 4w, H, W)     1x1 convolutions: each pixel separately
    f1 = stage1(f0) ... f4 = stage4(f3)         (B, w, H / s, W / s), s = 1, 2, 4, 8
    logits = head([f0, f1, up(f2), up(f3), up(f4)])

The ASPP variants have a lighter stem, one or two stages of width 2w, and dilated convolutions over all scales:

    g = [f0, f1, up(f2), up(f3), up(f4)]
    logits = head([*g, branch3(g), branch6(g), branch9(g)])

Source: Zhao et al., FIDNet: LiDAR Point Cloud Semantic Segmentation with Fully Interpolation Decoding, 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rangeseg.networks.azimuth import upsample_align_corners, upsample_width
from rangeseg.networks.base import Network
from rangeseg.networks.layers import SLOPE, Conv3x3NormAct, ConvNormAct, check_input, stage

DILATIONS = (3, 6, 9)
"""Dilations of the branches of the ASPP variants."""


@dataclass(frozen=True)
class Aspp:
    """The settings of an ASPP variant; numbers of channels are in units of the width."""

    stem: float
    """Channels of the stem's first convolution, which has no norm; the second one has 1."""
    last: int
    """Channels of the last stage; the one before has 2."""
    branch: int
    """Channels of each dilated convolution."""
    bias: bool
    """Whether the stem's second convolution and the dilated convolutions have a bias."""

    def make_stem(self, in_channels: int, width: int, azimuth_stride: int) -> nn.Sequential:
        """Convolutions of 1 x `azimuth_stride` and of 1x1 pixels, without norm or activation between them."""
        first, kernel = int(self.stem * width), (1, azimuth_stride)
        return nn.Sequential(nn.Conv2d(in_channels, first, kernel, kernel), ConvNormAct(first, width, bias=self.bias))

    def make_branches(self, in_channels: int, width: int, *, wrap: bool) -> list[Conv3x3NormAct]:
        """A dilated convolution for each of `DILATIONS`."""
        return [
            Conv3x3NormAct(in_channels, self.branch * width, dilation=dilation, bias=self.bias, wrap=wrap)
            for dilation in DILATIONS
        ]


ASPP = {"small": Aspp(1, 1, 1, bias=False), "large": Aspp(0.5, 2, 2, bias=True)}
"""The two variants of the published code, ResNet34_aspp_1 and ResNet34_aspp_2."""


class ConvOfAll(nn.Conv2d):
    """1x1 convolution over all scales; the coarse ones are convolved before they are interpolated.

    A 1x1 convolution is a sum over its input channels and commutes with interpolation. So the weight is split by scale:
    no features are concatenated, and coarse features are convolved at their own size. A GPU multiplies faster than it
    interpolates. On a GPU, if all coarse features have fewer channels than the output, they are interpolated first.

    Args:
        channels: number of channels of each of the features f0, f1, ...; the output has f0's size.
        out_channels: C of the output.
        wrap: column 0 touches column W-1.
    """

    def __init__(self, channels: Sequence[int], out_channels: int, *, wrap: bool = False) -> None:
        super().__init__(sum(channels), out_channels, 1)
        self.channels = tuple(channels)
        self.wrap = wrap

    def forward(self, features: Sequence[Tensor]) -> Tensor:  # type: ignore[override]  # of several images
        """[(B, C_i, H_i, W_i)] -> (B, C', H_0, W_0)."""
        size = (features[0].shape[-2], features[0].shape[-1])
        if features[0].is_cuda and self.out_channels > max(self.channels[1:]):
            return super().forward(
                torch.cat([upsample_align_corners(one, size, wrap=self.wrap) for one in features], 1)
            )
        weights = self.weight.split(self.channels, dim=1)
        fused = F.conv2d(features[0], weights[0], self.bias)
        for feature, weight in zip(features[1:], weights[1:], strict=True):
            fused += upsample_align_corners(F.conv2d(feature, weight), size, wrap=self.wrap)
        return fused


class Head(nn.Module):
    """Three 1x1 convolutions over all scales.

    Args:
        channels: number of channels of each of the features f0, f1, ...; the output has f0's size.
        hidden: channels of the first two convolutions.
        num_classes: K.
        wrap: column 0 touches column W-1.

    Raises:
        ValueError: not two hidden widths.
    """

    def __init__(self, channels: Sequence[int], hidden: Sequence[int], num_classes: int, *, wrap: bool = False) -> None:
        super().__init__()
        if len(hidden) != 2:
            raise ValueError(f"The head got {len(hidden)} hidden widths; give two, one for each hidden convolution.")
        self.conv1 = ConvOfAll(channels, hidden[0], wrap=wrap)
        self.norm1 = nn.BatchNorm2d(hidden[0])
        self.conv2 = nn.Conv2d(hidden[0], hidden[1], 1)
        self.norm2 = nn.BatchNorm2d(hidden[1])
        self.classify = nn.Conv2d(hidden[1], num_classes, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """[(B, C_i, H_i, W_i)] -> (B, K, H_0, W_0) logits."""
        hidden = F.leaky_relu(self.norm1(self.conv1(features)), SLOPE, inplace=True)
        hidden = F.leaky_relu(self.norm2(self.conv2(hidden)), SLOPE, inplace=True)
        return self.classify(hidden)


def _stem(in_channels: int, channels: Sequence[int], azimuth_stride: int) -> nn.Sequential:
    layers = [ConvNormAct(in_channels, channels[0], azimuth_stride=azimuth_stride)]
    return nn.Sequential(*layers, *(ConvNormAct(before, after) for before, after in pairwise(channels)))


class FIDNet(Network):
    """FIDNet (ResNet34_point). The defaults give the published network; other arguments give smaller ones.

    Parameters are registered in the order of the published checkpoints, so weights map one to one by position.

    Args:
        in_channels: C.
        num_classes: K.
        width: w, channels of every stage and of the head's second convolution.
        blocks: residual blocks of every stage; each stage after the first halves rows and columns.
        stem: channels of the stem's convolutions; None: (w / 2, w, 2w, 4w). The last number is also that of the head's
            first convolution.
        azimuth_stride: number of columns that the stem's first convolution merges into one. All later layers are
            cheaper by this factor, and the logits are interpolated back.
        aspp: "none", or "small" or "large": the variants with dilated convolutions over all scales, 13,306,004 and
            19,641,492 parameters. They have their own stems and stages.
        wrap: column 0 touches column W-1. Rolling the image by a multiple of the stride then rolls the logits.

    Raises:
        ValueError: no blocks, an unknown `aspp`, or an ASPP variant with a `stem` or without four stages; on forward,
            an image that does not have C channels, or H or W that is not divisible by `stride`.

    Source: Zhao et al., section III; 6,054,420 parameters for C = 5, K = 20.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        width: int = 128,
        blocks: Sequence[int] = (3, 4, 6, 3),
        stem: Sequence[int] | None = None,
        azimuth_stride: int = 1,
        aspp: Literal["none", "small", "large"] = "none",
        wrap: bool = False,
    ) -> None:
        super().__init__()
        if not blocks:
            raise ValueError("FIDNet needs at least one stage; give blocks like (3, 4, 6, 3).")
        if aspp not in ("none", *ASPP):
            raise ValueError(f"FIDNet got aspp={aspp!r}; choose one of none, {', '.join(ASPP)}.")
        if aspp != "none" and (stem is not None or len(blocks) != 4):
            raise ValueError(f"FIDNet with aspp: {aspp} has its own stem and four stages; leave stem out.")
        shrink = 2 ** (len(blocks) - 1)
        self.in_channels = in_channels
        self.stride = (shrink, shrink * azimuth_stride)
        self.azimuth_stride = azimuth_stride
        self.wrap = wrap
        variant = ASPP.get(aspp)
        if variant is None:
            channels = tuple(stem or (width // 2, width, 2 * width, 4 * width))
            self.stem, hidden = _stem(in_channels, channels, azimuth_stride), channels[-1]
            scales = (hidden, *(width for _ in blocks))
        else:
            self.stem, hidden = variant.make_stem(in_channels, width, azimuth_stride), 4 * width
            scales = (width, width, width, 2 * width, variant.last * width)
        self.stages = nn.ModuleList(
            stage(before, after, count, stride=1 if index == 0 else 2, wrap=wrap)
            for index, (count, (before, after)) in enumerate(zip(blocks, pairwise(scales), strict=True))
        )
        branches = variant.make_branches(sum(scales), width, wrap=wrap) if variant else []
        self.branches = nn.ModuleList(branches)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        read = (*scales, *(branch.norm.num_features for branch in branches))
        self.head = Head(read, (hidden, width), num_classes, wrap=wrap)

    def classifier(self) -> nn.Module:
        """The last convolution."""
        return self.head.classify

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W) logits."""
        check_input(image, self.in_channels, self.stride)
        features = [self.stem(image)]
        for part in self.stages:
            features.append(part(features[-1]))
        if len(self.branches):
            size = (features[0].shape[-2], features[0].shape[-1])
            every = torch.cat([upsample_align_corners(feature, size, wrap=self.wrap) for feature in features], dim=1)
            features += [branch(every) for branch in self.branches]
        return upsample_width(self.head(features), self.azimuth_stride, wrap=self.wrap)
