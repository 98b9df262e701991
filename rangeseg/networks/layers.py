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
"""Name -> the activation after BatchNorm: (values, inplace=...) -> values."""


def activation_of(name: str) -> Callable[..., Tensor]:
    """The function of that name.

    Raises:
        ValueError: `ACTIVATIONS` does not contain the name.
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
        bias: add a bias.
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
    """Convolution of 1 x `azimuth_stride` pixels without overlap, BatchNorm, LeakyReLU.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        azimuth_stride: number of columns that are merged into one, each with its own weights.
        bias: add a bias to the convolution.
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

    Torch 2.13's strided 1x1 convolution writes outside its memory on a CPU with one thread and channels_last. So the
    pixels are selected before the convolution, which gives the same sums.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        stride: of rows and columns.
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
    """ResNet's two 3x3 convolutions with a shortcut, which is a 1x1 convolution if the shape changes.

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
    """Convolution without bias that keeps the size, BatchNorm and ReLU, for networks of photographs.

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
    """Residual blocks; only the first has a stride.

    Args:
        in_channels: C of the input.
        width: C of the output.
        blocks: number of blocks, at least 1.
        stride: of rows and columns.
        activation: a key of `ACTIVATIONS`.
        wrap: see `Conv3x3`.
    """
    first = BasicBlock(in_channels, width, stride=stride, activation=activation, wrap=wrap)
    more = (BasicBlock(width, width, activation=activation, wrap=wrap) for _ in range(blocks - 1))
    return nn.Sequential(first, *more)


def check_input(image: Tensor, in_channels: int, stride: tuple[int, int]) -> None:
    """Check that a network can read a batch.

    Args:
        image: (B, C, H, W) expected.
        in_channels: C the network was made for.
        stride: what H and W must be divisible by.

    Raises:
        ValueError: another shape or number of channels, or H or W is not divisible; names the nearest valid sizes.
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
