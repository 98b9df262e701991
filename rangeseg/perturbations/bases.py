"""What perturbations have in common: ask the teacher once, then mix two views by a mask or change one.

A mixing perturbation is a `draw_mask`, an erasing one too, any other of a single view is a `perturb`.

Shapes: B views, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Generator, Tensor

from rangeseg.mix import mix, mix_probabilities
from rangeseg.perturbations.protocol import Perturbed, Student, Teacher
from rangeseg.types import View

Keep = Literal["inside", "outside"]

_PIXEL = torch.zeros(1, 1, 1, dtype=torch.bool)


@dataclass(frozen=True)
class Mixing(ABC):
    """Pixels of `b`, and of the teacher's answer to `b`, put into `a` where the mask is True.

    Args:
        logits: also give the teacher's logits, for a loss on logits.

    Raises:
        ValueError: a setting that the mask refuses; one is drawn at birth, so that it shows when a config is read.
    """

    logits: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        self.draw_mask(Generator(), _PIXEL, torch.zeros(1, 1, 1, 1))

    @abstractmethod
    def draw_mask(self, generator: Generator, valid: Tensor, answer: Tensor) -> Tensor:
        """Where to take from `b`.

        Args:
            generator: the only source of randomness.
            valid: (B, H, W) bool of `b`; the mask has its shape and device.
            answer: (B, K, H, W), the teacher's probabilities of `b`.

        Returns:
            (B, H, W) bool.
        """

    def __call__(self, generator: Generator, a: View, b: View, student: Student, teacher: Teacher) -> Perturbed:
        """The mixed view, and the teacher's answers to both views (one forward pass) mixed by the same mask."""
        target, logits = ask(teacher, torch.cat([a.image, b.image]), self.logits)
        mask = self.draw_mask(generator, b.valid, target.chunk(2)[1])
        mixed = mix(a, b, mask)
        return Perturbed(
            mixed.image, _mix_halves(target, mask), None if logits is None else _mix_halves(logits, mask), mixed.valid
        )


@dataclass(frozen=True)
class OneView(ABC):
    """What asks about `a` alone, and so can be put on top of another perturbation (`Combined`).

    Args:
        logits: also give the teacher's logits, for a loss on logits.
    """

    logits: bool = field(default=False, kw_only=True)

    @abstractmethod
    def perturb(self, generator: Generator, question: Perturbed, teacher: Teacher) -> Perturbed:
        """A question made harder.

        Args:
            generator: the only source of randomness.
            question: what the student would be asked otherwise; its tensors stay as they are.
            teacher: for those that look for a direction (VAT).
        """

    def __call__(self, generator: Generator, a: View, b: View, student: Student, teacher: Teacher) -> Perturbed:
        """The perturbed `a`, and what the teacher says of `a`."""
        return self.perturb(generator, Perturbed(a.image, *ask(teacher, a.image, self.logits), a.valid), teacher)


class Erasing(OneView):
    """One side of a mask erased: nothing is there, and nothing counts. A dataclass of its own has a field `keep`:
    "inside" keeps what is under the mask and erases all around it, "outside" the other way round.

    Raises:
        ValueError: `keep` is neither "inside" nor "outside", or a setting that the mask refuses.
    """

    keep: Keep  # no field here: it would come before the subclass's own, area among them

    def __post_init__(self) -> None:
        self.draw_mask(Generator(), _PIXEL)
        if self.keep not in ("inside", "outside"):
            raise ValueError(
                f"{type(self).__name__} got keep={self.keep!r}; "
                "choose 'inside' (what the mask covers is kept) or 'outside' (it is cut out)."
            )

    @abstractmethod
    def draw_mask(self, generator: Generator, valid: Tensor) -> Tensor:
        """A mask of the shape (B, H, W) and on the device of `valid`."""

    def perturb(self, generator: Generator, question: Perturbed, teacher: Teacher) -> Perturbed:
        """The erased view; the target stays, and counts where something is left."""
        mask = self.draw_mask(generator, question.valid)
        return drop(question, ~mask if self.keep == "inside" else mask)


@dataclass(frozen=True)
class NoPerturbation(OneView):
    """Student and teacher read the same views `a`: the mean teacher without mixing; `b` is not used.

    Args:
        logits: also give the teacher's logits, for a loss on logits.

    Source:
        Tarvainen and Valpola, NeurIPS 2017.
    """

    def perturb(self, generator: Generator, question: Perturbed, teacher: Teacher) -> Perturbed:
        """The question as it is."""
        return question


def drop(question: Perturbed, mask: Tensor) -> Perturbed:
    """Where the mask is True nothing is there: image 0 and not valid, so that no loss counts it.

    Args:
        question: of B views.
        mask: (B, H, W) bool, True = erased.
    """
    return replace(question, image=question.image.masked_fill(mask[:, None], 0), valid=question.valid & ~mask)


def ask(teacher: Teacher, image: Tensor, logits: bool) -> tuple[Tensor, Tensor | None]:
    """The teacher's probabilities, and its logits if wanted, from one forward pass.

    Args:
        teacher: who is asked.
        image: (B, C, H, W).
        logits: whether they are wanted.

    Returns:
        (B, K, H, W), and the same or None.
    """
    if not logits:
        return teacher(image), None
    answer = teacher.logits(image)
    return answer.softmax(1), answer


def _mix_halves(answers: Tensor, mask: Tensor) -> Tensor:
    """(2B, K, H, W) answers to `a` and then `b` -> (B, K, H, W)."""
    to_a, to_b = answers.chunk(2)
    return mix_probabilities(to_a, to_b, mask)
