"""From the labels of pixels to the labels of points, or of a photograph's own pixels.

A pixel shows its nearest point only; the others that fell into it (`RangeImage.hidden`) are often something else,
behind an edge. The functions here differ in how they label those, and in whether they smooth the labels of the others.

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
        image: the points, or a photograph's pixels, and where they are.
        prediction: (H, W) integer train ids.

    Returns:
        (N,) labels of the prediction's dtype, IGNORE for no returns.

    Raises:
        ValueError: a prediction of another shape, not of integers, or of a dtype that cannot hold IGNORE.
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
    """Every point takes the label that most of its k nearest neighbours in a window of pixels have.

    The distance of two neighbours is their difference of range, weighted by 1 - G where G is a Gaussian of the window.
    The point itself stands at the centre, with its pixel's label. Neighbours farther than the cutoff do not vote. Of
    equal distances the first in the window (row by row) is nearer; of equally many votes the lowest class wins. Pixels
    that are empty, outside the image or predicted IGNORE are no neighbours; a point without any gets IGNORE.

    Args:
        image: the points and their pixels.
        prediction: (H, W) integers, 0..K-1 or IGNORE.
        num_classes: K, at most 255.
        k: how many neighbours vote.
        window: S, pixels, odd, at most 181.
        sigma: of the Gaussian, pixels.
        cutoff_m: weighted metres; inf lets all k vote.
        wrap: column 0 touches column W-1 (the original's do not touch).
        never_class_0: quirk of the original, whose class 0 is "unlabelled": votes for class 0 are not counted, and a
            point without votes gets class 1.
        border_is_range_0: quirk of the original: pixels outside the image are neighbours at range 0 with label 0.

    Returns:
        (N,) labels of the prediction's dtype, IGNORE for no returns.

    Raises:
        ValueError: a prediction of another shape, dtype or with other values, an even or too large window, k beyond
            the window's pixels, or a sigma or cutoff that is not positive.

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
    """Every hidden point takes the label of the pixel in its window whose range is nearest to its own (NLA).

    A point that has its pixel's range keeps the pixel's label. Of equal distances the first in the window (row by row)
    is nearer. For hidden points, pixels that are empty, outside the image or predicted IGNORE are no neighbours; a
    point without any gets IGNORE.

    Args:
        image: the points and their pixels.
        prediction: (H, W) integer train ids or IGNORE.
        window: S, pixels, odd, at most 181.
        wrap: column 0 touches column W-1 (the original's do not touch).
        border_is_range_0: quirk of the original: pixels outside the image are neighbours at range 0 with label 0.

    Returns:
        (N,) labels of the prediction's dtype, IGNORE for no returns.

    Raises:
        ValueError: a prediction of another shape or dtype, or an even or too large window.

    Source:
        FIDNet (Zhao et al., IROS 2021), nearest label assignment, on ranges that are not rounded through its / 80 * 80.
    """
    _check_prediction(image, prediction)
    _check_window(window)
    edge = (window // 2, wrap, border_is_range_0)
    label = prediction if prediction.dtype == np.uint8 else prediction.astype(np.int64, copy=False)  # two to compile
    padded = pad_images((image.range, image.point_index), label, edge)
    points = (image.row, image.col, image.range, image.point_index)
    return nearest_points(points, padded, window).astype(prediction.dtype, copy=False)


class BackProjection(ABC):
    """Turns pixel predictions into point labels, with its settings bound."""

    reads_logits: ClassVar[bool] = False
    """`prediction` is (K, H, W) logits, not (H, W) train ids."""

    @abstractmethod
    def __call__(self, image: Any, prediction: NDArray[Any], num_classes: int) -> NDArray[Any]:
        """(H, W) train ids -> (N,) train ids."""


@dataclass(frozen=True)
class NearestPixel(BackProjection):
    """`nearest_pixel` as a setting without arguments."""

    def __call__(
        self, image: RangeImage | PaddedImage, prediction: NDArray[np.integer], num_classes: int
    ) -> NDArray[np.integer]:
        """(H, W) train ids -> (N,) train ids."""
        return nearest_pixel(image, prediction)


@dataclass(frozen=True)
class KnnVote(BackProjection):
    """`knn_vote` with its arguments bound; see there."""

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
    """`nearest_label` with its arguments bound; see there."""

    window: int = 5
    wrap: bool = False
    border_is_range_0: bool = False

    def __call__(self, image: RangeImage, prediction: NDArray[np.integer], num_classes: int) -> NDArray[np.integer]:
        """(H, W) train ids -> (N,) train ids."""
        return nearest_label(image, prediction, **vars(self))


@dataclass(frozen=True)
class FillHoles(BackProjection):
    """Every element takes the label of its pixel, after the holes in one class have been filled with it.

    Args:
        train_id: the class, e.g. 1, the lesions of ISIC 2017.

    Source:
        French et al., BMVC 2020, by its code (ISIC 2017).
    """

    train_id: int = 1

    def __call__(
        self, image: RangeImage | PaddedImage, prediction: NDArray[np.integer], num_classes: int
    ) -> NDArray[np.integer]:
        """(H, W) train ids -> (N,) train ids.

        Raises:
            ValueError: there is no such class, or see `nearest_pixel`.
        """
        _check_prediction(image, prediction)
        if not 0 <= self.train_id < num_classes:
            raise ValueError(f"fill_holes.train_id is {self.train_id}; give a class of 0 to {num_classes - 1}.")
        filled = np.where(
            fill_holes(prediction == self.train_id), np.array(self.train_id, prediction.dtype), prediction
        )
        return image.back_project(filled)


NEED_RANGES = {"knn", "nla", "head"}
"""Those that compare the ranges of points, which photographs do not have."""


def _check_prediction(image: RangeImage | PaddedImage, prediction: NDArray) -> None:
    """A label for every pixel, of a dtype that holds IGNORE."""
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
    """Odd: a pixel is in the middle."""
    if window < 1 or window % 2 == 0 or window > MAX_WINDOW:
        nearest = [side for side in (window - 1, window + 1) if 1 <= side <= MAX_WINDOW]
        cure = " or ".join(map(str, nearest)) or f"1 to {MAX_WINDOW}"
        raise ValueError(f"The window is {window} pixels wide; give an odd number: {cure}.")


@lru_cache(maxsize=16)
def _inverse_gaussian(window: int, sigma: float) -> NDArray[np.float32]:
    """(S, S) 1 minus the Gaussian of the window, in the original's float32; 0 in the middle, where the point stands.

    All callers share one array; do not write to it.
    """
    offset = torch.arange(window).float() - (window - 1) / 2
    squares = (offset**2)[:, None] + (offset**2)[None, :]
    gaussian = (1.0 / (2.0 * math.pi * sigma**2)) * torch.exp(-squares / (2 * sigma**2))
    weight = (1 - gaussian / gaussian.sum()).numpy()
    weight[window // 2, window // 2] = 0
    return weight
