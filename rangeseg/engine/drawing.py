"""Pictures of a segmented scan or photograph, for logs and reports."""

from __future__ import annotations

from typing import cast

import numpy as np

from rangeseg.evaluation.evaluate import Segmented
from rangeseg.labels import LabelMap
from rangeseg.photos.padded_image import PaddedImage
from rangeseg.photos.panels import photo_panels
from rangeseg.projection.range_image import RangeImage
from rangeseg.types import IGNORE, Sample
from rangeseg.vis.birds_eye import birds_eye
from rangeseg.vis.panels import Picture, colorise, panels


def draw(segmented: Segmented, label_map: LabelMap) -> Picture:
    """The input, its label, the prediction and the errors on one sheet.

    Args:
        segmented: a sample with its prediction. A scan is drawn as a range image, a photograph at its own resolution.
        label_map: the classes.
    """
    raster = segmented.sample.raster
    if isinstance(raster, RangeImage):
        label = segmented.sample.label
        label = None if label is None else raster.gather(label, IGNORE)
        return panels(raster.gather(raster.range), label, segmented.pixels, label_map=label_map)
    raster = cast(PaddedImage, raster)
    prediction = segmented.elements.reshape(raster.photo.image.shape[:2])
    return photo_panels(raster.photo, prediction, label_map=label_map)


def draw_answer(sample: Sample, elements: np.ndarray, label_map: LabelMap) -> Picture:
    """A small picture of one prediction or label: a scan from above, or the classes of a photograph.

    Args:
        sample: a scan or a photograph.
        elements: (N,) train ids or IGNORE of its points or pixels.
        label_map: the classes.
    """
    if isinstance(sample.raster, RangeImage):
        return birds_eye(sample.raster.given.xyz, elements, label_map, extent_m=25.0, pixels=480, dot=2)
    rows, columns = cast(PaddedImage, sample.raster).photo.image.shape[:2]
    step = max(1, -(-columns // 640))
    return colorise(elements.reshape(rows, columns)[::step, ::step], label_map)


def colored_points(segmented: Segmented, label_map: LabelMap) -> dict[str, tuple[np.ndarray, Picture]]:
    """The points of a scan in the colours of its prediction and label.

    Returns:
        "prediction" and, if the scan has one, "label" -> (N, 3) metres and (N, 3) uint8 RGB; {} for a photograph.
    """
    raster, label = segmented.sample.raster, segmented.sample.label
    if not isinstance(raster, RangeImage):
        return {}
    ids = {"prediction": segmented.elements} | ({} if label is None else {"label": label})
    return {name: (raster.given.xyz, colorise(each, label_map)) for name, each in ids.items()}
