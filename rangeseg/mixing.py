"""Mixing of two batches of views by a mask. True selects `b`; every pixel comes from exactly one of the two.

Shapes: B views, C channels, F fields of any kind, K classes, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from rangeseg.kernels.mix import select
from rangeseg.types import IGNORE, PseudoLabelled, View

Batch = TypeVar("Batch", View, PseudoLabelled)

_INTEGERS = {1: np.int8, 4: np.int32, 8: np.int64}
"""Bytes of a value -> integer type of the same size, through which its bits are copied."""


def mix(a: Batch, b: Batch, mask: Tensor, *, out: Batch | None = None) -> Batch:
    """CutMix: pixels of `b` where the mask is True, of `a` elsewhere, for every field.

    Args:
        a: B views, with labels or with targets.
        b: B views of the same size.
        mask: (B, H, W) bool, True = taken from `b`.
        out: B views to write to, so that no memory is allocated; None: new views.

    Returns:
        B views. A field that `a` or `b` lacks is None.

    Raises:
        ValueError: the mask is not bool, or its shape is not that of `a.valid` and `b.valid`.

    Source:
        French et al., BMVC 2020: x = (1 - m) a + m b.
    """
    mixed: dict[str, Any] = {}
    for name in (field.name for field in fields(a)):
        ours, theirs = getattr(a, name), getattr(b, name)
        missing = ours is None or theirs is None
        mixed[name] = None if missing else where(mask, theirs, ours, out=None if out is None else getattr(out, name))
    return type(a)(**mixed)


def erase(a: Batch, mask: Tensor) -> Batch:
    """CutOut: where the mask is True, image is 0, valid is False (so that no loss uses the pixel) and label is IGNORE.

    Args:
        a: B views, with labels or with targets; targets are not changed.
        mask: (B, H, W) bool, True = erased.

    Returns:
        B views.

    Raises:
        ValueError: the mask is not bool, or its shape is not that of `a.valid`.

    Source:
        French et al., BMVC 2020; 0 is the mean of a normalised channel.
    """
    _check_mask(mask, a.valid.shape)
    image, valid = a.image.masked_fill(mask[:, None], 0), a.valid & ~mask
    label: dict[str, Any] = {"label": a.label.masked_fill(mask, IGNORE)} if isinstance(a, View) else {}
    return replace(a, image=image, valid=valid, **label)


def concat(batches: Sequence[PseudoLabelled]) -> PseudoLabelled:
    """Concatenate batches.

    Args:
        batches: at least one, of B views each; all with logits or all without.
    """
    if len(batches) == 1:
        return batches[0]
    logits = [batch.target_logits for batch in batches if batch.target_logits is not None]
    return PseudoLabelled(
        torch.cat([batch.image for batch in batches]),
        torch.cat([batch.target for batch in batches]),
        torch.cat(logits) if logits else None,
        torch.cat([batch.valid for batch in batches]),
    )


def mix_probabilities(a: Tensor, b: Tensor, mask: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The teacher's prediction for `mix(a, b, mask)` from its predictions for `a` and `b`; also for logits.

    Args:
        a: (B, K, H, W).
        b: (B, K, H, W).
        mask: (B, H, W) bool, True = taken from `b`.
        out: (B, K, H, W) to write to, may be `a` or `b`; None: a new tensor.

    Returns:
        (B, K, H, W).

    Raises:
        ValueError: the mask is not bool, or its shape does not fit `a` and `b`.
    """
    return where(mask, b, a, out=out)


def where(mask: Tensor, yes: Tensor, no: Tensor, *, out: Tensor | None = None) -> Tensor:
    """`yes` where the mask is True, else `no`.

    Args:
        mask: (B, H, W) bool.
        yes: (B, F, H, W), or (B, H, W).
        no: the same shape.
        out: the same shape, to write to, may be `yes` or `no`; None: a new tensor.

    Returns:
        The shape of `yes`.

    Raises:
        ValueError: the mask is not bool, or its shape does not fit `yes` and `no`.
    """
    _check_mask(mask, *(side.shape if side.ndim == 3 else side.shape[:1] + side.shape[2:] for side in (no, yes)))
    if yes.ndim == 3:
        chosen = where(mask, yes[:, None], no[:, None], out=None if out is None else out[:, None])
        return chosen[:, 0] if out is None else out
    sides = (yes, no) if out is None else (yes, no, out)
    integers = _INTEGERS.get(yes.element_size())
    if integers is None or not all(
        side.device.type == mask.device.type == "cpu" and side.dtype == yes.dtype and side.shape == yes.shape
        and side.is_contiguous() and mask.is_contiguous() and not side.requires_grad for side in sides
    ):  # fmt: skip
        return torch.where(mask[:, None], yes, no) if out is None else torch.where(mask[:, None], yes, no, out=out)
    # torch takes twice as long with a mask that is shared by channels, and twenty times as long on bytes
    out = torch.empty_like(yes) if out is None else out
    select(mask.view(torch.int8).numpy(), *(side.numpy().view(integers) for side in (yes, no, out)))
    return out


def _check_mask(mask: Tensor, *shapes: torch.Size) -> None:
    if mask.dtype != torch.bool:
        raise ValueError(f"The mask has dtype {mask.dtype}; give bool (True: taken from b, or erased).")
    for shape in shapes:
        if mask.shape != shape:
            raise ValueError(
                f"The mask has shape {tuple(mask.shape)} for views of {tuple(shape)}; give one bool for each pixel."
            )
