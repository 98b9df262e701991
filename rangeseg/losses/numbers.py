"""What all losses compute with."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """The same values, in float32 where their own type has fewer digits."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def divide(total: Tensor, count: Tensor) -> Tensor:
    """total / count, and 0 (with a gradient of 0) where the count, and so the total, is 0."""
    return total / torch.where(count > 0, count, 1)
