"""Channel names and normalisation, for perturbations that must keep beams and metres consistent."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Channels:
    """A view's channels: names in the network's order, and how they were normalised.

    Args:
        names: e.g. range, x, y, z (metres) and remission, or red, green and blue; empty if unknown.
        mean: what was subtracted from each.
        std: what each was then divided by.

    Raises:
        ValueError: not one mean and one std for each name.
    """

    names: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.mean) == len(self.std):
            raise ValueError(
                f"Channels got {len(self.names)} names, {len(self.mean)} means and {len(self.std)} stds; "
                "give one of each per channel."
            )

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def read(self, image: Tensor, name: str) -> Tensor:
        """(B, C, H, W) normalised -> (B, H, W) in the channel's unit; empty pixels read as the mean."""
        index = self.names.index(name)
        return image[:, index] * self.std[index] + self.mean[index]

    def replace(self, image: Tensor, values: dict[str, Tensor], valid: Tensor) -> Tensor:
        """A new image with other values in some channels.

        Args:
            image: (B, C, H, W) normalised.
            values: name -> (B, H, W) in the channel's own unit.
            valid: (B, H, W) bool; all other pixels of these channels become 0.

        Returns:
            (B, C, H, W) normalised.
        """
        planes = list(image.unbind(1))
        for name, value in values.items():
            index = self.names.index(name)
            planes[index] = (value - self.mean[index]) / self.std[index] * valid
        return torch.stack(planes, 1)


NAMELESS = Channels()
"""Channels without known names."""
