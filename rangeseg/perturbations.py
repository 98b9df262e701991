"""What turns unlabelled views into a question for the student: its input, the answer it should give, where it counts.

The teacher always reads unperturbed views; what is done to the student's view is done to the teacher's answer.

    a, b      two batches of unlabelled views         m: a mask (B, H, W)
    CutMix    student reads mix(a, b, m)              target: the teacher's answers to a and b, mixed by m
    CutOut    student reads a, one side of m erased   target: the teacher's answer to a, where something is left
    none      student reads a                         target: the teacher's answer to a

Shapes: B views, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Generator, Tensor

from rangeseg.masks import Aspect, box_mask
from rangeseg.mix import erase, mix, mix_probabilities
from rangeseg.types import View

Student = Callable[[Tensor], Tensor]
"""(B, C, H, W) -> (B, K, H, W) logits."""


class Teacher(Protocol):
    """What answers without a gradient; `EmaTeacher` is one."""

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
        image: (B, C, H, W), what the student sees.
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


@dataclass(frozen=True)
class CutMix:
    """A box of `b` pasted into `a`, and of the teacher's answer to `b` into its answer to `a`.

    Args:
        area: the boxes' share of the image, or (low, high) to draw it uniformly.
        boxes: how many boxes.
        aspect: "log-uniform" or "fixed" (see `box_mask`).
        inside: boxes lie within the image; False lets them leave it and clips them.
        wrap: the views are cylinders: column 0 touches column W-1.
        logits: also give the teacher's logits, for a loss on logits.

    Raises:
        ValueError: a setting that `box_mask` refuses.

    Source:
        French et al., BMVC 2020.
    """

    area: float | tuple[float, float] = 0.5
    boxes: int = 1
    aspect: Aspect = "log-uniform"
    inside: bool = True
    wrap: bool = False
    logits: bool = False

    def __post_init__(self) -> None:
        _try_boxes(self)

    def __call__(self, generator: Generator, a: View, b: View, student: Student, teacher: Teacher) -> Perturbed:
        """The mixed view, and the teacher's answers to both views (one forward pass) mixed by the same mask."""
        mask = _boxes(self, generator, a.valid)
        mixed = mix(a, b, mask)
        target, logits = _ask(teacher, torch.cat([a.image, b.image]), self.logits)
        return Perturbed(
            mixed.image, _mix_halves(target, mask), logits if logits is None else _mix_halves(logits, mask), mixed.valid
        )


@dataclass(frozen=True)
class CutOut:
    """Part of `a` erased; `b` is not used.

    Args:
        area: the box's share of the image, or (low, high) to draw it uniformly.
        keep: "inside" keeps the box and erases all around it, as the paper's code does; "outside" cuts the box out,
            the classical CutOut.
        boxes: how many boxes.
        aspect: "log-uniform" or "fixed" (see `box_mask`).
        inside: boxes lie within the image; False lets them leave it and clips them.
        wrap: the views are cylinders: column 0 touches column W-1.
        logits: also give the teacher's logits, for a loss on logits.

    Raises:
        ValueError: `keep` is neither "inside" nor "outside", or a setting that `box_mask` refuses.

    Source:
        French et al., BMVC 2020; DeVries and Taylor, 2017.
    """

    area: float | tuple[float, float] = (0.0, 1.0)
    keep: Literal["inside", "outside"] = "inside"
    boxes: int = 1
    aspect: Aspect = "log-uniform"
    inside: bool = True
    wrap: bool = False
    logits: bool = False

    def __post_init__(self) -> None:
        _try_boxes(self)
        if self.keep not in ("inside", "outside"):
            raise ValueError(
                f"CutOut got keep={self.keep!r}; choose 'inside' (the box is kept) or 'outside' (it is cut out)."
            )

    def __call__(self, generator: Generator, a: View, b: View, student: Student, teacher: Teacher) -> Perturbed:
        """The erased view, and the teacher's answer to the whole one."""
        mask = _boxes(self, generator, a.valid)
        left = erase(a, ~mask if self.keep == "inside" else mask)
        target, logits = _ask(teacher, a.image, self.logits)
        return Perturbed(left.image, target, logits, left.valid)


@dataclass(frozen=True)
class NoPerturbation:
    """Student and teacher read the same views `a`: the mean teacher without mixing; `b` is not used.

    Args:
        logits: also give the teacher's logits, for a loss on logits.

    Source:
        Tarvainen and Valpola, NeurIPS 2017.
    """

    logits: bool = False

    def __call__(self, generator: Generator, a: View, b: View, student: Student, teacher: Teacher) -> Perturbed:
        """The view as it is, and the teacher's answer to it."""
        target, logits = _ask(teacher, a.image, self.logits)
        return Perturbed(a.image, target, logits, a.valid)


PERTURBATIONS: dict[str, type[CutMix] | type[CutOut] | type[NoPerturbation]] = {
    "cutmix": CutMix,
    "cutout": CutOut,
    "none": NoPerturbation,
}


def _boxes(settings: CutMix | CutOut, generator: Generator, like: Tensor) -> Tensor:
    """Box masks of the shape (B, H, W) and on the device of `like`."""
    return box_mask(
        generator,
        *like.shape,
        area=settings.area,
        boxes=settings.boxes,
        aspect=settings.aspect,
        inside=settings.inside,
        wrap=settings.wrap,
        device=like.device,
    )


def _try_boxes(settings: CutMix | CutOut) -> None:
    """Draw once: wrong settings show when a configuration is read, not at the first step."""
    _boxes(settings, Generator(), torch.empty(1, 1, 1))


def _ask(teacher: Teacher, image: Tensor, logits: bool) -> tuple[Tensor, Tensor | None]:
    """The teacher's probabilities, and its logits if wanted, from one forward pass."""
    if not logits:
        return teacher(image), None
    answer = teacher.logits(image)
    return answer.softmax(1), answer


def _mix_halves(answers: Tensor, mask: Tensor) -> Tensor:
    """(2B, K, H, W) answers to `a` and then `b` -> (B, K, H, W)."""
    to_a, to_b = answers.chunk(2)
    return mix_probabilities(to_a, to_b, mask)
