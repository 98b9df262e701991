"""Perturbations of perturbations: one before or on top of another, one of several, or several at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator

from rangeseg.perturbations.bases import Asking, OneView, join
from rangeseg.perturbations.protocol import Perturbed, Teacher


@dataclass(frozen=True)
class Combined(Asking):
    """Any perturbation, others of one view on each of its sources before it, and others on top of it, in their order.

    In a config: ``{name: combined, before: [{name: color}], first: {name: cutmix}, then: [{name: cutout}]}``.

    Args:
        first: makes the question.
        then: make it harder: CutOut, CowOut, Geometric, Jitter, VAT or a `OneView` of your own.
        before: change `a` and `b`, each by a draw of its own, before they are mixed: the paper's code colours the two
            photographs of a mix so. The teacher's answer is to the views as they were.
        logits: also give the teacher's logits, for a loss on logits.
        labels: where a view has labels, they are the answer.
        together: ask about `a` and `b` in one forward pass.

    Raises:
        ValueError: `first` is no perturbation, or neither `then` nor `before` holds one, or one of more than one view.
    """

    first: Asking
    then: tuple[OneView, ...] = ()
    before: tuple[OneView, ...] = ()

    def __post_init__(self) -> None:
        _check("Combined.first", self.first)
        for name, parts in (("then", self.then), ("before", self.before)):
            for part in parts:
                if not isinstance(part, OneView):
                    raise ValueError(
                        f"Combined.{name} holds {part!r}; give perturbations of one view, in a config as a list of "
                        "{name: jitter} and the like. What mixes two views can only be first."
                    )
        if not self.then + self.before:
            raise ValueError("Combined.then is empty; give what comes on top, or use the first perturbation alone.")

    @property
    def both(self) -> bool:  # type: ignore[override]
        """Whether the first needs `b`."""
        return self.first.both

    def pose(self, generator: Generator, a: Perturbed, b: Perturbed, teacher: Teacher) -> Perturbed:
        """The first's question of changed sources, made harder by each of the others in turn."""
        for part in self.before:
            a = part.perturb(generator, a, teacher)
            b = part.perturb(generator, b, teacher) if self.both else a
        question = self.first.pose(generator, a, b, teacher)
        for part in self.then:
            question = part.perturb(generator, question, teacher)
        return question


@dataclass(frozen=True)
class _Group(Asking):
    """What holds several perturbations."""

    parts: tuple[Asking, ...]

    def __post_init__(self) -> None:
        name = type(self).__name__
        if not self.parts:
            raise ValueError(f"{name}.parts is empty; give perturbations.")
        for part in self.parts:
            _check(f"{name}.parts", part)

    @property
    def both(self) -> bool:  # type: ignore[override]
        """Whether any part needs `b`."""
        return any(part.both for part in self.parts)


class OneOf(_Group):
    """One of several perturbations, drawn with equal chance at each call.

    In a config: ``{name: one_of, parts: [{name: cutmix}, {name: lasermix}]}``.

    Args:
        parts: what is drawn from.
        logits: also give the teacher's logits, for a loss on logits.
        labels: where a view has labels, they are the answer.
        together: ask about `a` and `b` in one forward pass.

    Raises:
        ValueError: `parts` is empty or holds what is no perturbation.
    """

    def pose(self, generator: Generator, a: Perturbed, b: Perturbed, teacher: Teacher) -> Perturbed:
        """The question of the one that was drawn."""
        drawn = int(torch.randint(len(self.parts), (), generator=generator))
        return self.parts[drawn].pose(generator, a, b, teacher)


class Several(_Group):
    """All of several perturbations at every step, their questions in one batch; the teacher is asked once.

    In a config: ``{name: several, parts: [{name: lasermix, bands: [3]}, {name: lasermix, bands: [6]}]}``.

    Args:
        parts: with n of them the student reads n B views a step.
        logits: also give the teacher's logits, for a loss on logits.
        labels: where a view has labels, they are the answer.
        together: ask about `a` and `b` in one forward pass.

    Raises:
        ValueError: `parts` is empty or holds what is no perturbation.
    """

    def pose(self, generator: Generator, a: Perturbed, b: Perturbed, teacher: Teacher) -> Perturbed:
        """The questions of all parts, one after another."""
        return join([part.pose(generator, a, b, teacher) for part in self.parts])


def _check(name: str, part: object) -> None:
    if not isinstance(part, Asking):
        raise ValueError(f"{name} holds {part!r}; give perturbations, in a config as {{name: cutmix}} and the like.")
