"""Reading photographs and label images, and writing label images. Errors name the file and the fix.

Images and label images are rotated and mirrored by their EXIF tag Orientation, as in viewers. If the tags of an image
and of its label image differ, the orientation of the labels is unknown, and they are refused.
Shapes: H rows, W columns.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from rangeseg.files import plain_file, write_atomically
from rangeseg.labels import LabelMap
from rangeseg.notices import notify
from rangeseg.types import Photo

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
COLOUR_MODES = ("RGB", "L", "P", "RGBA", "CMYK")
"""Pillow's modes that are read as 8-bit colour; grey becomes three equal channels, an alpha channel is left out."""
LABEL_MODES = ("L", "P", "I;16")
"""Pillow's modes that are read as raw ids: grey levels or palette indices."""
LABEL_CURES = {
    "RGBA": ", with an alpha channel that no label has: save it without",
    "LA": ", with an alpha channel that no label has: save it without",
    "1": ", which has only two values: save it as 8-bit grey, with the raw id as the value of each pixel",
}
"""Pillow's modes in which labels are sometimes saved by mistake -> what to do, for errors."""

ORIENTATION = 0x0112
TURNS = dict(enumerate(("upright", "mirrored", "turned by 180 degrees", "mirrored and turned by 180 degrees"), 1))
TURNS |= dict(enumerate(("mirrored and turned by 90 degrees", "turned by 90 degrees"), 5))
TURNS |= dict(enumerate(("mirrored and turned by 270 degrees", "turned by 270 degrees"), 7))
SIDEWAYS = (5, 6, 7, 8)
"""EXIF's tag Orientation; the meaning of its values (`TURNS`); values of images that lie on their side."""


@dataclass(frozen=True)
class Shrink:
    """How the photographs of a dataset are downscaled when they are read.

    Args:
        image: (H, W, 3) uint8 -> (h, w, 3) uint8.
        label: (H, W) raw ids -> (h, w) raw ids.
    """

    image: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
    label: Callable[[NDArray[np.integer]], NDArray[np.integer]]


_DAMAGE = (Image.DecompressionBombError, OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)


def read_photo(
    path: str | Path,
    labels: str | Path | None = None,
    *,
    label_map: LabelMap | None = None,
    read_labels: Callable[[str | Path], NDArray[np.integer]] | None = None,
    shrink: Shrink | None = None,
) -> Photo:
    """Read a photograph, and its labels if requested.

    Args:
        path: the image.
        labels: its label image.
        label_map: the dataset's classes; needed with `labels`.
        read_labels: file -> (H, W) raw ids; default: `read_label_image` with the classes' colours.
        shrink: downscales both; the labels while they are raw ids.

    Raises:
        ValueError: a file is missing, damaged or of the wrong kind, `label_map` is missing, the labels have another
            size or orientation, or raw ids that the dataset does not have.
    """
    image = read_image(path)
    if labels is not None and label_map is None:
        raise ValueError(f"{labels}: cannot be read without a label map; give label_map.")
    raw = None
    if labels is not None and label_map is not None:
        _check_orientation(path, labels)
        raw = (read_labels or partial(read_label_image, colors=label_map.raw_colors))(labels)
    if raw is not None and raw.shape != image.shape[:2]:
        raise ValueError(
            f"{labels}: {raw.shape[0]} x {raw.shape[1]} pixels of labels (rows x columns) for the {image.shape[0]} x "
            f"{image.shape[1]} of {path}. Give the labels of this image."
        )
    label = None
    if raw is not None and label_map is not None:
        try:
            label = label_map.to_train(raw)  # before `shrink`, which may hide unknown ids
        except ValueError as error:
            raise ValueError(f"{labels}: {error}") from error
    if shrink is not None:
        try:
            image = shrink.image(image)
            if raw is not None and label_map is not None:
                label = label_map.to_train(shrink.label(raw))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return Photo(image, label, str(path))


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


def read_label_image(path: str | Path, colors: Mapping[int, tuple[int, int, int]] | None = None) -> NDArray[np.integer]:
    """Read an image of raw ids; a palette PNG gives its indices, unless its palette has the colours in another order.

    Args:
        path: PNG or another lossless format, in one of `LABEL_MODES`.
        colors: raw id -> RGB colour. If a used index has the colour of another id, the colours determine the ids, and
            there is a notice.

    Returns:
        (H, W) uint8; uint16 if the file has 16 bits or the colours determine the ids.

    Raises:
        ValueError: the file is missing, damaged or in another mode, it is a JPEG, or the colours determine the ids but
            one of them has no id.
    """
    shown = _read(path, LABEL_MODES, "a PNG of raw ids, grey or with a palette", lossless=True)
    return _by_palette(path, shown, colors or {})


