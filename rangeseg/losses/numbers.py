"""What all losses compute with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """The same values, in float32 where their own type has fewer digits."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def as_planes(logits: Tensor) -> Tensor:
    """The same (B, K, H, W) values, one plane for each class; the gradient goes back in the order of `logits`.

    On a CPU, each softmax and its gradient would copy channels_last logits.
    """
    if logits.device.type != "cpu" or logits.is_contiguous():
        return logits
    planes: Tensor = _Planes.apply(logits)
    return planes


class _Planes(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, logits: Tensor) -> Tensor:
        return logits.contiguous()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient.contiguous(memory_format=torch.channels_last)


def divide(total: Tensor, count: Tensor) -> Tensor:
    """total / count, and 0 (with a gradient of 0) where the count, and so the total, is 0."""
    return total / torch.where(count > 0, count, 1)
