"""Numeric helpers of the losses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """The same values, in float32 if their type is less precise."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def as_planes(logits: Tensor) -> Tensor:
    """The same (B, K, H, W) values; on a CPU, channels_last logits become contiguous, and their gradient channels_last.

    Otherwise, each softmax and its gradient would copy the logits.
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
    """total / count; 0, with a gradient of 0, where the count (and so the total) is 0."""
    return total / torch.where(count > 0, count, 1)
