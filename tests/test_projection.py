"""Projection: the float64 formula on every point, and the laws of `RangeImage`."""

from __future__ import annotations

import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import random_scan
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rangeseg.catalog import PROJECTIONS
from rangeseg.projection.range_image import CHANNELS, RangeImage
from rangeseg.projection.spherical import SphericalProjection
from rangeseg.types import IGNORE, Scan

HDL64 = (64, 2048, 3.0, -25.0)
misfits = pytest.mark.filterwarnings(
    "ignore:(?s).*(rangeseg fit-sensor|in the direction of another)"
)  # made-up points fit no sensor
SENSORS = [
    HDL64,
    (64, 512, 3.0, -25.0),
    (32, 1920, 10.0, -30.0),
    (40, 1800, 7.0, -16.0),
    (128, 4096, 22.5, -22.5),
    (90, 1024, 90.0, -90.0),
    (64, 1024, 90.0, 0.0),
    (16, 333, -5.0, -31.0),
    (20, 777, 40.0, 12.5),
    (10, 100, -30.0, -30.5),
    (1, 1, 3.0, -25.0),
]


def oracle(xyz: NDArray, height: int, width: int, up: float, down: float) -> tuple[NDArray, NDArray]:
    """Row and column by the formula, NumPy float64."""
    x, y, z = xyz.astype(np.float64).T
    fov_up, fov_down = np.deg2rad(up), np.deg2rad(down)
    u = 0.5 * (-np.arctan2(y, x) / np.pi + 1) * width
    v = (1 - (np.arcsin(z / np.sqrt(x * x + y * y + z * z)) - fov_down) / (fov_up - fov_down)) * height
    return np.clip(np.floor(v), 0, height - 1).astype(int), np.clip(np.floor(u), 0, width - 1).astype(int)


def oracle_winners(image: RangeImage) -> NDArray:
    """(H, W) the nearest point of each pixel, the lowest index on ties, by sorting."""
    returns = np.flatnonzero(image.row >= 0)
    order = returns[np.lexsort((returns, image.range[returns]))][::-1]
    index = np.full(image.point_index.shape, -1)
    for i in order:  # the nearest is written last
        index[image.row[i], image.col[i]] = i
    return index


def bare(xyz: NDArray) -> Scan:
    return Scan(np.asarray(xyz, np.float32), np.zeros(len(xyz), np.float32))


def read(path: Path, fields: int = 4) -> Scan:
    raw = np.fromfile(path, np.float32).reshape(-1, fields)
    return Scan(raw[:, :3], raw[:, 3])


def assert_equals_oracle(scan: Scan, size: tuple[int, int, float, float]) -> RangeImage:
    image = SphericalProjection(*size)(scan)
    row, col = oracle(scan.xyz, *size)
    assert np.count_nonzero(image.row != row) == 0
    assert np.count_nonzero(image.col != col) == 0
    return image


# --- exactness


@pytest.mark.parametrize("sequence", ["00", "01", "02", "04", "06", "07", "08", "09"])
def test_every_point_of_the_real_scans_equals_float64(scans_root: Path, sequence: str) -> None:
    paths = sorted((scans_root / "sequences" / sequence / "velodyne").glob("*.bin"))
    assert len(paths) in (1, 5)
    for path in paths:
        scan = read(path)
        for width in (512, 1024, 2048):
            image = assert_equals_oracle(scan, (64, width, 3.0, -25.0))
        norm = np.sqrt((scan.xyz.astype(np.float64) ** 2).sum(1)).astype(np.float32)
        assert np.array_equal(image.range, norm)


def test_winners_of_a_real_scan_are_the_nearest_points(scans_root: Path) -> None:
    image = SphericalProjection(*HDL64)(read(scans_root / "sequences/00/velodyne/000000.bin"))
    assert np.array_equal(image.point_index, oracle_winners(image))
    assert image.hidden.mean() > 0.05


def test_nuscenes_sweep_equals_float64(data_root: Path) -> None:
    path = next((data_root / "nuscenes_fragments/raw").glob("*.pcd.bin"))
    scan = read(path, fields=5)
    returns = np.any(scan.xyz != 0, axis=1)
    for width in (480, 1088, 1920):
        assert_equals_oracle(bare(scan.xyz[returns]), (32, width, 10.0, -30.0))


def test_rellis_no_returns_are_counted(data_root: Path) -> None:
    scan = read(data_root / "rellis3d/sequences/00/velodyne/000104.bin")
    image = SphericalProjection(64, 2048, 22.5, -22.5)(scan)
    assert image.no_return_count == 53364
    assert np.array_equal(image.no_return, ~scan.xyz.any(axis=1))


