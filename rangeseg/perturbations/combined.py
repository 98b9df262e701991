"""Combinations of perturbations: some before and after another, one of several, all of several, or in sequence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Generator, nn

from rangeseg.mixing import concat
from rangeseg.perturbations.bases import Perturbation, SingleViewPerturbation
from rangeseg.types import PseudoLabelled


@dataclass(frozen=True)
class Compose(Perturbation):
    """A perturbation with others before it (on each of its two inputs) and after it (on its result), in order.

    In a config: ``{name: compose, before: [{name: color}], first: {name: cutmix}, then: [{name: cutout}]}``.

    Args:
        first: any perturbation.
        then: applied to the result: CutOut, CowOut, Geometric, Jitter, VAT or a `SingleViewPerturbation` of your own.
        before: applied to `a` and to `b`, each with its own draw, before they are mixed. The paper's code colours the
            two photographs of a mix in this way. The teacher reads the unchanged views.

    Raises:
        ValueError: `first` is no perturbation, `then` and `before` are both empty, or one of their parts is no
            `SingleViewPerturbation`.
    """

    first: Perturbation
    then: tuple[SingleViewPerturbation, ...] = ()
    before: tuple[SingleViewPerturbation, ...] = ()

    def __post_init__(self) -> None:
        _check("Compose.first", self.first)
        for name, parts in (("then", self.then), ("before", self.before)):
            for part in parts:
                if not isinstance(part, SingleViewPerturbation):
                    raise ValueError(
                        f"Compose.{name} contains {part!r}; give perturbations of one view, in a config as a list like "
                        "[{name: jitter}]. A perturbation that mixes two views can only be first."
                    )
        if not self.then + self.before:
            raise ValueError(
                "Compose.then and Compose.before are empty; give perturbations, or use the first perturbation alone."
            )

    @property
    def uses_b(self) -> bool:  # type: ignore[override]
        """Whether `first` needs `b`."""
        return self.first.uses_b

    @property
    def grows(self) -> bool:
        """Whether `first` returns more views than it is given."""
        return self.first.grows

    @property
    def has_effect(self) -> bool:
        """Whether all parts can change these views."""
        return all(part.has_effect for part in (self.first, *self.then, *self.before))

    def __call__(self, generator: Generator, a: PseudoLabelled, b: PseudoLabelled) -> PseudoLabelled:
        """Apply `before`, `first` and `then`."""
        for part in self.before:
            a = part.perturb(generator, a)
            b = part.perturb(generator, b) if self.uses_b else a
        views = self.first(generator, a, b)
        for part in self.then:
            views = part.perturb(generator, views)
        return views

    def with_network(self, network: nn.Module) -> Compose:
        """Every part with this network."""
        return Compose(
            self.first.with_network(network),
            tuple(part.with_network(network) for part in self.then),
            tuple(part.with_network(network) for part in self.before),
        )


@dataclass(frozen=True)
class _Group(Perturbation):
    """Base class of groups of perturbations."""

    parts: tuple[Perturbation, ...]

    def __post_init__(self) -> None:
        name = type(self).__name__
        if not self.parts:
            raise ValueError(f"{name}.parts is empty; give perturbations.")
        for part in self.parts:
            _check(f"{name}.parts", part)

    @property
    def uses_b(self) -> bool:  # type: ignore[override]
        """Whether any part needs `b`."""
        return any(part.uses_b for part in self.parts)

    @property
    def grows(self) -> bool:
        """Whether any part returns more views than it is given."""
        return any(part.grows for part in self.parts)

    @property
    def has_effect(self) -> bool:
        """Whether all parts can change these views."""
        return all(part.has_effect for part in self.parts)

    def with_network(self, network: nn.Module) -> Self:
        """Every part with this network."""
        return replace(self, parts=tuple(part.with_network(network) for part in self.parts))


class OneOf(_Group):
    """One of several perturbations, drawn with equal probability at each call.

    In a config: ``{name: one_of, parts: [{name: cutmix}, {name: lasermix}]}``.

    Args:
        parts: the perturbations to draw from.

    Raises:
        ValueError: `parts` is empty or contains something that is no perturbation.
    """

    def __call__(self, generator: Generator, a: PseudoLabelled, b: PseudoLabelled) -> PseudoLabelled:
        """Draw one and apply it."""
        drawn = int(torch.randint(len(self.parts), (), generator=generator))
        return self.parts[drawn](generator, a, b)


class AllOf(_Group):
    """All of several perturbations at every step, their results in one batch. The teacher runs once.

    In a config: ``{name: all_of, parts: [{name: lasermix, bands: [3]}, {name: lasermix, bands: [6]}]}``.

    Args:
        parts: n perturbations; the student then reads n B views in a step.

    Raises:
        ValueError: `parts` is empty or contains something that is no perturbation.
    """

    @property
    def grows(self) -> bool:
        """Whether there are several parts, or the part returns more views than it is given."""
        return len(self.parts) > 1 or super().grows

    def __call__(self, generator: Generator, a: PseudoLabelled, b: PseudoLabelled) -> PseudoLabelled:
        """The results of all parts, one after another."""
        return concat([part(generator, a, b) for part in self.parts])


class Sequential(_Group):
    """Several perturbations in sequence, each applied to the result of the one before it; all mix with the same `b`.

    In a config: ``{name: sequential, parts: [{name: cutmix}, {name: range_union}, {name: range_shift}]}``. Only the
    last part may return more views than it is given (`complement`), because the other parts need one view for each `b`.

    Args:
        parts: in their order.

    Raises:
        ValueError: `parts` is empty or contains something that is no perturbation, or a part before the last returns
            more views than it is given.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        for part in self.parts[:-1]:
            if part.grows:
                raise ValueError(
                    f"Sequential.parts: {type(part).__name__} returns more views than it is given; put it last."
                )

    def __call__(self, generator: Generator, a: PseudoLabelled, b: PseudoLabelled) -> PseudoLabelled:
        """Apply the parts in order."""
        for part in self.parts:
            a = part(generator, a, b)
        return a


def _check(name: str, part: object) -> None:
    if not isinstance(part, Perturbation):
        raise ValueError(f"{name} contains {part!r}; give perturbations, in a config for example {{name: cutmix}}.")
