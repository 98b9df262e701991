"""A U-net on an encoder with features at 1/2 to 1/32 of the image: our ResNets, or DenseNet-161 and others of timm.

Shapes: B images, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from rangeseg.networks.encoders import make_encoder
from rangeseg.networks.layers import check_input, conv_norm_relu
from rangeseg.networks.resnet import Freeze, WithEncoder


class UNet(WithEncoder):
    """Encoder features, upsampled by repetition and added to those of the next larger size, four times.

    Args:
        in_channels: C.
        num_classes: K.
        encoder: resnet18, resnet34, resnet50, resnet101, or ``timm:NAME`` (``timm:densenet161`` is the published one).
        width: of a ResNet; 64 is the published one.
        dropout: share of the last features dropped.
        freeze_batchnorm: "none", "backbone" or "all".
        weights: "none", "imagenet", or a file with the encoder's weights.
        wrap: must be False.

    Raises:
        ValueError: an unknown encoder, `wrap` is True, or weights that do not fit; on forward, an image that does not
            have C channels, or H or W that is not divisible by 32.

    Source:
        French et al., BMVC 2020, section 4.5 (ISIC 2017) and its code; after Ronneberger et al., MICCAI 2015.
    """

    stride = (32, 32)

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 21,
        *,
        encoder: str = "resnet50",
        width: int = 64,
        dropout: float = 0.3,
        freeze_batchnorm: Freeze = "none",
        weights: str = "none",
        wrap: bool = False,
    ) -> None:
        super().__init__(make_encoder(encoder, in_channels, width=width, weights=weights), freeze_batchnorm, wrap)
        half, *middle, skip, deep = self.backbone.channels
        self.narrows = deep >= 2 * skip  # ResNets; a DenseNet's deepest features are hardly wider than the skip
        self.lateral = nn.Conv2d(deep, skip, 1) if self.narrows else nn.Conv2d(skip, deep, 1)
        channels = [skip if self.narrows else deep, *reversed(middle), half, half]
        self.decoder = nn.ModuleList(conv_norm_relu(before, after, 3) for before, after in pairwise(channels))
        self.last = nn.Conv2d(half, width, 3, 1, 1)
        self.drop = nn.Dropout(dropout)
        self.norm = nn.BatchNorm2d(width)
        self.classify = nn.Conv2d(width, num_classes, 1)
        self.freeze()

    def classifier(self) -> nn.Module:
        """The last convolution."""
        return self.classify

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W) logits."""
        check_input(image, self.backbone.in_channels, self.stride)
        *skips, skip, deep = self.backbone(image)
        if self.narrows:
            deep = self.lateral(deep)
        else:
            skip = self.lateral(skip)
        for block, across in zip(self.decoder, (skip, *reversed(skips)), strict=True):
            deep = block(_double(deep) + across)
        return self.classify(F.relu(self.norm(self.drop(self.last(_double(deep)))), inplace=True))


def _double(features: Tensor) -> Tensor:
    return F.interpolate(features, scale_factor=2, mode="nearest")
