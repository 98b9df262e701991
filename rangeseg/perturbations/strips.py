"""LaserMix and FrustumMix: bands of inclination and sectors of azimuth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from rangeseg.masks import beam_mask, grid_mask, sector_mask
from rangeseg.perturbations.bases import Mixing


@dataclass(frozen=True)
class LaserMix(Mixing):
    """Every other band of inclination from `b`, or every other cell of inclination x azimuth.

    Args:
        bands: numbers of bands to draw from.
        sectors: numbers of sectors to draw from; (1,) mixes whole bands; even numbers give the paper's finest form.
        wrap: the views are cylinders: column 0 touches column W-1, sectors start anywhere.

    Raises:
        ValueError: `bands` or `sectors` is empty or holds a number below 1.

    Source:
        Kong et al., CVPR 2023; in their code 3 to 6 bands (nuScenes) or 4 to 8 (SemanticKITTI).
    """

    bands: tuple[int, ...] = (3, 4, 5, 6)
    sectors: tuple[int, ...] = (1,)
    wrap: bool = False

    def draw_mask(self, generator: Generator, valid: Tensor, target: Tensor) -> Tensor:
        """Draw every other cell."""
        return grid_mask(
            generator, *valid.shape, bands=self.bands, sectors=self.sectors, wrap=self.wrap, device=valid.device
        )


@dataclass(frozen=True)
class FrustumMix(Mixing):
    """Every other band of inclination from `b`, or one sector of azimuth: drawn for each view.

    Args:
        bands: numbers of bands to draw from.
        fraction: the sector's share of a full turn.
        vertical: probability of bands instead of a sector.
        wrap: the views are cylinders: column 0 touches column W-1, the sector starts anywhere.

    Raises:
        ValueError: `bands` is empty or holds a number below 1, `fraction` or `vertical` is not within [0, 1].

    Source:
        Xu et al., FRNet, 2023.
    """

    bands: tuple[int, ...] = (3, 4, 5, 6)
    fraction: float = 0.5
    vertical: float = 0.5
    wrap: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.vertical <= 1:
            raise ValueError(f"FrustumMix got vertical={self.vertical}; give the probability of bands, in [0, 1].")

    def draw_mask(self, generator: Generator, valid: Tensor, target: Tensor) -> Tensor:
        """Draw bands or a sector for each view."""
        vertical = (torch.rand(len(valid), generator=generator) < self.vertical).to(valid.device, non_blocking=True)
        bands = beam_mask(generator, *valid.shape, bands=self.bands, device=valid.device)
        sector = sector_mask(generator, *valid.shape, fraction=self.fraction, wrap=self.wrap, device=valid.device)
        return torch.where(vertical[:, None, None], bands, sector)
