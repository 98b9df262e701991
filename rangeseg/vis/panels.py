"""Range images as pictures: panels of range, label, prediction and error, with captions and class colours.

Shapes: H rows (beams), W columns (azimuth), K classes; pictures are (rows, columns, 3) uint8, RGB.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rangeseg.labels import LabelMap
from rangeseg.types import IGNORE

Picture = NDArray[np.uint8]

NEAR_M, FAR_M = 3.0, 60.0
"""Ranges at the ends of the colour map, metres; nearer or farther points get the colour of the end."""

BACKGROUND = (16, 18, 22)
TEXT = (226, 228, 232)
RIGHT, WRONG = (150, 153, 158), (226, 39, 44)

# Yellow, green, blue, dark violet: equal steps look equally different, also in grey and to colour-blind people.
_RAMP = np.array(
    [
        (253, 231, 37), (181, 222, 43), (110, 206, 88), (53, 183, 121), (31, 158, 137),
        (38, 130, 142), (49, 104, 142), (62, 73, 137), (72, 40, 120), (54, 10, 84),
    ]
)  # fmt: skip


def colorise(label: NDArray[np.integer], label_map: LabelMap) -> Picture:
    """Every label in the colour of its class, IGNORE in black.

    Args:
        label: (...) train ids 0..K-1 or IGNORE.
        label_map: the classes.

    Returns:
        (..., 3) RGB.
    """
    table = np.zeros((IGNORE + 1, 3), np.uint8)
    table[: label_map.num_classes] = label_map.colors
    return table[label]


def range_picture(range_m: NDArray[np.floating]) -> Picture:
    """Ranges as colours, from yellow (near) to violet (far) by the logarithm of the range; black without a return.

    Args:
        range_m: (...) metres; a value that is not above 0 counts as no return.

    Returns:
        (..., 3) RGB.
    """
    shown = range_m > 0
    metres = np.clip(np.where(shown, range_m, NEAR_M), NEAR_M, FAR_M)
    place = np.log(metres / NEAR_M) / np.log(FAR_M / NEAR_M) * (len(_RAMP) - 1)
    steps = np.arange(len(_RAMP))
    picture = np.stack([np.interp(place, steps, _RAMP[:, channel]) for channel in range(3)], axis=-1)
    return np.where(shown[..., None], picture, 0).astype(np.uint8)


def error_picture(prediction: NDArray[np.integer], label: NDArray[np.integer]) -> Picture:
    """Right predictions in grey, wrong ones in red, and elements with IGNORE in either array in black.

    Args:
        prediction: (...) train ids or IGNORE.
        label: (...) train ids or IGNORE.

    Returns:
        (..., 3) RGB.
    """
    counted = (prediction != IGNORE) & (label != IGNORE)
    picture = np.where((prediction == label)[..., None], RIGHT, WRONG)
    return np.where(counted[..., None], picture, 0).astype(np.uint8)


def caption(picture: Picture, text: str, *, size: int = 22) -> Picture:
    """The picture with a line of text above it.

    Args:
        picture: (rows, columns, 3).
        text: one line.
        size: font size, pixels.
    """
    line = Image.new("RGB", (picture.shape[1], 2 * size), BACKGROUND)
    ImageDraw.Draw(line).text((size // 2, size), text, TEXT, ImageFont.load_default(size), anchor="lm")
    return np.concatenate([np.asarray(line), picture])


def range_panel(range_m: NDArray[np.floating], rows: int, columns: int) -> Picture:
    """The enlarged range picture with a caption and the scale of its colours above it.

    Args:
        range_m: (H, W) metres, not above 0 in empty pixels.
        rows: as in `enlarge`.
        columns: as in `enlarge`.
    """
    size = 22  # of the letters, pixels
    panel = caption(enlarge(range_picture(range_m), rows, columns), "range", size=size)
    bar = range_picture(np.geomspace(NEAR_M, FAR_M, 8 * size))[None].repeat(size // 2, axis=0)
    sheet = Image.fromarray(panel)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size)
    left = 9 * size
    draw.text((left - size // 2, size), f"{NEAR_M:g} m", TEXT, font, anchor="rm")
    draw.text((left + 8 * size + size // 2, size), f"{FAR_M:g} m", TEXT, font, anchor="lm")
    sheet.paste(Image.fromarray(bar), (left, size - size // 4))
    return np.asarray(sheet)


def legend(label_map: LabelMap, train_ids: Sequence[int], columns: int, *, size: int = 22) -> Picture:
    """A legend with the colours and names of classes, in as many lines as needed.

    Args:
        label_map: the classes.
        train_ids: train ids of the classes in the legend.
        columns: width of the picture, pixels.
        size: font size, pixels.
    """
    font = ImageFont.load_default(size)
    places, left, top = [], size // 2, size // 2
    for train_id in train_ids:
        wide = round(size * 2.4 + font.getlength(label_map.names[train_id]))
        if left + wide > columns and left > size // 2:
            left, top = size // 2, top + round(size * 1.7)
        places.append((left, top))
        left += wide
    sheet = Image.new("RGB", (columns, top + 2 * size), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for train_id, (x, y) in zip(train_ids, places, strict=True):
        colour = tuple(int(value) for value in label_map.colors[train_id])
        draw.rounded_rectangle((x, y, x + size, y + size), size // 5, colour, outline=RIGHT)
        draw.text((x + 1.4 * size, y + size / 2), label_map.names[train_id], TEXT, font, anchor="lm")
    return np.asarray(sheet)


def enlarge(picture: Picture, rows: int, columns: int) -> Picture:
    """Enlarge a picture to at most a size, by repeating each pixel a whole number of times, so that no colours mix."""
    down, right = max(1, rows // picture.shape[0]), max(1, columns // picture.shape[1])
    return picture.repeat(down, axis=0).repeat(right, axis=1)


def panels(
    range_m: NDArray[np.floating],
    label: NDArray[np.integer] | None = None,
    prediction: NDArray[np.integer] | None = None,
    *,
    label_map: LabelMap,
    rows: int = 256,
    columns: int = 1024,
) -> Picture:
    """Panels of range and, if given, label, prediction and error, one above the other, with captions and a legend.

    Args:
        range_m: (H, W) metres, not above 0 in empty pixels.
        label: (H, W) train ids or IGNORE.
        prediction: (H, W) train ids or IGNORE; shown only in pixels with a return.
        label_map: the classes.
        rows: largest height of each panel, pixels, unless H is larger.
        columns: largest width of the picture, pixels, unless W is larger.

    Returns:
        One picture.

    Raises:
        ValueError: the shapes differ.
    """
    named = {}
    if label is not None:
        named["label"] = colorise(label, label_map)
    if prediction is not None:
        prediction = np.where(range_m > 0, prediction, IGNORE)
        named["prediction"] = colorise(prediction, label_map)
    if label is not None and prediction is not None:
        named[error_caption(prediction, label, "pixels")] = error_picture(prediction, label)
    strips = [range_panel(range_m, rows, columns)]
    strips += [caption(enlarge(picture, rows, columns), text) for text, picture in named.items()]
    shown = [values for values in (label, prediction) if values is not None]
    return np.concatenate([*strips, legend(label_map, present(*shown), strips[0].shape[1])])


def error_caption(prediction: NDArray[np.integer], label: NDArray[np.integer], elements: str) -> str:
    """The caption of an error picture, with the share of wrong elements."""
    counted = (label != IGNORE) & (prediction != IGNORE)
    wrong = np.count_nonzero(counted & (prediction != label)) / max(1, int(counted.sum()))
    return f"error: {100 * wrong:.1f} % of the labelled {elements} are wrong (red)"


def present(*train_ids: NDArray[np.integer]) -> list[int]:
    """The train ids that occur, sorted, without IGNORE."""
    found = {int(train_id) for values in train_ids for train_id in np.unique(values)}
    return sorted(found - {IGNORE})
