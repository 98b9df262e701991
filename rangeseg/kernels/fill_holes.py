"""Filling the holes of a segment, as skin lesions are scored on ISIC 2017.

Shapes: H rows, W columns.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


def fill_holes(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The segment with its holes: every pixel from which no path outside the segment reaches the image's border.

    Args:
        inside: (H, W) bool, True in the segment. Paths go up, down, left and right.

    Returns:
        (H, W) bool.
    """
    return ~_reached(np.ascontiguousarray(inside))


@njit(cache=True, nogil=True)
def _reached(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) bool, True for pixels outside the segment that are connected to the image's border."""
    height, width = inside.shape
    reached = np.zeros((height, width), np.bool_)
    waiting = np.empty(height * width, np.int64)  # each pixel is added at most once
    count = 0
    for i in range(height):
        for j in range(width):
            if (i == 0 or j == 0 or i == height - 1 or j == width - 1) and not inside[i, j]:
                reached[i, j] = True
                waiting[count] = i * width + j
                count += 1
    while count:
        count -= 1
        i, j = divmod(waiting[count], width)
        for di, dj in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            y, x = i + di, j + dj
            if 0 <= y < height and 0 <= x < width and not inside[y, x] and not reached[y, x]:
                reached[y, x] = True
                waiting[count] = y * width + x
                count += 1
    return reached
