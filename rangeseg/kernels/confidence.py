"""Softmax of logits, as far as confidence and entropy need it. Shapes: K classes, P pixels, N elements.

numba has no exponential that works on several numbers at once without Intel's SVML. The loops here compute their own:
exp(x) = 2^n exp(x - n ln 2) with a polynomial of degree 6, which is right to about two units of the last place.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rangeseg.types import IGNORE

BLOCK = 256
"""Pixels worked on together; their logits stay in the fastest caches."""

LOWEST = np.float32(-87)
"""Of a float32's exponential that is not denormal."""

LOG2E = np.float32(1.4426950408889634)
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
"""ln 2 in two parts: n times the first is exact."""

C3, C4, C5, C6 = np.float32(1 / 6), np.float32(1 / 24), np.float32(1 / 120), np.float32(1 / 720)
HALF, ONE = np.float32(0.5), np.float32(1)


@njit(cache=True, nogil=True, error_model="numpy")
def sum_up_classes(logits: NDArray, inverse: float, most: NDArray, total: NDArray, entropy: NDArray) -> None:
    """Of each pixel: the largest logit, the sum of the others' exponentials relative to it, and the entropy in nats.

    Args:
        logits: (K, P) float32, in any order of memory.
        inverse: they are multiplied by, 1 / temperature.
        most: (P,) float32, out.
        total: (P,) float32, out; the probability of class k is exp(logit_k - most) / total.
        entropy: (P,) float32, out.
    """
    count, pixels = logits.shape
    factor = np.float32(inverse)
    scaled = np.empty((count, BLOCK), np.float32)
    slopes, rest = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    exponent = np.empty(BLOCK, np.int32)
    power = exponent.view(np.float32)  # 2^n, by writing n where a float32 has its exponent
    for start in range(0, pixels, BLOCK):
        size = min(BLOCK, pixels - start)
        best, weights = most[start : start + size], total[start : start + size]
        _load(logits, start, factor, scaled[:, :size])
        best[:] = scaled[0, :size]
        for k in range(1, count):
            for i in range(size):
                best[i] = scaled[k, i] if scaled[k, i] > best[i] else best[i]
        weights[:] = 0
        slopes[:] = 0
        for k in range(count):
            below = scaled[k, :size]
            for i in range(size):
                x = below[i] - best[i]
                x = x if x > LOWEST else LOWEST
                n = np.int32(x * LOG2E - HALF)
                rest[i] = (x - np.float32(n) * LN2_HIGH) - np.float32(n) * LN2_LOW
                exponent[i] = (n + np.int32(127)) << np.int32(23)
                below[i] = x
            for i in range(size):
                r = rest[i]
                weight = (ONE + r * (ONE + r * (HALF + r * (C3 + r * (C4 + r * (C5 + r * C6)))))) * power[i]
                weights[i] += weight
                slopes[i] += weight * below[i]
        for i in range(size):
            entropy[start + i] = max(np.float32(0), np.float32(math.log(weights[i])) - slopes[i] / weights[i])


@njit(cache=True, nogil=True)
def _load(logits: NDArray, start: int, factor: np.float32, scaled: NDArray) -> None:
    """A block of (K, P) logits, one row for each class, whatever their order of memory."""
    count, size = scaled.shape
    for k in range(count):
        for i in range(size):
            scaled[k, i] = logits[k, start + i] * factor


@njit(cache=True, nogil=True, error_model="numpy")
def take_confidence(
    labels: NDArray,
    place: NDArray,
    logits: NDArray,
    inverse: float,
    sums: tuple[NDArray, NDArray, NDArray],
    confidence: NDArray,
    nats: NDArray,
) -> None:
    """The probability of each element's label at its pixel, and the entropy there; 0 where the label is IGNORE.

    Args:
        labels: (N,) train ids or IGNORE.
        place: (N,) pixel of each element that has a label.
        logits: (K, P) float32.
        inverse: see `sum_up_classes`.
        sums: most, total and entropy of `sum_up_classes`.
        confidence: (N,) float32, out.
        nats: (N,) float32, out.
    """
    most, total, entropy = sums
    factor = np.float32(inverse)
    for i in range(len(labels)):
        if labels[i] == IGNORE:
            confidence[i], nats[i] = 0, 0
            continue
        pixel = place[i]
        above = logits[labels[i], pixel] * factor - most[pixel]
        confidence[i] = np.float32(math.exp(above)) / total[pixel]
        nats[i] = entropy[pixel]
