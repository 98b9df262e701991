"""ClassMix: masks with the outlines of predicted classes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor

from rangeseg.masks import class_mask
from rangeseg.perturbations.bases import Mixing


@dataclass(frozen=True)
class ClassMix(Mixing):
    """Pixels of half of the classes that the teacher predicts in `b`, pasted into `a`.

    Source:
        Olsson et al., WACV 2021.
    """

    def draw_mask(self, generator: Generator, valid: Tensor, target: Tensor) -> Tensor:
        """The pixels of half of the classes, by the pseudo-labels of `b`."""
        return class_mask(generator, target.argmax(1), valid, target.shape[1])
