"""Simple line plots as pictures for reports, without further dependencies.

Pictures are (rows, columns, 3) uint8, RGB.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rangeseg.vis.panels import Picture

INK, GRID, PAPER = (40, 44, 52), (224, 226, 230), (255, 255, 255)
COLORS = (
    (31, 98, 160),
    (214, 92, 24),
    (40, 140, 90),
    (150, 60, 150),
    (120, 120, 120),
    (190, 160, 30),
    (20, 170, 190),
    (200, 70, 110),
)
_LARGER = 2  # drawn larger and shrunk: smooth lines
_SIZE = (380, 560)  # rows and columns without a legend beside the plot
_LEFT, _RIGHT, _TOP, _BOTTOM, _BESIDE = 84, 18, 44, 72, 180


@dataclass(frozen=True)
class Axes:
    """The axes of a plot.

    Args:
        title: title above the plot.
        across: title of the horizontal axis.
        up: title of the vertical axis.
        names: texts that replace the numbers 0, 1, ... on the horizontal axis; empty for numbers.
        legend: place of the legend. "top": top right; "bottom": bottom right; "left": bottom left; "beside": to the
            right of the plot, in a wider picture.
        log_x: True for a logarithmic horizontal axis; its values must be positive.
        absent: text in the legend for a line without values; empty: such a line is left out.
    """

    title: str
    across: str
    up: str
    names: tuple[str, ...] = ()
    legend: Literal["top", "bottom", "left", "beside"] = "top"
    log_x: bool = False
    absent: str = ""


Line = tuple[Sequence[float], Sequence[float]]


def plot(lines: Mapping[str, Line], axes: Axes) -> Picture:
    """Draw lines with axes, a grid and a legend.

    Args:
        lines: name -> (horizontal values, vertical values); non-finite values are left out. Colours are given in this
            order, also to lines without values, so that the same names have the same colours in several plots.
        axes: titles and legend.

    Returns:
        The picture.

    Raises:
        ValueError: there is nothing to draw.
    """
    clean = {
        name: _finite([math.log10(x) for x in across] if axes.log_x else across, up)
        for name, (across, up) in lines.items()
    }
    clean = {name: line for name, line in clean.items() if len(line)}
    if not clean:
        raise ValueError(f"The plot {axes.title!r} has no finite values; give at least one line with finite values.")
    rows, columns = (length * _LARGER for length in _SIZE)
    whole = (_SIZE[1] + _BESIDE if axes.legend == "beside" else _SIZE[1], _SIZE[0])
    sheet = Image.new("RGB", (whole[0] * _LARGER, rows), PAPER)
    canvas = _Canvas(ImageDraw.Draw(sheet), (rows, columns), np.concatenate(list(clean.values())), axes)
    canvas.axes(axes)
    colors = {name: COLORS[i % len(COLORS)] for i, name in enumerate(lines)}
    for name, line in clean.items():
        canvas.line(line, colors[name])
    absent = [name for name in lines if name not in clean] if axes.absent else []
    canvas.legend(
        {name: colors[name] for name in clean} | {f"{name}: {axes.absent}": GRID for name in absent}, axes.legend
    )
    return np.asarray(sheet.resize(whole, Image.Resampling.LANCZOS))


def _finite(across: Sequence[float], up: Sequence[float]) -> np.ndarray:
    """(n, 2) points with finite coordinates."""
    points = np.stack([np.asarray(across, float), np.asarray(up, float)], 1)
    return points[np.isfinite(points).all(1)]


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers from low to high.

    Args:
        low: smallest value that must be covered.
        high: largest value that must be covered.
        about: approximate number of ticks.

    Returns:
        Multiples of 1, 2 or 5 times a power of ten; the first not above `low`, the last not below `high`.
    """
    raw = max(high - low, 1e-12) / about
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first, last = np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9)
    return [float(step * i) for i in np.arange(first, last + 1)]


