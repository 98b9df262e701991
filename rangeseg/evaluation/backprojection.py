"""From the labels of pixels to the labels of points, or of a photograph's own pixels.

A pixel shows only its nearest point; the other points in it (`RangeImage.hidden`) often belong to another object behind
an edge. The functions differ in how they label hidden points, and in whether they smooth the labels of shown points.

Shapes: N points, H rows, W columns, K classes, S the window's side.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from rangeseg.kernels.backprojection import (
    MAX_WINDOW,
    count_unknown,
    nearest_points,
    pad_images,
    settle_pixels,
    vote_points,
)
from rangeseg.kernels.fill_holes import fill_holes
from rangeseg.photos.padded_image import PaddedImage
from rangeseg.projection.range_image import RangeImage
from rangeseg.types import IGNORE


def nearest_pixel(image: RangeImage | PaddedImage, prediction: NDArray[np.integer]) -> NDArray[np.integer]:
    """Every element takes the label of its pixel.

    Args:
        image: the points or a photograph's pixels, and their pixels in the network's image.
        prediction: (H, W) integer train ids.

    Returns:
        (N,) labels of the prediction's dtype, IGNORE for no returns.

    Raises:
        ValueError: the prediction has another shape, is not integer, or has a dtype that cannot hold IGNORE.
    """
    _check_prediction(image, prediction)
    return image.back_project(prediction)


def knn_vote(
    image: RangeImage,
    prediction: NDArray[np.integer],
    *,
    num_classes: int,
    k: int = 5,
    window: int = 5,
    sigma: float = 1.0,
    cutoff_m: float = 1.0,
    wrap: bool = False,
    never_class_0: bool = False,
    border_is_range_0: bool = False,
) -> NDArray[np.integer]:
    """Every point takes the label of most of its k nearest neighbours in a window of pixels.

    The distance of a neighbour is its difference in range, multiplied by 1 - G, with G a Gaussian of the window. The
    point itself is the neighbour at the centre, with its pixel's label. Neighbours farther than the cutoff do not vote.
    Of equal distances, the first in the window (row by row) is nearer; with equal votes, the lowest class wins. Pixels
    that are empty, outside the image or predicted IGNORE are no neighbours; a point without neighbours gets IGNORE.

    Args:
        image: the points and their pixels.
        prediction: (H, W) integers, 0..K-1 or IGNORE.
        num_classes: K, at most 255.
        k: how many neighbours vote.
        window: S, pixels, odd, at most 181.
        sigma: standard deviation of the Gaussian, pixels.
        cutoff_m: largest distance of a voting neighbour, weighted metres; inf: all k vote.
        wrap: column 0 touches column W-1 (not so in the original).
        never_class_0: quirk of the original, whose class 0 is "unlabelled": votes for class 0 are not counted, and a
            point without votes gets class 1.
        border_is_range_0: quirk of the original: pixels outside the image are neighbours at range 0 with label 0.

    Returns:
        (N,) labels of the prediction's dtype, IGNORE for no returns.

    Raises:
        ValueError: the prediction has another shape, dtype or other values, the window is even or too large, k is not
            from 1 to the window's number of pixels, sigma or cutoff is not positive, or `num_classes` is out of range.

    Source:
        RangeNet++ (Milioto et al., IROS 2019), algorithm 1; equal to its code with both quirks on.
    """
    _check_prediction(image, prediction)
    _check_window(window)
    if not 1 <= k <= window**2:
        raise ValueError(f"k is {k} in a window of {window} x {window}; give 1 to {window**2}.")
    if not sigma > 0 or not cutoff_m > 0:
        raise ValueError(
            f"sigma is {sigma} and cutoff_m {cutoff_m}; give positive numbers (cutoff_m=inf means no cutoff)."
        )
    if not 1 + never_class_0 <= num_classes <= IGNORE:
        raise ValueError(f"num_classes is {num_classes}; give {1 + never_class_0} to {IGNORE}.")
    unknown = count_unknown(prediction, num_classes)
    if unknown:
        raise ValueError(
            f"{unknown} pixels of the prediction are neither 0..{num_classes - 1} nor IGNORE ({IGNORE}); "
            "give train ids and the matching num_classes."
        )
    edge = (window // 2, wrap, border_is_range_0)
    padded = pad_images((image.range, image.point_index), prediction.astype(np.uint8, copy=False), edge)
    weight = _inverse_gaussian(window, sigma)
    vote = (k, np.float32(min(cutoff_m, float(np.finfo(np.float32).max))), int(never_class_0))
    points = (image.row, image.col, image.range, image.point_index)
    votes = vote_points(points, padded, settle_pixels(padded, weight, vote), weight, vote)
    return votes.astype(prediction.dtype, copy=False)


def nearest_label(
    image: RangeImage,
    prediction: NDArray[np.integer],
    *,
    window: int = 5,
    wrap: bool = False,
    border_is_range_0: bool = False,
) -> NDArray[np.integer]:
    """Every hidden point takes the label of the pixel in its window with the nearest range (NLA).

    A point with the range of its pixel takes the pixel's label. Of equal distances, the first in the window (row by
    row) is nearer. For hidden points, pixels that are empty, outside the image or predicted IGNORE are no neighbours; a
    point without neighbours gets IGNORE.

    Args:
        image: the points and their pixels.
        prediction: (H, W) integer train ids or IGNORE.
        window: S, pixels, odd, at most 181.
        wrap: column 0 touches column W-1 (not so in the original).
        border_is_range_0: quirk of the original: pixels outside the image are neighbours at range 0 with label 0.

    Returns:
        (N,) labels of the prediction's dtype, IGNORE for no returns.

    Raises:
        ValueError: the prediction has another shape or dtype, or the window is even or too large.

    Source:
        FIDNet (Zhao et al., IROS 2021), nearest label assignment, without its rounding of ranges by / 80 * 80.
    """
    _check_prediction(image, prediction)
    _check_window(window)
    edge = (window // 2, wrap, border_is_range_0)
    label = prediction if prediction.dtype == np.uint8 else prediction.astype(np.int64, copy=False)  # two to compile
    padded = pad_images((image.range, image.point_index), label, edge)
    points = (image.row, image.col, image.range, image.point_index)
    return nearest_points(points, padded, window).astype(prediction.dtype, copy=False)


class BackProjection(ABC):
    """Maps pixel predictions to labels of points, or of a photograph's pixels; an instance holds the settings."""

    reads_logits: ClassVar[bool] = False
    """`prediction` is (K, H, W) logits, not (H, W) train ids."""

    @abstractmethod
    def __call__(self, image: Any, prediction: NDArray[Any], num_classes: int) -> NDArray[Any]:
        """(H, W) train ids -> (N,) train ids."""


