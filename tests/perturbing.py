"""What the trainer does with a perturbation: the views get the teacher's predictions, then they are perturbed."""

from __future__ import annotations

from typing import Any

from torch import Generator

from rangeseg.perturbations import Perturbation
from rangeseg.teacher import pseudo_labels
from rangeseg.types import PseudoLabelled, View


def perturb(
    perturbation: Perturbation, generator: Generator, a: View, b: View, teacher: Any, **options: bool
) -> PseudoLabelled:
    """Perturb two batches; `options` are those of `pseudo_labels`."""
    views = pseudo_labels(teacher, *((a, b) if perturbation.uses_b else (a,)), **options)
    return perturbation.with_network(teacher.network)(generator, views[0], views[-1])
