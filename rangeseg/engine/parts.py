"""Parts of a step: a batch cut up and the losses of its parts added (`optim.accumulate`), and the ramp-up's length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from rangeseg.config import Config
from rangeseg.types import View


def rampup_steps(config: Config) -> float:
    """Over how many steps the consistency loss's weight rises: `consistency.rampup`, or its share of all steps."""
    return config.consistency.rampup or config.consistency.rampup_share * config.optim.steps


def chunks(view: View | tuple[()], parts: int) -> Iterator[View]:
    """The parts of a batch.

    Args:
        view: B views, or none at all.
        parts: how many, each of at most ceil(B / parts) views.
    """
    if isinstance(view, View):
        fields = (view.image.chunk(parts), view.valid.chunk(parts), view.label.chunk(parts))
        yield from (View(*tensors) for tensors in zip(*fields, strict=True))


def add_losses(
    losses: dict[str, Tensor], new: dict[str, Tensor], parts: int, backward: Callable[[Tensor], Any]
) -> None:
    """Go backward through a part's loss, and add it to the step's.

    Args:
        losses: of the step so far, by name; changed in place.
        new: of the part: first the loss, then what is only reported.
        parts: by which each is divided.
        backward: adds the gradient.
    """
    loss, *rates = new.items()
    backward(loss[1] / parts)
    for name, value in (loss, *rates):
        losses[name] = losses.get(name, torch.zeros_like(value)) + value.detach() / parts
