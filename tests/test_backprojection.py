"""Back-projection beside NumPy oracles of the published algorithms, and the original's own way in torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import random_scan
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rangeseg.benchmark.baselines import argsort_projection, loop_nearest_label, unfold_knn
from rangeseg.benchmark.geometry import blob_noise, salt_noise
from rangeseg.catalog import BACK_PROJECTIONS
from rangeseg.evaluation.backprojection import KnnVote, knn_vote, nearest_label, nearest_pixel
from rangeseg.projection.range_image import RangeImage
from rangeseg.projection.spherical import SphericalProjection
from rangeseg.types import IGNORE, Scan

CLASSES = 20


def windows(
    image: RangeImage, prediction: NDArray, side: int, wrap: bool, border_is_range_0: bool
) -> tuple[NDArray, NDArray]:
    """Range (inf for no neighbour) and label of the cells around each return, (M, S * S) each."""
    height, width = image.point_index.shape
    returns = ~image.no_return
    offset = np.arange(side) - side // 2
    v = np.repeat(image.row[returns, None] + offset, side, axis=1)
    u = np.tile(image.col[returns, None] + offset, (1, side))
    u = u % width if wrap else u
    outside = (v < 0) | (v >= height) | (u < 0) | (u >= width)
    at = np.clip(v, 0, height - 1), np.clip(u, 0, width - 1)
    known = image.valid & (prediction != IGNORE)
    metres = np.where(known, image.gather(image.range), np.float32(np.inf))[at]
    metres[outside] = 0 if border_is_range_0 else np.inf
    return metres, np.where(outside, 0, prediction[at])


def knn_oracle(
    image: RangeImage,
    prediction: NDArray,
    *,
    k: int = 5,
    window: int = 5,
    sigma: float = 1.0,
    cutoff_m: float = 1.0,
    wrap: bool = False,
    never_class_0: bool = False,
    border_is_range_0: bool = False,
) -> NDArray:
    """The KNN vote, all points at once: a stable sort of every window, float32 distances."""
    metres, label = windows(image, prediction, window, wrap, border_is_range_0)
    own = image.range[~image.no_return, None]
    grid = torch.stack(torch.meshgrid(*[torch.arange(window).float()] * 2, indexing="ij"), -1) - (window - 1) / 2
    gaussian = (1 / (2 * math.pi * sigma**2)) * torch.exp(-(grid**2).sum(-1) / (2 * sigma**2))
    weight = (1 - gaussian / gaussian.sum()).numpy().reshape(-1)
    middle = window**2 // 2
    metres[:, middle] = np.where(np.isfinite(metres[:, middle]), own[:, 0], np.inf)
    distance = np.abs(metres - own) * weight
    order = np.argsort(distance, axis=1, kind="stable")[:, :k]
    kept, voted = np.take_along_axis(distance, order, 1), np.take_along_axis(label, order, 1)
    counts = np.zeros((len(own), CLASSES), int)
    counted = (kept <= np.float32(cutoff_m)) & np.isfinite(kept)
    np.add.at(counts, (np.nonzero(counted)[0], voted[counted]), 1)
    result = np.full(len(image.row), IGNORE, prediction.dtype)
    if never_class_0:
        result[~image.no_return] = counts[:, 1:].argmax(1) + 1
    else:
        result[~image.no_return] = np.where(counts.any(1), counts.argmax(1), IGNORE)
    return result


def nla_oracle(image: RangeImage, prediction: NDArray, window: int, wrap: bool, border_is_range_0: bool) -> NDArray:
    """Nearest label assignment, all points at once."""
    metres, label = windows(image, prediction, window, wrap, border_is_range_0)
    returns = ~image.no_return
    distance = np.abs(metres - image.range[returns, None])
    best = distance.argmin(1)
    found = np.where(np.isfinite(distance.min(1)), label[np.arange(len(best)), best], IGNORE)
    row, col = image.row[returns], image.col[returns]
    own = image.range[returns] == image.range[image.point_index[row, col]]
    result = np.full(len(image.row), IGNORE, prediction.dtype)
    result[returns] = np.where(own, prediction[row, col], found)
    return result


def crowded(seed: int, ignored: float = 0.0, points: int = 900) -> tuple[RangeImage, NDArray]:
    """A small image with many hidden points, empty pixels, no returns and quantised ranges (ties)."""
    rng = np.random.default_rng(seed)
    scan = random_scan(rng, points)
    near = np.round(rng.uniform(1, 4, (points, 1)) * 4) / 4
    xyz = (near * scan.xyz / np.linalg.norm(scan.xyz, axis=1, keepdims=True)).astype(np.float32)
    xyz[rng.random(points) < 0.05] = 0
    image = SphericalProjection(12, 40, 3.0, -25.0)(Scan(xyz, scan.remission))
    blocks = rng.integers(0, CLASSES, (3, 8)).repeat(4, 0).repeat(5, 1)
    prediction = salt_noise(rng, blocks, CLASSES, 0.15)
    prediction[rng.random(prediction.shape) < ignored] = IGNORE
    return image, prediction


def real(kitti_root: Path, width: int, sequence: str = "00") -> tuple[RangeImage, NDArray]:
    """A real scan's range image and its raw labels as 20 classes, 0 among them."""
    folder = kitti_root / "sequences" / sequence
    raw = np.fromfile(folder / "velodyne/000000.bin", np.float32).reshape(-1, 4)
    ids = np.fromfile(folder / "labels/000000.label", np.uint32) & 0xFFFF
    image = SphericalProjection(64, width, 3.0, -25.0)(Scan(raw[:, :3], raw[:, 3]))
    return image, image.gather((np.unique(ids, return_inverse=True)[1] % CLASSES).astype(np.int64))


