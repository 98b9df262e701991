"""Box masks as the paper's code draws them, including its errors; only for comparison.

Shapes: B views, K boxes, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from rangeseg.masks.boxes import Aspect, By, area_range, check_boxes


def reference_box_mask(
    generator: Generator | np.random.RandomState,
    batch: int,
    height: int,
    width: int,
    *,
    area: float | Sequence[float] = 0.5,
    by: By = "area",
    boxes: int = 1,
    aspect: Aspect = "log-uniform",
    inside: bool = True,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Boxes drawn in the order of French et al.'s sampler, with its rounding, from NumPy's legacy generator.

    Differences from `box_mask`: several boxes of a fixed aspect have each side scaled by 1 / K, not 1 / sqrt(K), so
    that they cover too little; a box that leaves the image at the top or the left vanishes, because its negative first
    row or column is counted from the other end; no box continues across a seam.

    Args:
        generator: NumPy's legacy generator, or torch's, which then draws the seed of a legacy generator.
        batch: B.
        height: H, rows.
        width: W, columns.
        area: the boxes' share of the image, or (low, high).
        by: "area", or "size": `area` is the share of the height and of the width.
        boxes: K; where an even number of boxes overlap, the mask is False.
        aspect: "log-uniform" or "fixed".
        inside: boxes lie within the image; False lets them leave it.
        device: device of the mask.

    Returns:
        (B, H, W) bool.

    Raises:
        ValueError: `area` is not within [0, 1], `boxes` is less than 1, or `by` or `aspect` is unknown.

    Source:
        The code of French et al., BMVC 2020, as described in words. Draws the same numbers in the same order.
    """
    if isinstance(generator, Generator):
        generator = np.random.RandomState(int(torch.randint(2**32, (), generator=generator)))
    low, high = area_range("reference_box_mask", area)
    check_boxes("reference_box_mask", boxes, by, aspect)
    tall, wide = _sides(generator, (batch, boxes), (low, high), by, aspect)
    size = np.round(np.stack([tall * height, wide * width], 2))
    image = np.array([height, width], float)
    place = generator.uniform(size=(batch, boxes, 2))
    if inside:
        first = np.round((image - size) * place)
        last = first + size
    else:
        middle = np.round(image * place)
        first, last = middle - size / 2, middle + size / 2
    edges = np.concatenate([first, last], 2).astype(int)
    return torch.from_numpy(_fill(edges, height, width)).to(device, non_blocking=True)


def _sides(
    rng: np.random.RandomState, shape: tuple[int, int], area: tuple[float, float], by: By, aspect: Aspect
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(B, K) shares of the height and of the width."""
    share = rng.uniform(*area, size=shape)
    scale = shape[1] ** -0.5
    if aspect == "fixed":
        side = np.sqrt(share) if by == "area" else share
        return side * scale * scale, side * scale * scale  # the paper's code scales one array twice
    if by == "size":
        return share * scale, rng.uniform(*area, size=shape) * scale
    exponent = rng.uniform(size=shape)
    drawn = share > 0
    with np.errstate(divide="ignore"):
        logarithm = np.log(share)
    tall = np.where(drawn, np.exp(exponent * logarithm.clip(-1e9)), 0)
    return tall * scale, np.where(drawn, share / tall.clip(1e-300), 0) * scale


def _fill(edges: NDArray[np.int64], height: int, width: int) -> NDArray[np.bool_]:
    mask = np.zeros((len(edges), height, width), bool)
    for view, boxes in zip(mask, edges, strict=True):
        for top, left, bottom, right in boxes:
            view[top:bottom, left:right] ^= True
    return mask
