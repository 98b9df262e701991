"""Masks of boxes: drawn as a few integers on the CPU, filled in on any device.

Shapes: B views, K boxes in a view, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Generator, Tensor

Aspect = Literal["log-uniform", "fixed"]
By = Literal["area", "size"]


def box_mask(
    generator: Generator,
    batch: int,
    height: int,
    width: int,
    *,
    area: float | Sequence[float] = 0.5,
    by: By = "area",
    boxes: int = 1,
    aspect: Aspect = "log-uniform",
    inside: bool = True,
    wrap: bool = False,
    device: torch.device | str = "cpu",
) -> Tensor:
    """One or several random boxes in every view of a batch. Where an even number of boxes overlap, the mask is False.

    A box covers the share p of the image; with K boxes each side is scaled by 1/sqrt(K), so that the areas add up to p.
    (The paper's code scales boxes of fixed aspect twice, and loses those that leave the image at the top or left.)

    Args:
        generator: a CPU generator; the same state gives the same masks.
        batch: B.
        height: H, rows.
        width: W, columns.
        area: p, or (low, high) to draw p uniformly for each box.
        by: the quantity drawn from `area`: "area" is the box's area; "size" is its height and its width, as shares of
            the image's height and width, drawn separately; with the aspect "fixed" both are the same share.
        boxes: K.
        aspect: "log-uniform": the sides are p^u and p^(1-u) of the image's, u uniform in [0, 1]; "fixed": both sqrt(p).
        inside: boxes lie within the image; False: their centres are anywhere in the image, and boxes are clipped.
        wrap: column 0 touches column W-1: boxes start at any column with equal chance and continue across the seam.
        device: device of the mask; only B x K x 4 integers are copied there.

    Returns:
        (B, H, W) bool.

    Raises:
        ValueError: `area` is not within [0, 1], `boxes` is less than 1, or `by` or `aspect` is unknown.

    Source:
        French et al., BMVC 2020, and the authors' box sampler.
    """
    low, high = area_range("box_mask", area)
    check_boxes("box_mask", boxes, by, aspect)
    drawn = torch.rand(4, batch, boxes, generator=generator, dtype=torch.float64)
    length, position = torch.tensor([height, width])[:, None, None], drawn[2:]  # of rows and columns alike
    size = torch.round(_sides(drawn[0], drawn[1], (low, high), by, aspect) * length / boxes**0.5)
    if inside:
        start = torch.round((length - size) * position)
    else:
        start = torch.round(length * position) - torch.floor(size / 2)
    if wrap:
        start[1] = torch.floor(width * position[1])
    integers = torch.stack([start, size]).to(torch.int32)
    return _fill(integers.to(device, non_blocking=True), height, width, wrap)


def area_range(name: str, area: float | Sequence[float]) -> tuple[float, float]:
    """`area` as (low, high).

    Args:
        name: name of the caller, for the error.
        area: a share of the image, or (low, high).

    Raises:
        ValueError: a share is not within [0, 1], or high is below low.
    """
    low, high = area if isinstance(area, Sequence) else (area, area)
    if not 0 <= low <= high <= 1:
        raise ValueError(
            f"{name} got area={area!r}; give a share of the image in [0, 1], or (low, high) with low <= high."
        )
    return low, high


def check_boxes(name: str, boxes: int, by: str, aspect: str) -> None:
    """Check the number of boxes and the words `by` and `aspect`.

    Args:
        name: name of the caller, for the error.
        boxes: K.
        by: see `box_mask`.
        aspect: see `box_mask`.

    Raises:
        ValueError: `boxes` is less than 1, or `by` or `aspect` is unknown.
    """
    if boxes < 1:
        raise ValueError(f"{name} got boxes={boxes}; give 1 or more (area=0 draws empty masks).")
    if aspect not in ("log-uniform", "fixed"):
        raise ValueError(f"{name} got aspect={aspect!r}; choose 'log-uniform' or 'fixed'.")
    if by not in ("area", "size"):
        raise ValueError(f"{name} got by={by!r}; choose 'area' or 'size'.")


def _sides(first: Tensor, second: Tensor, area: tuple[float, float], by: By, aspect: Aspect) -> Tensor:
    """(2, B, K) heights and widths of boxes as shares of the image's, from two draws in [0, 1); 0 for an empty box."""
    low, high = area
    share = low + (high - low) * first
    if by == "size":
        return torch.stack([share, share if aspect == "fixed" else low + (high - low) * second])
    if aspect == "fixed":
        return torch.stack([share.sqrt(), share.sqrt()])
    return torch.stack([share**second, share ** (1 - second)]) * (share > 0)


def _fill(boxes: Tensor, height: int, width: int, wrap: bool) -> Tensor:
    """(2, 2, B, K) (top, left), (height, width) of boxes -> (B, H, W) bool, True in an odd number of boxes."""
    (top, left), (box_height, box_width) = boxes[..., None]
    rows = torch.arange(height, dtype=torch.int32, device=top.device) - top
    columns = torch.arange(width, dtype=torch.int32, device=top.device) - left
    if wrap:
        columns = columns.remainder(width)
    # As bytes, because torch on a CPU is thirty times slower at combining booleans that broadcast.
    in_rows = ((rows >= 0) & (rows < box_height))[..., None].view(torch.uint8)
    in_columns = ((columns >= 0) & (columns < box_width))[..., None, :].view(torch.uint8)
    mask = in_rows[:, 0] & in_columns[:, 0]
    for box in range(1, boxes.shape[-1]):
        mask ^= in_rows[:, box] & in_columns[:, box]
    return mask.view(torch.bool)
