"""SalsaNext: an encoder of dilated residual blocks, and a decoder that unfolds channels into pixels.

Shapes: B views, C channels, H rows (beams), W columns (azimuth), K classes; w is the width.

    c  = three context blocks                                   (B, w, H, W)
    b0 = residual(c);  d0 = pool(b0)                            (B, 2w, H, W), d0 halved
    b1 = residual(d0) ... b3 = residual(d2);  d3 = pool(b3)     4w, 8w, 8w channels, halved each time
    d4 = residual(d3)                                           (B, 8w, H / 16, W / 16)
    u  = up(d4, b3), up(u, b2), up(u, b1), up(u, b0)            4w, 4w, 2w, w channels, doubled each time
    logits = classify(u)

Source: Cortinhal et al., SalsaNext: Fast, Uncertainty-aware Semantic Segmentation of LiDAR Point Clouds, ISVC 2020.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rangeseg.networks.azimuth import pad_azimuth
from rangeseg.networks.base import Network
from rangeseg.networks.layers import check_input
from rangeseg.networks.salsanext_blocks import Branches, Context, Residual


class SalsaNext(Network):
    """SalsaNext without its softmax and its uncertainty. The defaults give the published network.

    Parameters are registered in the order of the published checkpoints, so weights map one to one by position.

    Args:
        in_channels: C.
        num_classes: K.
        width: w, a multiple of 2; the published one is 32.
        dropout: probability that a channel is set to 0, at the same places as in the published code.
        wrap: column 0 touches column W-1. Rolling the image by a multiple of the stride then rolls the logits.

    Raises:
        ValueError: `width` is odd or less than 2; on forward, an image that does not have C channels, or H or W that is
            not divisible by 16.

    Source: Cortinhal et al., section 3.1; 6,711,572 parameters for C = 5, K = 20.
    """

    def __init__(
        self, in_channels: int, num_classes: int, *, width: int = 32, dropout: float = 0.2, wrap: bool = False
    ) -> None:
        super().__init__()
        if width < 2 or width % 2:
            raise ValueError(f"SalsaNext unfolds channels into 2 x 2 pixels; width is {width}, give an even number.")
        self.in_channels, self.stride, self.wrap = in_channels, (16, 16), wrap
        w = width
        self.context = nn.Sequential(
            Context(in_channels, w, wrap=wrap), Context(w, w, wrap=wrap), Context(w, w, wrap=wrap)
        )
        channels = (w, 2 * w, 4 * w, 8 * w, 8 * w, 8 * w)
        self.encoder = nn.ModuleList(Residual(before, after, wrap=wrap) for before, after in pairwise(channels))
        outs = (4 * w, 4 * w, 2 * w, w)
        coarse, skips = (8 * w, 4 * w, 4 * w, 2 * w), (8 * w, 8 * w, 4 * w, 2 * w)
        self.decoder = nn.ModuleList(
            Branches(below // 4 + skip, out, wrap=wrap) for below, skip, out in zip(coarse, skips, outs, strict=True)
        )
        self.classify = nn.Conv2d(w, num_classes, 1)
        self.drop = nn.Dropout2d(dropout)

    def classifier(self) -> nn.Module:
        """The last convolution."""
        return self.classify

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W) logits."""
        check_input(image, self.in_channels, self.stride)
        features, skips = self.context(image), []
        last = len(self.encoder) - 1
        for number, block in enumerate(self.encoder):
            skips.append(block(features))
            dropped = skips[-1] if number == 0 else self.drop(skips[-1])
            features = dropped if number == last else self._pool(dropped)
        for number, block in enumerate(self.decoder):
            certain = number == len(self.decoder) - 1
            finer = F.pixel_shuffle(features, 2)
            joined = torch.cat((finer if certain else self.drop(finer), skips[last - 1 - number]), dim=1)
            features = block(joined if certain else self.drop(joined))
            features = features if certain else self.drop(features)
        logits: Tensor = self.classify(features)
        return logits

    def _pool(self, image: Tensor) -> Tensor:
        """The mean of 3x3 pixels at every second row and column; pixels outside the image count as 0."""
        if self.wrap:
            return F.avg_pool2d(pad_azimuth(image, 1), 3, 2, (1, 0))
        return F.avg_pool2d(image, 3, 2, 1)
