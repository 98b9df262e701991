"""A picture of a scan before and after labels are carried to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rangeseg.labels import LabelMap
from rangeseg.projection.range_image import RangeImage
from rangeseg.types import IGNORE
from rangeseg.vis.birds_eye import birds_eye
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

ROWS, COLUMNS = 256, 1024


def before_and_after(
    image: RangeImage, before: NDArray[np.integer], after: NDArray[np.integer], truth: NDArray[np.integer] | None,
    label_map: LabelMap,
) -> Picture:  # fmt: skip
    """Range, labels before, labels after and, if the truth is known, the errors; then both labels from above.

    Args:
        image: the scan of N points in H x W pixels.
        before: (N,) train ids or IGNORE.
        after: (N,) train ids or IGNORE.
        truth: (N,) train ids or IGNORE; None if not known.
        label_map: the classes.

    Returns:
        (rows, columns, 3) RGB.
    """
    strips = [range_panel(image.gather(image.range), ROWS, COLUMNS)]
    for word, label in (("before", before), ("after", after)):
        returns = ~image.no_return
        share = np.count_nonzero(returns & (label != IGNORE)) / max(1, int(np.count_nonzero(returns)))
        pixels = enlarge(colorise(image.gather(label, IGNORE), label_map), ROWS, COLUMNS)
        strips.append(caption(pixels, f"{word}: {100 * share:.1f} % of the points have a label"))
    if truth is not None:
        pixels = enlarge(error_picture(image.gather(after, IGNORE), image.gather(truth, IGNORE)), ROWS, COLUMNS)
        strips.append(caption(pixels, error_caption(after, truth, "points")))
    width = strips[0].shape[1]
    views = [birds_eye(image.given.xyz, label, label_map, extent_m=40, pixels=width // 2) for label in (before, after)]
    above = np.concatenate(views, axis=1)
    rest = np.full((len(above), width - above.shape[1], 3), BACKGROUND, np.uint8)
    strips.append(caption(np.concatenate([above, rest], axis=1), "before and after from above, 40 m"))
    return np.concatenate([*strips, legend(label_map, present(before, after), width)])
