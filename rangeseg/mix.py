"""Put two batches of views together by a mask. True is taken from `b`; every pixel comes from exactly one of the two.

Shapes: B views, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rangeseg.types import IGNORE, View


def mix(a: View, b: View, mask: Tensor) -> View:
    """CutMix: pixels of `b` where the mask is True, of `a` elsewhere: image, valid and label alike.

    Args:
        a: B views.
        b: B views of the same size.
        mask: (B, H, W) bool, True = taken from `b`.

    Returns:
        B views.

    Raises:
        ValueError: the mask is not bool, or its shape is not that of `a.valid` and `b.valid`.

    Source:
        French et al., BMVC 2020: x = (1 - m) a + m b.
    """
    _check_mask(mask, a.valid.shape, b.valid.shape)
    return View(
        torch.where(mask[:, None], b.image, a.image),
        torch.where(mask, b.valid, a.valid),
        torch.where(mask, b.label, a.label),
    )


def erase(a: View, mask: Tensor) -> View:
    """CutOut: where the mask is True nothing is there: image 0, not valid (so that no loss counts it), label IGNORE.

    Args:
        a: B views.
        mask: (B, H, W) bool, True = erased.

    Returns:
        B views.

    Raises:
        ValueError: the mask is not bool, or its shape is not that of `a.valid`.

    Source:
        French et al., BMVC 2020; 0 is the mean of a normalised channel.
    """
    _check_mask(mask, a.valid.shape)
    return View(a.image.masked_fill(mask[:, None], 0), a.valid & ~mask, a.label.masked_fill(mask, IGNORE))


def mix_probabilities(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """What the teacher says of `mix(a, b, mask)`, from what it says of `a` and of `b`; for logits as for probabilities.

    Args:
        a: (B, K, H, W).
        b: (B, K, H, W).
        mask: (B, H, W) bool, True = taken from `b`.

    Returns:
        (B, K, H, W).

    Raises:
        ValueError: the mask is not bool, or its shape does not fit `a` and `b`.
    """
    _check_mask(mask, *(side.shape[:1] + side.shape[2:] for side in (a, b)))
    return torch.where(mask[:, None], b, a)


def _check_mask(mask: Tensor, *shapes: torch.Size) -> None:
    if mask.dtype != torch.bool:
        raise ValueError(f"The mask has dtype {mask.dtype}; give bool, True = taken from b (or erased).")
    for shape in shapes:
        if mask.shape != shape:
            raise ValueError(
                f"The mask has shape {tuple(mask.shape)} beside views of {tuple(shape)}; give one bool for each pixel."
            )
