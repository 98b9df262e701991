"""Reading photographs and label images, and writing label images. Errors name the file and the fix.

Pixels are taken as the file stores them: a camera's orientation tag turns neither the image nor its labels.
Shapes: H rows, W columns.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rangeseg.files import write_atomically
from rangeseg.labels import LabelMap
from rangeseg.types import Photo

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
COLOUR_MODES = ("RGB", "L", "P", "RGBA", "CMYK")
"""What is read as 8-bit colour; grey becomes three equal channels, an alpha channel is left out."""
LABEL_MODES = ("L", "P", "I;16")
"""What is read as raw ids: grey levels or palette indices."""


@dataclass(frozen=True)
class Shrink:
    """How the photographs of a dataset are downscaled when they are read.

    Args:
        image: (H, W, 3) uint8 -> (h, w, 3) uint8.
        label: (H, W) raw ids -> (h, w) raw ids.
    """

    image: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
    label: Callable[[NDArray[np.integer]], NDArray[np.integer]]


_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)


def read_photo(
    path: str | Path,
    *,
    labels: str | Path | None = None,
    label_map: LabelMap | None = None,
    read_labels: Callable[[str | Path], NDArray[np.integer]] | None = None,
    shrink: Shrink | None = None,
) -> Photo:
    """Read a photograph, and its labels if requested.

    Args:
        path: the image.
        labels: its label image.
        label_map: the dataset's classes; needed with `labels`.
        read_labels: file -> (H, W) raw ids; default: `read_label_image`.
        shrink: makes both smaller, raw ids before they become train ids.

    Raises:
        ValueError: a file is missing, damaged or of the wrong kind, the labels are of another size, or there are raw
            ids the dataset does not have.
    """
    image = read_image(path)
    if labels is not None and label_map is None:
        raise ValueError(f"{labels}: cannot be read without a label map; give label_map.")
    raw = None if labels is None else (read_labels or read_label_image)(labels)
    if raw is not None and raw.shape != image.shape[:2]:
        raise ValueError(
            f"{labels}: {raw.shape[0]} x {raw.shape[1]} pixels of labels (rows x columns) for the {image.shape[0]} x "
            f"{image.shape[1]} of {path}. Give the labels of this image."
        )
    if shrink is not None:
        try:
            image, raw = shrink.image(image), None if raw is None else shrink.label(raw)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    if raw is None or label_map is None:
        return Photo(image)
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
    return _read(path, LABEL_MODES, "a PNG of raw ids, grey or with a palette", lossless=True)


def read_color_labels(path: str | Path, colors: Mapping[int, tuple[int, int, int]]) -> NDArray[np.integer]:
    """Read a label image that shows each raw id in its colour; one that holds ids is read as such.

    Args:
        path: PNG or another lossless format: RGB, or in one of `LABEL_MODES`.
        colors: raw id -> RGB colour; of ids with the same colour the lowest is taken.

    Returns:
        (H, W) integers.

    Raises:
        ValueError: the file is missing, damaged or in another mode, it is a JPEG, or it has colours of no id.
    """
    shown = _read(path, (*LABEL_MODES, "RGB"), "a PNG of raw ids, or of the classes' colours in RGB", lossless=True)
    if shown.ndim == 2:
        return shown
    packed = shown.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    known = {(r << 16) + (g << 8) + b: raw for raw, (r, g, b) in sorted(colors.items(), reverse=True)}
    values, places = np.unique(packed, return_inverse=True)
    if strange := [f"({v >> 16}, {v >> 8 & 255}, {v & 255})" for v in values.tolist() if v not in known]:
        raise ValueError(
            f"{path}: colours {', '.join(strange[:5])}{', ...' if len(strange) > 5 else ''} have no class; give each "
            "a raw id with this color in the dataset's YAML."
        )
    return np.array([known[value] for value in values.tolist()], np.uint16)[places.reshape(packed.shape)]


def read_size(path: str | Path) -> tuple[int, int]:
    """Rows and columns of an image file, from its head alone.

    Raises:
        ValueError: the file is missing or damaged.
    """
    with _opened(path, "an image") as image:
        return image.height, image.width


def write_label_image(path: str | Path, raw: NDArray[np.integer], palette: NDArray[np.uint8] | None = None) -> None:
    """Write an image of raw ids as PNG, atomically.

    Args:
        path: ends in ``.png``; missing folders are made.
        raw: (H, W) integers, 0 to 255, or 65535 without a palette (the file then has 16 bits).
        palette: (P, 3) RGB of the first P ids: viewers then show colours, readers of ids the same ids.

    Raises:
        ValueError: another ending, no picture of integers, or ids that do not fit.
    """
    path, most = Path(path), 65535 if palette is None else 255
    if path.suffix != ".png":
        raise ValueError(f"{path}: unknown extension {path.suffix!r}; the name must end in .png.")
    if raw.ndim != 2 or raw.size == 0 or raw.dtype.kind not in "iu":
        raise ValueError(f"{path}: labels are {raw.dtype} of shape {raw.shape}; give (H, W) integers.")
    if raw.min() < 0 or raw.max() > most:
        raise ValueError(f"{path}: labels range from {raw.min()} to {raw.max()}; give 0 to {most}.")
    picture = Image.fromarray(raw.astype(np.uint8 if raw.max() < 256 else np.uint16))
    if palette is not None:
        picture.putpalette(palette.tobytes())
    content = io.BytesIO()
    picture.save(content, "PNG")
    write_atomically(path, content.getvalue())


def _read(path: str | Path, modes: tuple[str, ...], wanted: str, *, lossless: bool = False) -> NDArray:
    with _opened(path, wanted) as image:
        if image.mode not in modes or (lossless and image.format == "JPEG"):
            raise ValueError(f"is {image.format} of mode {image.mode}")
        colour = modes is COLOUR_MODES and image.mode != "RGB"
        return np.array(image.convert("RGB") if colour else image)


@contextmanager
def _opened(path: str | Path, wanted: str) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file; give {wanted}.") from error
    except _DAMAGE as error:
        raise ValueError(f"{path}: {error}; give {wanted}, and copy it again if it is damaged.") from error