@dataclass(frozen=True)
class NearestPixel(BackProjection):
    """`nearest_pixel`, without settings."""

    def __call__(
        self, image: RangeImage | PaddedImage, prediction: NDArray[np.integer], num_classes: int
    ) -> NDArray[np.integer]:
        """(H, W) train ids -> (N,) train ids."""
        return nearest_pixel(image, prediction)


@dataclass(frozen=True)
class KnnVote(BackProjection):
    """`knn_vote` with fixed arguments; see `knn_vote`."""

    k: int = 5
    window: int = 5
    sigma: float = 1.0
    cutoff_m: float = 1.0
    wrap: bool = False
    never_class_0: bool = False
    border_is_range_0: bool = False

    def __call__(self, image: RangeImage, prediction: NDArray[np.integer], num_classes: int) -> NDArray[np.integer]:
        """(H, W) train ids -> (N,) train ids."""
        return knn_vote(image, prediction, num_classes=num_classes, **vars(self))


@dataclass(frozen=True)
class NearestLabel(BackProjection):
    """`nearest_label` with fixed arguments; see `nearest_label`."""

    window: int = 5
    wrap: bool = False
    border_is_range_0: bool = False

    def __call__(self, image: RangeImage, prediction: NDArray[np.integer], num_classes: int) -> NDArray[np.integer]:
        """(H, W) train ids -> (N,) train ids."""
        return nearest_label(image, prediction, **vars(self))


@dataclass(frozen=True)
class FillHoles(BackProjection):
    """Every element takes the label of its pixel, after holes in the regions of one class are filled with that class.

    Args:
        train_id: the class, e.g. 1, the lesions of ISIC 2017.

    Source:
        The code of French et al., BMVC 2020 (ISIC 2017).
    """

    train_id: int = 1

    def __call__(
        self, image: RangeImage | PaddedImage, prediction: NDArray[np.integer], num_classes: int
    ) -> NDArray[np.integer]:
        """(H, W) train ids -> (N,) train ids.

        Raises:
            ValueError: `train_id` is not a class; also see `nearest_pixel`.
        """
        _check_prediction(image, prediction)
        if not 0 <= self.train_id < num_classes:
            raise ValueError(f"fill_holes.train_id is {self.train_id}; give a class of 0 to {num_classes - 1}.")
        filled = np.where(
            fill_holes(prediction == self.train_id), np.array(self.train_id, prediction.dtype), prediction
        )
        return image.back_project(filled)


NEED_RANGES = {"knn", "nla", "head"}
"""Names of back-projections that compare the ranges of points, which photographs do not have."""


def _check_prediction(image: RangeImage | PaddedImage, prediction: NDArray) -> None:
    """Require one label for every pixel, of a dtype that can hold IGNORE."""
    if prediction.shape != (image.height, image.width):
        raise ValueError(
            f"The prediction has shape {prediction.shape}; the image has {(image.height, image.width)}. "
            "Give one label per pixel (one image at a time, the argmax of the logits)."
        )
    if prediction.dtype.kind not in "iu" or np.iinfo(prediction.dtype).max < IGNORE:
        raise ValueError(
            f"The prediction is {prediction.dtype}; give integers that can hold IGNORE: uint8, int32 or int64."
        )


def _check_window(window: int) -> None:
    """Require an odd window, which has a middle pixel, of at most `MAX_WINDOW` pixels."""
    if window < 1 or window % 2 == 0 or window > MAX_WINDOW:
        nearest = [side for side in (window - 1, window + 1) if 1 <= side <= MAX_WINDOW]
        cure = " or ".join(map(str, nearest)) or f"1 to {MAX_WINDOW}"
        raise ValueError(f"The window is {window} pixels wide; give an odd number: {cure}.")


@lru_cache(maxsize=16)
def _inverse_gaussian(window: int, sigma: float) -> NDArray[np.float32]:
    """(S, S) 1 minus the Gaussian of the window, in float32 as in the original; 0 in the middle, where the point is.

    All callers share one array; do not write to it.
    """
    offset = torch.arange(window).float() - (window - 1) / 2
    squares = (offset**2)[:, None] + (offset**2)[None, :]
    gaussian = (1.0 / (2.0 * math.pi * sigma**2)) * torch.exp(-squares / (2 * sigma**2))
    weight = (1 - gaussian / gaussian.sum()).numpy()
    weight[window // 2, window // 2] = 0
    return weight
