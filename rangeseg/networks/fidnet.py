"""FIDNet: a pixel-wise stem, one residual stage per scale, all scales interpolated back and read by 1x1 convolutions.

Shapes: B views, C channels, H rows (beams), W columns (azimuth), K classes; w is the width of the stages.

    f0 = stem(image)                            (B, 4w, H, W)     1x1 convolutions: every pixel for itself
    f1 = stage1(f0) ... f4 = stage4(f3)         (B, w, H / 1, 2, 4, 8, W / 1, 2, 4, 8)
    logits = head([f0, f1, up(f2), up(f3), up(f4)])

Source: Zhao et al., FIDNet: LiDAR Point Cloud Semantic Segmentation with Fully Interpolation Decoding, 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from rangeseg.networks.layers import SLOPE, BasicBlock, ConvNormAct, check_input, enlarge_azimuth, enlarge_corners


class Head(nn.Module):
    """Three 1x1 convolutions over all scales; the coarse scales are convolved before they are interpolated.

    A 1x1 convolution is a sum over its input channels and commutes with interpolation. So the first one's weight is
    split by scale, and the features are neither concatenated nor, where coarse, convolved at full size.

    Args:
        channels: of the features f0, f1, ..., which f0 leads in size.
        hidden: channels of the first two convolutions.
        num_classes: K.
        wrap: column 0 touches column W-1.
    """

    def __init__(
        self, channels: Sequence[int], hidden: tuple[int, int], num_classes: int, *, wrap: bool = False
    ) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.wrap = wrap
        self.conv1 = nn.Conv2d(sum(channels), hidden[0], 1)
        self.norm1 = nn.BatchNorm2d(hidden[0])
        self.conv2 = nn.Conv2d(hidden[0], hidden[1], 1)
        self.norm2 = nn.BatchNorm2d(hidden[1])
        self.classify = nn.Conv2d(hidden[1], num_classes, 1)

    def fuse(self, features: Sequence[Tensor]) -> Tensor:
        """`conv1` of all features, concatenated at the size of the first: [(B, C_i, H_i, W_i)] -> (B, C', H_0, W_0)."""
        size = (features[0].shape[-2], features[0].shape[-1])
        weights = self.conv1.weight.split(self.channels, dim=1)
        fused = F.conv2d(features[0], weights[0], self.conv1.bias)
        for feature, weight in zip(features[1:], weights[1:], strict=True):
            fused += enlarge_corners(F.conv2d(feature, weight), size, wrap=self.wrap)
        return fused

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """[(B, C_i, H_i, W_i)] -> (B, K, H_0, W_0) logits."""
        hidden = F.leaky_relu(self.norm1(self.fuse(features)), SLOPE, inplace=True)
        hidden = F.leaky_relu(self.norm2(self.conv2(hidden)), SLOPE, inplace=True)
        return self.classify(hidden)


class FIDNet(nn.Module):
    """The published FIDNet (ResNet34_point) at the defaults, and its smaller relatives.

    Parameters are registered in the order of the published checkpoints, so weights map one to one by position.

    Args:
        in_channels: C.
        num_classes: K.
        width: w, channels of every stage and of the head's second convolution.
        blocks: residual blocks of every stage; each stage after the first halves rows and columns.
        stem: channels of the stem's convolutions, (w / 2, w, 2w, 4w) if None. The head's first has the last of them.
        azimuth_stride: columns that the stem's first convolution makes one of; all that follows is as many times
            cheaper, and the logits are interpolated back.
        wrap: column 0 touches column W-1. Rolling the image by a multiple of the stride then rolls the logits.

    Raises:
        ValueError: no blocks; on forward, an image of other channels, or whose H or W is not divisible by `stride`.

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
        wrap: bool = False,
    ) -> None:
        super().__init__()
        if not blocks:
            raise ValueError("FIDNet needs at least one stage; give blocks like (3, 4, 6, 3).")
        stem = tuple(stem or (width // 2, width, 2 * width, 4 * width))
        shrink = 2 ** (len(blocks) - 1)
        self.in_channels = in_channels
        self.stride = (shrink, shrink * azimuth_stride)
        self.azimuth_stride = azimuth_stride
        self.wrap = wrap
        layers = [ConvNormAct(in_channels, stem[0], azimuth_stride=azimuth_stride)]
        layers += [ConvNormAct(before, after) for before, after in pairwise(stem)]
        self.stem = nn.Sequential(*layers)
        self.stages = nn.ModuleList()
        channels = stem[-1]
        for index, count in enumerate(blocks):
            first = BasicBlock(channels, width, stride=1 if index == 0 else 2, wrap=wrap)
            self.stages.append(nn.Sequential(first, *(BasicBlock(width, width, wrap=wrap) for _ in range(count - 1))))
            channels = width
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.head = Head((stem[-1], *(width for _ in blocks)), (stem[-1], width), num_classes, wrap=wrap)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W) logits."""
        check_input(image, self.in_channels, self.stride)
        features = [self.stem(image)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return enlarge_azimuth(self.head(features), self.azimuth_stride, wrap=self.wrap)
