"""Masks of whole rows, of whole columns, and of a checkerboard of both.

Shapes: B views, H rows (inclination), W columns (azimuth).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor


def beam_mask(
    generator: Generator,
    batch: int,
    height: int,
    width: int,
    *,
    bands: Sequence[int] = (3, 4, 5, 6),
    device: torch.device | str = "cpu",
) -> Tensor:
    """Rows cut into n bands; every other band is True, and the topmost is False.

    Args:
        generator: a CPU generator; the same state gives the same masks.
        batch: B.
        height: H, rows.
        width: W, columns.
        bands: possible values of n, drawn for each view with equal chance. The edges are linspace(0, H, n + 1),
            rounded down.
        device: device of the mask; only B integers are copied there.

    Returns:
        (B, H, W) bool.

    Raises:
        ValueError: `bands` is empty or holds a number below 1.

    Source:
        Kong et al., LaserMix, CVPR 2023; Xu et al., FRNet, 2023 (FrustumMix, vertical): bands of 3 to 6.
    """
    odd = _odd(_choose(generator, batch, bands, "bands").to(device, non_blocking=True), height)
    return odd[:, :, None].expand(batch, height, width).clone()


def grid_mask(
    generator: Generator,
    batch: int,
    height: int,
    width: int,
    *,
    bands: Sequence[int] = (3, 4, 5, 6),
    sectors: Sequence[int] = (2, 4, 6),
    wrap: bool = False,
    device: torch.device | str = "cpu",
) -> Tensor:
    """A checkerboard of n bands of rows and m sectors of columns; with one sector, the bands of `beam_mask`.

    Args:
        generator: a CPU generator; the same state gives the same masks.
        batch: B.
        height: H, rows.
        width: W, columns.
        bands: possible values of n, drawn for each view.
        sectors: possible values of m, drawn for each view. With `wrap`, an even m alternates across the seam, too; with
            an odd m, the first and the last sector touch and have the same value.
        wrap: column 0 touches column W-1: the first sector starts at any column.
        device: device of the mask; only 3 B integers are copied there.

    Returns:
        (B, H, W) bool, False in the first sector of the topmost band.

    Raises:
        ValueError: `bands` or `sectors` is empty or holds a number below 1.

    Source:
        Kong et al., LaserMix, CVPR 2023, the ablation over inclination x azimuth.
    """
    counts = torch.stack([_choose(generator, batch, bands, "bands"), _choose(generator, batch, sectors, "sectors")])
    start = torch.randint(width if wrap else 1, (1, batch), generator=generator, dtype=torch.int32)
    n, m, first = torch.cat([counts, start]).to(device, non_blocking=True)
    columns = (torch.arange(width, dtype=torch.int32, device=n.device) - first[:, None]).remainder(width)
    return _odd(n, height)[:, :, None] ^ _odd(m, width).gather(1, columns.long())[:, None]


def sector_mask(
    generator: Generator,
    batch: int,
    height: int,
    width: int,
    *,
    fraction: float = 0.5,
    wrap: bool = True,
    device: torch.device | str = "cpu",
) -> Tensor:
    """One run of whole columns in every view.

    Args:
        generator: a CPU generator; the same state gives the same masks.
        batch: B.
        height: H, rows.
        width: W, columns.
        fraction: the run's share of the columns, rounded to whole ones.
        wrap: column 0 touches column W-1: the run starts at any column and continues across the seam; False keeps it
            within the image.
        device: device of the mask; only B integers are copied there.

    Returns:
        (B, H, W) bool.

    Raises:
        ValueError: `fraction` is not within [0, 1].

    Source:
        Xiao et al., PolarMix, NeurIPS 2022; Xu et al., FRNet, 2023 (FrustumMix, horizontal: half a turn).
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"sector_mask got fraction={fraction}; give the share of the columns, in [0, 1].")
    size = round(fraction * width)
    starts = width if wrap else width - size + 1
    start = torch.randint(starts, (batch, 1), generator=generator, dtype=torch.int32).to(device, non_blocking=True)
    columns = torch.arange(width, dtype=torch.int32, device=start.device) - start
    inside = columns.remainder(width) < size
    return inside[:, None].expand(batch, height, width).clone()


def _choose(generator: Generator, batch: int, counts: Sequence[int], name: str) -> Tensor:
    """(B,) int32, each drawn from `counts`."""
    if not counts or min(counts) < 1:
        raise ValueError(f"A mask got {name}={tuple(counts)}; give possible numbers of strips, each 1 or more.")
    index = torch.randint(len(counts), (batch,), generator=generator)
    return torch.tensor(tuple(counts), dtype=torch.int32)[index]


def _odd(count: Tensor, length: int) -> Tensor:
    """(B,) numbers of strips -> (B, length) bool, True in the second, fourth, ... strip.

    Strip i of n begins at floor(i * length / n); in integers, pixel p is in strip ((p + 1) n - 1) // length.
    """
    pixels = torch.arange(1, length + 1, dtype=torch.int32, device=count.device)
    strip = (pixels * count[:, None] - 1).div(length, rounding_mode="floor")
    return strip % 2 == 1
