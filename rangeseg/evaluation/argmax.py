"""Argmax over classes, computed on the logits' device and returned as uint8.

Shapes: B images, K classes, H rows, W columns.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rangeseg.kernels.argmax import best_of_pixels, best_of_planes


def argmax_uint8(logits: Tensor) -> NDArray[np.uint8]:
    """(B, K, H, W) logits or probabilities, K at most 255 -> (B, H, W) uint8 classes, the first of equal ones.

    On another device than the CPU, only one byte per pixel is copied to the host. On the CPU, one pass over float32
    logits in memory order replaces torch's reduction.
    """
    if logits.device.type != "cpu" or logits.dtype != torch.float32:
        classes: NDArray[np.uint8] = argmax_on_device(logits).cpu().numpy()
        return classes
    batch, count, rows, columns = logits.shape
    logits = logits.detach()
    best = np.empty((batch, rows * columns), np.uint8)
    if not logits.is_contiguous() and logits.is_contiguous(memory_format=torch.channels_last):
        best_of_pixels(logits.permute(0, 2, 3, 1).numpy().reshape(-1, count), best.reshape(-1))
    else:
        best_of_planes(logits.contiguous().numpy().reshape(batch, count, rows * columns), best)
    return best.reshape(batch, rows, columns)


def argmax_on_device(logits: Tensor) -> Tensor:
    """(B, K, H, W) logits -> (B, H, W) uint8 classes, on the logits' device; see `argmax_uint8`."""
    return logits.argmax(1).to(torch.uint8)
