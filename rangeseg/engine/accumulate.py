"""A step's views in parts, and the losses of the parts as those of the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from rangeseg.types import View


def chunks(view: View | tuple[()], parts: int) -> Iterator[View]:
    """Parts of a batch of views, as equal as they can be; none of ()."""
    if isinstance(view, View):
        fields = (view.image.chunk(parts), view.valid.chunk(parts), view.label.chunk(parts))
        yield from (View(*tensors) for tensors in zip(*fields, strict=True))


def add(losses: dict[str, Tensor], new: dict[str, Tensor], parts: int, backward: Callable[[Tensor], Any]) -> None:
    """Add a part's `new` values to the step's; the first of them is its loss, which is gone back through."""
    loss, *rates = new.items()
    backward(loss[1] / parts)
    for name, value in (loss, *rates):
        losses[name] = losses.get(name, torch.zeros_like(value)) + value.detach() / parts
