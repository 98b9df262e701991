"""`Window`: the source position of each view pixel in a photograph, as one affine map.

No float image of the photograph's size is made: a view pixel is interpolated from the four uint8 pixels around its
place and directly normalised. Shapes: H rows, W columns of the view; H0, W0 of the photograph; C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from rangeseg.kernels.window import look, look_straight
from rangeseg.projection.range_image import normalisation
from rangeseg.types import IGNORE, Photo, View

COLORS: tuple[str, ...] = ("red", "green", "blue")
"""Names of a photograph's channels, which have values in [0, 1]."""


@dataclass(frozen=True)
class Window:
    """The pixels of a view, placed on a photograph.

    Places are (row, column) and continuous: pixel (0, 0) reaches from 0 to 1 and has its centre at 0.5.

    Args:
        height: H, pixels.
        width: W, pixels.
        matrix: (2, 3) float64: ``matrix @ (row, column, 1)`` is the place in the photograph of a place in the view.
        reflect: pad the photograph with its mirror image (without repeating the border's pixels); False pads with 0.
            In both cases, pixels outside the photograph are not valid and have no label.
    """

    height: int
    width: int
    matrix: NDArray[np.float64]
    reflect: bool = False

    def view(self, photo: Photo, channels: Sequence[str], mean: ArrayLike, std: ArrayLike) -> View:
        """The network input: image interpolated and normalised, label of the nearest pixel.

        Args:
            photo: H0 x W0 pixels.
            channels: C names among red, green and blue, in the network's order.
            mean: (C,) subtracted from each channel in [0, 1].
            std: (C,) that each channel is then divided by.

        Returns:
            The view: valid where a pixel's centre is on the photograph; label IGNORE elsewhere, and everywhere if the
            photograph has no labels.

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
        (look if turned else look_straight)(seen, self.matrix, self.reflect, line, out)
        return View(image, valid, label)


_NO_LABEL = np.empty((0, 0), np.uint8)
