"""What perturbations have in common: the teacher is asked about whole views, and what it says is changed with them.

A view with the teacher's answer is a question (`Perturbed`); every perturbation makes one question of two (`pose`). A
mixing one is a `draw_mask`, an erasing one too, any other of a single view is a `perturb`.

Shapes: B views, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from rangeseg.mix import where
from rangeseg.perturbations.protocol import Perturbed, Student, Teacher
from rangeseg.types import IGNORE, View

Keep = Literal["inside", "outside"]

_PIXEL = torch.zeros(1, 1, 1, dtype=torch.bool)


@dataclass(frozen=True)
class Asking(ABC):
    """A perturbation that needs no more than the teacher's answers to `a` and `b`.

    Args:
        logits: also give the teacher's logits, for a loss on logits.
        labels: where a view has labels, they are the answer and not what the teacher says: for mixing labelled with
            unlabelled views.
        together: ask about `a` and `b` in one forward pass; False asks twice, which is another answer where a teacher
            in train mode takes BatchNorm's statistics from what it is asked (the paper's code does).
    """

    both: ClassVar[bool] = True
    """Whether `b` plays a part; where it does not, the teacher is not asked about it."""

    logits: bool = field(default=False, kw_only=True)
    labels: bool = field(default=False, kw_only=True)
    together: bool = field(default=True, kw_only=True)

    @abstractmethod
    def pose(self, generator: Generator, a: Perturbed, b: Perturbed, teacher: Teacher) -> Perturbed:
        """One question from two; their tensors stay as they are.

        Args:
            generator: the only source of randomness.
            a: B views, and what the student would be asked about them otherwise.
            b: the same of other views; `a` again where `both` is False.
            teacher: for those that look for a direction (VAT).
        """

    def __call__(self, generator: Generator, a: View, b: View, student: Student, teacher: Teacher) -> Perturbed:
        """The question, after the teacher was asked about the views as they are."""
        questions = self._ask(teacher, (a, b) if self.both else (a,))
        return self.pose(generator, questions[0], questions[-1], teacher)

    def _ask(self, teacher: Teacher, views: Sequence[View]) -> list[Perturbed]:
        images = [view.image for view in views]
        answers = [self._answer(teacher, image) for image in ([torch.cat(images)] if self.together else images)]
        target = torch.cat([target for target, _ in answers]) if len(answers) > 1 else answers[0][0]
        logits = None if not self.logits else torch.cat([logits for _, logits in answers if logits is not None])
        targets = target.chunk(len(views))
        if self.labels:
            targets = tuple(with_labels(target, view.label) for target, view in zip(targets, views, strict=True))
        parts = [None] * len(views) if logits is None else logits.chunk(len(views))
        return [
            Perturbed(view.image, target, part, view.valid)
            for view, target, part in zip(views, targets, parts, strict=True)
        ]

    def _answer(self, teacher: Teacher, image: Tensor) -> tuple[Tensor, Tensor | None]:
        if not self.logits:
            return teacher(image), None
        answer = teacher.logits(image)
        return answer.softmax(1), answer


@dataclass(frozen=True)
class Mixing(Asking):
    """Pixels of `b`, and of the teacher's answer to `b`, put into `a` where the mask is True.

    Args:
        complement: also ask about the other half, pixels of `a` put into `b` by the same mask: 2B views.
        logits: also give the teacher's logits, for a loss on logits.
        labels: where a view has labels, they are the answer.
        together: ask about `a` and `b` in one forward pass.

    Raises:
        ValueError: a setting that the mask refuses; one is drawn at birth, so that it shows when a config is read.
    """

    complement: bool = field(default=False, kw_only=True)

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

    def pose(self, generator: Generator, a: Perturbed, b: Perturbed, teacher: Teacher) -> Perturbed:
        """The mixed view, and the teacher's answers to both views mixed by the same mask."""
        mask = self.draw_mask(generator, b.valid, b.target)
        mixed = self.mix(generator, a, b, mask)
        return join([mixed, self.mix(generator, b, a, mask)]) if self.complement else mixed

    def mix(self, generator: Generator, a: Perturbed, b: Perturbed, mask: Tensor) -> Perturbed:
        """`b` put into `a`; for those that put in more than the mask says (PolarMix's things).

        Args:
            generator: the only source of randomness.
            a: B views, and what the student would be asked about them otherwise.
            b: the same of other views.
            mask: (B, H, W) bool, from `draw_mask`.
        """
        return paste(a, b, mask)


@dataclass(frozen=True)
class OneView(Asking):
    """What asks about `a` alone, and so can be put on top of another perturbation (`Combined`).

    Args:
        logits: also give the teacher's logits, for a loss on logits.
        labels: where a view has labels, they are the answer.
        together: of no use here.
    """

    both: ClassVar[bool] = False

    @abstractmethod
    def perturb(self, generator: Generator, question: Perturbed, teacher: Teacher) -> Perturbed:
        """A question made harder.

        Args:
            generator: the only source of randomness.
            question: what the student would be asked otherwise; its tensors stay as they are.
            teacher: for those that look for a direction (VAT).
        """

    def pose(self, generator: Generator, a: Perturbed, b: Perturbed, teacher: Teacher) -> Perturbed:
        """The perturbed `a`, and what the teacher says of `a`."""
        return self.perturb(generator, a, teacher)


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
        labels: where a view has labels, they are the answer.
        together: of no use here.

    Source:
        Tarvainen and Valpola, NeurIPS 2017.
    """

    def perturb(self, generator: Generator, question: Perturbed, teacher: Teacher) -> Perturbed:
        """The question as it is."""
        return question


def paste(a: Perturbed, b: Perturbed, mask: Tensor) -> Perturbed:
    """Pixels of `b` where the mask is True, of `a` elsewhere: image, target, logits and validity alike.

    Args:
        a: of B views.
        b: of B views.
        mask: (B, H, W) bool.
    """
    logits = None if a.target_logits is None or b.target_logits is None else (a.target_logits, b.target_logits)
    return Perturbed(
        where(mask, b.image, a.image),
        where(mask, b.target, a.target),
        None if logits is None else where(mask, logits[1], logits[0]),
        where(mask, b.valid, a.valid),
    )


def join(questions: Sequence[Perturbed]) -> Perturbed:
    """Several questions of B views as one of all their views.

    Args:
        questions: at least one; all with logits or all without.
    """

    def cat(read: Callable[[Perturbed], Tensor]) -> Tensor:
        return torch.cat([read(question) for question in questions])

    logits = [question.target_logits for question in questions if question.target_logits is not None]
    return Perturbed(
        cat(lambda question: question.image),
        cat(lambda question: question.target),
        torch.cat(logits) if logits else None,
        cat(lambda question: question.valid),
    )


def drop(question: Perturbed, mask: Tensor) -> Perturbed:
    """Where the mask is True nothing is there: image 0 and not valid, so that no loss counts it.

    Args:
        question: of B views.
        mask: (B, H, W) bool, True = erased.
    """
    return replace(question, image=question.image.masked_fill(mask[:, None], 0), valid=question.valid & ~mask)


def with_labels(target: Tensor, label: Tensor) -> Tensor:
    """Probabilities that say what the labels say, with certainty, wherever there is one.

    Args:
        target: (B, K, H, W) probabilities.
        label: (B, H, W) int64 train ids, IGNORE where there is none.

    Returns:
        (B, K, H, W).
    """
    known = (label != IGNORE)[:, None]
    certain = torch.zeros_like(target).scatter_(1, label[:, None].where(known, 0), 1)
    return torch.where(known, certain, target)
