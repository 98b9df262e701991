"""SalsaNext's building blocks, which RangeViT's stem shares: convolution, activation, BatchNorm, in that order.

Shapes: B views, C channels, H rows (beams), W columns (azimuth). `wrap`: column 0 touches column W-1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rangeseg.networks.azimuth import pad_azimuth
from rangeseg.networks.layers import SLOPE


class ConvActNorm(nn.Module):
    """Convolution with bias that keeps the size, LeakyReLU, BatchNorm.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        kernel: rows and columns, 1 to 3; 2 only with an even dilation.
        dilation: of the kernel.
        wrap: pad columns circularly.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, dilation: int = 1, *, wrap: bool = False
    ) -> None:
        super().__init__()
        margin = dilation * (kernel - 1) // 2
        self.margin = margin if wrap else 0
        padding = (margin, 0) if wrap else (margin, margin)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W)."""
        padded = pad_azimuth(image, self.margin) if self.margin else image
        return self.norm(F.leaky_relu(self.conv(padded), SLOPE, inplace=True))


class Context(nn.Module):
    """A 1x1 convolution, plus the output of two 3x3 convolutions, the second dilated.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        wrap: see `ConvActNorm`.

    Source: Cortinhal et al., SalsaNext, 2020, figure 2.
    """

    def __init__(self, in_channels: int, out_channels: int, *, wrap: bool = False) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1)
        self.near = ConvActNorm(out_channels, out_channels, 3, wrap=wrap)
        self.far = ConvActNorm(out_channels, out_channels, 3, 2, wrap=wrap)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W)."""
        shortcut = F.leaky_relu(self.shortcut(image), SLOPE)
        return shortcut + self.far(self.near(shortcut))


class Branches(nn.Module):
    """Three convolutions in sequence with growing receptive fields, concatenated and reduced by a 1x1 convolution.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        wrap: see `ConvActNorm`.

    Source: Cortinhal et al., SalsaNext, 2020, figure 2.
    """

    def __init__(self, in_channels: int, out_channels: int, *, wrap: bool = False) -> None:
        super().__init__()
        self.reaches = nn.ModuleList(
            [
                ConvActNorm(in_channels, out_channels, 3, wrap=wrap),
                ConvActNorm(out_channels, out_channels, 3, 2, wrap=wrap),
                ConvActNorm(out_channels, out_channels, 2, 2, wrap=wrap),
            ]
        )
        self.join = ConvActNorm(3 * out_channels, out_channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W)."""
        parts = [image]
        for reach in self.reaches:
            parts.append(reach(parts[-1]))
        return self.join(torch.cat(parts[1:], dim=1))


class Residual(nn.Module):
    """A 1x1 convolution, plus the output of `Branches`; without SalsaNext's dropout and pooling.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        wrap: see `ConvActNorm`.
    """

    def __init__(self, in_channels: int, out_channels: int, *, wrap: bool = False) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1)
        self.branches = Branches(in_channels, out_channels, wrap=wrap)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W)."""
        return F.leaky_relu(self.shortcut(image), SLOPE) + self.branches(image)
