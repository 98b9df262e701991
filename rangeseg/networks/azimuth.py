"""Azimuth wrap-around: padding across the seam, and interpolation that wraps around.

Shapes: B views, C channels, H rows (beams), W columns (azimuth). `wrap`: column 0 touches column W-1.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rangeseg.kernels.interpolation import gather_bilinear


def pad_azimuth(image: Tensor, margin: int) -> Tensor:
    """Pad both sides with `margin` columns from the other side of the seam, for images of any width.

    Args:
        image: (B, C, H, W).
        margin: columns.

    Returns:
        (B, C, H, W + 2 margin).
    """
    width = image.shape[-1]
    if margin <= width:
        return circular_pad_width(image, margin, margin)
    columns = torch.arange(-margin, width + margin, device=image.device) % width
    return image.index_select(-1, columns)


def circular_pad_width(image: Tensor, before: int, after: int) -> Tensor:
    """Pad each side with at most W columns from the other side of the seam; keeps the memory layout.

    Torch's circular padding makes channels_last images contiguous, and its gradient takes five passes.

    Args:
        image: (B, C, H, W).
        before: number of columns added before the first.
        after: number of columns added after the last.

    Returns:
        (B, C, H, before + W + after).
    """
    if torch.is_grad_enabled() and image.requires_grad and not torch.compiler.is_compiling():
        closed: Tensor = _Closed.apply(image, before, after)
        return closed
    return _closed(image, before, after)


def _closed(image: Tensor, before: int, after: int) -> Tensor:
    ends = [image[..., image.shape[-1] - before :]] if before else []  # an empty part would lose the layout
    return torch.cat([*ends, image, image[..., :after]], dim=-1)


class _Closed(torch.autograd.Function):
    """`_closed`, whose gradient is one copy and two sums of a few columns."""

    @staticmethod
    def forward(context: Any, image: Tensor, before: int, after: int) -> Tensor:
        context.added = before, after
        return _closed(image, before, after)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        before, after = context.added
        width = gradient.shape[-1] - before - after
        inner = gradient[..., before : before + width].clone(memory_format=_layout(gradient))
        inner[..., width - before :] += gradient[..., :before]
        inner[..., :after] += gradient[..., before + width :]
        return inner, None, None


def _layout(image: Tensor) -> torch.memory_format:
    last = image.is_contiguous(memory_format=torch.channels_last) and not image.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def upsample_align_corners(image: Tensor, size: tuple[int, int], *, wrap: bool = False) -> Tensor:
    """Bilinear interpolation of features whose column j was computed around column j * W' / W of the output.

    On a plane the corners are aligned, as in FIDNet. On a cylinder column W is column 0, so input and output get one
    more column: this puts column j at exactly j * W' / W, and the result rolls with the input.

    Args:
        image: (B, C, H, W).
        size: H', W' of the output.
        wrap: the azimuth is a cylinder.

    Returns:
        (B, C, H', W').
    """
    if image.shape[-2:] == size:
        return image
    slow = image.device.type == "cpu" and image.is_contiguous(memory_format=torch.channels_last)
    trains = torch.is_grad_enabled() and image.requires_grad and not torch.compiler.is_compiling()
    if slow and trains and image.dtype != torch.float64:
        enlarged: Tensor = _Upsampled.apply(image, size, wrap)
        return enlarged
    return _upsampled(image, size, wrap)


def _upsampled(image: Tensor, size: tuple[int, int], wrap: bool) -> Tensor:
    if not wrap:
        return F.interpolate(image, size, mode="bilinear", align_corners=True)
    height, width = size
    closed = circular_pad_width(image, 0, 1)
    return F.interpolate(closed, (height, width + 1), mode="bilinear", align_corners=True)[..., :width]


class _Upsampled(torch.autograd.Function):
    """`_upsampled` for channels_last images on a CPU: torch computes that gradient value by value; here, in float32."""

    @staticmethod
    def forward(context: Any, image: Tensor, size: tuple[int, int], wrap: bool) -> Tensor:
        context.shape, context.wrap = image.shape, wrap
        return _upsampled(image, size, wrap)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        views, channels, height, width = context.shape
        large = gradient.permute(0, 2, 3, 1).contiguous().float()
        small = torch.zeros((views, height, width, channels))
        gather_bilinear(large.numpy(), context.wrap, small.numpy())
        return small.to(gradient.dtype).permute(0, 3, 1, 2), None, None


def upsample_width(image: Tensor, factor: int, *, wrap: bool = False) -> Tensor:
    """Linear interpolation in azimuth of features of which each column represents `factor` columns.

    A column is at the middle of those that it represents. On a plane, values are constant beyond the outermost middles.

    Args:
        image: (B, C, H, W).
        factor: columns of the output per column of the input.
        wrap: the azimuth is a cylinder; the result rolls with the input.

    Returns:
        (B, C, H, W * factor).
    """
    if factor == 1:
        return image
    rows, columns = image.shape[-2:]
    if not wrap:
        return F.interpolate(image, (rows, columns * factor), mode="bilinear", align_corners=False)
    closed = circular_pad_width(image, 1, 1)
    enlarged = F.interpolate(closed, (rows, (columns + 2) * factor), mode="bilinear", align_corners=False)
    return enlarged[..., factor:-factor]
