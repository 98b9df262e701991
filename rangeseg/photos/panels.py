"""One photograph on one sheet: the image, its label, the prediction and the errors.

Shapes: H rows, W columns of the photograph; pictures are (rows, columns, 3) uint8, RGB.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rangeseg.labels import LabelMap
from rangeseg.types import Photo
from rangeseg.vis.panels import (
    BACKGROUND,
    Picture,
    caption,
    colorise,
    enlarge,
    error_caption,
    error_picture,
    legend,
    present,
)


def photo_panels(
    photo: Photo, prediction: NDArray[np.integer] | None = None, *, label_map: LabelMap, columns: int = 720
) -> Picture:
    """The photograph and, if there are any, label, prediction and errors, two in a row, with captions and legend.

    Args:
        photo: H x W pixels.
        prediction: (H, W) train ids or IGNORE.
        label_map: the classes.
        columns: approximate width of a panel, pixels; of larger photographs, only every second (third, ...) pixel is
            shown.

    Returns:
        One picture.

    Raises:
        ValueError: the prediction is of another size.
    """
    label, size = photo.label, photo.image.shape[:2]
    if prediction is not None and prediction.shape != size:
        raise ValueError(f"prediction has shape {prediction.shape} for a photograph of {size}; give one id per pixel.")
    named = {"photograph": photo.image}
    if label is not None:
        named["label"] = colorise(label, label_map)
    if prediction is not None:
        named["prediction"] = colorise(prediction, label_map)
    if label is not None and prediction is not None:
        named[error_caption(prediction, label, "pixels")] = error_picture(prediction, label)
    step = -(-size[1] // columns)
    shown = [enlarge(picture[::step, ::step], columns * size[0] // size[1], columns) for picture in named.values()]
    wide = shown[0].shape[1]
    letters = max(8, wide // 32)
    cells = [caption(picture, text, size=letters) for text, picture in zip(named, shown, strict=True)]
    if len(cells) % 2 and len(cells) > 1:
        cells.append(np.full_like(cells[0], BACKGROUND))
    rows = [np.concatenate(cells[first : first + 2], axis=1) for first in range(0, len(cells), 2)]
    ids = [values for values in (label, prediction) if values is not None]
    return np.concatenate([*rows, legend(label_map, present(*ids), rows[0].shape[1], size=letters)])
