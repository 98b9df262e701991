"""The class of most logit of every pixel: where it was computed, and as small numbers.

Shapes: B images, K classes, H rows, W columns.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

BLOCK = 2048
"""Pixels worked on together; their best logits and classes stay in the fastest cache."""


def best_class(logits: Tensor) -> NDArray[np.uint8]:
    """(B, K, H, W) logits or probabilities, K at most 255 -> (B, H, W) uint8 classes, the first of equal ones.

    Elsewhere than on the CPU one byte per pixel leaves the device. On it a pass over the logits, in the order in which
    they lie in memory, takes the place of torch's reduction.
    """
    if logits.device.type != "cpu" or logits.dtype != torch.float32:
        classes: NDArray[np.uint8] = best_class_there(logits).cpu().numpy()
        return classes
    batch, count, rows, columns = logits.shape
    logits = logits.detach()
    best = np.empty((batch, rows * columns), np.uint8)
    if not logits.is_contiguous() and logits.is_contiguous(memory_format=torch.channels_last):
        _best_of_pixels(logits.permute(0, 2, 3, 1).numpy().reshape(-1, count), best.reshape(-1))
    else:
        _best_of_planes(logits.contiguous().numpy().reshape(batch, count, rows * columns), best)
    return best.reshape(batch, rows, columns)


def best_class_there(logits: Tensor) -> Tensor:
    """`best_class`, left on the logits' device."""
    return logits.argmax(1).to(torch.uint8)


@njit(cache=True, nogil=True, error_model="numpy")
def _best_of_planes(values: NDArray, best: NDArray) -> None:
    """(B, K, N) -> (B, N); a class that is not a number never wins, unless it is the first."""
    most = np.empty(BLOCK, np.float32)
    winner = np.empty(BLOCK, np.float32)  # as wide as the logits, so that both are chosen by the same lanes
    batch, count, pixels = values.shape
    for b in range(batch):
        for start in range(0, pixels, BLOCK):
            size = min(BLOCK, pixels - start)
            for i in range(size):
                most[i] = values[b, 0, start + i]
                winner[i] = 0
            for k in range(1, count):
                name = np.float32(k)
                row = values[b, k, start : start + size]
                for i in range(size):
                    better = row[i] > most[i]
                    most[i] = row[i] if better else most[i]
                    winner[i] = name if better else winner[i]
            for i in range(size):
                best[b, start + i] = np.uint8(winner[i])


@njit(cache=True, nogil=True, error_model="numpy")
def _best_of_pixels(values: NDArray, best: NDArray) -> None:
    """(N, K) -> (N,); a class that is not a number never wins, unless it is the first."""
    pixels, count = values.shape
    for i in range(pixels):
        most, winner = values[i, 0], 0
        for k in range(1, count):
            better = values[i, k] > most
            most = values[i, k] if better else most
            winner = k if better else winner
        best[i] = winner
