"""Sensor jitter: the counterpart of colour jitter for range images.

Shapes: B views, C channels, H rows (beams), W columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from rangeseg.mixing import erase
from rangeseg.noise import normal, uniform
from rangeseg.perturbations.bases import SingleViewPerturbation
from rangeseg.perturbations.channels import NAMELESS, Channels
from rangeseg.types import PseudoLabelled


@dataclass(frozen=True)
class Jitter(SingleViewPerturbation):
    """Changes the gain of the remission, adds noise to remission and range, and drops returns.

    Only the student's view is changed. Dropped pixels are empty and do not count. Changes of channels that the views do
    not have are skipped: in a photograph only pixels and rows are dropped.

    Args:
        remission_scale: each view's remission is multiplied by a factor uniform in 1 +- this.
        remission_noise: standard deviation of the normal noise then added to it; the result is clipped to [0, 1].
        range_noise_m: standard deviation of the normal noise on the range, metres; points move along their beam, x, y
            and z with them.
        drop_beams: largest share of beams (rows) dropped. The share is drawn uniformly for each view, each beam
            independently.
        drop_points: largest share of points (pixels) dropped, drawn in the same way.
        channels: names and normalisation of the channels; set by the experiment.

    Raises:
        ValueError: a share is not within [0, 1], or a noise is negative.
    """

    remission_scale: float = 0.2
    remission_noise: float = 0.02
    range_noise_m: float = 0.03
    drop_beams: float = 0.1
    drop_points: float = 0.1
    channels: Channels = NAMELESS

    def __post_init__(self) -> None:
        for name in ("remission_scale", "drop_beams", "drop_points"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"Jitter got {name}={getattr(self, name)}; give a share in [0, 1].")
        for name in ("remission_noise", "range_noise_m"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"Jitter got {name}={getattr(self, name)}; give a standard deviation >= 0.")

    def perturb(self, generator: Generator, views: PseudoLabelled) -> PseudoLabelled:
        """Change values of the image and drop some; the target does not change."""
        image = self._remission(generator, views.image, views.valid)
        image = self._range(generator, image, views.valid)
        return erase(replace(views, image=image), self._missing(generator, views.valid))

    def _remission(self, generator: Generator, image: Tensor, valid: Tensor) -> Tensor:
        if "remission" not in self.channels:
            return image
        gain = 1 + self.remission_scale * (2 * torch.rand(len(image), 1, 1, generator=generator) - 1)
        noise = self.remission_noise * normal(generator, valid.shape, valid.device)
        remission = self.channels.read(image, "remission") * gain.to(image.device, non_blocking=True) + noise
        return self.channels.replace(image, {"remission": remission.clamp(0, 1)}, valid)

    def _range(self, generator: Generator, image: Tensor, valid: Tensor) -> Tensor:
        if "range" not in self.channels:
            return image
        distance = self.channels.read(image, "range")
        noise = self.range_noise_m * normal(generator, valid.shape, valid.device)
        stretch = ((distance + noise).clamp(min=0) / distance).where(valid, 1)
        moved = [name for name in ("range", "x", "y", "z") if name in self.channels]
        return self.channels.replace(image, {name: stretch * self.channels.read(image, name) for name in moved}, valid)

    def _missing(self, generator: Generator, valid: Tensor) -> Tensor:
        """(B, H, W) bool, True = the return is missing."""
        batch, height, _ = valid.shape
        shares = torch.rand(2, batch, 1, generator=generator)
        beams = torch.rand(batch, height, generator=generator) < self.drop_beams * shares[0]
        share = (self.drop_points * shares[1]).to(valid.device, non_blocking=True)
        points = uniform(generator, valid.shape, valid.device) < share[:, :, None]
        return points | beams.to(valid.device, non_blocking=True)[:, :, None]
