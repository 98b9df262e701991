"""Compiled loops of the back-projection. They are serial and release the GIL.

Shapes: N points, H rows, W columns, S the window's side, S//2 = `reach` pixels to each side.

Images are padded by `reach` on every side first, so that no window needs a border test. A cell that is not a neighbour
(an empty pixel, a pixel outside the image, a pixel predicted IGNORE) has infinite range.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rangeseg.types import IGNORE

MAX_WINDOW = 181  # the largest window whose cells an int16 can count; int16 halves the memory traffic of int32

SETTLED = np.uint8(1)  # for the point that the pixel shows: the pixel's label is certain to win
INF = np.float32(np.inf)
UNIFORM = np.uint8(2)  # for all points of the pixel: no neighbour has another label


@njit(cache=True, nogil=True)
def count_unknown(prediction: NDArray, classes: int) -> int:
    """Number of (H, W) labels that are neither 0..K-1 nor IGNORE."""
    unknown = 0
    for label in prediction.flat:
        unknown += (label != IGNORE) & ((label < 0) | (label >= classes))
    return unknown


@njit(cache=True, nogil=True)
def pad_images(
    image: tuple[NDArray, NDArray], prediction: NDArray, edge: tuple[int, bool, bool]
) -> tuple[NDArray[np.float32], NDArray]:
    """The range image and the labels, padded by `reach` pixels on every side.

    Args:
        image: range (N,) float32 and point_index (H, W) int32.
        prediction: (H, W) integers.
        edge: reach; whether columns wrap; whether pixels outside the image have range 0 and label 0.

    Returns:
        range (H + 2 reach, W + 2 reach) float32, inf for cells that are no neighbours; label of the same shape.
    """
    range_, point_index = image
    reach, wrap, zero_border = edge
    height, width = point_index.shape
    metres = np.full((height + 2 * reach, width + 2 * reach), np.float32(0) if zero_border else INF, np.float32)
    label = np.zeros((height + 2 * reach, width + 2 * reach), prediction.dtype)
    for v in range(height):
        row, row_label = metres[v + reach], label[v + reach]
        for u in range(width):
            known = (point_index[v, u] >= 0) & (prediction[v, u] != IGNORE)
            row[u + reach] = range_[max(point_index[v, u], 0)] if known else INF
            row_label[u + reach] = prediction[v, u]
        if wrap:
            for k in range(reach):  # modulo: a window may be wider than the image
                left, right = reach + (k - reach) % width, reach + k % width
                row[k], row_label[k] = row[left], row_label[left]
                row[reach + width + k], row_label[reach + width + k] = row[right], row_label[right]
    return metres, label


@njit(cache=True, nogil=True)
def _settle_row(
    rows: tuple[NDArray, NDArray],
    weight: NDArray,
    vote: tuple[int, np.float32, int],
    counts: tuple[NDArray, ...],
    flag: NDArray,
) -> None:
    """Write `flag`, the flags of one row's pixels, from the S padded rows around it."""
    metres, label = rows
    k, cutoff, first = vote
    near, other, differ = counts
    side = len(weight)
    reach = side // 2
    width = len(flag)
    near[:] = 0
    other[:] = 0
    differ[:] = 0
    centre, centre_label = metres[reach, reach : reach + width], label[reach, reach : reach + width]
    for dv in range(side):
        for du in range(side):
            w = weight[dv, du]
            cell, cell_label = metres[dv, du : du + width], label[dv, du : du + width]
            for u in range(width):
                different = cell_label[u] != centre_label[u]
                within = abs(cell[u] - centre[u]) * w <= cutoff
                near[u] += within
                other[u] += within & different
                differ[u] += different & (cell[u] < INF)
    for u in range(width):
        # Of the min(k, near) votes, at most `other` are for other labels. If these are less than half, the class wins.
        # A class that may not win is settled only if no vote is for another label.
        votes = min(k, near[u]) if centre_label[u] >= first else 1
        settled = 2 * other[u] < votes
        flag[u] = settled * SETTLED + (differ[u] == 0) * UNIFORM if centre[u] < INF else np.uint8(0)


@njit(cache=True, nogil=True)
def settle_pixels(
    padded: tuple[NDArray[np.float32], NDArray[np.uint8]],
    weight: NDArray[np.float32],
    vote: tuple[int, np.float32, int],
) -> NDArray[np.uint8]:
    """Find the pixels whose vote does not need the selection of the k nearest neighbours.

    Args:
        padded: range and label (H + S - 1, W + S - 1).
        weight: (S, S) factors on the differences of ranges.
        vote: k; cutoff, metres; the first class that may win.

    Returns:
        (H, W) SETTLED and UNIFORM flags.
    """
    metres, label = padded
    side = len(weight)
    height, width = metres.shape[0] - side + 1, metres.shape[1] - side + 1
    flags = np.empty((height, width), np.uint8)
    counts = (np.empty(width, np.int16), np.empty(width, np.int16), np.empty(width, np.int16))
    for v in range(height):
        rows = (metres[v : v + side], label[v : v + side])
        _settle_row(rows, weight, vote, counts, flags[v])
    return flags


