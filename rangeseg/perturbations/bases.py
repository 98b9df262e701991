"""Base classes of perturbations.

A perturbation is a pure function of a generator and of two batches of views with their targets. What it does to the
student's view it also does to the target. Mixing and erasing perturbations only draw a mask (`draw_mask`); any other
perturbation of a single batch has `perturb`.

Shapes: B views, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

import torch
from torch import Generator, Tensor, nn

from rangeseg.mixing import concat, erase, mix
from rangeseg.types import PseudoLabelled

Keep = Literal["inside", "outside"]

NO_EFFECT = (
    "has no effect on these views: geometric and range_shift rotate scans by whole columns, which photographs and "
    "scans of no full turn do not allow (see data.augmentation.columns and data.projection), and color changes "
    "photographs"
)
"""What a perturbation does whose `has_effect` is False, for errors."""

_PIXEL = torch.zeros(1, 1, 1, dtype=torch.bool)


@dataclass(frozen=True)
class Perturbation(ABC):
    """Maps two batches of views with targets to the student's views and the target that it should match."""

    uses_b: ClassVar[bool] = True
    """False: the second batch is not used and needs no target."""

    @abstractmethod
    def __call__(self, generator: Generator, a: PseudoLabelled, b: PseudoLabelled) -> PseudoLabelled:
        """Perturb; the tensors of `a` and `b` are not changed.

        Args:
            generator: the only source of randomness.
            a: B views with their targets.
            b: B other views; `a` again if `uses_b` is False.
        """

    @property
    def grows(self) -> bool:
        """Whether it returns more views than it is given."""
        return False

    @property
    def has_effect(self) -> bool:
        """Whether it and all its parts can change these views; False for a rotation of views that are no full turn."""
        return True

    def with_network(self, network: nn.Module) -> Self:
        """The perturbation with the teacher's network, if it needs one (VAT); other perturbations return themselves.

        Args:
            network: (B, C, H, W) -> (B, K, H, W) logits, with a gradient to the image.
        """
        return self


@dataclass(frozen=True)
class Mixing(Perturbation):
    """Pixels of `b` and of its target replace those of `a` where the mask is True.

    Args:
        complement: also return the other half, pixels of `a` put into `b` by the same mask: 2B views.
        probability: probability that a pair of views is mixed; for other pairs, `a` (and `b`) are returned unchanged.

    Raises:
        ValueError: a setting is not valid for the mask, or `probability` is not within [0, 1]. The constructor draws a
            mask, so that a bad config raises this before training.
    """

    complement: bool = field(default=False, kw_only=True)
    probability: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(
                f"{type(self).__name__} got probability={self.probability}; give the chance of a mix, in [0, 1]."
            )
        self.draw_mask(Generator(), _PIXEL, torch.zeros(1, 1, 1, 1))

    @property
    def grows(self) -> bool:
        """Whether it also returns the complement."""
        return self.complement

    @abstractmethod
    def draw_mask(self, generator: Generator, valid: Tensor, target: Tensor) -> Tensor:
        """Draw the mask of pixels to take from `b`.

        Args:
            generator: the only source of randomness.
            valid: (B, H, W) bool of `b`; the mask has its shape and device.
            target: (B, K, H, W) probabilities of `b`.

        Returns:
            (B, H, W) bool.
        """

    def __call__(self, generator: Generator, a: PseudoLabelled, b: PseudoLabelled) -> PseudoLabelled:
        """Mix views and targets by one mask."""
        mask = self.draw_mask(generator, b.valid, b.target)
        halves = [(a, self.combine(generator, a, b, mask))]
        if self.complement:
            halves.append((b, self.combine(generator, b, a, mask)))
        if self.probability < 1:
            drawn = (torch.rand(len(mask), generator=generator) < self.probability).to(mask.device, non_blocking=True)
            chosen = drawn[:, None, None].expand(mask.shape).contiguous()
            halves = [(whole, mix(whole, mixed, chosen)) for whole, mixed in halves]
        return concat([mixed for _, mixed in halves])

    def combine(self, generator: Generator, a: PseudoLabelled, b: PseudoLabelled, mask: Tensor) -> PseudoLabelled:
        """Put `b` into `a`; subclasses may override it, as PolarMix does to paste objects, too.

        Args:
            generator: the only source of randomness.
            a: B views.
            b: B other views.
            mask: (B, H, W) bool, from `draw_mask`.
        """
        return mix(a, b, mask)


@dataclass(frozen=True)
class SingleViewPerturbation(Perturbation):
    """A perturbation of `a` alone, which can follow or precede another one (`Compose`)."""

    uses_b: ClassVar[bool] = False

    @abstractmethod
    def perturb(self, generator: Generator, views: PseudoLabelled) -> PseudoLabelled:
        """Perturb one batch.

        Args:
            generator: the only source of randomness.
            views: B views with their targets; their tensors are not changed.
        """

    def __call__(self, generator: Generator, a: PseudoLabelled, b: PseudoLabelled) -> PseudoLabelled:
        """Perturb `a`."""
        return self.perturb(generator, a)


class Erasing(SingleViewPerturbation):
    """One side of a mask is erased: it becomes 0 and invalid.

    A subclass is a dataclass with a field `keep`: "inside" keeps what the mask covers and erases the rest; "outside"
    does the opposite.

    Raises:
        ValueError: `keep` is neither "inside" nor "outside", or a setting is not valid for the mask.
    """

    keep: Keep  # no field here: it would come before the subclass's fields, e.g. area

    def __post_init__(self) -> None:
        self.draw_mask(Generator(), _PIXEL)
        if self.keep not in ("inside", "outside"):
            raise ValueError(
                f"{type(self).__name__} got keep={self.keep!r}; "
                "choose 'inside' (the inside of the mask is kept) or 'outside' (it is erased)."
            )

    @abstractmethod
    def draw_mask(self, generator: Generator, valid: Tensor) -> Tensor:
        """Draw a mask of the shape (B, H, W) and on the device of `valid`."""

    def perturb(self, generator: Generator, views: PseudoLabelled) -> PseudoLabelled:
        """Erase the view; the target does not change and counts where the view is still valid."""
        mask = self.draw_mask(generator, views.valid)
        return erase(views, ~mask if self.keep == "inside" else mask)


@dataclass(frozen=True)
class Identity(SingleViewPerturbation):
    """Student and teacher read the same views `a`: the mean teacher without mixing; `b` is not used.

    Source:
        Tarvainen and Valpola, NeurIPS 2017.
    """

    def perturb(self, generator: Generator, views: PseudoLabelled) -> PseudoLabelled:
        """Return the views unchanged."""
        return views
