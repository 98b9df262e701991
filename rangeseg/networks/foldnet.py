"""FoldNet: our own network, small enough to run in real time on a CPU.

Four neighbouring columns are folded into channels first and unfolded at the end, so that all other layers work on a
quarter of the pixels. Rows, of which a sensor has few, are not reduced before the second stage.

Shapes: B views, C channels, H rows (beams), W columns (azimuth), K classes; F columns are folded into one.

    f0 = stem(image)                                   (B, w0, H, W / F)
    f1 ... f4 = stages                                 w0, w1, w2, w3 channels; each after the first halves H and W / F
    logits = unfold(head([f0 ... f4]))                 F * K channels of (H, W / F) -> (B, K, H, W)

Each of the F columns has its own weights in the first and in the last convolution, so no column's label is
interpolated from its neighbours'. See `rangeseg/DESIGN.md` for what was tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from rangeseg.networks.base import Network
from rangeseg.networks.fidnet import Head
from rangeseg.networks.layers import ConvNormAct, check_input, stage


class FoldNet(Network):
    """FoldNet; the defaults have 1.9 million parameters and 12.5 GFLOP for a range image of 64 x 2048.

    Args:
        in_channels: C.
        num_classes: K.
        fold: F, number of neighbouring columns that are folded into channels; 1: no folding.
        widths: channels of each stage; each stage after the first halves rows and columns.
        blocks: residual blocks of each stage.
        hidden: channels of the head's two convolutions.
        wrap: column 0 touches column W-1. Rolling the image by a multiple of the stride then rolls the logits.

    Raises:
        ValueError: no stages, not as many blocks as widths, not two `hidden` widths, or `fold` less than 1; on forward,
            an image that does not have C channels, or H or W that is not divisible by `stride`.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        fold: int = 4,
        widths: Sequence[int] = (64, 64, 128, 128),
        blocks: Sequence[int] = (1, 1, 3, 3),
        hidden: Sequence[int] = (96, 96),
        wrap: bool = False,
    ) -> None:
        super().__init__()
        if not widths or len(widths) != len(blocks):
            raise ValueError(
                f"FoldNet got {len(widths)} widths and {len(blocks)} blocks; give one width and one block count "
                "per stage."
            )
        if fold < 1:
            raise ValueError(f"FoldNet got fold={fold}; give the number of columns to fold into one, 1 or more.")
        shrink = 2 ** (len(widths) - 1)
        self.in_channels, self.num_classes, self.fold = in_channels, num_classes, fold
        self.stride = (shrink, shrink * fold)
        self.stem = ConvNormAct(in_channels, widths[0], azimuth_stride=fold)
        channels = (widths[0], *widths)
        self.stages = nn.ModuleList(
            stage(before, after, count, stride=1 if index == 0 else 2, wrap=wrap)
            for index, (count, (before, after)) in enumerate(zip(blocks, pairwise(channels), strict=True))
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.head = Head(channels, hidden, num_classes * fold, wrap=wrap)

    def classifier(self) -> nn.Module:
        """The last convolution."""
        return self.head.classify

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W) logits."""
        check_input(image, self.in_channels, self.stride)
        features = [self.stem(image)]
        for part in self.stages:
            features.append(part(features[-1]))
        return unfold_azimuth(self.head(features), self.fold)


def unfold_azimuth(image: Tensor, factor: int) -> Tensor:
    """(B, factor * C, H, W) -> (B, C, H, W * factor): each C channels become one of `factor` neighbouring columns.

    In channels_last memory, no value is moved.
    """
    parts = image.unflatten(1, (factor, -1))
    return parts.permute(0, 2, 3, 4, 1).flatten(3)