@njit(cache=True, nogil=True)
def _near_cells(
    padded: tuple[NDArray, NDArray],
    window: tuple[NDArray, NDArray],
    at: tuple[np.uint64, np.float32],
    cutoff: np.float32,
    found: tuple[NDArray, NDArray, NDArray],
) -> tuple[np.int64, np.int64]:
    """Write a key for each neighbour within the cutoff, in window order.

    A key consists of the bits of the distance, the index of the cell in the window and its label, so that keys sort by
    distance. Returns the number of keys, and the number of those with another label than the window's middle.
    """
    metres, label = padded
    offset, weight = window
    corner, own = at
    distance, bits, key = found
    count, other = np.uint64(0), np.uint64(0)
    centre = label[corner + offset[len(offset) // 2]]
    for c in range(len(offset)):
        cell = corner + offset[c]
        distance[c] = abs(metres[cell] - own) * weight[c]
        key[count] = (np.int64(bits[c]) << 32) | (c << 8) | np.int64(label[cell])
        near = distance[c] <= cutoff
        count += np.uint64(near)
        other += np.uint64(near & (label[cell] != centre))
    return np.int64(count), np.int64(other)


@njit(cache=True, nogil=True)
def _keep_nearest(key: NDArray[np.int64], count: int, k: int) -> None:
    """Move the k smallest of `count` keys to the front: insertion without branches that could be mispredicted."""
    for i in range(1, count):
        sinking = key[i]
        for j in range(min(i, k)):
            least = min(key[j], sinking)
            sinking = max(key[j], sinking)
            key[j] = least
        key[min(i, k)] = sinking


@njit(cache=True, nogil=True)
def _elect(key: NDArray[np.int64], votes: int, first: int, tally: NDArray[np.int32]) -> int:
    """The class >= `first` with most votes, the lowest on ties; without votes IGNORE, or `first` if `first` is 1."""
    for i in range(votes):
        tally[key[i] & 255] += 1
    best, most = first if first > 0 else IGNORE, 0
    for i in range(votes):
        label = key[i] & 255
        if label >= first and (tally[label] > most or (tally[label] == most and label < best)):
            best, most = label, tally[label]
    for i in range(votes):
        tally[key[i] & 255] = 0
    return best


@njit(cache=True, nogil=True)
def _window(weight: NDArray, stride: int) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    """Offsets of the window's cells from its upper left cell in the flat padded image, and their weights."""
    side = len(weight)
    offset = np.empty(side * side, np.uint64)  # unsigned: no test for indices from the end
    for c in range(side * side):
        offset[c] = c // side * stride + c % side
    return offset, weight.reshape(-1)


@njit(cache=True, nogil=True)
def vote_points(
    points: tuple[NDArray, NDArray, NDArray, NDArray],
    padded: tuple[NDArray, NDArray],
    flags: NDArray[np.uint8],
    weight: NDArray[np.float32],
    vote: tuple[int, np.float32, int],
) -> NDArray[np.uint8]:
    """Every point's label by the vote of its k nearest neighbours.

    Args:
        points: row, col, range (N,) and point_index (H, W).
        padded: range and label (H + S - 1, W + S - 1).
        flags: (H, W) from `settle_pixels`.
        weight: (S, S) factors on the differences of ranges, 0 in the middle, for the point's own pixel.
        vote: k; cutoff, metres; the first class that may win (0 or 1).

    Returns:
        (N,) uint8, IGNORE for no returns.
    """
    row, col, range_, point_index = points
    k, cutoff, first = vote
    stride = padded[0].shape[1]
    flat = (padded[0].reshape(-1), padded[1].reshape(-1))
    window = _window(weight, stride)
    centre = window[0][weight.size // 2]
    distance = np.empty(weight.size, np.float32)
    key = np.empty(weight.size + 1, np.int64)
    found = (distance, distance.view(np.int32), key)
    tally = np.zeros(256, np.int32)
    result = np.full(len(row), IGNORE, np.uint8)
    for i in range(len(row)):
        v, u = row[i], col[i]
        if v < 0:
            continue
        corner = np.uint64(v * stride + u)
        flag = flags[v, u]
        if flag & UNIFORM or (flag & SETTLED and point_index[v, u] == i):
            result[i] = max(flat[1][corner + centre], np.uint8(first))
            continue
        near, other = _near_cells(flat, window, (corner, range_[i]), cutoff, found)
        own = flat[1][corner + centre]
        if own >= first and 2 * other < min(near, k):
            result[i] = own
            continue
        if near > k:
            _keep_nearest(key, near, k)
        result[i] = _elect(key, min(near, k), first, tally)
    return result


@njit(cache=True, nogil=True)
def nearest_points(
    points: tuple[NDArray, NDArray, NDArray, NDArray], padded: tuple[NDArray, NDArray], side: int
) -> NDArray:
    """Every point's label, from the window's cell with the nearest range; arguments: see `vote_points`, `side` is S."""
    row, col, range_, point_index = points
    stride = padded[0].shape[1]
    metres, label = padded[0].reshape(-1), padded[1].reshape(-1)
    offset, _ = _window(np.ones((side, side), np.float32), stride)
    centre = offset[len(offset) // 2]
    result = np.full(len(row), IGNORE, label.dtype)
    for i in range(len(row)):
        v, u = row[i], col[i]
        if v < 0:
            continue
        corner = np.uint64(v * stride + u)
        own = range_[i]
        # The padded range is read first; it is infinite if the pixel is predicted IGNORE.
        if own == metres[corner + centre] or own == range_[point_index[v, u]]:
            result[i] = label[corner + centre]
            continue
        least, best = INF, 0
        for c in range(len(offset)):
            d = abs(metres[corner + offset[c]] - own)
            best = c if d < least else best
            least = min(d, least)
        if least < INF:
            result[i] = label[corner + offset[best]]
    return result
