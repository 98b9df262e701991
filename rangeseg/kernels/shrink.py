"""Downscaling of photographs and their labels."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def mean_of_four(image: NDArray) -> NDArray:
    """(H, W, C) uint8 -> (H // 2, W // 2, C): the mean of each 2 x 2 pixels, rounded down."""
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
def most_of_four(raw: NDArray) -> NDArray:
    """(H, W) -> (H // 2, W // 2): the most frequent id of each 2 x 2 pixels, the lowest one on ties.

    Four sorted ids contain an id that occurs twice or more at the front, in the middle or at the end.
    """
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
def area_mean(image: NDArray, height: int, width: int) -> NDArray:
    """(H, W, C) uint8 -> (height, width, C) uint8: the mean over the area of each pixel, rounded, halves to even.

    Sums up rows first, then columns, in integers: the unit of area is 1 / (height * width) of an input pixel.
    """
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