def read_color_labels(path: str | Path, colors: Mapping[int, tuple[int, int, int]]) -> NDArray[np.integer]:
    """Read a label image with a colour for each raw id; images of ids are read as in `read_label_image`.

    Args:
        path: PNG or another lossless format: RGB, or in one of `LABEL_MODES`.
        colors: raw id -> RGB colour; of ids with the same colour the lowest is taken.

    Returns:
        (H, W) integers.

    Raises:
        ValueError: the file is missing, damaged or in another mode, it is a JPEG, or it has colours that no id has.
    """
    shown = _read(path, (*LABEL_MODES, "RGB"), "a PNG of raw ids, or of the classes' colours in RGB", lossless=True)
    if shown.ndim == 2:
        return _by_palette(path, shown, colors)
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
    """Rows and columns of an image file, read from its header only; EXIF's Orientation is applied.

    Raises:
        ValueError: the file is missing or damaged.
    """
    with _opened(path, "an image") as image:
        turned = _orientation(image) in SIDEWAYS
        return (image.width, image.height) if turned else (image.height, image.width)


def write_label_image(path: str | Path, raw: NDArray[np.integer], palette: NDArray[np.uint8] | None = None) -> None:
    """Write an image of raw ids as PNG, atomically.

    Args:
        path: ends in ``.png``; missing folders are made.
        raw: (H, W) integers, 0 to 255, or 65535 without a palette (the file then has 16 bits).
        palette: (P, 3) RGB of the first P ids, which viewers then show; the ids in the file are the same.

    Raises:
        ValueError: another suffix, not (H, W) integers, or ids out of range.
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
    with _opened(path, wanted, check_sums=True) as image:
        if image.mode not in modes or (lossless and image.format == "JPEG"):
            raise ValueError(f"is {image.format} of mode {image.mode}{LABEL_CURES.get(image.mode, '')}")
        colour = modes is COLOUR_MODES and image.mode != "RGB"
        upright = ImageOps.exif_transpose(image) if _orientation(image) != 1 else image
        return np.array(upright.convert("RGB") if colour else upright)


def _orientation(image: Image.Image) -> int:
    """The EXIF tag Orientation, 1 to 8; 1 if there is none."""
    tag = image.getexif().get(ORIENTATION, 1)
    return int(tag) if tag in range(1, 9) else 1


def _check_orientation(path: str | Path, labels: str | Path) -> None:
    tags = []
    for file in (path, labels):
        with _opened(file, "an image") as image:
            tags.append(_orientation(image))
    if tags[0] != tags[1]:
        raise ValueError(
            f"{path}: its EXIF tag Orientation is {tags[0]} ({TURNS[tags[0]]}), but that of {labels} is {tags[1]} "
            f"({TURNS[tags[1]]}), so the orientation of the labels is unknown. Save both upright, without the tag."
        )


def _by_palette(
    path: str | Path, index: NDArray[np.integer], colors: Mapping[int, tuple[int, int, int]]
) -> NDArray[np.integer]:
    """Indices -> raw ids: unchanged, or by the palette's colours if these are the classes' in another order."""
    with _opened(path, "an image") as image:
        palette = [] if image.mode != "P" else np.array(image.getpalette(), np.uint8).reshape(-1, 3).tolist()
    if not palette or all(color == [k, k, k] for k, color in enumerate(palette)):
        return index
    known: dict[tuple[int, ...], int] = {tuple(color): raw for raw, color in sorted(colors.items(), reverse=True)}
    used = np.unique(index).tolist()
    shown = {k: tuple(palette[k]) if k < len(palette) else () for k in used}
    moved = [k for k in used if shown[k] in known and tuple(colors.get(k, ())) != shown[k]]
    if not moved:
        return index
    if strange := [f"{shown[k] or 'none'} at index {k}" for k in used if shown[k] not in known]:
        raise ValueError(
            f"{path}: its palette has a class's colour at index {moved[0]}, which is not its raw id, but colours "
            f"{', '.join(strange[:5])}{', ...' if len(strange) > 5 else ''} have no class. Give each a raw id with "
            "this color in the dataset's YAML; if the indices are the raw ids, save them in grey."
        )
    notify(
        f"{path}: its palette has the classes' colours at indices that are not their raw ids (first: index "
        f"{moved[0]}); labels are read by colour, not by index."
    )
    table = np.zeros(max(used) + 1, np.uint16)
    table[used] = [known[shown[k]] for k in used]
    return table[index]


@contextmanager
def _opened(path: str | Path, wanted: str, *, check_sums: bool = False) -> Iterator[Image.Image]:
    """Open an image. Pillow does not read the check sum behind a PNG's last pixel; `check_sums` verifies it."""
    try:
        if check_sums and Path(path).suffix.lower() == ".png":
            with Image.open(plain_file(path)) as image:
                image.verify()
        with Image.open(plain_file(path)) as image:
            yield image
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file; give {wanted}.") from error
    except _DAMAGE as error:
        raise ValueError(f"{path}: {error}; give {wanted}, and copy it again if it is damaged.") from error
