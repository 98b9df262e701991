"""Perturbations of perturbations: one on top of another, or one of several."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator

from rangeseg.perturbations.bases import OneView
from rangeseg.perturbations.protocol import Perturbation, Perturbed, Student, Teacher
from rangeseg.types import View


@dataclass(frozen=True)
class Combined:
    """Any perturbation, and then others of one view on top of it, in their order: CutMix, then Jitter.

    In a config: ``{name: combined, first: {name: cutmix}, then: [{name: geometric}, {name: jitter}]}``.

    Args:
        first: makes the question.
        then: make it harder: CutOut, CowOut, Geometric, Jitter, VAT or a `OneView` of your own.

    Raises:
        ValueError: `first` is no perturbation, or `then` is empty or holds what is none of one view.
    """

    first: Perturbation
    then: tuple[OneView, ...]

    def __post_init__(self) -> None:
        _check("Combined.first", self.first)
        for part in self.then:
            if not isinstance(part, OneView):
                raise ValueError(
                    f"Combined.then holds {part!r}; give perturbations of one view, in a config as a list of "
                    "{name: jitter} and the like. What mixes two views can only be first."
                )
        if not self.then:
            raise ValueError("Combined.then is empty; give what comes on top, or use the first perturbation alone.")

    def __call__(self, generator: Generator, a: View, b: View, student: Student, teacher: Teacher) -> Perturbed:
        """The first's question, made harder by each of the others in turn."""
        question = self.first(generator, a, b, student, teacher)
        for part in self.then:
            question = part.perturb(generator, question, teacher)
        return question


@dataclass(frozen=True)
class OneOf:
    """One of several perturbations, drawn with equal chance at each call.

    In a config: ``{name: one_of, parts: [{name: cutmix}, {name: lasermix}]}``.

    Args:
        parts: what is drawn from.

    Raises:
        ValueError: `parts` is empty or holds what is no perturbation.
    """

    parts: tuple[Perturbation, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("OneOf.parts is empty; give perturbations to draw from.")
        for part in self.parts:
            _check("OneOf.parts", part)

    def __call__(self, generator: Generator, a: View, b: View, student: Student, teacher: Teacher) -> Perturbed:
        """The question of the one that was drawn."""
        drawn = int(torch.randint(len(self.parts), (), generator=generator))
        return self.parts[drawn](generator, a, b, student, teacher)


def _check(name: str, part: object) -> None:
    if not callable(part):
        raise ValueError(f"{name} holds {part!r}; give perturbations, in a config as {{name: cutmix}} and the like.")
