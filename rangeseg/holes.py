"""Filling the holes of a segment, as skin lesions are scored on ISIC 2017.

Shapes: H rows, W columns, N pixels of a photograph row by row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rangeseg.projection.padded_image import PaddedImage
from rangeseg.projection.range_image import RangeImage


def fill_holes(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What is inside, and what it encloses: every pixel from which no path over the outside reaches the border.

    Args:
        inside: (H, W) bool. Paths go up, down, left and right.

    Returns:
        (H, W) bool.
    """
    return ~_reached(np.ascontiguousarray(inside))


@dataclass(frozen=True)
class FillHoles:
    """Every element takes the label of its pixel, after the holes in one class have been filled with it.

    Args:
        train_id: the class, e.g. 1, the lesions of ISIC 2017.

    Source:
        French et al., BMVC 2020, by its code (ISIC 2017).
    """

    train_id: int = 1

    def __call__(
        self, image: RangeImage | PaddedImage, prediction: NDArray[np.integer], num_classes: int
    ) -> NDArray[np.integer]:
        """(H, W) train ids -> (N,) train ids.

        Raises:
            ValueError: there is no such class.
        """
        if not 0 <= self.train_id < num_classes:
            raise ValueError(f"fill_holes.train_id is {self.train_id}; give a class of 0 to {num_classes - 1}.")
        filled = np.where(
            fill_holes(prediction == self.train_id), np.array(self.train_id, prediction.dtype), prediction
        )
        return image.back_project(filled)


@njit(cache=True, nogil=True)
def _reached(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) what is outside and joined to the border."""
    height, width = inside.shape
    reached = np.zeros((height, width), np.bool_)
    waiting = np.empty(height * width, np.int64)  # a pixel waits once
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
