"""`PaddedImage`: the pixels of a photograph on a padded grid for a network, and the way back to the photograph.

Shapes: H0, W0 rows and columns of the photograph, N = H0 * W0 its pixels row by row; h, w of its scaled copy; H, W of
the grid; C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rangeseg.photos.window import Window
from rangeseg.types import Photo, View


@dataclass(frozen=True)
class PaddedImage:
    """A scaled photograph in the middle of a grid; an odd row or column of padding is at the bottom or right.

    `PhotoPadding` makes it.

    Args:
        photo: H0 x W0 pixels.
        scaled: (h, w) pixels.
        height: H, pixels.
        width: W, pixels.

    Raises:
        ValueError: the copy is empty or larger than the grid.
    """

    photo: Photo
    scaled: tuple[int, int]
    height: int
    width: int

    def __post_init__(self) -> None:
        if not (0 < self.scaled[0] <= self.height and 0 < self.scaled[1] <= self.width):
            raise ValueError(
                f"PaddedImage got a copy of {self.scaled[0]} x {self.scaled[1]} pixels for a grid of {self.height} x "
                f"{self.width}; give at least 1 x 1 pixels, and a grid that is large enough."
            )

    @property
    def corner(self) -> tuple[int, int]:
        """(row, column) of the grid where the copy begins."""
        return (self.height - self.scaled[0]) // 2, (self.width - self.scaled[1]) // 2

    def back_project(self, pixels: NDArray) -> NDArray:
        """Values of the grid -> values of the photograph's pixels, each from the grid pixel that contains its centre.

        Args:
            pixels: (..., H, W) any dtype.

        Returns:
            (..., N) of the same dtype.

        Raises:
            ValueError: the last axes are not H, W.
        """
        if pixels.shape[-2:] != (self.height, self.width):
            raise ValueError(
                f"back_project got shape {pixels.shape} for a padded image of {self.height} x {self.width}; "
                f"give (..., {self.height}, {self.width})."
            )
        sizes = self.photo.image.shape[:2]
        rows, cols = (nearest_centers(*axis) for axis in zip(sizes, self.scaled, self.corner, strict=True))
        return pixels[..., rows[:, None], cols].reshape(*pixels.shape[:-2], -1)

    def view(self, channels: Sequence[str], mean: ArrayLike, std: ArrayLike) -> View:
        """The network input: the normalised copy; around it, 0, IGNORE and not valid. See `Window.view`."""
        (top, left), sizes = self.corner, self.photo.image.shape[:2]
        down, right = (size / scaled for size, scaled in zip(sizes, self.scaled, strict=True))
        matrix = np.array([[down, 0, -top * down], [0, right, -left * right]])
        return Window(self.height, self.width, matrix).view(self.photo, channels, mean, std)


@dataclass(frozen=True)
class PhotoPadding:
    """Maps a photograph of any size to its padded image.

    Args:
        scale: ratio of the copy's sides to the photograph's.
        divisor: (rows, columns) that divide H and W: a network's stride.

    Raises:
        ValueError: a number is not positive.
    """

    scale: float = 1.0
    divisor: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        if not 0 < self.scale < np.inf:
            raise ValueError(f"PhotoPadding.scale is {self.scale}; give a positive number, e.g. 0.5 for half the size.")
        if min(self.divisor) < 1:
            raise ValueError(f"PhotoPadding.divisor is {self.divisor}; give a network's stride, at least (1, 1).")

    def __call__(self, photo: Photo) -> PaddedImage:
        """The padded image of one photograph, on the smallest possible grid."""
        height, width = (max(1, round(size * self.scale)) for size in photo.image.shape[:2])
        down, right = self.divisor
        return PaddedImage(photo, (height, width), -(-height // down) * down, -(-width // right) * right)


def nearest_centers(size: int, scaled: int, first: int) -> NDArray[np.intp]:
    """(size,) for each pixel of one axis, the grid pixel that contains its centre; exact, as computed with integers."""
    return first + (2 * np.arange(size) + 1) * scaled // (2 * size)
