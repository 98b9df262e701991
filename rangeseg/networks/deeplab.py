"""DeepLab v2 and v3+ on dilated ResNets, for photographs.

Shapes: B images, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rangeseg.networks.layers import check_input, conv_norm_relu
from rangeseg.networks.pretrained import load_encoder
from rangeseg.networks.resnet import Freeze, ResNet, WithEncoder

RATES_V2 = (6, 12, 18, 24)
RATES_V3 = (12, 24, 36)


class Branches(nn.ModuleList):
    """The sum of several convolutions of the same features."""

    used = 0
    """Number of convolutions that are summed, from the first on."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, F, h, w) -> (B, K, h, w)."""
        logits: Tensor = sum(branch(features) for branch in list(self)[: self.used])
        return logits


class DeepLabV2(WithEncoder):
    """Atrous convolutions at four rates, summed, on a ResNet of output stride 8.

    Args:
        in_channels: C.
        num_classes: K.
        layers: 50 or 101.
        width: of the encoder; 64 is the published one.
        branches: how many of the four rates are summed. The code of the published results uses only two (6 and 12).
            The other branches are not trained, neither there nor here.
        freeze_batchnorm: "none", "backbone" or "all"; the paper's runs on Pascal VOC and Cityscapes freeze all.
        weights: "none", "imagenet", or a file with the encoder's weights.
        wrap: must be False.

    Raises:
        ValueError: `branches` is not 1 to 4, `wrap` is True, or the weights do not fit.

    Source:
        Chen et al., TPAMI 2018; French et al., BMVC 2020, after Hung et al., BMVC 2018.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 21,
        *,
        layers: int = 101,
        width: int = 64,
        branches: int = 4,
        freeze_batchnorm: Freeze = "none",
        weights: str = "none",
        wrap: bool = False,
    ) -> None:
        super().__init__(ResNet(in_channels, layers=layers, caffe=True, width=width), freeze_batchnorm, wrap)
        if not 1 <= branches <= len(RATES_V2):
            raise ValueError(f"DeepLabV2 got branches={branches}; give 1 to {len(RATES_V2)}.")
        channels = self.backbone.channels[-1]
        convolutions = (nn.Conv2d(channels, num_classes, 3, 1, rate, rate) for rate in RATES_V2)
        self.head = Branches(convolutions)
        self.head.used = branches
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, 0.01)
        for unused in list(self.head)[branches:]:  # several processes would wait for their gradients
            unused.requires_grad_(False)
        load_encoder(self.backbone, weights, layers)
        self.freeze()

    def classifier(self) -> nn.Module:
        """The branches; the logits are their sum."""
        return self.head

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W) logits, for any H and W."""
        check_input(image, self.backbone.in_channels, self.stride)
        features = self.backbone(image)[-1]
        return F.interpolate(self.head(features), size=image.shape[-2:], mode="bilinear", align_corners=True)


class DeepLabV3Plus(WithEncoder):
    """Atrous spatial pyramid pooling on a ResNet, and a decoder that also reads the ResNet's first stage.

    Args:
        in_channels: C.
        num_classes: K.
        layers: 50 or 101.
        output_stride: of the encoder: 8 as in the paper's code, or 16.
        width: of the encoder; 64 is the published one.
        freeze_batchnorm: "none", "backbone" or "all"; the paper's runs freeze the backbone's.
        weights: "none", "imagenet", or a file with the encoder's weights.
        wrap: must be False.

    Raises:
        ValueError: `wrap` is True, an unknown number of layers or output stride, or the weights do not fit.

    Source:
        Chen et al., ECCV 2018; 59.34 M parameters with 101 layers and 21 classes.
    """

    pools: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 21,
        *,
        layers: int = 101,
        output_stride: int = 8,
        width: int = 64,
        freeze_batchnorm: Freeze = "none",
        weights: str = "none",
        wrap: bool = False,
    ) -> None:
        encoder = ResNet(in_channels, layers=layers, output_stride=output_stride, width=width)
        super().__init__(encoder, freeze_batchnorm, wrap)
        inner, low = 4 * width, 3 * width // 4
        rates = RATES_V3 if output_stride == 8 else tuple(rate // 2 for rate in RATES_V3)
        deep = self.backbone.channels[-1]
        self.branches = nn.ModuleList(
            [conv_norm_relu(deep, inner, 1), *(conv_norm_relu(deep, inner, 3, rate) for rate in rates)]
        )
        self.pooled = conv_norm_relu(deep, inner, 1)
        self.project = nn.Sequential(conv_norm_relu(inner * (len(rates) + 2), inner, 1), nn.Dropout(0.5))
        self.low = conv_norm_relu(self.backbone.channels[1], low, 1)
        self.decoder = nn.Sequential(
            conv_norm_relu(inner + low, inner, 3), conv_norm_relu(inner, inner, 3), nn.Conv2d(inner, num_classes, 1)
        )
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d) and not name.startswith("backbone."):
                nn.init.kaiming_normal_(module.weight)
        load_encoder(self.backbone, weights, layers)
        self.freeze()

    def classifier(self) -> nn.Module:
        """The last convolution."""
        return self.decoder[-1]

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W) logits, for any H and W."""
        check_input(image, self.backbone.in_channels, self.stride)
        _, first, *_, last = self.backbone(image)
        pooled = self.pooled(last.mean((2, 3), keepdim=True)).expand(-1, -1, *last.shape[-2:])
        deep = self.project(torch.cat([*(branch(last) for branch in self.branches), pooled], 1))
        joined = torch.cat([_enlarge(deep, first), self.low(first)], 1)
        return _enlarge(self.decoder(joined), image)


def _enlarge(features: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(features, size=like.shape[-2:], mode="bilinear", align_corners=False)
