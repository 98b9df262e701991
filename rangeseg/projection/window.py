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
        out = image.numpy(), valid.numpy(), label.numpy()
        seen = np.ascontiguousarray(photo.image), _NO_LABEL if photo.label is None else photo.label
        turned = self.matrix[0, 1] != 0 or self.matrix[1, 0] != 0
        (_look if turned else _look_straight)(seen, self.matrix, self.reflect, line, out)
        return View(image, valid, label)


_NO_LABEL = np.empty((0, 0), np.uint8)


@njit(cache=True, nogil=True, error_model="numpy")
def _look(seen: tuple, matrix: NDArray, reflect: bool, line: tuple, out: tuple) -> None:
    """Fill image, valid and label; `line` is each channel's place in the photograph, gain and offset."""
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
def _look_straight(seen: tuple, matrix: NDArray, reflect: bool, line: tuple, out: tuple) -> None:
    """The same where rows stay rows: two rows of the photograph are blended as they lie, then looked up."""
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
    """(count,) each: the two pixels around a place, the share of the second, whether inside, the pixel it is in."""
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
    """The pixel that stands for one outside: the border's, or the mirrored one."""
    if 0 <= index < size:
        return index
    if not reflect:
        return min(max(index, 0), size - 1)
    if size == 1:
        return 0
    folded = index % (2 * size - 2)
    return min(folded, 2 * size - 2 - folded)
