"""ICT: whole views averaged.

Shapes: B views, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from rangeseg.noise import beta
from rangeseg.perturbations.bases import ask
from rangeseg.perturbations.protocol import Perturbed, Student, Teacher
from rangeseg.types import View


@dataclass(frozen=True)
class ICT:
    """The student reads (1 - l) a + l b and should say (1 - l) T(a) + l T(b), l ~ Beta(alpha, alpha) for each pair.

    Probabilities are averaged, and logits, where asked for: their softmax is not the target. A pixel counts where
    (1 - l) of `a`'s being valid and l of `b`'s add up to one half (the paper's code weighs it by that sum); all others
    are emptied. The loss takes its confidence from the averaged probabilities; the paper's code averages the two views'
    own confidences, which is never less.

    Args:
        alpha: above 0; the smaller, the nearer is l to 0 or 1.
        logits: also give the teacher's logits, for a loss on logits.

    Raises:
        ValueError: `alpha` is not above 0.

    Source:
        Verma et al., IJCAI 2019; French et al., BMVC 2020 (alpha 0.1).
    """

    alpha: float = 0.1
    logits: bool = False

    def __post_init__(self) -> None:
        if not self.alpha > 0:
            raise ValueError(f"ICT got alpha={self.alpha}; give a number above 0, usually 0.1.")

    def __call__(self, generator: Generator, a: View, b: View, student: Student, teacher: Teacher) -> Perturbed:
        """The averaged view, and the teacher's answers to both views (one forward pass) averaged alike."""
        share = beta(generator, (len(a.valid), 1, 1, 1), self.alpha).to(a.image.device, non_blocking=True)
        target, logits = ask(teacher, torch.cat([a.image, b.image]), self.logits)
        valid = _average(torch.stack([a.valid, b.valid])[:, :, None].float(), share)[:, 0] >= 0.5
        image = _average(torch.stack([a.image, b.image]), share)
        return Perturbed(
            image * valid[:, None],
            _average(target.unflatten(0, (2, -1)), share),
            None if logits is None else _average(logits.unflatten(0, (2, -1)), share),
            valid,
        )


def _average(pair: Tensor, share: Tensor) -> Tensor:
    """(2, B, ...) -> (B, ...), the second by its share."""
    return (1 - share) * pair[0] + share * pair[1]