def tensors(image: RangeImage, prediction: NDArray) -> tuple:
    """What the torch baselines take."""
    pixel = (torch.from_numpy(image.row).long(), torch.from_numpy(image.col).long())
    image_range = torch.from_numpy(image.gather(image.range, fill=-1))
    return image_range, torch.from_numpy(image.range), torch.from_numpy(prediction), pixel


# --- KNN


@given(
    seed=st.integers(0, 10_000),
    setting=st.sampled_from(
        [(5, 5, 1.0, 1.0), (7, 7, 1.0, 2.0), (11, 11, 1.0, 5.0), (1, 3, 0.5, 0.3), (9, 3, 2.0, 0.7)]
    ),
    wrap=st.booleans(),
    never_class_0=st.booleans(),
    border_is_range_0=st.booleans(),
    ignored=st.sampled_from([0.0, 0.3]),
)
@settings(max_examples=80, deadline=None)
def test_knn_equals_its_oracle(
    seed: int, setting: tuple, wrap: bool, never_class_0: bool, border_is_range_0: bool, ignored: float
) -> None:
    image, prediction = crowded(seed, ignored)
    k, window, sigma, cutoff_m = setting
    options = KnnVote(k, window, sigma, cutoff_m, wrap, never_class_0, border_is_range_0)
    expected = knn_oracle(image, prediction, **vars(options))
    assert np.array_equal(options(image, prediction, CLASSES), expected)


@pytest.mark.parametrize("noise", ["clean", "blobs", "salt", "random"])
@pytest.mark.parametrize("width", [512, 2048])
def test_knn_on_a_real_scan_equals_its_oracle_and_the_original(scans_root: Path, width: int, noise: str) -> None:
    image, clean = real(scans_root, width)
    rng = np.random.default_rng(0)
    prediction = {
        "clean": lambda: clean,
        "blobs": lambda: blob_noise(rng, clean, CLASSES, 0.1),
        "salt": lambda: salt_noise(rng, clean, CLASSES, 0.02),
        "random": lambda: rng.integers(0, CLASSES, clean.shape),
    }[noise]()
    assert np.array_equal(knn_vote(image, prediction, num_classes=CLASSES), knn_oracle(image, prediction))
    original = unfold_knn(*tensors(image, prediction), CLASSES).numpy()
    quirks = {"never_class_0": True, "border_is_range_0": True}
    assert np.array_equal(knn_vote(image, prediction, num_classes=CLASSES, **quirks), original)


@pytest.mark.parametrize(("k", "window", "cutoff_m"), [(7, 7, 2.0), (11, 11, 5.0)])
def test_other_published_settings_equal_the_original(scans_root: Path, k: int, window: int, cutoff_m: float) -> None:
    image, clean = real(scans_root, 512, "07")
    prediction = salt_noise(np.random.default_rng(0), clean, CLASSES, 0.05)
    original = unfold_knn(*tensors(image, prediction), CLASSES, k=k, window=window, cutoff_m=cutoff_m).numpy()
    voted = knn_vote(
        image,
        prediction,
        num_classes=CLASSES,
        k=k,
        window=window,
        cutoff_m=cutoff_m,
        never_class_0=True,
        border_is_range_0=True,
    )
    assert np.array_equal(voted, original)


