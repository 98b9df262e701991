"""CENet: FIDNet's stages with a stem of 3x3 convolutions, another activation, and auxiliary heads on coarse scales.

Shapes: B views, C channels, H rows (beams), W columns (azimuth), K classes; w is the width of the stages.

    f0 = stem(image)                            (B, w, H, W)      3x3 convolutions
    f1 = stage1(f0) ... f4 = stage4(f3)         (B, w, H / s, W / s), s = 1, 2, 4, 8
    logits = classify(fuse([f0, f1, up(f2), up(f3), up(f4)]))     3x3 convolutions at full size
    auxiliary logits = up(head2(f2)), up(head3(f3)), up(head4(f4))

Source: Cheng et al., CENet: Toward Concise and Efficient LiDAR Semantic Segmentation, ICME 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from rangeseg.networks.azimuth import upsample_align_corners
from rangeseg.networks.base import Network
from rangeseg.networks.layers import ActivationName, Conv3x3NormAct, check_input, stage


class CENet(Network):
    """CENet. The defaults give the published network; other arguments give smaller ones.

    Parameters are registered in the order of the published checkpoints, so weights map one to one by position.

    Args:
        in_channels: C.
        num_classes: K.
        width: w, channels of every stage; the stem has (w / 2, w, w) and the head (2w, w).
        blocks: residual blocks of every stage; each stage after the first halves rows and columns.
        activation: "hardswish" as published, "leaky_relu" as in FIDNet, or "silu".
        auxiliary: heads of deep supervision on every stage after the first; `supervised.auxiliary` trains them.
        wrap: column 0 touches column W-1. Rolling the image by a multiple of the stride then rolls the logits.

    Raises:
        ValueError: no blocks, or an unknown activation; on forward, an image that does not have C channels, H or W that
            is not divisible by `stride`, or `auxiliary` for a network without heads.

    Source: Cheng et al., section III; 6,781,968 parameters for C = 5, K = 20, of which the heads have 7,740.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        width: int = 128,
        blocks: Sequence[int] = (3, 4, 6, 3),
        activation: ActivationName = "hardswish",
        auxiliary: bool = True,
        wrap: bool = False,
    ) -> None:
        super().__init__()
        if not blocks:
            raise ValueError("CENet needs at least one stage; give blocks like (3, 4, 6, 3).")
        shrink = 2 ** (len(blocks) - 1)
        self.in_channels = in_channels
        self.stride = (shrink, shrink)
        self.wrap = wrap

        def convolutions(*channels: int) -> nn.Sequential:
            pairs = pairwise(channels)
            return nn.Sequential(*(Conv3x3NormAct(*pair, activation=activation, wrap=wrap) for pair in pairs))

        self.stem = convolutions(in_channels, width // 2, width, width)
        self.stages = nn.ModuleList(
            stage(width, width, count, stride=1 if index == 0 else 2, activation=activation, wrap=wrap)
            for index, count in enumerate(blocks)
        )
        self.fuse = convolutions((1 + len(blocks)) * width, 2 * width, width)
        self.classify = nn.Conv2d(width, num_classes, 1)
        heads = len(blocks) - 1 if auxiliary else 0
        self.auxiliary = nn.ModuleList(nn.Conv2d(width, num_classes, 1) for _ in range(heads))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def auxiliary_heads(self) -> Sequence[nn.Module]:
        """One head for every stage after the first; none if the network was made without heads."""
        return list(self.auxiliary)

    def classifier(self) -> nn.Module:
        """The last convolution."""
        return self.classify

    def forward(self, image: Tensor, auxiliary: bool = False) -> Tensor | tuple[Tensor, list[Tensor]]:
        """(B, C, H, W) -> (B, K, H, W) logits; with `auxiliary`, also a list of such logits, one for each head."""
        check_input(image, self.in_channels, self.stride)
        features = [self.stem(image)]
        for part in self.stages:
            features.append(part(features[-1]))
        size = (image.shape[-2], image.shape[-1])
        enlarged = [upsample_align_corners(feature, size, wrap=self.wrap) for feature in features]
        logits: Tensor = self.classify(self.fuse(torch.cat(enlarged, dim=1)))
        if not auxiliary:
            return logits
        if not len(self.auxiliary):
            raise ValueError("This CENet has no auxiliary heads; set auxiliary: true.")
        # A 1x1 convolution commutes with the interpolation, so it comes first, on fewer pixels.
        coarse = [head(feature) for head, feature in zip(self.auxiliary, features[2:], strict=True)]
        return logits, [upsample_align_corners(part, size, wrap=self.wrap) for part in coarse]