@misfits
@pytest.mark.parametrize("size", SENSORS)
def test_points_on_and_beside_pixel_borders_equal_float64(size: tuple[int, int, float, float]) -> None:
    rng = np.random.default_rng(1)
    height, width, up, down = size
    n = 60_000
    azimuth = np.pi * (1 - 2 * rng.integers(0, width + 1, n) / width) + rng.choice([0, 1e-7, -1e-7, 1e-6, -1e-6], n)
    inclination = np.deg2rad(up) - np.deg2rad(up - down) * rng.integers(0, height + 1, n) / height
    inclination = np.clip(inclination + rng.choice([0, 1e-7, -1e-7, 1e-6, -1e-6], n), -np.pi / 2, np.pi / 2)
    metres = np.exp(rng.uniform(np.log(0.05), np.log(500), n))
    flat = np.cos(inclination)
    direction = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(inclination)], axis=1)
    assert_equals_oracle(bare(metres[:, None] * direction), size)


@misfits
@pytest.mark.parametrize("size", SENSORS)
def test_random_directions_equal_float64(size: tuple[int, int, float, float], rng: np.random.Generator) -> None:
    xyz = rng.normal(size=(60_000, 3)) * np.exp(rng.normal(0, 3, (60_000, 1)))
    assert_equals_oracle(bare(xyz), size)


@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1e-7, 1.0, 1e7, 1e19, 1e38])
def test_any_magnitude_equals_float64(scale: float, rng: np.random.Generator) -> None:
    assert_equals_oracle(bare(rng.uniform(-1, 1, (5000, 3)) * scale), HDL64)


@pytest.mark.parametrize(("x", "col"), [(5.0, 1024), (-5.0, 0)])
def test_signed_zeros_and_axes(x: float, col: int) -> None:
    axes = [(x, 0.0, 0.0), (x, -0.0, 0.0), (0, 5, 0), (-0.0, 5, 0), (0, -5, 0), (0, 0, 5), (0, 0, -5), (3, 3, 0)]
    image = SphericalProjection(*HDL64)(bare(np.array(axes)))
    behind = 2047 if x < 0 else col
    assert image.col.tolist() == [col, behind, 512, 512, 1536, 1024, 1024, 768]
    level = math.floor((1 - 25 / 28) * 64 + 1e-9)
    assert image.row.tolist() == [level] * 5 + [0, 63, level]


# --- which point wins


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_point_order_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scan = random_scan(rng, 500)
    order = rng.permutation(len(scan))
    projection = SphericalProjection(16, 64, 3.0, -25.0)
    image, shuffled = projection(scan), projection(bare(scan.xyz[order]))
    assert np.array_equal(shuffled.row, image.row[order])
    assert np.array_equal(np.where(image.valid, order[shuffled.point_index], -1), image.point_index)


def test_equal_ranges_go_to_the_lower_index() -> None:
    image = SphericalProjection(*HDL64)(bare(np.array([[9, 2, 0], [4.5, 1, 0], [4.5, 1, 0], [4.5, 1, 0]])))
    assert image.point_index[image.valid].tolist() == [1]
    assert image.hidden.tolist() == [True, False, True, True]


def test_point_0_is_not_lost() -> None:
    image = SphericalProjection(*HDL64)(bare(np.array([[5, 1, 0]])))
    assert image.valid.sum() == 1
    assert image.view(("x",), [0], [1]).valid.sum() == 1


def test_threads_do_not_matter(rng: np.random.Generator) -> None:
    scans = [random_scan(rng, 5000) for _ in range(8)]
    projection = SphericalProjection(*HDL64)
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(projection, scans))
    for scan, image in zip(scans, threaded, strict=True):
        assert np.array_equal(image.point_index, projection(scan).point_index)


@pytest.mark.parametrize("columns", [1, 7, 511, 1000])
def test_a_yaw_rotation_is_a_column_roll(columns: int, rng: np.random.Generator) -> None:
    height, width, n = 32, 1024, 4000
    azimuth = np.pi * (1 - 2 * (rng.integers(0, width, n) + 0.5) / width)
    inclination = np.deg2rad(rng.uniform(-25, 3, n))
    metres = rng.uniform(1, 60, n)

    def at(turn: float) -> Scan:
        flat = metres * np.cos(inclination)
        return bare(
            np.stack([flat * np.cos(azimuth + turn), flat * np.sin(azimuth + turn), metres * np.sin(inclination)], 1)
        )

    projection = SphericalProjection(height, width, 3.0, -25.0)
    image, turned = projection(at(0.0)), projection(at(-2 * np.pi * columns / width))
    assert projection.wrap
    assert np.array_equal(turned.col, (image.col + columns) % width)
    assert np.array_equal(turned.valid, np.roll(image.valid, columns, axis=1))


