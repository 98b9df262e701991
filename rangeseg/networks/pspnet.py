"""PSPNet on a dilated ResNet, for photographs.

Shapes: B images, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rangeseg.networks.encoders import make_encoder
from rangeseg.networks.layers import check_input, conv_norm_relu
from rangeseg.networks.resnet import Freeze, WithEncoder

BINS = (1, 2, 3, 6)


class PSPNet(WithEncoder):
    """Features of the encoder, concatenated with their means over 1, 4, 9 and 36 parts of the image.

    Args:
        in_channels: C.
        num_classes: K.
        encoder: resnet18, resnet34, resnet50 or resnet101.
        output_stride: of the encoder: 8 or 16.
        width: of the encoder; 64 is the published one, with 512 channels in the pyramid.
        freeze_batchnorm: "none", "backbone" or "all"; the paper's runs freeze the backbone's.
        weights: "none", "imagenet", or a file with the encoder's weights.
        wrap: must be False.

    Raises:
        ValueError: an unknown encoder, `wrap` is True, or weights that do not fit.

    Source:
        Zhao et al., CVPR 2017; French et al., BMVC 2020, table 3 (Pascal VOC).
    """

    pools: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 21,
        *,
        encoder: str = "resnet101",
        output_stride: int = 8,
        width: int = 64,
        freeze_batchnorm: Freeze = "none",
        weights: str = "none",
        wrap: bool = False,
    ) -> None:
        backbone = make_encoder(encoder, in_channels, width=width, output_stride=output_stride, weights=weights)
        super().__init__(backbone, freeze_batchnorm, wrap)
        deep, inner = self.backbone.channels[-1], 8 * width
        self.pyramid = nn.ModuleList(conv_norm_relu(deep, inner, 1) for _ in BINS)
        self.fuse = nn.Sequential(conv_norm_relu(deep + len(BINS) * inner, inner, 3), nn.Dropout2d(0.1))
        self.classify = nn.Conv2d(inner, num_classes, 1)
        self.freeze()

    def classifier(self) -> nn.Module:
        """The last convolution."""
        return self.classify

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W) logits, for any H and W."""
        check_input(image, self.backbone.in_channels, self.stride)
        deep = self.backbone(image)[-1]
        means = [conv(part_means(deep, bins)) for conv, bins in zip(self.pyramid, BINS, strict=True)]
        size = deep.shape[-2:]
        wide = [F.interpolate(mean, size=size, mode="bilinear", align_corners=False) for mean in means]
        logits = self.classify(self.fuse(torch.cat([deep, *wide], 1)))
        return F.interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=False)


def part_means(features: Tensor, parts: int) -> Tensor:
    """`adaptive_avg_pool2d` as two matrix products, which can be exported with dynamic sizes.

    Args:
        features: (B, C, H, W).
        parts: P, number of parts along each axis; they overlap if P does not divide H or W.

    Returns:
        (B, C, P, P) means.
    """
    rows, columns = (_shares(size, parts, features) for size in features.shape[-2:])
    return rows @ features @ columns.transpose(0, 1)


def _shares(size: int, parts: int, like: Tensor) -> Tensor:
    """(P, size) share of each row (or column) in the mean of each part."""
    place, part = torch.arange(size, device=like.device), torch.arange(parts, device=like.device)[:, None]
    first, last = part * size // parts, ((part + 1) * size + parts - 1) // parts
    inside = ((place >= first) & (place < last)).to(like.dtype)
    return inside / (last - first)
