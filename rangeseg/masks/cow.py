"""Blob masks: blurred noise, thresholded at the requested area.

Shapes: B views, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, pi

import torch
from torch import Generator, Tensor

from rangeseg.masks.boxes import area_range
from rangeseg.noise import normal


def cow_mask(
    generator: Generator,
    batch: int,
    height: int,
    width: int,
    *,
    area: float | Sequence[float] = 0.5,
    sigma: float | Sequence[float] = (4.0, 16.0),
    wrap: bool = False,
    device: torch.device | str = "cpu",
) -> Tensor:
    """The share p of the pixels where blurred noise is lowest, exact to one pixel.

    Args:
        generator: a CPU generator; the same state gives the same masks on the same kind of device.
        batch: B.
        height: H, rows.
        width: W, columns.
        area: p, or (low, high) to draw p uniformly for each view.
        sigma: standard deviation of the blur, pixels, or (low, high) to draw it log-uniformly for each view.
        wrap: column 0 touches column W-1: the blur continues across the seam. At other borders, the noise is mirrored.
        device: device of the mask, on which the noise is drawn.

    Returns:
        (B, H, W) bool.

    Raises:
        ValueError: `area` is not within [0, 1], `sigma` is not positive, or high is below low.

    Source:
        French, Oliver, Salimans, "Milking CowMask", 2020: sigma from 4 to 16. There, the threshold is a quantile of the
        normal distribution; here it is the quantile of the noise itself, which makes the area exact.
    """
    low, high = area_range("cow_mask", area)
    narrow, broad = sigma if isinstance(sigma, Sequence) else (sigma, sigma)
    if not 0 < narrow <= broad:
        raise ValueError(f"cow_mask got sigma={sigma!r}; give pixels > 0, or (low, high) with low <= high.")
    drawn = torch.rand(2, batch, generator=generator, dtype=torch.float64)
    share = low + (high - low) * drawn[0]
    spread = torch.exp(log(narrow) + (log(broad) - log(narrow)) * drawn[1])
    spread = spread.to(device, torch.float32, non_blocking=True)
    field = _blur(normal(generator, (batch, height, width), device), spread, wrap).flatten(1)
    count = torch.round(share * height * width).long().to(device, non_blocking=True)[:, None]
    threshold = field.sort(dim=1).values.gather(1, (count - 1).clamp_(min=0))
    return ((field <= threshold) & (count > 0)).view(batch, height, width)


def _blur(field: Tensor, sigma: Tensor, wrap: bool) -> Tensor:
    """(B, H, W) convolved with Gaussians of (B,) sigma; mirrored copies make the periodic image continuous."""
    height, width = field.shape[1:]
    field = torch.cat([field, field.flip(1)], 1)
    if not wrap:
        field = torch.cat([field, field.flip(2)], 2)
    spread = sigma[:, None, None]
    rows = torch.fft.fftfreq(field.shape[1], device=field.device)[:, None]
    columns = torch.fft.rfftfreq(field.shape[2], device=field.device)
    gain = torch.exp(-2 * (pi * spread * rows) ** 2) * torch.exp(-2 * (pi * spread * columns) ** 2)
    return torch.fft.irfft2(torch.fft.rfft2(field) * gain, s=field.shape[1:])[:, :height, :width]