# --- pixels and points


@given(seed=st.integers(0, 2**32 - 1), points=st.integers(1, 300), lost=st.floats(0, 0.9))
@settings(max_examples=40, deadline=None)
def test_laws_of_the_range_image(seed: int, points: int, lost: float) -> None:
    rng = np.random.default_rng(seed)
    scan = random_scan(rng, points)
    gone = rng.random(points) < lost
    gone[0] = False
    scan.xyz[gone] = rng.choice(np.array([0, np.nan, np.inf], np.float32), (gone.sum(), 1))
    image = SphericalProjection(8, 32, 3.0, -25.0)(scan)
    winners = image.valid.sum()
    assert np.array_equal(image.no_return, gone)
    assert winners + image.hidden.sum() + image.no_return_count == points
    assert np.array_equal(image.point_index, oracle_winners(image))
    assert (image.row[gone] == -1).all()
    assert (image.col[gone] == -1).all()
    assert (image.range[gone] == 0).all()

    values = rng.normal(size=points)
    back = image.back_project(image.gather(values))
    shown = ~image.hidden & ~gone
    assert np.array_equal(back[shown], values[shown])
    assert np.isnan(back[gone]).all()
    front = image.point_index[image.row[image.hidden], image.col[image.hidden]]
    assert np.array_equal(back[image.hidden], values[front])
    assert (image.range[image.hidden] >= image.range[front]).all()


def test_gather_and_back_project_keep_dtypes_and_leading_axes(rng: np.random.Generator) -> None:
    scan = random_scan(rng)
    scan.xyz[3] = 0
    image = SphericalProjection(8, 32, 3.0, -25.0)(scan)
    for dtype in (np.uint8, np.int32, np.int64, np.float32, np.float64, np.bool_):
        pixels = rng.integers(0, 2, (2, 3, 8, 32)).astype(dtype)
        points = image.back_project(pixels)
        assert points.dtype == dtype
        assert points.shape == (2, 3, len(scan))
        assert np.array_equal(points[1, 2, 4:], pixels[1, 2][image.row[4:], image.col[4:]])
    assert image.back_project(np.zeros((8, 32), np.int64))[3] == IGNORE
    assert image.back_project(np.zeros((8, 32), np.int64), fill=7)[3] == 7
    assert not image.back_project(np.ones((8, 32), np.bool_))[3]
    assert image.gather(scan.xyz, fill=-1).shape == (8, 32, 3)
    assert (image.gather(scan.xyz, fill=-1)[~image.valid] == -1).all()


# --- view


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_view_normalises_then_zeroes_empty_pixels(rng: np.random.Generator, dtype: type) -> None:
    scan = random_scan(rng)
    scan = Scan(scan.xyz, scan.remission, label=scan.label.astype(dtype))
    image = SphericalProjection(16, 128, 3.0, -25.0)(scan)
    channels = ("remission", "z", "range", "x", "y", "z")
    mean, std = rng.normal(size=6).astype(np.float32), rng.uniform(0.1, 9, 6).astype(np.float32)
    view = image.view(channels, mean, std)
    columns = dict(zip(("x", "y", "z"), scan.xyz.T, strict=True)) | {"remission": scan.remission, "range": image.range}
    for c, name in enumerate(channels):
        expected = np.where(image.valid, (image.gather(columns[name]) - mean[c]) / std[c], 0)
        assert np.array_equal(view.image[c].numpy(), expected)
    assert np.array_equal(view.valid.numpy(), image.valid)
    assert np.array_equal(view.label.numpy(), image.gather(scan.label, fill=IGNORE))
    assert (view.image.dtype, view.valid.dtype, view.label.dtype) == (torch.float32, torch.bool, torch.int64)
    assert 0 < image.valid.sum() < image.valid.size


def test_view_of_an_unlabelled_scan_is_all_ignore(rng: np.random.Generator) -> None:
    scan = random_scan(rng)
    image = SphericalProjection(16, 128, 3.0, -25.0)(Scan(scan.xyz, scan.remission))
    assert (image.view(CHANNELS, np.zeros(5), np.ones(5)).label == IGNORE).all()