def log_ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Logarithms of 1, 2 and 5 times powers of ten, or only of powers of ten if there would be more than `about`.

    Args:
        low: base-10 logarithm of the smallest value that must be covered.
        high: base-10 logarithm of the largest value that must be covered.
        about: largest number of ticks with 1, 2 and 5.
    """
    for steps in ((1, 2, 5), (1,)):
        powers = range(int(np.floor(low)) - 1, int(np.ceil(high)) + 2)
        marks = [round(float(np.log10(step) + power), 9) for power in powers for step in steps]
        first = max((i for i, mark in enumerate(marks) if mark <= low + 1e-9), default=0)
        last = min((i for i, mark in enumerate(marks) if mark >= high - 1e-9), default=len(marks) - 1)
        if last - first < about:
            break
    return marks[first : max(last, first + 1) + 1]


class _Canvas:
    """A drawing area with a scale."""

    def __init__(self, draw: ImageDraw.ImageDraw, size: tuple[int, int], points: np.ndarray, axes: Axes) -> None:
        self.draw = draw
        self.rows, self.columns = size
        self.across = (log_ticks if axes.log_x else ticks)(points[:, 0].min(), points[:, 0].max(), 8)
        self.up = ticks(min(points[:, 1].min(), 0.0), points[:, 1].max())
        self.font = ImageFont.load_default(size=17 * _LARGER)
        self.small = ImageFont.load_default(size=16 * _LARGER)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Position of a value on the sheet, pixels."""
        left, right = _LEFT * _LARGER, self.columns - _RIGHT * _LARGER
        top, bottom = _TOP * _LARGER, self.rows - _BOTTOM * _LARGER
        u = (x - self.across[0]) / max(self.across[-1] - self.across[0], 1e-12)
        v = (y - self.up[0]) / max(self.up[-1] - self.up[0], 1e-12)
        return left + u * (right - left), bottom - v * (bottom - top)

    def axes(self, axes: Axes) -> None:
        """Grid, numbers and titles."""
        for x in self.across:
            low, high = self.place(x, self.up[0]), self.place(x, self.up[-1])
            self.draw.line([low, high], GRID, _LARGER)
            name = axes.names[round(x)] if 0 <= round(x) < len(axes.names) else f"{10**x if axes.log_x else x:g}"
            self.draw.text((low[0], low[1] + 8 * _LARGER), name, INK, self.small, anchor="ma")
        for y in self.up:
            start, end = self.place(self.across[0], y), self.place(self.across[-1], y)
            self.draw.line([start, end], GRID, _LARGER)
            self.draw.text((start[0] - 8 * _LARGER, start[1]), f"{y:g}", INK, self.small, anchor="rm")
        self.draw.text((self.columns / 2, 10 * _LARGER), axes.title, INK, self.font, anchor="ma")
        self.draw.text((self.columns / 2, self.rows - 26 * _LARGER), axes.across, INK, self.small, anchor="ma")
        turned = Image.new("L", (self.rows, 22 * _LARGER), 0)
        ImageDraw.Draw(turned).text((self.rows / 2, 2), axes.up, 255, self.small, anchor="ma")
        self.draw.bitmap((6 * _LARGER, 0), turned.rotate(90, expand=True), INK)

    def line(self, points: np.ndarray, color: tuple[int, int, int]) -> None:
        """Draw a line, with a dot at each value if there are at most 30."""
        places = [self.place(x, y) for x, y in points]
        self.draw.line(places, color, 2 * _LARGER, joint="curve")
        radius = 3 * _LARGER
        for x, y in places if len(places) <= 30 else []:
            self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), color)

    def legend(self, names: Mapping[str, tuple[int, int, int]], where: str) -> None:
        """Draw the names of the lines in a corner or beside the plot."""
        wide = max(self.draw.textlength(name, self.small) for name in names)
        left, step = self.columns - _RIGHT * _LARGER - wide - 40 * _LARGER, 23 * _LARGER
        left = {"left": (_LEFT + 14.0) * _LARGER, "beside": self.columns + 4.0 * _LARGER}.get(where, left)
        top = (_TOP + 14) * _LARGER
        if where in ("bottom", "left"):
            top = self.rows - (_BOTTOM + 14) * _LARGER - step * (len(names) - 1)
        for i, (name, color) in enumerate(names.items()):
            y = top + step * i
            self.draw.line([(left, y), (left + 22 * _LARGER, y)], color, 3 * _LARGER)
            self.draw.text((left + 28 * _LARGER, y), name, INK, self.small, anchor="lm")
