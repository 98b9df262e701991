"""A picture of a sensor: its beams, and one scan in each of its projections.

Shapes: H rows (beams), W columns (azimuth); pictures are (rows, columns, 3) uint8, RGB.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rangeseg.projection.range_image import RangeImage
from rangeseg.vis.panels import BACKGROUND, RIGHT, TEXT, Picture, caption, enlarge, range_picture


def sensor_picture(images: Mapping[str, RangeImage], inclinations_deg: NDArray[np.float64]) -> Picture:
    """The beams, and below them each projection's range image with its shares of filled pixels and hidden points.

    Args:
        images: name of the projection -> its range image of the same scan; at least one.
        inclinations_deg: (H,) inclinations of the beams from the top down, degrees.

    Returns:
        One picture.
    """
    columns = max(image.width for image in images.values())
    strips = [beam_picture(inclinations_deg, columns)]
    for name, image in images.items():
        returns = len(image.scan) - image.no_return_count
        text = (
            f"{name} {image.height} x {image.width}: {100 * image.valid.mean():.1f} % of the pixels filled, "
            f"{100 * image.hidden.sum() / returns:.1f} % of {returns} points hidden"
        )
        picture = enlarge(range_picture(image.gather(image.range)), 256, columns)
        wide = np.full((picture.shape[0], columns, 3), BACKGROUND, np.uint8)
        wide[:, : picture.shape[1]] = picture
        strips.append(caption(wide, text))
    return np.concatenate(strips)


def beam_picture(inclinations_deg: NDArray[np.float64], columns: int) -> Picture:
    """The beams seen from the side, as rays from the sensor, with a mark at every 10 degrees of inclination.

    Args:
        inclinations_deg: (H,) inclinations of the beams, degrees.
        columns: width of the picture, pixels.
    """
    rows, size = 360, 22  # pixels: height of the picture, size of its letters
    sheet = Image.new("RGB", (columns, rows), BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size)
    low, high = float(inclinations_deg.min()), float(inclinations_deg.max())
    scale = (rows - 3 * size) / max(high - low, 1.0)
    top = 2 * size

    def level(inclination: float) -> float:
        return top + (high - inclination) * scale

    left, right = 5 * size, columns - 5 * size
    for inclination in inclinations_deg:
        draw.line((left, level(0.0), right, level(float(inclination))), RIGHT, 1)
    for mark in range(int(np.ceil(low / 10)) * 10, int(high) + 1, 10):
        draw.text((right + size // 2, level(mark)), f"{mark:+d}°" if mark else "0°", TEXT, font, anchor="lm")
    text = f"{len(inclinations_deg)} beams, {high:+.2f} to {low:+.2f} degrees (angles drawn larger than they are)"
    draw.text((size // 2, size), text, TEXT, font, anchor="lm")
    return np.asarray(sheet)
