"""Bird's-eye view of points: forward is up, left is left, the sensor is in the middle.

Shapes: N points; pictures are (rows, columns, 3) uint8, RGB.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rangeseg.labels import LabelMap
from rangeseg.vis.panels import BACKGROUND, Picture, colorise

_RING, _RING_TEXT = (52, 56, 64), (140, 144, 152)


def birds_eye(
    xyz: NDArray[np.floating],
    label: NDArray[np.integer],
    label_map: LabelMap,
    *,
    extent_m: float = 50.0,
    pixels: int = 800,
    dot: int = 1,
) -> Picture:
    """Labelled points from above in the colours of their classes; IGNORE is left out.

    Args:
        xyz: (N, 3) metres, x forward, y left, z up.
        label: (N,) train ids or IGNORE.
        label_map: the classes.
        extent_m: as in `from_above`.
        pixels: as in `from_above`.
        dot: as in `from_above`.

    Returns:
        (pixels, pixels, 3).
    """
    return from_above(xyz, colorise(label, label_map), extent_m=extent_m, pixels=pixels, dot=dot)


def from_above(
    xyz: NDArray[np.floating], colors: Picture, *, extent_m: float = 50.0, pixels: int = 800, dot: int = 1
) -> Picture:
    """Coloured points from above; a pixel shows its highest point.

    Black points, points outside the square and non-finite points are left out.

    Args:
        xyz: (N, 3) metres, x forward, y left, z up.
        colors: (N, 3) uint8 RGB.
        extent_m: the square reaches this far ahead, back, left and right, metres.
        pixels: rows and columns of the picture.
        dot: side of a point, pixels.

    Returns:
        (pixels, pixels, 3), the panels' `BACKGROUND` in pixels without a point.
    """
    inside = colors.any(axis=1) & np.isfinite(xyz).all(axis=1) & (np.abs(xyz[:, :2]) < extent_m).all(axis=1)
    upward = np.flatnonzero(inside)
    upward = upward[np.argsort(xyz[upward, 2], kind="stable")]
    place = ((extent_m - xyz[upward, :2].astype(np.float64)) * (pixels / (2 * extent_m))).astype(np.int64)
    picture = np.full((pixels, pixels, 3), BACKGROUND, np.uint8)
    for corner in reversed(list(np.ndindex(dot, dot))):
        row, column = np.minimum(place + corner, pixels - 1).T
        picture[row, column] = colors[upward]  # of several points in a pixel, NumPy keeps the last: the highest
    return picture


def range_rings(picture: Picture, *, extent_m: float = 50.0) -> Picture:
    """The picture with a circle every 10 metres behind its points and an arrow in the forward direction.

    Args:
        picture: from `from_above` or `birds_eye`.
        extent_m: the `extent_m` of the picture, metres.
    """
    pixels = len(picture)
    middle, scale, size = pixels / 2, pixels / (2 * extent_m), pixels / 80
    rings = Image.new("RGB", (pixels, pixels), BACKGROUND)
    radii = np.arange(10.0, extent_m, 10.0)
    for reach in radii * scale:
        circle = (middle - reach, middle - reach, middle + reach, middle + reach)
        ImageDraw.Draw(rings).ellipse(circle, outline=_RING, width=2)
    empty = (picture == BACKGROUND).all(axis=-1, keepdims=True)
    sheet = Image.fromarray(np.where(empty, np.asarray(rings), picture))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(1.6 * size)
    for metres in radii:
        along = middle + metres * scale * np.sqrt(0.5)
        draw.text((along, along), f"{metres:g} m", _RING_TEXT, font, "mm", stroke_width=2, stroke_fill=BACKGROUND)
    ahead = [(middle, middle - 1.4 * size), (middle - size, middle + size), (middle + size, middle + size)]
    draw.polygon(ahead, fill=(255, 255, 255))
    return np.asarray(sheet)
