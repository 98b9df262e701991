"""`Window`: where each pixel of a view looks in a photograph. Crop, scale, turn and padding are one affine map.

Nothing is made at the photograph's size: a pixel of the view reads the four uint8 pixels around its place and is
normalised at once. Shapes: H rows, W columns of the view; H0, W0 of the photograph; C channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numba import njit
from numpy.typing import ArrayLike, NDArray

from rangeseg.projection.range_image import normalisation
from rangeseg.types import IGNORE, Photo, View

COLORS: tuple[str, ...] = ("red", "green", "blue")
"""What a photograph's channels can be, in [0, 1]."""


@dataclass(frozen=True)
class Window:
    """A view's pixels laid over a photograph.

    Places are (row, column) and continuous: pixel (0, 0) reaches from 0 to 1 and has its centre at 0.5.

    Args:
        height: H, pixels.
        width: W, pixels.
        matrix: (2, 3) float64: ``matrix @ (row, column, 1)`` is the place in the photograph of a place in the view.
        reflect: outside the photograph the image goes on as its mirror image (without repeating the border's pixels),
            and so is not 0 there; False pads it with 0. Either way it is not valid there and has no label.
    """

    height: int
    width: int
    matrix: NDArray[np.float64]
    reflect: bool = False

    def view(self, photo: Photo, channels: Sequence[str], mean: ArrayLike, std: ArrayLike) -> View:
        """What a network reads: the image bilinear and normalised, the label of the nearest pixel.

        Args:
            photo: H0 x W0 pixels.
            channels: C names among red, green and blue, in the network's order.
            mean: (C,) subtracted from each channel in [0, 1].
            std: (C,) that each channel is then divided by.

        Returns:
            The view: valid where a pixel's centre is on the photograph; label IGNORE elsewhere, and everywhere where
            the photograph has no labels.

        Raises:
            ValueError: an unknown channel, a mean or std of another length, or a std that is not positive.
        """
        kind, mean32, std32 = normalisation(COLORS, channels, mean, std)
        image = torch.empty((len(channels), self.height, self.width), dtype=torch.float32)
        valid = torch.empty((self.height, self.width), dtype=torch.bool)
        label = torch.full((self.height, self.width), IGNORE, dtype=torch.int64)
        line = (kind, 1 / (255 * std32), -mean32 / std32)
        inside = valid.numpy()
        _look(photo.image, self.matrix, self.reflect, line, (image.numpy(), inside))
        if photo.label is not None:
            _take_labels(photo.label, self.matrix, inside, label.numpy())
        return View(image, valid, label)


@njit(cache=True, nogil=True, error_model="numpy")
def _look(photo: NDArray, matrix: NDArray, reflect: bool, line: tuple, out: tuple[NDArray, NDArray]) -> None:
    """Fill image and valid; `line` is each channel's place in the photograph, gain and offset."""
    kind, gain, offset = line
    image, valid = out
    height, width = photo.shape[0], photo.shape[1]
    for i in range(image.shape[1]):
        for j in range(image.shape[2]):
            y = matrix[0, 0] * (i + 0.5) + matrix[0, 1] * (j + 0.5) + matrix[0, 2]
            x = matrix[1, 0] * (i + 0.5) + matrix[1, 1] * (j + 0.5) + matrix[1, 2]
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            valid[i, j] = inside
            if not inside and not reflect:
                image[:, i, j] = 0
                continue
            row, col = math.floor(y - 0.5), math.floor(x - 0.5)
            down, right = np.float32(y - 0.5 - row), np.float32(x - 0.5 - col)
            top, bottom = _within(row, height, reflect), _within(row + 1, height, reflect)
            left, other = _within(col, width, reflect), _within(col + 1, width, reflect)
            for k in range(len(kind)):
                c = kind[k]
                above = np.float32(photo[top, left, c]) * (1 - right) + np.float32(photo[top, other, c]) * right
                below = np.float32(photo[bottom, left, c]) * (1 - right) + np.float32(photo[bottom, other, c]) * right
                image[k, i, j] = (above * (1 - down) + below * down) * gain[k] + offset[k]


@njit(cache=True, nogil=True)
def _within(index: int, size: int, reflect: bool) -> int:
    """The pixel that stands for one outside: the border's, or the mirrored one."""
    if 0 <= index < size:
        return index
    if not reflect:
        return min(max(index, 0), size - 1)
    if size == 1:
        return 0
    folded = index % (2 * size - 2)
    return min(folded, 2 * size - 2 - folded)


@njit(cache=True, nogil=True, error_model="numpy")
def _take_labels(label: NDArray, matrix: NDArray, valid: NDArray, out: NDArray) -> None:
    """The label of the pixel that each valid pixel's centre is in."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            if valid[i, j]:
                y = matrix[0, 0] * (i + 0.5) + matrix[0, 1] * (j + 0.5) + matrix[0, 2]
                x = matrix[1, 0] * (i + 0.5) + matrix[1, 1] * (j + 0.5) + matrix[1, 2]
                out[i, j] = label[int(y), int(x)]
