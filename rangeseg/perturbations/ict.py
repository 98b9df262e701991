"""ICT: weighted averages of whole views.

Shapes: B views, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor

from rangeseg.noise import beta
from rangeseg.perturbations.bases import Perturbation
from rangeseg.types import PseudoLabelled


@dataclass(frozen=True)
class ICT(Perturbation):
    """The view is (1 - l) a + l b and the target (1 - l) T(a) + l T(b), l ~ Beta(alpha, alpha) for each pair.

    Probabilities are averaged, and also logits if there are any; the softmax of these is not the target. A pixel counts
    if (1 - l) valid_a + l valid_b is at least one half (the paper's code weighs the pixel by this sum); all other
    pixels are emptied. The loss computes its confidence from the averaged probabilities; the paper's code averages the
    confidences of the two views, which is never less.

    Args:
        alpha: above 0; the smaller it is, the nearer l is to 0 or 1.

    Raises:
        ValueError: `alpha` is not above 0.

    Source:
        Verma et al., IJCAI 2019; French et al., BMVC 2020 (alpha 0.1).
    """

    alpha: float = 0.1

    def __post_init__(self) -> None:
        if not self.alpha > 0:
            raise ValueError(f"ICT got alpha={self.alpha}; give a number above 0, usually 0.1.")

    def __call__(self, generator: Generator, a: PseudoLabelled, b: PseudoLabelled) -> PseudoLabelled:
        """Average views and targets with the same weights."""
        share = beta(generator, (len(a.valid), 1, 1, 1), self.alpha).to(a.image.device, non_blocking=True)
        weight = _average(a.valid[:, None].float(), b.valid[:, None].float(), share)[:, 0]
        valid = weight >= 0.5
        logits = None if a.target_logits is None or b.target_logits is None else (a.target_logits, b.target_logits)
        return PseudoLabelled(
            _average(a.image, b.image, share) * valid[:, None],
            _average(a.target, b.target, share),
            None if logits is None else _average(*logits, share),
            valid,
        )


def _average(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """(1 - share) a + share b, (B, ...)."""
    return (1 - share) * a + share * b