def test_the_quirks_are_what_their_names_say() -> None:
    scan = Scan(np.array([[0.5, 0, 0], [0.51, 0, 0]], np.float32), np.zeros(2, np.float32))
    image = SphericalProjection(1, 8, 3.0, -25.0)(scan)
    assert knn_vote(image, np.zeros((1, 8), np.uint8), num_classes=3).tolist() == [0, 0]
    assert knn_vote(image, np.zeros((1, 8), np.uint8), num_classes=3, never_class_0=True).tolist() == [1, 1]
    twos = np.full((1, 8), 2, np.uint8)
    assert knn_vote(image, twos, num_classes=3).tolist() == [2, 2]
    assert knn_vote(image, twos, num_classes=3, border_is_range_0=True).tolist() == [0, 0]


def test_without_a_cutoff_empty_pixels_do_not_vote() -> None:
    image, prediction = crowded(3)
    voted = knn_vote(image, prediction, num_classes=CLASSES, k=25, cutoff_m=math.inf)
    assert np.array_equal(voted, knn_oracle(image, prediction, k=25, cutoff_m=math.inf))


def test_wrap_joins_the_seam() -> None:
    azimuth = np.pi * (1 - 2 * (np.arange(16) + 0.5) / 16)
    xyz = np.stack([5 * np.cos(azimuth), 5 * np.sin(azimuth), 0 * azimuth], axis=1).astype(np.float32)
    image = SphericalProjection(1, 16, 3.0, -25.0)(Scan(xyz, np.zeros(16, np.float32)))
    prediction = np.full((1, 16), 4, np.int64)
    prediction[0, 0] = 7
    assert knn_vote(image, prediction, num_classes=9, window=3, k=2)[0] == 4  # a tie of 7 and 4: the lower
    prediction[0, -1] = 8
    prediction[0, 1] = 8
    assert knn_vote(image, prediction, num_classes=9, window=3, k=3)[0] == 7
    assert knn_vote(image, prediction, num_classes=9, window=3, k=3, wrap=True)[0] == 8


def test_a_roll_of_the_scan_rolls_the_wrapped_vote(rng: np.random.Generator) -> None:
    n, width = 3000, 64
    azimuth = np.pi * (1 - 2 * (rng.integers(0, width, n) + 0.5) / width)
    inclination, metres = np.deg2rad(rng.uniform(-25, 3, n)), rng.uniform(2, 5, n)
    prediction = rng.integers(0, CLASSES, (16, width))

    def vote(columns: int, method: Callable) -> NDArray:
        a = azimuth - 2 * np.pi * columns / width
        flat = metres * np.cos(inclination)
        xyz = np.stack([flat * np.cos(a), flat * np.sin(a), metres * np.sin(inclination)], 1)
        # The same ranges and winners: rounding in the turned coordinates must not reorder them.
        image = SphericalProjection(16, width, 3.0, -25.0)(Scan(xyz.astype(np.float32), np.zeros(n, np.float32)))
        image = RangeImage(image.scan, image.row, image.col, still.range, turned_index(image))
        return method(image, np.roll(prediction, columns, axis=1))

    def turned_index(image: RangeImage) -> NDArray:
        return np.roll(still.point_index, int((image.col[0] - still.col[0]) % width), axis=1)

    flat = metres * np.cos(inclination)
    xyz = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), metres * np.sin(inclination)], 1)
    still = SphericalProjection(16, width, 3.0, -25.0)(Scan(xyz.astype(np.float32), np.zeros(n, np.float32)))
    for method in (
        lambda image, labels: knn_vote(image, labels, num_classes=CLASSES, wrap=True),
        lambda image, labels: nearest_label(image, labels, wrap=True),
    ):
        assert np.array_equal(vote(0, method), vote(29, method))


def test_the_largest_window_counts_right() -> None:
    image, prediction = crowded(5, points=100)
    options = KnnVote(k=9, window=181, sigma=20.0, cutoff_m=0.2, border_is_range_0=True)
    assert np.array_equal(options(image, prediction, CLASSES), knn_oracle(image, prediction, **vars(options)))


# --- NLA and the plain look-up


@given(
    seed=st.integers(0, 10_000),
    window=st.sampled_from([1, 3, 5, 9]),
    wrap=st.booleans(),
    border_is_range_0=st.booleans(),
    ignored=st.sampled_from([0.0, 0.3]),
)
@settings(max_examples=60, deadline=None)
def test_nla_equals_its_oracle(seed: int, window: int, wrap: bool, border_is_range_0: bool, ignored: float) -> None:
    image, prediction = crowded(seed, ignored)
    labels = nearest_label(image, prediction, window=window, wrap=wrap, border_is_range_0=border_is_range_0)
    assert np.array_equal(labels, nla_oracle(image, prediction, window, wrap, border_is_range_0))


