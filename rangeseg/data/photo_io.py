"""Reading photographs and their label images. Every error names the file and says what to do.

Pixels are taken as the file stores them: a camera's orientation tag turns neither the image nor its labels.
Shapes: H rows, W columns.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rangeseg.labels import LabelMap
from rangeseg.types import Photo

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
COLOUR_MODES = ("RGB", "L", "P", "RGBA", "CMYK")
"""What is read as 8-bit colour; grey becomes three equal channels, an alpha channel is left out."""
LABEL_MODES = ("L", "P", "I;16")
"""What is read as raw ids: grey levels or palette indices."""

_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)


def read_photo(path: str | Path, *, labels: str | Path | None = None, label_map: LabelMap | None = None) -> Photo:
    """Read a photograph, and its labels where asked.

    Args:
        path: the image.
        labels: its label image.
        label_map: the dataset's classes; needed with `labels`.

    Raises:
        ValueError: a file is missing, damaged or of the wrong kind, the labels are of another size, or there are raw
            ids the dataset does not have.
    """
    image = read_image(path)
    if labels is None:
        return Photo(image)
    if label_map is None:
        raise ValueError(f"{labels}: cannot be read without the dataset's classes; give label_map.")
    raw = read_label_image(labels)
    if raw.shape != image.shape[:2]:
        raise ValueError(
            f"{labels}: {raw.shape[0]} x {raw.shape[1]} pixels of labels (rows x columns) for the {image.shape[0]} x "
            f"{image.shape[1]} of {path}. Give the labels of this image."
        )
    try:
        return Photo(image, label_map.to_train(raw))
    except ValueError as error:
        raise ValueError(f"{labels}: {error}") from error


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read an image file as RGB.

    Args:
        path: JPEG, PNG or another format Pillow opens, in one of `COLOUR_MODES`.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: the file is missing, damaged or in another mode.
    """
    return _read(path, COLOUR_MODES, "an 8-bit image in colour or grey")


def read_label_image(path: str | Path) -> NDArray[np.integer]:
    """Read an image of raw ids; of a palette PNG the indices, not the colours.

    Args:
        path: PNG or another lossless format, in one of `LABEL_MODES`.

    Returns:
        (H, W) uint8, or uint16 where the file has 16 bits.

    Raises:
        ValueError: the file is missing, damaged or in another mode, or it is a JPEG.
    """
    return _read(path, LABEL_MODES, "a PNG of raw ids, grey or with a palette")


def _read(path: str | Path, modes: tuple[str, ...], wanted: str) -> NDArray:
    try:
        with Image.open(path) as image:
            if image.mode not in modes or (modes is LABEL_MODES and image.format == "JPEG"):
                raise ValueError(f"is {image.format} of mode {image.mode}")
            colour = modes is COLOUR_MODES and image.mode != "RGB"
            return np.array(image.convert("RGB") if colour else image)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file; give {wanted}.") from error
    except _DAMAGE as error:
        raise ValueError(f"{path}: {error}; give {wanted}, and copy it again if it is damaged.") from error
