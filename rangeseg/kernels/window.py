"""An affine window of a photograph: bilinear image, nearest label."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True, error_model="numpy")
def look(seen: tuple, matrix: NDArray, reflect: bool, line: tuple, out: tuple) -> None:
    """Fill image, valid and label; `line`: index in the photograph, gain and offset of each channel."""
    photo, label = seen
    kind, gain, offset = line
    image, valid, labels = out
    height, width = photo.shape[0], photo.shape[1]
    for i in range(image.shape[1]):
        for j in range(image.shape[2]):
            y = matrix[0, 0] * (i + 0.5) + matrix[0, 1] * (j + 0.5) + matrix[0, 2]
            x = matrix[1, 0] * (i + 0.5) + matrix[1, 1] * (j + 0.5) + matrix[1, 2]
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            valid[i, j] = inside
            if inside and label.size:
                labels[i, j] = label[int(y), int(x)]
            if not inside and not reflect:
                image[:, i, j] = 0
                continue
            row, col = math.floor(y - 0.5), math.floor(x - 0.5)
            down, right = np.float32(y - 0.5 - row), np.float32(x - 0.5 - col)
            top, bottom = _within(row, height, reflect), _within(row + 1, height, reflect)
            left, other = _within(col, width, reflect), _within(col + 1, width, reflect)
            for k in range(len(kind)):
                c = kind[k]
                near = np.float32(photo[top, left, c]) * (1 - down) + np.float32(photo[bottom, left, c]) * down
                far = np.float32(photo[top, other, c]) * (1 - down) + np.float32(photo[bottom, other, c]) * down
                image[k, i, j] = (near * (1 - right) + far * right) * gain[k] + offset[k]


@njit(cache=True, nogil=True, error_model="numpy")
def look_straight(seen: tuple, matrix: NDArray, reflect: bool, line: tuple, out: tuple) -> None:
    """Like `look`, without rotation: blend two whole rows of the photograph, then interpolate between their columns."""
    photo, label = seen
    kind, gain, offset = line
    image, valid, labels = out
    top, bottom, down, in_row, at_row = _axis(image.shape[1], matrix[0, 0], matrix[0, 2], photo.shape[0], reflect)
    left, other, right, in_col, at_col = _axis(image.shape[2], matrix[1, 1], matrix[1, 2], photo.shape[1], reflect)
    first, last = 3 * min(left.min(), other.min()), 3 * max(left.max(), other.max()) + 3
    lines, blended = photo.reshape(photo.shape[0], -1), np.empty(3 * photo.shape[1], np.float32)
    for i in range(image.shape[1]):
        above, below, share = lines[top[i]], lines[bottom[i]], down[i]
        if in_row[i] or reflect:
            for c in range(first, last):
                blended[c] = np.float32(above[c]) * (1 - share) + np.float32(below[c]) * share
        for j in range(image.shape[2]):
            inside = in_row[i] and in_col[j]
            valid[i, j] = inside
            if inside and label.size:
                labels[i, j] = label[at_row[i], at_col[j]]
        for k in range(len(kind)):
            for j in range(image.shape[2]):
                value = np.float32(0)
                if reflect or (in_row[i] and in_col[j]):
                    near, far = blended[3 * left[j] + kind[k]], blended[3 * other[j] + kind[k]]
                    value = (near * (1 - right[j]) + far * right[j]) * gain[k] + offset[k]
                image[k, i, j] = value


@njit(cache=True, nogil=True)
def _axis(count: int, step: float, shift: float, size: int, reflect: bool) -> tuple:
    """(count,) each: the two pixels around a position, weight of the second, whether inside, pixel that contains it."""
    one, two, at = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64)
    share, inside = np.empty(count, np.float32), np.empty(count, np.bool_)
    for i in range(count):
        place = step * (i + 0.5) + shift
        index = math.floor(place - 0.5)
        share[i] = place - 0.5 - index
        one[i], two[i] = _within(index, size, reflect), _within(index + 1, size, reflect)
        inside[i] = (place >= 0) & (place < size)
        at[i] = int(place)
    return one, two, share, inside, at


@njit(cache=True, nogil=True)
def _within(index: int, size: int, reflect: bool) -> int:
    """The index, if it is inside; otherwise the nearest index at the border, or the mirrored index."""
    if 0 <= index < size:
        return index
    if not reflect:
        return min(max(index, 0), size - 1)
    if size == 1:
        return 0
    folded = index % (2 * size - 2)
    return min(folded, 2 * size - 2 - folded)
