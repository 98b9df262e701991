"""Softmax of logits, for confidence and entropy. Shapes: K classes, P pixels, N elements.

Without Intel's SVML, Numba has no SIMD exponential. The loops here compute their own:
exp(x) = 2^n exp(x - n ln 2) with a polynomial of degree 6, accurate to about two units in the last place.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rangeseg.types import IGNORE

BLOCK = 256
"""Number of pixels processed together; their logits stay in the fastest caches."""

LOWEST = np.float32(-87)
"""Lowest argument of the exponential; the result is not yet a denormal float32."""

LOG2E = np.float32(1.4426950408889634)
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
"""ln 2 in two parts; the product of n and the first part is exact."""

C3, C4, C5, C6 = np.float32(1 / 6), np.float32(1 / 24), np.float32(1 / 120), np.float32(1 / 720)
HALF, ONE = np.float32(0.5), np.float32(1)


@njit(cache=True, nogil=True, error_model="numpy")
def sum_up_classes(
    logits: NDArray, inverse: float, best_class: NDArray, most: NDArray, total: NDArray, entropy: NDArray
) -> None:
    """For each pixel: class of the largest logit, this logit, sum of the exponentials relative to it, and entropy.

    Args:
        logits: (K, P) float32, in any order of memory.
        inverse: factor on differences of logits, 1 / temperature.
        best_class: (P,) uint8, out; the first class on ties.
        most: (P,) float32, out.
        total: (P,) float32, out; the probability of class k is exp((logit_k - most) * inverse) / total.
        entropy: (P,) float32, nats, out; or (0,) to skip it.
    """
    count, pixels = logits.shape
    factor = np.float32(inverse)
    block = np.empty((count, BLOCK), np.float32)
    slopes, rest, winner = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    exponent = np.empty(BLOCK, np.int32)
    power = exponent.view(np.float32)  # 2^n, by writing n where a float32 has its exponent
    for start in range(0, pixels, BLOCK):
        size = min(BLOCK, pixels - start)
        best, weights = most[start : start + size], total[start : start + size]
        _load(logits, start, block[:, :size])
        best[:] = block[0, :size]
        winner[:] = 0
        for k in range(1, count):
            name = np.float32(k)  # float32 like the logits, so that the same SIMD lanes select both
            for i in range(size):
                better = block[k, i] > best[i]
                best[i] = block[k, i] if better else best[i]
                winner[i] = name if better else winner[i]
        for i in range(size):
            best_class[start + i] = np.uint8(winner[i])
        weights[:] = 0
        slopes[:] = 0
        for k in range(count):
            below = block[k, :size]
            for i in range(size):
                x = max((below[i] - best[i]) * factor, LOWEST)
                n = np.int32(x * LOG2E - HALF)
                rest[i] = (x - np.float32(n) * LN2_HIGH) - np.float32(n) * LN2_LOW
                exponent[i] = (n + np.int32(127)) << np.int32(23)
                below[i] = x
            for i in range(size):
                r = rest[i]
                weight = (ONE + r * (ONE + r * (HALF + r * (C3 + r * (C4 + r * (C5 + r * C6)))))) * power[i]
                weights[i] += weight
                slopes[i] += weight * below[i]
        for i in range(size if len(entropy) else 0):
            entropy[start + i] = max(np.float32(0), np.float32(math.log(weights[i])) - slopes[i] / weights[i])


@njit(cache=True, nogil=True)
def _load(logits: NDArray, start: int, block: NDArray) -> None:
    """Copy a block of (K, P) logits, in any order of memory, to one row per class."""
    count, size = block.shape
    for k in range(count):
        for i in range(size):
            block[k, i] = logits[k, start + i]


@njit(cache=True, nogil=True, error_model="numpy")
def take_confidence(
    labels: NDArray,
    place: NDArray,
    logits: NDArray,
    inverse: float,
    sums: tuple[NDArray, NDArray, NDArray, NDArray],
    confidence: NDArray,
    nats: NDArray,
) -> None:
    """The probability of each element's label at its pixel, and the entropy of this pixel; 0 if the label is IGNORE.

    Args:
        labels: (N,) train ids or IGNORE.
        place: (N,) pixel of each element; not read if the label is IGNORE.
        logits: (K, P) float32.
        inverse: see `sum_up_classes`.
        sums: best_class, most, total and entropy of `sum_up_classes`.
        confidence: (N,) float32, out.
        nats: (N,) float32, out; or (0,) to skip it.
    """
    best_class, most, total, entropy = sums
    factor = np.float32(inverse)
    for i in range(len(labels)):
        known = labels[i] != IGNORE
        pixel = place[i] if known else 0
        if not known:
            confidence[i] = 0
        elif labels[i] == best_class[pixel]:
            confidence[i] = np.float32(1) / total[pixel]
        else:
            below = (logits[labels[i], pixel] - most[pixel]) * factor
            confidence[i] = np.float32(math.exp(below)) / total[pixel]
        if len(nats):
            nats[i] = entropy[pixel] if known else np.float32(0)
