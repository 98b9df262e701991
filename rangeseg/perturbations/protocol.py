"""What a perturbation is given and what it gives back.

Shapes: B views, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Generator, Tensor, nn

from rangeseg.types import View

Student = Callable[[Tensor], Tensor]
"""(B, C, H, W) -> (B, K, H, W) logits."""


class Teacher(Protocol):
    """What answers without a gradient; `EmaTeacher` is one."""

    network: nn.Module
    """(B, C, H, W) -> (B, K, H, W) logits, with a gradient to the image where it asks for one (VAT)."""

    def __call__(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W) probabilities."""
        ...

    def logits(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W) logits."""
        ...


@dataclass(frozen=True)
class Perturbed:
    """One question for the student.

    Args:
        image: (B, C, H, W), what the student sees; 0 where not valid.
        target: (B, K, H, W), the probabilities it should give; without a gradient.
        target_logits: (B, K, H, W) where the perturbation was asked for them (a loss on logits), else None.
        valid: (B, H, W) bool, where the consistency loss counts.
    """

    image: Tensor
    target: Tensor
    target_logits: Tensor | None
    valid: Tensor


class Perturbation(Protocol):
    """What every perturbation is: a pure function of the generator, two batches of views, and the two networks."""

    def __call__(self, generator: Generator, a: View, b: View, student: Student, teacher: Teacher) -> Perturbed:
        """Two batches of unlabelled views -> what the student sees and what it should say."""
        ...
