"""Common layers of the RangeNet++ family: they halve and double columns and keep the few rows of a LiDAR.

Shapes: B views, C channels, H rows (beams), W columns (azimuth). `wrap`: column 0 touches column W-1.

Source: Milioto et al., RangeNet++: Fast and Accurate LiDAR Semantic Segmentation, IROS 2019.
"""

from __future__ import annotations

from torch import Tensor, nn

from rangeseg.networks.azimuth import pad_azimuth

MOMENTUM = 0.01
"""Momentum of BatchNorm's statistics, everywhere in the published code."""


class DoubleColumns(nn.ConvTranspose2d):
    """Transposed convolution over four columns that outputs two columns for each input column.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        wrap: columns on both sides of the seam are neighbours; the output then rolls with the input.
    """

    def __init__(self, in_channels: int, out_channels: int, *, wrap: bool = False) -> None:
        super().__init__(in_channels, out_channels, (1, 4), (1, 2), (0, 1))
        self.wrap = wrap

    def forward(self, image: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C', H, 2 W)."""
        if not self.wrap:
            return super().forward(image, output_size)
        return super().forward(pad_azimuth(image, 1))[..., 2:-2]


class MaxPool(nn.MaxPool2d):
    """The maximum of a square around each pixel, or around every `stride`-th pixel of a row.

    Args:
        kernel: rows and columns of the square, odd.
        stride: of columns.
        wrap: the square continues across the seam.
    """

    def __init__(self, kernel: int, stride: int = 1, *, wrap: bool = False) -> None:
        margin = kernel // 2
        super().__init__(kernel, (1, stride), (margin, 0) if wrap else (margin, margin))
        self.margin = margin if wrap else 0

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W / stride)."""
        return super().forward(pad_azimuth(image, self.margin) if self.margin else image)
