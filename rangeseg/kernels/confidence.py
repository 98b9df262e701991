"""Softmax of logits, as far as confidence and entropy need it. Shapes: K classes, H rows, W columns."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True, error_model="numpy")
def sum_up_classes(logits: NDArray, inverse: float, most: NDArray, total: NDArray, entropy: NDArray) -> None:
    """Of each pixel: the largest logit, the sum of the others' exponentials relative to it, and the entropy in nats.

    Args:
        logits: (K, H, W) float32, in any order of memory.
        inverse: they are multiplied by, 1 / temperature.
        most: (H, W) float32, out.
        total: (H, W) float32, out; the probability of class k is exp(logit_k - most) / total.
        entropy: (H, W) float32, out.
    """
    count, rows, columns = logits.shape
    factor = np.float32(inverse)
    for row in range(rows):
        for col in range(columns):
            best = logits[0, row, col]
            for k in range(1, count):
                best = max(best, logits[k, row, col])
            best *= factor
            weights, slopes = np.float32(0), np.float32(0)
            for k in range(count):
                below = logits[k, row, col] * factor - best
                weight = np.float32(math.exp(below))
                weights += weight
                slopes += weight * below
            most[row, col], total[row, col] = best, weights
            entropy[row, col] = max(np.float32(0), np.float32(math.log(weights)) - slopes / weights)
