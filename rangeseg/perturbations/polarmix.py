"""PolarMix: swaps azimuth sectors and pastes rotated copies of thing objects.

Shapes: B views, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from rangeseg.masks import classes_mask, sector_mask
from rangeseg.mixing import mix
from rangeseg.perturbations.bases import Mixing
from rangeseg.perturbations.channels import NAMELESS, Channels
from rangeseg.perturbations.geometric import Geometric
from rangeseg.types import PseudoLabelled


@dataclass(frozen=True)
class PolarMix(Mixing):
    """Swaps a sector of azimuth from `b` into `a`; with `copies`, also pastes thing objects of `b`.

    Object pixels are those whose target is one of the classes `things`. Copies are rotated with x and y, which is exact
    on a cylinder. They hide points behind them: the nearer point keeps the pixel, as in every range image. Without a
    channel `range`, a copy is always in front. On a plane (a photograph), copies are not rotated.

    Args:
        fraction: the sector's share of a full turn; 0: no swap.
        copies: number of copies of the objects: one in place, the others rotated by an angle drawn from each of
            `copies` - 1 equal parts of the first two thirds of a turn. The paper uses 3; 0 pastes none.
        things: train ids of countable classes; set by the experiment.
        wrap: the views are cylinders: column 0 touches column W-1, the sector starts anywhere.
        channels: which channels are range, x and y; set by the experiment.
        complement: also return the other half, the sector and objects of `a` put into `b`.

    Raises:
        ValueError: `fraction` is not within [0, 1], `copies` is negative, or there are copies and no things.

    Source:
        Xiao et al., NeurIPS 2022: scene-level swapping (there for every other pair of scans), instance-level rotation
        and pasting (there all points of the copies stay, also those that are hidden).
    """

    fraction: float = 0.5
    copies: int = 0
    things: tuple[int, ...] = ()
    wrap: bool = False
    channels: Channels = NAMELESS

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.copies < 0:
            raise ValueError(f"PolarMix got copies={self.copies}; give 0 or more.")
        if self.copies and not self.things:
            raise ValueError(
                "PolarMix pastes objects of thing classes, but things is empty; give their train ids, or copies=0."
            )

    def draw_mask(self, generator: Generator, valid: Tensor, target: Tensor) -> Tensor:
        """Draw one sector."""
        return sector_mask(generator, *valid.shape, fraction=self.fraction, wrap=self.wrap, device=valid.device)

    def combine(self, generator: Generator, a: PseudoLabelled, b: PseudoLabelled, mask: Tensor) -> PseudoLabelled:
        """Swap the sector, then paste each copy of the objects of `b`."""
        mixed = super().combine(generator, a, b, mask)
        for copy in range(self.copies):
            moved = self._turned(generator, b, copy)
            mixed = mix(mixed, moved, self._in_front(moved, mixed))
        return mixed

    def _turned(self, generator: Generator, b: PseudoLabelled, copy: int) -> PseudoLabelled:
        if copy == 0 or not self.wrap:
            return b
        batch, _, width = b.valid.shape
        part = 2 / 3 / (self.copies - 1)
        turn = part * (copy - 1 + torch.rand(batch, generator=generator, dtype=torch.float64))
        shift = (turn * width).long().to(b.valid.device, non_blocking=True)
        return Geometric(wrap=True, channels=self.channels).move(b, shift, torch.zeros_like(shift, dtype=torch.bool))

    def _in_front(self, moved: PseudoLabelled, scene: PseudoLabelled) -> Tensor:
        """(B, H, W) bool: object pixels of `moved` that the scene does not hide."""
        thing = classes_mask(moved.target.argmax(1), moved.valid, self.things)
        if "range" not in self.channels:
            return thing
        nearer = self.channels.read(moved.image, "range") < self.channels.read(scene.image, "range")
        return thing & (nearer | ~scene.valid)
