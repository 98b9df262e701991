"""A confusion matrix as a picture.

Shapes: K classes; pictures are (rows, columns, 3) uint8, RGB.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rangeseg.vis.panels import BACKGROUND, TEXT, Picture

_FULL = np.array([96, 165, 230], float)  # colour of a cell that holds the whole row


def confusion_picture(state: NDArray[np.integer], names: Sequence[str], *, cell: int = 30) -> Picture:
    """A picture of a confusion matrix: rows are labels, columns are predictions.

    Args:
        state: (K, K+1) counts, as `ConfusionMatrix.state`.
        names: names of the K classes.
        cell: side of a class's cell, pixels.

    Returns:
        The picture. Shares of at least 0.5 % of a row are written in per cent; a row without elements is empty.
    """
    shares = state / np.maximum(state.sum(axis=1, keepdims=True), 1)
    font, small = ImageFont.load_default(cell // 2), ImageFont.load_default(cell * 2 // 5)
    margin = round(max(font.getlength(name) for name in (*names, "no class"))) + cell
    rows, columns = shares.shape
    sheet = Image.new("RGB", (margin + columns * cell, margin + rows * cell), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for row, name in enumerate(names):
        draw.text((margin - cell // 3, margin + (row + 0.5) * cell), name, TEXT, font, anchor="rm")
        for column in range(columns):
            share = float(shares[row, column])
            color = tuple(np.rint(np.array(BACKGROUND) + share * (_FULL - BACKGROUND)).astype(int).tolist())
            left, top = margin + column * cell, margin + row * cell
            draw.rectangle((left, top, left + cell - 2, top + cell - 2), color)
            if share >= 0.005:
                draw.text((left + cell / 2, top + cell / 2), f"{100 * share:.0f}", TEXT, small, anchor="mm")
    heads = Image.new("RGB", (margin, columns * cell), BACKGROUND)  # turned by a quarter, so that names read upwards
    for column, name in enumerate([*names, "no class"]):
        place = (cell // 3, (column + 0.5) * cell)
        ImageDraw.Draw(heads).text(place, name, TEXT, font, anchor="lm")
    sheet.paste(heads.transpose(Image.Transpose.ROTATE_90), (margin, 0))
    return np.asarray(sheet)