def test_strided_read_only_and_float64_scans_give_the_same_image(rng: np.random.Generator) -> None:
    scan = random_scan(rng)
    raw = np.column_stack([scan.xyz, scan.remission])
    raw.flags.writeable = False
    projection = SphericalProjection(*HDL64)
    expected = projection(scan).view(CHANNELS, np.zeros(5), np.ones(5))
    for other in (Scan(raw[:, :3], raw[:, 3]), Scan(scan.xyz.astype(np.float64), scan.remission.astype(np.float64))):
        assert torch.equal(projection(other).view(CHANNELS, np.zeros(5), np.ones(5)).image, expected.image)


# --- bad input


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -np.inf])
def test_a_scan_without_returns_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match="None of the scan's 3 points"):
        SphericalProjection(*HDL64)(bare(np.full((3, 3), value)))


@pytest.mark.parametrize(
    "size",
    [(0, 8, 3, -25), (8, -1, 3, -25), (8, 8, -25, 3), (8, 8, 3, 3), (8, 8, 91, 0), (8, 8, 0, -91), (8, 8, math.nan, 0)],
)
def test_bad_geometry_is_an_error(size: tuple[int, int, float, float]) -> None:
    with pytest.raises(ValueError, match="give"):
        SphericalProjection(*size)


@pytest.mark.parametrize(
    ("channels", "mean", "std", "said"),
    [
        (("range", "depth"), [0, 0], [1, 1], "choose from range, x, y, z, remission"),
        ((), [], [], "choose from"),
        (("range",), [0, 0], [1], "mean of shape"),
        (("range",), [0], 1.0, "std of shape"),
        (("range",), [0], [0], "positive"),
        (("range",), [0], [math.nan], "positive"),
    ],
)
def test_bad_channels_are_an_error(channels: tuple, mean: list, std: list, said: str) -> None:
    image = SphericalProjection(*HDL64)(bare(np.ones((1, 3))))
    with pytest.raises(ValueError, match=said):
        image.view(channels, mean, std)


def test_bad_shapes_are_an_error() -> None:
    image = SphericalProjection(*HDL64)(bare(np.ones((2, 3))))
    with pytest.raises(ValueError, match=r"give \(..., 64, 2048\)"):
        image.back_project(np.zeros((2048, 64)))
    with pytest.raises(ValueError, match="cannot hold 255"):
        image.back_project(np.zeros((64, 2048), np.int8))
    with pytest.raises(ValueError, match="2 points"):
        image.gather(np.zeros(3))
    with pytest.raises(ValueError, match="for 2 points"):
        RangeImage(image.scan, image.row[:1], image.col, image.range, image.point_index)
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        RangeImage(image.scan, image.row, image.col, image.range, image.point_index[0])


def test_the_table_of_projections() -> None:
    assert PROJECTIONS["spherical"] is SphericalProjection


@pytest.mark.slow
def test_a_second_process_compiles_nothing() -> None:
    code = (
        "import numpy as np\n"
        "from rangeseg.types import Scan\n"
        "from rangeseg.kernels import backprojection as back, projection as kernels, unfolding as order\n"
        "from rangeseg.projection.beam import BeamProjection\n"
        "from rangeseg.projection.organised import OrganisedProjection\n"
        "from rangeseg.projection.spherical import SphericalProjection\n"
        "from rangeseg.projection.unfolding import ScanUnfolding\n"
        "from rangeseg.evaluation.backprojection import knn_vote, nearest_label\n"
        "image = SphericalProjection(8, 32, 3, -25)(Scan(np.ones((4, 3), 'f4'), np.ones(4, 'f4')))\n"
        "for one in (BeamProjection(8, (1.0,), origin_m=(3, 0, 0)), OrganisedProjection(4, 1), ScanUnfolding(1, 8)):\n"
        "    one(image.scan)\n"
        "image.view(('x',), [0], [1])\n"
        "image.back_project(image.point_index)\n"
        "knn_vote(image, np.zeros((8, 32), int), num_classes=2); nearest_label(image, np.zeros((8, 32), int))\n"
        "called = (order.place_points, order.unfold_rows, order.find_seam, order.level_points,\n"
        "          kernels.project_points, kernels.fill_view, kernels.spread_pixels, back.count_unknown,\n"
        "          back.pad_images, back.settle_pixels, back.vote_points, back.nearest_points)\n"
        "print(sum(len(kernel.stats.cache_misses) for kernel in called))\n"
    )
    root = Path(__file__).parents[1]
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "0"


@pytest.mark.parametrize("size", [(2**20, 2**20), (10**20, 64), (64, 2**31)])
def test_an_image_that_no_memory_holds_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="give at most 67108864 in all"):
        SphericalProjection(*size, 3.0, -25.0)
