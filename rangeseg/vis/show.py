"""One scan on one sheet: range image, labels, prediction and errors.

Shapes: N points, H rows (beams), W columns (azimuth).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rangeseg.labels import LabelMap
from rangeseg.projection.range_image import RangeImage
from rangeseg.vis.birds_eye import from_above, range_rings
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
    range_panel,
)

_ROWS, _GAP = 256, 16  # pixels: height of a panel, gap between pictures side by side


def show_scan(
    image: RangeImage,
    prediction: NDArray[np.integer] | None,
    label_map: LabelMap,
    *,
    columns: int = 2048,
    extent_m: float = 30.0,
) -> Image.Image:
    """Range image, label, prediction and error, then the last three from above, and a legend of the classes.

    Label and prediction are left out if they are missing; the error is left out if one of them is missing.

    Args:
        image: a projected scan, with or without labels.
        prediction: (N,) train ids of the scan's points or IGNORE; None if there is no prediction.
        label_map: the classes.
        columns: largest width of the sheet, pixels, unless W is larger.
        extent_m: the pictures from above reach this far in every direction, metres.

    Returns:
        The sheet; ``.save("scan.png")`` writes it.

    Raises:
        ValueError: the prediction is not one train id per point.
    """
    scan = image.given
    if prediction is not None and prediction.shape != (len(scan),):
        raise ValueError(f"prediction has shape {prediction.shape}; give one train id for each of {len(scan)} points.")
    label = scan.label
    shown = {name: ids for name, ids in (("label", label), ("prediction", prediction)) if ids is not None}
    colors = {name: colorise(ids, label_map) for name, ids in shown.items()}
    if label is not None and prediction is not None:
        colors[error_caption(prediction, label, "points")] = error_picture(prediction, label)
    strips = [range_panel(np.where(image.valid, image.range[image.point_index], 0), _ROWS, columns)]
    for text, picture in colors.items():
        pixels = np.where(image.valid[..., None], picture[image.point_index], 0).astype(np.uint8)
        strips.append(caption(enlarge(pixels, _ROWS, columns), text))
    wide = strips[0].shape[1]
    if shown:
        strips.append(_from_above(scan.xyz, colors, wide, extent_m))
        strips.append(legend(label_map, present(*shown.values()), wide))
    return Image.fromarray(np.concatenate(strips))


def _from_above(xyz: NDArray[np.floating], colors: dict[str, Picture], wide: int, extent_m: float) -> Picture:
    """Bird's-eye views side by side, each at most half as wide as the sheet."""
    side = (wide + _GAP) // max(2, len(colors)) - _GAP
    views = []
    for text, picture in colors.items():
        view = from_above(xyz, picture, extent_m=extent_m, pixels=side, dot=max(1, side // 400))
        views.append(caption(range_rings(view, extent_m=extent_m), f"{text.split(':')[0]} from above"))
    sheet = np.full((len(views[0]), wide, 3), BACKGROUND, np.uint8)
    for place, view in enumerate(views):
        left = place * (side + _GAP)
        sheet[:, left : left + side] = view
    return sheet
