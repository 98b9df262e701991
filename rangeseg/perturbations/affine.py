"""Geometric consistency of photographs: view and target are warped by the same affine map.

Shapes: B views, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from rangeseg.perturbations.bases import SingleViewPerturbation
from rangeseg.types import PseudoLabelled


@dataclass(frozen=True)
class Affine(SingleViewPerturbation):
    """The student's view and the target are moved, scaled, rotated and reflected about the centre.

        source = M (pixel - centre) + centre + offset,   M = rotation(angle) diag(mirror, 1) / scale

    Image, probabilities and logits are read at `source` by bilinear interpolation; a pixel counts if all pixels
    that it is interpolated from are in the view and valid. On a cylinder use `Geometric`, which is exact.

    Args:
        offset: largest shift along each axis, pixels, drawn uniformly.
        scale: (low, high), drawn log-uniformly; above 1 enlarges.
        rotate_deg: largest angle, degrees, drawn uniformly in both directions.
        mirror: the probability of mirroring left to right.
        wrap: must be False: a cylinder has no centre.

    Raises:
        ValueError: `wrap` is True, or a setting is out of its range.

    Source:
        Standard augmentation consistency of French et al., BMVC 2020, after Perone and Cohen-Adad, 2018 (offset 16,
        scale 0.5 to 1.5). There the student's view is a second crop of the photograph, here the first crop moved.
    """

    offset: float = 16.0
    scale: tuple[float, float] = (0.5, 1.5)
    rotate_deg: float = 0.0
    mirror: float = 0.5
    wrap: bool = False

    def __post_init__(self) -> None:
        if self.wrap:
            raise ValueError("Affine does not support wrap: true; use {name: geometric} for range images.")
        low, high = self.scale
        if not 0 < low <= high:
            raise ValueError(f"Affine got scale={self.scale}; give (low, high) with 0 < low <= high.")
        if not (self.offset >= 0 and self.rotate_deg >= 0 and 0 <= self.mirror <= 1):
            raise ValueError(
                f"Affine got offset={self.offset}, rotate_deg={self.rotate_deg}, mirror={self.mirror}; "
                "give pixels and degrees >= 0 and a probability in [0, 1]."
            )

    def perturb(self, generator: Generator, views: PseudoLabelled) -> PseudoLabelled:
        """Warp image, target, logits and validity by one map for each view."""
        device = views.image.device
        batch, height, width = views.valid.shape
        return warp(views, self.draw(generator, batch, height, width).to(device, torch.float32, non_blocking=True))

    def draw(self, generator: Generator, batch: int, height: int, width: int) -> Tensor:
        """(B, 2, 3) float64 maps: pixel -> where it is read from, in units in which the view extends from -1 to 1."""
        drawn = torch.rand(5, batch, generator=generator, dtype=torch.float64)
        low, high = self.scale
        size = low * (high / low) ** drawn[0]
        angle = self.rotate_deg * pi / 180 * (2 * drawn[1] - 1)
        flip = 1 - 2 * (drawn[2] < self.mirror).double()
        offset = self.offset * (2 * drawn[3:] - 1)
        cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
        rows = (
            torch.stack([flip * cos, -sin * height / width, 2 * offset[0] / width], 1),
            torch.stack([flip * sin * width / height, cos, 2 * offset[1] / height], 1),
        )
        return torch.stack(rows, 1)


def warp(views: PseudoLabelled, source: Tensor) -> PseudoLabelled:
    """Warp views: read each pixel at another place.

    Args:
        views: B views with their targets.
        source: (B, 2, 3) affine maps, (x, y) of a pixel -> (x, y) that it is read from. The view extends from -1 to 1;
            the centres of the outermost pixels are half a pixel inside.
    """
    with torch.autocast(source.device.type, enabled=False):  # in half precision, the grid would be off by a pixel
        grid = F.affine_grid(source, list(views.image.shape), align_corners=False)

    def read(field: Tensor, outside: str = "border") -> Tensor:
        return F.grid_sample(field, grid.to(field.dtype), padding_mode=outside, align_corners=False)

    valid = read(views.valid[:, None].to(views.image.dtype), "zeros")[:, 0] > 0.999
    logits = views.target_logits
    return PseudoLabelled(
        read(views.image) * valid[:, None], read(views.target), None if logits is None else read(logits), valid
    )
