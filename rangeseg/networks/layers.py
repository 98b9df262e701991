"""Building blocks of range-view networks, on a plane or on a cylinder.

Shapes: B views, C channels, H rows (beams), W columns (azimuth). `wrap`: column 0 touches column W-1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from rangeseg.networks.azimuth import pad_azimuth

SLOPE = 0.01
"""LeakyReLU's slope below zero, everywhere in FIDNet."""

ActivationName = Literal["leaky_relu", "hardswish", "silu"]

ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    "leaky_relu": partial(F.leaky_relu, negative_slope=SLOPE),
    "hardswish": F.hardswish,
    "silu": F.silu,
}
"""What follows BatchNorm: (values, inplace=...) -> values."""


def activation_of(name: str) -> Callable[..., Tensor]:
    """The function of that name.

    Raises:
        ValueError: `ACTIVATIONS` has none.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation is {name!r}; choose one of {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]


class Conv3x3(nn.Conv2d):
    """3x3 convolution, zero-padded; with `wrap` the azimuth is padded from the other side of the seam.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        stride: of rows and of columns, or of each.
        dilation: of rows and of columns.
        bias: add one.
        wrap: pad columns circularly; the output then rolls with the input.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int | tuple[int, int] = 1,
        dilation: int = 1,
        bias: bool = False,
        wrap: bool = False,
    ) -> None:
        padding = (dilation, 0) if wrap else (dilation, dilation)
        super().__init__(in_channels, out_channels, 3, stride, padding, dilation, bias=bias)
        self.wrap = wrap
        self.margin = dilation

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        return super().forward(pad_azimuth(image, self.margin) if self.wrap else image)


class ConvNormAct(nn.Module):
    """Convolution whose kernel does not overlap, BatchNorm, LeakyReLU.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        azimuth_stride: columns that become one; every one of them has weights of its own.
        bias: of the convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, *, azimuth_stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        kernel = (1, azimuth_stride)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, kernel, bias=bias)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W / azimuth_stride)."""
        return F.leaky_relu(self.norm(self.conv(image)), SLOPE, inplace=True)


class Conv1x1(nn.Conv2d):
    """1x1 convolution without bias, of every `stride`-th row and column.

    Torch 2.13's own strided one writes outside its memory on a CPU with one thread and channels_last; the pixels are
    picked out before it instead, which is the same sum.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        stride: rows and columns.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, 1, bias=False)
        self.step = stride

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        return super().forward(image[..., :: self.step, :: self.step] if self.step > 1 else image)


class Conv3x3NormAct(nn.Module):
    """3x3 convolution, BatchNorm, activation.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        activation: a key of `ACTIVATIONS`.
        dilation: see `Conv3x3`.
        bias: see `Conv3x3`.
        wrap: see `Conv3x3`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        activation: str = "leaky_relu",
        dilation: int = 1,
        bias: bool = False,
        wrap: bool = False,
    ) -> None:
        super().__init__()
        self.conv = Conv3x3(in_channels, out_channels, dilation=dilation, bias=bias, wrap=wrap)
        self.norm = nn.BatchNorm2d(out_channels)
        self.activate = activation_of(activation)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W)."""
        return self.activate(self.norm(self.conv(image)), inplace=True)


class BasicBlock(nn.Module):
    """ResNet's two 3x3 convolutions with a shortcut, which is a 1x1 convolution where the shape changes.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        stride: of the first convolution, rows and columns.
        activation: a key of `ACTIVATIONS`.
        wrap: see `Conv3x3`.

    Source: He et al., Deep Residual Learning, 2016, figure 2, with another activation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        activation: str = "leaky_relu",
        wrap: bool = False,
    ) -> None:
        super().__init__()
        self.activate = activation_of(activation)
        self.conv1 = Conv3x3(in_channels, out_channels, stride=stride, wrap=wrap)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = Conv3x3(out_channels, out_channels, wrap=wrap)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            projection = Conv1x1(in_channels, out_channels, stride=stride)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(out_channels))

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        hidden = self.activate(self.norm1(self.conv1(image)), inplace=True)
        hidden = self.norm2(self.conv2(hidden))
        hidden += self.shortcut(image)
        return self.activate(hidden, inplace=True)


def conv_norm_relu(in_channels: int, out_channels: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    """Convolution without bias that keeps the size, BatchNorm and ReLU, as photographs' networks are made of.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        kernel: rows and columns, odd.
        dilation: of the kernel.
    """
    conv = nn.Conv2d(in_channels, out_channels, kernel, 1, dilation * (kernel // 2), dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


def stage(
    in_channels: int, width: int, blocks: int, *, stride: int, activation: str = "leaky_relu", wrap: bool = False
) -> nn.Sequential:
    """Residual blocks, of which the first has the stride.

    Args:
        in_channels: C of the input.
        width: C of the output.
        blocks: how many, at least 1.
        stride: rows and columns.
        activation: a key of `ACTIVATIONS`.
        wrap: see `Conv3x3`.
    """
    first = BasicBlock(in_channels, width, stride=stride, activation=activation, wrap=wrap)
    more = (BasicBlock(width, width, activation=activation, wrap=wrap) for _ in range(blocks - 1))
    return nn.Sequential(first, *more)


def check_input(image: Tensor, in_channels: int, stride: tuple[int, int]) -> None:
    """Refuse a batch that a network cannot read.

    Args:
        image: (B, C, H, W) expected.
        in_channels: C the network was made for.
        stride: what H and W must be divisible by.

    Raises:
        ValueError: what is wrong, and the nearest right sizes.
    """
    if image.ndim != 4 or image.shape[1] != in_channels:
        raise ValueError(
            f"The network expects (B, {in_channels}, H, W) and got {tuple(image.shape)}; check its in_channels."
        )
    for name, size, step in zip(("height", "width"), image.shape[-2:], stride, strict=True):
        if size % step or size == 0:
            below = size // step * step
            nearest = f"{below} or {below + step}" if below else f"{step}"
            raise ValueError(f"Image {name} {size} is not divisible by the network's stride {step}. Use {nearest}.")