@pytest.mark.parametrize("width", [512, 2048])
def test_nla_on_a_real_scan_equals_the_original(scans_root: Path, width: int) -> None:
    image, prediction = real(scans_root, width)
    original = loop_nearest_label(*tensors(image, prediction)).numpy()
    assert np.array_equal(nearest_label(image, prediction), original)
    assert np.array_equal(nearest_label(image, prediction, border_is_range_0=True), original)
    assert np.array_equal(nearest_pixel(image, prediction), prediction[image.row, image.col])


# --- what all share


@pytest.mark.parametrize(
    "name", sorted(BACK_PROJECTIONS.keys() - {"head"})
)  # which reads logits, and has its own tests
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.int64])
def test_every_back_projection_keeps_the_dtype_and_ignores_no_returns(name: str, dtype: type) -> None:
    image, prediction = crowded(0)
    labels = BACK_PROJECTIONS[name]()(image, prediction.astype(dtype), CLASSES)
    assert labels.dtype == dtype
    assert labels.shape == (len(image.scan),)
    assert image.no_return_count > 0
    assert np.array_equal(labels == IGNORE, image.no_return)
    assert np.array_equal(labels, BACK_PROJECTIONS[name]()(image, prediction, CLASSES))


@pytest.mark.parametrize(
    "name", sorted(BACK_PROJECTIONS.keys() - {"head"})
)  # which reads logits, and has its own tests
def test_a_uniform_prediction_comes_back(name: str) -> None:
    image, _ = crowded(1)
    labels = BACK_PROJECTIONS[name]()(image, np.full((12, 40), 6), CLASSES)
    assert (labels[~image.no_return] == 6).all()


@pytest.mark.parametrize(
    "name", sorted(BACK_PROJECTIONS.keys() - {"head"})
)  # which reads logits, and has its own tests
def test_an_ignored_prediction_stays_ignored(name: str) -> None:
    image, _ = crowded(1)
    assert (BACK_PROJECTIONS[name]()(image, np.full((12, 40), IGNORE), CLASSES) == IGNORE).all()


@pytest.mark.parametrize(
    "name", sorted(BACK_PROJECTIONS.keys() - {"head"})
)  # which reads logits, and has its own tests
@pytest.mark.parametrize(
    ("prediction", "said"),
    [
        (np.zeros((40, 12), np.int64), "shape"),
        (np.zeros((1, 12, 40), np.int64), "shape"),
        (np.zeros((12, 40), np.float32), "float32; give integers"),
        (np.zeros((12, 40), np.bool_), "bool; give integers"),
        (np.zeros((12, 40), np.int8), "int8; give integers"),
    ],
)
def test_a_bad_prediction_is_an_error(name: str, prediction: NDArray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        BACK_PROJECTIONS[name]()(crowded(0)[0], prediction, CLASSES)


@pytest.mark.parametrize(
    "options",
    [
        {"k": 0},
        {"k": 26},
        {"window": 4},
        {"window": 0},
        {"window": -3},
        {"window": 183},
        {"sigma": 0.0},
        {"cutoff_m": 0.0},
        {"cutoff_m": math.nan},
        {"num_classes": 0},
        {"num_classes": 256},
        {"num_classes": 1, "never_class_0": True},
    ],
)
def test_bad_knn_options_are_an_error(options: dict) -> None:
    image, prediction = crowded(0)
    with pytest.raises(ValueError, match="give"):
        knn_vote(image, prediction, **{"num_classes": CLASSES, **options})


def test_labels_beyond_the_classes_are_an_error() -> None:
    image, prediction = crowded(0)
    for wrong in (CLASSES, -1, 254):
        prediction[2, 3] = wrong
        with pytest.raises(ValueError, match=r"1 pixels of the prediction are neither 0..19 nor IGNORE"):
            knn_vote(image, prediction, num_classes=CLASSES)


def test_an_even_nla_window_is_an_error() -> None:
    with pytest.raises(ValueError, match="3 or 5"):
        nearest_label(*crowded(0), window=4)


# --- the baseline is the real thing


def test_the_argsort_baseline_makes_the_same_image(scans_root: Path) -> None:
    image, _ = real(scans_root, 2048)
    baseline = argsort_projection(image.scan.xyz, image.scan.remission, 64, 2048, 3.0, -25.0)
    assert np.count_nonzero((baseline.row != image.row) | (baseline.col != image.col)) < 20  # float32 at the borders
    assert np.count_nonzero(baseline.point_index != image.point_index) < 30
    assert baseline.mask.sum() == image.valid.sum() - 1  # the original's loss of point 0
