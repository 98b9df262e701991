"""Geometric consistency without interpolation: rotations and reflections of a range image are exact.

Shapes: B views, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import torch
from torch import Generator, Tensor

from rangeseg.perturbations.bases import SingleViewPerturbation
from rangeseg.perturbations.channels import NAMELESS, Channels
from rangeseg.types import PseudoLabelled


@dataclass(frozen=True)
class Geometric(SingleViewPerturbation):
    """The student's view and the target are rotated about the sensor and reflected.

    On a cylinder, a rotation by whole columns is a roll with rotated x and y, and a reflection is a flip with negated
    y: the same image as the projection of the moved scan. On a plane (a photograph) only the flip is exact.

    Args:
        roll: rotate by a number of columns, drawn uniformly; only if `wrap`.
        mirror: the probability of mirroring.
        wrap: the views are cylinders: column 0 touches column W-1.
        channels: which channels are x and y; set by the experiment. Views without both are only rolled
            and flipped.
        turn: (least, largest) rotation, as shares of a full turn; the largest is excluded.

    Raises:
        ValueError: `mirror` is not within [0, 1], or `turn` is not two increasing numbers in [0, 1].

    Source:
        Standard augmentation consistency of French et al., BMVC 2020, after Perone and Cohen-Adad, 2018; column =
        W (1 - azimuth / pi) / 2 as in `SphericalProjection`.
    """

    roll: bool = True
    mirror: float = 0.5
    wrap: bool = False
    channels: Channels = NAMELESS
    turn: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if len(self.turn) != 2 or not 0 <= self.turn[0] < self.turn[1] <= 1:
            raise ValueError(f"{type(self).__name__} got turn={self.turn}; give (least, largest) within [0, 1].")
        if not 0 <= self.mirror <= 1:
            raise ValueError(
                f"{type(self).__name__} got mirror={self.mirror}; give the probability of reflection, in [0, 1]."
            )

    @property
    def has_effect(self) -> bool:
        """Whether it rotates or reflects."""
        return self.mirror > 0 or (self.roll and self.wrap)

    def perturb(self, generator: Generator, views: PseudoLabelled) -> PseudoLabelled:
        """Rotate and reflect image, target, logits and validity."""
        batch, _, width = views.valid.shape
        least, end = (round(share * width) for share in self.turn) if self.roll and self.wrap else (0, 1)
        shift = torch.randint(least, max(end, least + 1), (batch,), generator=generator)
        flip = torch.rand(batch, generator=generator) < self.mirror
        drawn = torch.stack([shift, flip.long()]).to(views.valid.device, non_blocking=True)
        return self.move(views, drawn[0], drawn[1].bool())

    def move(self, views: PseudoLabelled, shift: Tensor, flip: Tensor) -> PseudoLabelled:
        """Reflect the views for which `flip` is True, then roll all views by `shift` columns to the right.

        Args:
            views: B views with their targets.
            shift: (B,) int64, columns; a rotation by -2 pi shift / W about z.
            flip: (B,) bool.
        """
        width = views.valid.shape[-1]
        columns = (torch.arange(width, device=shift.device) - shift[:, None]).remainder(width)
        source = torch.where(flip[:, None], width - 1 - columns, columns)
        valid = _pick(views.valid[:, None], source)[:, 0]
        image = self._turn(_pick(views.image, source), valid, -2 * pi * shift / width, flip)
        logits = views.target_logits
        return PseudoLabelled(
            image, _pick(views.target, source), None if logits is None else _pick(logits, source), valid
        )

    def _turn(self, image: Tensor, valid: Tensor, angle: Tensor, flip: Tensor) -> Tensor:
        """Reflect x and y of moved pixels where `flip`, then rotate them about z by `angle`, (B,) radians."""
        if "y" not in self.channels or "x" not in self.channels:
            return image
        sign = 1 - 2 * flip[:, None, None].to(image.dtype)
        x, y = self.channels.read(image, "x"), sign * self.channels.read(image, "y")
        cos, sin = (f(angle).to(image.dtype)[:, None, None] for f in (torch.cos, torch.sin))
        return self.channels.replace(image, {"x": cos * x - sin * y, "y": sin * x + cos * y}, valid)


def _pick(field: Tensor, source: Tensor) -> Tensor:
    """(B, F, H, W) -> (B, F, H, W) with the columns `source`, (B, W)."""
    return field.gather(3, source[:, None, None].expand(field.shape))
