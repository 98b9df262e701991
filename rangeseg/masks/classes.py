"""Masks of the pixels of some classes.

Shapes: B views, K classes, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor


def class_mask(generator: Generator, prediction: Tensor, valid: Tensor, num_classes: int) -> Tensor:
    """The pixels of half of the classes in a view, rounded up, drawn separately for each view.

    Args:
        generator: a CPU generator; the same state gives the same masks.
        prediction: (B, H, W) int64 in [0, K), the pseudo label of each pixel of `b`.
        valid: (B, H, W) bool; only classes of valid pixels are drawn, and only valid pixels are True.
        num_classes: K.

    Returns:
        (B, H, W) bool.

    Source:
        Olsson et al., ClassMix, WACV 2021.
    """
    batch = len(prediction)
    lottery = torch.rand(batch, num_classes, generator=generator).to(prediction.device, non_blocking=True)
    # Pixels that are not valid vote for an additional class K, which is then left out.
    votes = torch.zeros(batch, num_classes + 1, dtype=torch.bool, device=prediction.device)
    present = votes.scatter_(1, prediction.where(valid, num_classes).flatten(1), True)[:, :num_classes]
    place = lottery.masked_fill(~present, 2).argsort(1).argsort(1)
    chosen = (2 * place < present.sum(1, keepdim=True)) & present
    return chosen.gather(1, prediction.flatten(1)).view_as(valid) & valid


def classes_mask(prediction: Tensor, valid: Tensor, classes: Sequence[int]) -> Tensor:
    """The pixels of some classes.

    Args:
        prediction: (B, H, W) int64, the label or pseudo label of each pixel.
        valid: (B, H, W) bool; only valid pixels are True.
        classes: train ids.

    Returns:
        (B, H, W) bool.
    """
    mask = torch.zeros_like(valid)
    for train_id in classes:
        mask |= prediction == train_id
    return mask & valid
