"""The Lovász loss on a CPU: errors of labelled pixels, and a radix sort of the errors by eleven bits at a time.

Shapes: K classes, P labelled pixels; B views with K' classes and N pixels each.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_BITS = 11
_DIGITS = 1 << _BITS
_PASSES = 3


@njit(cache=True, nogil=True)
def lovasz_grad(error: NDArray[np.float32], truth: NDArray[np.bool_], weight: NDArray) -> NDArray:
    """Increase of 1 - IoU with each pixel that is added to the mistakes, in the order of decreasing error.

    Args:
        error: (K, P) float32, not negative.
        truth: (K, P) bool, True if the label is this class; has no effect if the weight is 0.
        weight: (P,) bool, or integers in any dtype: how often the label of each pixel counts.

    Returns:
        (K, P) float32.
    """
    classes, pixels = error.shape
    slope = np.empty((classes, pixels), np.float32)
    keys, other_keys = np.empty(pixels, np.uint32), np.empty(pixels, np.uint32)
    order, other_order = np.empty(pixels, np.uint32), np.empty(pixels, np.uint32)
    starts = np.empty((_PASSES, _DIGITS), np.int64)
    for k in range(classes):
        # Non-negative floats sort like their bits; the complement reverses the order. Equal errors keep their order.
        bits = error[k].view(np.uint32)
        size = 0.0
        for p in range(pixels):
            keys[p] = ~bits[p]
            order[p] = p
            size += truth[k, p] * weight[p]
        _count(keys, starts)
        for turn in range(_PASSES):
            _scatter(keys, order, other_keys, other_order, starts[turn], np.uint32(turn * _BITS))
            keys, other_keys = other_keys, keys
            order, other_order = other_order, order
        missed = invented = 0.0
        before = np.float32(0)
        for place in range(pixels):
            p = order[place]
            missed += truth[k, p] * weight[p]
            invented += (not truth[k, p]) * weight[p]
            now = np.float32(1) - np.float32(size - missed) / np.float32(max(size + invented, 1))
            slope[k, p] = now - before
            before = now
    return slope


@njit(cache=True, nogil=True)
def _count(keys: NDArray[np.uint32], starts: NDArray[np.int64]) -> None:
    """Write the position where the keys with each digit begin, for every pass."""
    starts[:] = 0
    for key in keys:
        for turn in range(_PASSES):
            starts[turn, (key >> np.uint32(turn * _BITS)) & np.uint32(_DIGITS - 1)] += 1
    for turn in range(_PASSES):
        total = 0
        for digit in range(_DIGITS):
            count = starts[turn, digit]
            starts[turn, digit] = total
            total += count


@njit(cache=True, nogil=True)
def _scatter(
    keys: NDArray[np.uint32],
    order: NDArray[np.uint32],
    sorted_keys: NDArray[np.uint32],
    sorted_order: NDArray[np.uint32],
    starts: NDArray[np.int64],
    shift: np.uint32,
) -> None:
    for p in range(len(keys)):
        digit = (keys[p] >> shift) & np.uint32(_DIGITS - 1)
        place = starts[digit]
        starts[digit] = place + 1
        sorted_keys[place] = keys[p]
        sorted_order[place] = order[p]


@njit(cache=True, nogil=True)
def gather_errors(
    probability: NDArray[np.floating], label: NDArray[np.integer], place: NDArray[np.int64], classes: NDArray[np.int64]
) -> NDArray[np.floating]:
    """The error of each labelled pixel for each class: 1 - p if the label is the class, else p.

    Args:
        probability: (B, K', N), p.
        label: (P,) labels of the labelled pixels.
        place: (P,) increasing, view * N + pixel.
        classes: (K,) the classes.

    Returns:
        (K, P) errors of the same dtype.
    """
    views, _, pixels = probability.shape
    one = probability.dtype.type(1)
    error = np.empty((len(classes), len(place)), probability.dtype)
    starts = np.searchsorted(place, np.arange(views + 1) * pixels)
    for view in range(views):
        mine = slice(starts[view], starts[view + 1])
        at, of = (place[mine] - view * pixels).astype(np.uint32), label[mine]
        for row in range(len(classes)):
            k, share, found = classes[row], probability[view, classes[row]], error[row, mine]
            for p in range(len(at)):
                found[p] = one - share[at[p]] if of[p] == k else share[at[p]]
    return error


@njit(cache=True, nogil=True)
def spread_errors(
    gradient: NDArray[np.floating], label: NDArray[np.integer], place: NDArray[np.int64], classes: NDArray[np.int64],
    spread: NDArray[np.floating],
) -> None:  # fmt: skip
    """The gradient of `gather_errors`: (K, P) `gradient` -> (B, K', N) `spread`, which must be zero before."""
    views, _, pixels = spread.shape
    starts = np.searchsorted(place, np.arange(views + 1) * pixels)
    for view in range(views):
        mine = slice(starts[view], starts[view + 1])
        at, of = (place[mine] - view * pixels).astype(np.uint32), label[mine]
        for row in range(len(classes)):
            k, slope, out = classes[row], gradient[row, mine], spread[view, classes[row]]
            for p in range(len(at)):
                out[at[p]] = -slope[p] if of[p] == k else slope[p]
