"""The path of a drive from above.

Shapes: N scans; pictures are (rows, columns, 3) uint8, RGB.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rangeseg.vis.panels import BACKGROUND, TEXT, Picture
from rangeseg.vis.plots import COLORS, ticks

_GRID, _FIRST, _LAST = (52, 56, 64), (110, 206, 88), (226, 39, 44)
_PIXELS, _MARGIN, _LARGER = 700, 50, 2

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont
Place = Callable[[NDArray], list[tuple[float, float]]]


def path_picture(paths: dict[str, NDArray[np.floating]]) -> Picture:
    """Paths over a grid of metres, each with its first place in green and its last in red.

    Args:
        paths: name -> (N, 3) positions in one world frame, metres; x is to the right, y is up.

    Returns:
        (700, 700, 3).

    Raises:
        ValueError: there is no position.
    """
    every = np.concatenate([path[:, :2] for path in paths.values()]) if paths else np.empty((0, 2))
    if not len(every):
        raise ValueError("There is no path to draw; give at least one position.")
    size, margin = _PIXELS * _LARGER, _MARGIN * _LARGER
    middle = (every.min(0) + every.max(0)) / 2
    reach = max(1.0, float((every.max(0) - every.min(0)).max()) / 2) * 1.08
    scale = (size / 2 - margin) / reach

    def place(xy: NDArray) -> list[tuple[float, float]]:
        moved = (xy[:, :2] - middle) * (scale, -scale) + size / 2
        return [(float(x), float(y)) for x, y in moved]

    sheet = Image.new("RGB", (size, size), BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13 * _LARGER)
    _grid(draw, font, place, (middle - reach, middle + reach))
    for number, (name, path) in enumerate(paths.items()):
        places, color = place(path), COLORS[(number + 6) % len(COLORS)]
        draw.line(places, color, 2 * _LARGER, joint="curve")
        for (x, y), fill in zip([*places, places[0], places[-1]], [*[color] * len(places), _FIRST, _LAST], strict=True):
            radius = (2 if fill == color else 5) * _LARGER
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill)
        length = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
        words = f"{name}: {len(path)} scans, {length:.1f} m"
        draw.text((margin, (8 + 16 * number) * _LARGER), words, color, font)
    return np.asarray(sheet.resize((_PIXELS, _PIXELS), Image.Resampling.LANCZOS))


def _grid(draw: ImageDraw.ImageDraw, font: Font, place: Place, ends: tuple[NDArray, NDArray]) -> None:
    (left, low), (right, high) = ends
    for value in ticks(left, right)[1:-1]:
        first, last = place(np.array([[value, low], [value, high]]))
        draw.line([first, last], _GRID, _LARGER)
        draw.text((first[0], first[1] + 4), f"{value:g} m", TEXT, font, anchor="ma")
    for value in ticks(low, high)[1:-1]:
        first, last = place(np.array([[left, value], [right, value]]))
        draw.line([first, last], _GRID, _LARGER)
        draw.text((first[0] - 6, first[1]), f"{value:g}", TEXT, font, anchor="rm")
