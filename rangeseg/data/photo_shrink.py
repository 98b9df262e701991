"""Photographs made smaller when they are read, as published protocols do it.

Shapes: H rows, W columns, C channels of a photograph; h, w of the smaller one.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


def halve_image(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mean of each 2 x 2 pixels, cut off to whole numbers.

    Args:
        image: (H, W, C) uint8 of even H and W.

    Returns:
        (H / 2, W / 2, C) uint8.

    Raises:
        ValueError: an odd number of rows or columns.

    Source:
        French et al., BMVC 2020, by its code.
    """
    _check_even(image)
    return _mean_of_four(np.ascontiguousarray(image))


def halve_label(raw: NDArray[np.integer]) -> NDArray[np.integer]:
    """The raw id that most of each 2 x 2 pixels have; of equally frequent ones the lowest.

    Args:
        raw: (H, W) integers, H and W even.

    Returns:
        (H / 2, W / 2) of the same dtype.

    Raises:
        ValueError: an odd number of rows or columns.

    Source:
        French et al., BMVC 2020, by its code.
    """
    _check_even(raw)
    return _most_of_four(np.ascontiguousarray(raw))


def mean_of_areas(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Every pixel is the mean of the area that it covers, parts of pixels counting in part; sides may shrink unequally.

    Args:
        image: (H, W) or (H, W, C) uint8.
        height: h, at most H for the mean to be one.
        width: w, likewise.

    Returns:
        (h, w) or (h, w, C) uint8, rounded, halves to even numbers.
    """
    whole = np.ascontiguousarray(image).reshape(*image.shape[:2], -1)
    return _mean_of_areas(whole, height, width).reshape(height, width, *image.shape[2:])


def _check_even(array: NDArray) -> None:
    if array.shape[0] % 2 or array.shape[1] % 2:
        raise ValueError(
            f"{array.shape[0]} x {array.shape[1]} pixels (rows x columns) cannot be halved; give even numbers, or "
            "leave half out."
        )


@njit(cache=True, nogil=True)
def _mean_of_four(image: NDArray) -> NDArray:
    height, width, channels = image.shape[0] // 2, image.shape[1] // 2, image.shape[2]
    out = np.empty((height, width, channels), np.uint8)
    for row in range(height):
        above, below = image[2 * row], image[2 * row + 1]
        for col in range(width):
            for channel in range(channels):
                left = np.uint32(above[2 * col, channel]) + np.uint32(below[2 * col, channel])
                right = np.uint32(above[2 * col + 1, channel]) + np.uint32(below[2 * col + 1, channel])
                out[row, col, channel] = (left + right) >> 2
    return out


@njit(cache=True, nogil=True)
def _most_of_four(raw: NDArray) -> NDArray:
    """Sorted, four ids have their most frequent one at the front, or else in the middle, or else at the end."""
    height, width = raw.shape[0] // 2, raw.shape[1] // 2
    out = np.empty((height, width), raw.dtype)
    for row in range(height):
        for col in range(width):
            a, b = raw[2 * row, 2 * col], raw[2 * row, 2 * col + 1]
            c, d = raw[2 * row + 1, 2 * col], raw[2 * row + 1, 2 * col + 1]
            a, b = min(a, b), max(a, b)
            c, d = min(c, d), max(c, d)
            a, c = min(a, c), max(a, c)
            b, d = min(b, d), max(b, d)
            b, c = min(b, c), max(b, c)
            if a == b:
                out[row, col] = a
            elif b == c:
                out[row, col] = b
            elif c == d:
                out[row, col] = c
            else:
                out[row, col] = a
    return out


@njit(cache=True, nogil=True)
def _mean_of_areas(image: NDArray, height: int, width: int) -> NDArray:
    """Sums of whole and cut rows first, then of their columns; areas are counted in h x w parts of a pixel."""
    rows, cols, channels = image.shape
    out = np.empty((height, width, channels), np.uint8)
    for row in range(height):
        sums = np.zeros((cols, channels), np.int64)
        for source in range(row * rows // height, -(-(row + 1) * rows // height)):
            part = min((row + 1) * rows, (source + 1) * height) - max(row * rows, source * height)
            for col in range(cols):
                for channel in range(channels):
                    sums[col, channel] += part * np.int64(image[source, col, channel])
        for col in range(width):
            first, last = col * cols // width, -(-(col + 1) * cols // width)
            for channel in range(channels):
                total = np.int64(0)
                for source in range(first, last):
                    part = min((col + 1) * cols, (source + 1) * width) - max(col * cols, source * width)
                    total += part * sums[source, channel]
                out[row, col, channel] = np.uint8(np.rint(total / (rows * cols)))
    return out
