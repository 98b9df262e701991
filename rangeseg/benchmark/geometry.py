"""Projection and back-projection against their baselines.

Torch should have one thread from the start of the process (OMP_NUM_THREADS=1); all quoted numbers are measured so.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from rangeseg.benchmark.baselines import argsort_projection, loop_nearest_label, unfold_knn
from rangeseg.benchmark.timing import Row, compare
from rangeseg.evaluation.backprojection import knn_vote, nearest_label, nearest_pixel
from rangeseg.projection.range_image import CHANNELS, RangeImage
from rangeseg.projection.spherical import SphericalProjection
from rangeseg.types import IGNORE, Scan

HDL64 = SphericalProjection(64, 2048, 3.0, -25.0)
"""SemanticKITTI's sensor at full width."""
CLASSES = 20


def benchmark_projection(scan: Scan, *, repeats: int = 30) -> list[Row]:
    """Time the projection of points to images of range, x, y, z, remission, index and mask, all newly allocated.

    The timing with the view also includes normalised channels and labels (`RangeImage.view`); the baseline does not.

    Args:
        scan: N points, all returns.
        repeats: rounds.

    Returns:
        The table's lines.
    """
    size = (HDL64.height, HDL64.width, HDL64.fov_up_deg, HDL64.fov_down_deg)
    mean, std = np.zeros(len(CHANNELS)), np.ones(len(CHANNELS))
    candidates = {
        "NumPy argsort": lambda: argsort_projection(scan.xyz, scan.remission, *size),
        "rangeseg, points and pixels": lambda: HDL64(scan),
        "rangeseg, with the view": lambda: HDL64(scan).view(CHANNELS, mean, std),
    }
    inner = {name: 5 for name in candidates if name.startswith("rangeseg")}
    return compare(candidates, repeats, inner=inner).rows(f"projection {HDL64.height}x{HDL64.width}")


def benchmark_back_projection(scan: Scan, *, repeats: int = 10) -> list[Row]:
    """Time the KNN vote on clean labels, with wrong blobs (10 %) and wrong pixels (2 %); also NLA and plain look-up.

    Args:
        scan: N labelled points, all returns; labels that are IGNORE become the last class.
        repeats: rounds.

    Returns:
        The table's lines.

    Raises:
        ValueError: the scan has no labels.
    """
    if scan.label is None:
        raise ValueError("benchmark_back_projection got a scan without labels; give a labelled one.")
    image = HDL64(scan)
    label = np.where(scan.label == IGNORE, CLASSES - 1, scan.label)
    clean = image.gather(label.astype(np.int64))
    rng = np.random.default_rng(0)
    noisy = {
        "clean": clean,
        "10 % blobs": blob_noise(rng, clean, CLASSES, 0.1),
        "2 % salt": salt_noise(rng, clean, CLASSES, 0.02),
    }
    rows = [row for name, labels in noisy.items() for row in _knn_rows(image, labels, name, repeats)]
    return rows + _nearest_label_rows(image, clean, max(repeats // 3, 1))


def blob_noise(rng: np.random.Generator, label: NDArray, num_classes: int, share: float, side: int = 8) -> NDArray:
    """Square blobs of one random class each over about `share` of (H, W) labels."""
    noisy = label.copy()
    height, width = label.shape
    for _ in range(round(share * label.size / side**2)):
        v, u = rng.integers(0, max(height - side, 1)), rng.integers(0, max(width - side, 1))
        noisy[v : v + side, u : u + side] = rng.integers(0, num_classes)
    return noisy


def salt_noise(rng: np.random.Generator, label: NDArray, num_classes: int, share: float) -> NDArray:
    """A random class on about `share` of the pixels of (H, W) labels, drawn for each pixel independently."""
    random = rng.integers(0, num_classes, label.shape, label.dtype)
    return np.where(rng.random(label.shape) < share, random, label)


def _tensors(image: RangeImage) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    """(H, W) range image, (N,) ranges of the points and their pixels, as arguments of the baselines."""
    pixel = (torch.from_numpy(image.row).long(), torch.from_numpy(image.col).long())
    return torch.from_numpy(image.gather(image.range, fill=-1)), torch.from_numpy(image.range), pixel


def _knn_rows(image: RangeImage, label: NDArray, noise: str, repeats: int) -> list[Row]:
    """KNN against its baseline on one prediction."""
    image_range, point_range, pixel = _tensors(image)
    prediction = torch.from_numpy(label)
    candidates = {
        "torch unfold": lambda: unfold_knn(image_range, point_range, prediction, pixel, CLASSES),
        "rangeseg": lambda: knn_vote(image, label, num_classes=CLASSES),
        "rangeseg, original's quirks": lambda: knn_vote(
            image, label, num_classes=CLASSES, never_class_0=True, border_is_range_0=True
        ),
    }
    return compare(candidates, repeats, inner={"rangeseg": 5}).rows(f"knn k5 5x5, {noise}")


def _nearest_label_rows(image: RangeImage, label: NDArray, repeats: int) -> list[Row]:
    """NLA and the plain look-up against the Python loop."""
    image_range, point_range, pixel = _tensors(image)
    prediction, label = torch.from_numpy(label), label.astype(np.uint8)  # types of the respective evaluation code
    candidates = {
        "Python loop": lambda: loop_nearest_label(image_range, point_range, prediction, pixel),
        "rangeseg": lambda: nearest_label(image, label),
        "rangeseg, own pixel only": lambda: nearest_pixel(image, label),
    }
    inner = {name: 20 for name in candidates if name.startswith("rangeseg")}
    return compare(candidates, repeats, inner=inner).rows("nla 5x5, clean")
