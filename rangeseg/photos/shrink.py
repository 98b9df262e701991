"""Downscaling of photographs when they are read, as in published protocols.

Shapes: H rows, W columns, C channels of a photograph; h, w of the smaller one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rangeseg.kernels.shrink import area_mean, mean_of_four, most_of_four


def halve_image(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mean of each 2 x 2 pixels, rounded down.

    Args:
        image: (H, W, C) uint8 of even H and W.

    Returns:
        (H / 2, W / 2, C) uint8.

    Raises:
        ValueError: an odd number of rows or columns.

    Source:
        French et al., BMVC 2020, by its code.
    """
    _check_even(image)
    return mean_of_four(np.ascontiguousarray(image))


def halve_label(raw: NDArray[np.integer]) -> NDArray[np.integer]:
    """The raw id that most of each 2 x 2 pixels have; of equally frequent ones the lowest.

    Args:
        raw: (H, W) integers, H and W even.

    Returns:
        (H / 2, W / 2) of the same dtype.

    Raises:
        ValueError: an odd number of rows or columns.

    Source:
        French et al., BMVC 2020, by its code.
    """
    _check_even(raw)
    return most_of_four(np.ascontiguousarray(raw))


def mean_of_areas(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize: each pixel is the mean of the area that it covers.

    Partly covered pixels count in part. Rows and columns may have different scales.

    Args:
        image: (H, W) or (H, W, C) uint8.
        height: h, at most H for a true mean.
        width: w, at most W.

    Returns:
        (h, w) or (h, w, C) uint8, rounded, halves to even numbers.
    """
    whole = np.ascontiguousarray(image).reshape(*image.shape[:2], -1)
    return area_mean(whole, height, width).reshape(height, width, *image.shape[2:])


def _check_even(array: NDArray) -> None:
    if array.shape[0] % 2 or array.shape[1] % 2:
        raise ValueError(
            f"{array.shape[0]} x {array.shape[1]} pixels (rows x columns) cannot be halved; use images with even "
            "sides, or remove the option half."
        )
