"""Counting pairs of label and prediction."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rangeseg.types import IGNORE


@njit(cache=True, nogil=True)
def count(prediction: NDArray[np.integer], label: NDArray[np.integer], state: NDArray[np.int64]) -> bool:
    """Add (N,) pairs to (K, K+1) counts. If a label is neither a class nor IGNORE, add nothing and return False."""
    classes, columns = state.shape
    # Neighbours are often equal, and an addition waits for the previous one to the same counter: hence eight tables.
    counts = np.zeros((8, (classes + 1) * columns), np.int32)
    cell = np.empty(2048, np.uint16)
    fours = cell.view(np.uint64)
    for start in range(0, len(label), len(cell)):
        block = slice(start, start + len(cell))
        if not _cells(prediction[block], label[block], classes, cell):
            return False
        length = min(len(cell), len(label) - start)
        for i in range(length // 4):
            for lane in range(4):
                counts[4 * (i & 1) + lane, fours[i] >> np.uint64(16 * lane) & np.uint64(0xFFFF)] += 1
        for i in range(length // 4 * 4, length):
            counts[0, cell[i]] += 1
    state += counts.sum(0)[: classes * columns].reshape(classes, columns)
    return True


@njit(cache=True, nogil=True)
def _cells(prediction: NDArray[np.integer], label: NDArray[np.integer], classes: int, cell: NDArray[np.uint16]) -> bool:
    """Write the cell of each pair, row * (K+1) + column; row K is IGNORE. Return False if a label is invalid.

    The loop has no branches, for SIMD.
    """
    strange = 0
    for i in range(len(label)):
        labelled = (label[i] >= 0) & (label[i] < classes)
        named = (prediction[i] >= 0) & (prediction[i] < classes)
        row = np.uint16(label[i]) if labelled else np.uint16(classes)
        column = np.uint16(prediction[i]) if named else np.uint16(classes)
        strange += (not labelled) & (label[i] != IGNORE)
        cell[i] = row * np.uint16(classes + 1) + column
    return strange == 0


@njit(cache=True, nogil=True)
def count_by_range(
    prediction: NDArray[np.integer],
    label: NDArray[np.integer],
    distance: NDArray[np.floating],
    edges: NDArray[np.floating],
    states: NDArray[np.int64],
) -> None:
    """Add (N,) pairs of labels, which `count` has checked, to (D, K, K+1) counts, one for each range of distance.

    Args:
        prediction: (N,) train ids; all other values count in column K.
        label: (N,) train ids or IGNORE.
        distance: (N,) distance of each pair.
        edges: (D + 1,) increasing; a range contains its lower edge, but not its upper one. Pairs outside all ranges are
            not counted.
        states: (D, K, K+1) counts.
    """
    bins, classes, _ = states.shape
    for i in range(len(label)):
        if label[i] == IGNORE or not edges[0] <= distance[i] < edges[bins]:
            continue
        place = 0
        while distance[i] >= edges[place + 1]:
            place += 1
        named = (prediction[i] >= 0) & (prediction[i] < classes)
        states[place, label[i], prediction[i] if named else classes] += 1


@njit(cache=True, nogil=True, error_model="numpy")
def count_by_confidence(
    prediction: NDArray[np.integer],
    label: NDArray[np.integer],
    confidence: NDArray[np.floating],
    parts: int,
    state: NDArray[np.int64],
) -> bool:
    """Add (N,) labels to (3, K, B) counts, see `Reliability.state`.

    If a confidence is not in [0, 1], add nothing and return False.
    """
    bins = state.shape[2]
    for i in range(len(label)):
        known = (prediction[i] != IGNORE) & (label[i] != IGNORE)
        if known and not 0 <= confidence[i] <= 1 + 1e-6:
            return False
    for i in range(len(label)):
        if prediction[i] != IGNORE and label[i] != IGNORE:
            sure = np.float64(confidence[i])
            place = min(int(sure * bins), bins - 1)
            state[0, prediction[i], place] += 1
            state[1, prediction[i], place] += prediction[i] == label[i]
            state[2, prediction[i], place] += int(np.rint(sure * parts))
    return True
