"""Every projection obeys the laws of the spherical one; what tells its rows and columns is checked in float64."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import random_scan
from numpy.typing import NDArray
from test_projection import bare, oracle, oracle_winners, read

from rangeseg.catalog import PROJECTIONS
from rangeseg.projection.beam import BeamProjection
from rangeseg.projection.checks import misfits
from rangeseg.projection.fitted import FittedProjection, field_of_view
from rangeseg.projection.organised import OrganisedProjection
from rangeseg.projection.range_image import RangeImage
from rangeseg.projection.ring import RingProjection
from rangeseg.projection.spherical import SphericalProjection
from rangeseg.projection.unfolding import ScanUnfolding, unfolded
from rangeseg.registry import ConfigError, build
from rangeseg.types import Scan

UNEVEN = (14.0, 11.0, 8.0, 5.0, 3.0, 2.0, 1.83, 1.67, 1.5, 0.0, -0.17, -2.0, -6.0, -9.0, -14.0, -25.0)
BEAMS, COLUMNS = len(UNEVEN), 64


def sensor_scan(rng: np.random.Generator, order: str = "column", lost: float = 0.0) -> Scan:
    """A scan of a sensor with 16 uneven beams and 64 columns, one point in the middle of each, with its ring."""
    beam, column = np.meshgrid(np.arange(BEAMS), np.arange(COLUMNS), indexing="ij")
    if order == "column":
        beam, column = beam.T, column.T
    beam, column = beam.ravel(), column.ravel()
    azimuth = np.pi * (1 - 2 * (column + 0.5) / COLUMNS)
    inclination = np.radians(np.asarray(UNEVEN)[beam])
    metres = rng.uniform(2, 60, len(beam))
    flat = metres * np.cos(inclination)
    xyz = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), metres * np.sin(inclination)], axis=1)
    xyz[rng.random(len(xyz)) < lost] = rng.choice([0.0, np.nan, np.inf])
    return Scan(xyz.astype(np.float32), rng.random(len(xyz)).astype(np.float32), ring=beam)


EXAMPLES: dict[str, Callable[[int], object]] = {
    "spherical": lambda width: SphericalProjection(BEAMS, width, 15.0, -26.0),
    "limited": lambda width: SphericalProjection(BEAMS, width, 15.0, -26.0, 60.0, -30.0),
    "ring": lambda width: RingProjection(BEAMS, width),
    "unfolding": lambda width: ScanUnfolding(BEAMS, width),
    "beam": lambda width: BeamProjection(width, UNEVEN),
    "organised": lambda width: OrganisedProjection(BEAMS, width, order="row"),
    "fitted": lambda width: FittedProjection(BEAMS, width),
    "sensor": lambda width: PROJECTIONS["sensor"]("vlp16", width),
}
ORDERLESS = ("spherical", "limited", "ring", "beam", "sensor", "fitted")


def test_every_projection_has_an_example() -> None:
    assert set(PROJECTIONS) <= set(EXAMPLES)


# --- laws


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("width", [8, 64, 100])
def test_the_nearest_point_wins_and_every_return_has_a_pixel(name: str, width: int, rng: np.random.Generator) -> None:
    scan = sensor_scan(rng, "row", lost=0.2)
    image = EXAMPLES[name](width)(scan)  # type: ignore[operator]
    lost = ~np.isfinite(scan.xyz).all(axis=1) | ~scan.xyz.any(axis=1)
    norm = np.sqrt((scan.xyz.astype(np.float64) ** 2).sum(1)).astype(np.float32)
    assert image.point_index.shape == (16, width)
    assert np.array_equal(image.no_return, lost)
    assert (image.row[lost] == -1).all()
    assert (image.col[lost] == -1).all()
    assert np.array_equal(image.range, np.where(lost, 0, norm))
    assert np.array_equal(image.point_index, oracle_winners(image))
    assert image.valid.sum() + image.hidden.sum() + image.no_return_count == len(scan)
    back = image.back_project(image.gather(np.arange(len(scan))), fill=-1)
    assert np.array_equal(back[~lost], image.point_index[image.row[~lost], image.col[~lost]])


@pytest.mark.parametrize("name", EXAMPLES)
def test_equal_ranges_go_to_the_lower_index(name: str, rng: np.random.Generator) -> None:
    scan = sensor_scan(rng, "row")
    scan.xyz[:] = scan.xyz / np.linalg.norm(scan.xyz, axis=1, keepdims=True) * 0 + np.float32([8, 0, 0])
    image = EXAMPLES[name](1)(scan)  # type: ignore[operator]
    rows = image.row[image.point_index[image.valid]]
    first = [int(np.flatnonzero(image.row == row)[0]) for row in rows]
    assert image.point_index[image.valid].tolist() == first


@pytest.mark.parametrize("name", ORDERLESS)
def test_point_order_does_not_matter(name: str, rng: np.random.Generator) -> None:
    scan = random_scan(rng, 900)
    scan = replace(scan, ring=rng.integers(0, BEAMS, 900), label=None)
    order = rng.permutation(900)
    shuffled = Scan(scan.xyz[order], scan.remission[order], ring=scan.ring[order])
    projection = EXAMPLES[name](48)
    image, other = projection(scan), projection(shuffled)  # type: ignore[operator]
    assert np.array_equal(other.row, image.row[order])
    assert np.array_equal(other.col, image.col[order])
    assert np.array_equal(np.where(image.valid, order[other.point_index], -1), image.point_index)


@pytest.mark.parametrize("name", ["spherical", "ring", "unfolding", "beam"])
@pytest.mark.parametrize("columns", [1, 20, 63])
def test_a_yaw_rotation_is_a_column_roll(name: str, columns: int, rng: np.random.Generator) -> None:
    scan = sensor_scan(rng, "row")
    turn = -2 * np.pi * columns / COLUMNS
    c, s = math.cos(turn), math.sin(turn)
    turned = replace(scan, xyz=(scan.xyz @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])).astype(np.float32))
    projection = EXAMPLES[name](COLUMNS)
    image, rolled = projection(scan), projection(turned)  # type: ignore[operator]
    assert projection.wrap  # type: ignore[attr-defined]
    assert np.array_equal(rolled.row, image.row)
    assert np.array_equal(rolled.valid, np.roll(image.valid, columns, axis=1))
    assert np.array_equal(rolled.col, (image.col + columns) % COLUMNS)


@pytest.mark.parametrize("name", ["ring", "unfolding", "beam", "organised"])
def test_what_knows_the_beams_hides_nothing(name: str, rng: np.random.Generator) -> None:
    scan = sensor_scan(rng, "row")
    image = EXAMPLES[name](COLUMNS)(scan)  # type: ignore[operator]
    assert image.valid.all()
    assert np.array_equal(image.row, scan.ring)
    assert EXAMPLES["spherical"](COLUMNS)(scan).hidden.sum() > 100  # type: ignore[operator]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_scan_without_returns_is_an_error(name: str) -> None:
    scan = Scan(np.zeros((32, 3), np.float32), np.zeros(32, np.float32), ring=np.zeros(32, int))
    with pytest.raises(ValueError, match="None of the scan's 32 points"):
        EXAMPLES[name](8)(scan)  # type: ignore[operator]


# --- the horizontal field of view


def limited_oracle(xyz: NDArray, width: int, left: float, right: float) -> NDArray:
    centre, span = np.radians((left + right) / 2), np.radians(left - right)
    d = np.arctan2(xyz[:, 1].astype(np.float64), xyz[:, 0].astype(np.float64)) - centre
    d = np.where(d > np.pi, d - 2 * np.pi, np.where(d <= -np.pi, d + 2 * np.pi, d))
    return np.clip(np.floor((0.5 - d / span) * width), 0, width - 1).astype(int)


@pytest.mark.parametrize("sides", [(60.0, -60.0), (60.0, -30.0), (270.0, 90.0), (12.5, -12.5), (180.0, -179.0)])
@pytest.mark.parametrize("width", [128, 2048])
def test_limited_columns_equal_float64(sides: tuple[float, float], width: int, rng: np.random.Generator) -> None:
    n = 8000
    border = np.radians((sides[0] + sides[1]) / 2 + 180)  # where a point flips from one side to the other
    edges = np.radians(sides[0] - (sides[0] - sides[1]) * rng.integers(0, width + 1, n) / width)
    azimuth = np.concatenate([rng.uniform(-np.pi, np.pi, n), edges, np.full(n, border)])
    azimuth += rng.choice([0, 1e-7, -1e-7, 1e-6, -1e-6], len(azimuth))
    inclination = np.radians(rng.uniform(-24, 2, len(azimuth)))
    flat = np.cos(inclination)
    xyz = rng.uniform(1, 80, (len(azimuth), 1)) * np.stack(
        [flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(inclination)], 1
    )
    scan = bare(xyz)
    scan = replace(scan, ring=np.arange(len(scan)) % 4)
    expected = limited_oracle(scan.xyz, width, *sides)
    for projection in (
        SphericalProjection(64, width, 3.0, -25.0, *sides),
        RingProjection(4, width, (), *sides),
        BeamProjection(width, UNEVEN, *sides),
    ):
        object.__getattribute__(projection, "_check")._done = True  # made-up points fit no sensor
        assert np.array_equal(projection(scan).col, expected)
        assert not projection.wrap


@pytest.mark.parametrize("sides", [(10.0, 10.0), (-10.0, 10.0), (math.nan, 0.0), (300.0, -61.0), (0.0, -360.0)])
def test_bad_sides_are_an_error(sides: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"fov_left_deg > fov_right_deg|from 180 to -180"):
        SphericalProjection(8, 8, 3.0, -25.0, *sides)


# --- beams


@pytest.mark.parametrize("beams", [UNEVEN, (3.0,), tuple(np.linspace(15, -25, 128)), tuple(np.linspace(2, -24.9, 64))])
def test_rows_are_the_nearest_beams_in_float64(beams: tuple[float, ...], rng: np.random.Generator) -> None:
    n = 20_000
    table = np.radians(np.asarray(beams))
    borders = (table[1:] + table[:-1]) / 2 if len(beams) > 1 else table
    at_borders = rng.choice(borders, n) + rng.choice([0, 1e-7, -1e-7, 1e-6, -1e-6], n)
    inclination = np.concatenate([rng.uniform(-np.pi / 2, np.pi / 2, n), rng.uniform(-0.5, 0.5, n), at_borders])
    azimuth = rng.uniform(-np.pi, np.pi, len(inclination))
    flat = np.cos(inclination)
    xyz = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(inclination)], 1)
    scan = bare(xyz * np.exp(rng.uniform(-3, 5, (len(inclination), 1))))
    projection = BeamProjection(512, beams)
    projection._check._done = True  # made-up points fit no sensor
    image = projection(scan)
    x, y, z = scan.xyz.astype(np.float64).T
    distance = np.abs(np.arcsin(z / np.sqrt(x * x + y * y + z * z))[:, None] - table)
    assert np.array_equal(image.row, distance.argmin(axis=1))
    assert np.array_equal(image.col, oracle(scan.xyz, 8, 512, 3, -25)[1])


@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1e-7, 1e7, 1e19, 1e38])
def test_any_magnitude_has_its_beam(scale: float, rng: np.random.Generator) -> None:
    xyz = (rng.uniform(-1, 1, (3000, 3)) * scale).astype(np.float32)
    x, y, z = xyz.astype(np.float64).T
    distance = np.abs(np.arcsin(z / np.sqrt(x * x + y * y + z * z))[:, None] - np.radians(UNEVEN))
    assert np.array_equal(BeamProjection(64, UNEVEN)(bare(xyz)).row, distance.argmin(axis=1))


def test_a_sensor_elsewhere_and_tilted_is_seen_from_its_own_place(rng: np.random.Generator) -> None:
    scan = sensor_scan(rng)
    roll, pitch = np.radians([3.0, -5.0])
    about_x = np.array([[1, 0, 0], [0, math.cos(roll), -math.sin(roll)], [0, math.sin(roll), math.cos(roll)]])
    about_y = np.array([[math.cos(pitch), 0, math.sin(pitch)], [0, 1, 0], [-math.sin(pitch), 0, math.cos(pitch)]])
    origin = np.array([1.0, -0.5, 1.7])
    elsewhere = bare(scan.xyz.astype(np.float64) @ (about_y @ about_x) + origin)
    elsewhere.xyz[5] = 0
    image = BeamProjection(COLUMNS, UNEVEN, origin_m=tuple(origin), tilt_deg=(3.0, -5.0))(elsewhere)
    others = np.arange(len(scan)) != 5
    assert image.given is elsewhere
    assert np.array_equal(image.row[others], scan.ring[others])
    assert np.allclose(image.range[others], np.linalg.norm(scan.xyz, axis=1)[others], atol=1e-4)
    assert image.row[5] == -1
    assert not np.array_equal(BeamProjection(COLUMNS, UNEVEN)(elsewhere).row[others], scan.ring[others])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (dict(width=8, inclinations_deg=()), "positive height"),
        (dict(width=0, inclinations_deg=(1.0,)), "positive height"),
        (dict(width=8, inclinations_deg=(1.0, 2.0)), "from the topmost beam"),
        (dict(width=8, inclinations_deg=(1.0, 1.0)), "from the topmost beam"),
        (dict(width=8, inclinations_deg=(91.0, 1.0)), "between -90 and 90"),
        (dict(width=8, inclinations_deg=(1.0,), origin_m=(1.0,)), "give 3 and 2"),
    ],
)
def test_bad_beams_are_an_error(arguments: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        BeamProjection(**arguments)


# --- rings


def test_rings_counted_from_below_are_turned_around(rng: np.random.Generator) -> None:
    scan = sensor_scan(rng)
    upside_down = replace(scan, ring=BEAMS - 1 - scan.ring)
    image = RingProjection(BEAMS, COLUMNS, rows=tuple(range(BEAMS - 1, -1, -1)))(upside_down)
    assert np.array_equal(image.row, scan.ring)


def test_bad_rings_are_an_error(rng: np.random.Generator) -> None:
    scan = sensor_scan(rng)
    with pytest.raises(ValueError, match=r"has no rings.*unfolding.*beam, or spherical"):
        RingProjection(BEAMS, 8)(bare(scan.xyz))
    with pytest.raises(ValueError, match=r"from 0 to 15, but the image has rows 0 to 14. Give height: 16"):
        RingProjection(15, 8)(scan)
    with pytest.raises(ValueError, match="each of 0 to 15 once, one for each ring"):
        RingProjection(BEAMS, 8, rows=(0, 0, 1))


# --- the file's order


def published_turns(xyz: NDArray) -> NDArray:
    """KPRNet's rule, as CENet's and RangeViT's codes agree on it, in float64: the seam is straight ahead."""
    p = 0.5 * (-np.arctan2(xyz[:, 1].astype(np.float64), -xyz[:, 0].astype(np.float64)) / np.pi + 1)
    return np.concatenate([[0], np.cumsum((p[:-1] > 0.8) & (p[1:] < 0.2))])


def test_unfolding_finds_the_published_rows_of_the_real_scans(kitti_root: Path) -> None:
    paths = sorted(kitti_root.glob("sequences/*/velodyne/*.bin"))
    assert len(paths) == 40
    hidden = {}
    for path in paths:
        scan = read(path)
        row, found = unfolded(scan)
        assert found == 64, path
        assert np.mean(row == published_turns(scan.xyz)) > 0.999, path
        hidden[path] = ScanUnfolding(64, 2048)(scan).hidden.mean()
    first = next(path for path in paths if "08/velodyne/000000" in path.as_posix())
    assert hidden[first] == pytest.approx(0.099, abs=0.001)
    assert SphericalProjection(64, 2048, 3.0, -25.0)(read(first)).hidden.mean() == pytest.approx(0.214, abs=0.001)


def test_unfolding_does_not_care_about_turns_and_mirrors(kitti_root: Path) -> None:
    scan = read(kitti_root / "sequences/08/velodyne/000000.bin")
    row = unfolded(scan)[0]
    for degrees in (17, 90, 180, -100):
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        for mirror in (1, -1):
            turned = scan.xyz @ np.array([[c, s, 0], [-s * mirror, c * mirror, 0], [0, 0, 1]], np.float32)
            assert np.array_equal(unfolded(bare(turned))[0], row)


def test_unfolding_keeps_its_rows_when_points_are_dropped(kitti_root: Path, rng: np.random.Generator) -> None:
    scan = read(kitti_root / "sequences/04/velodyne/000002.bin")
    kept = rng.random(len(scan)) > 0.5
    row, found = unfolded(bare(scan.xyz[kept]))
    assert found == 64
    assert np.mean(row == unfolded(scan)[0][kept]) > 0.999


def test_unfolding_puts_later_turns_into_the_last_row(rng: np.random.Generator) -> None:
    scan = sensor_scan(rng, "row")
    image = ScanUnfolding(10, COLUMNS)(scan)
    assert np.array_equal(image.row, np.minimum(scan.ring, 9))


@pytest.mark.parametrize("order", ["column", "row"])
@pytest.mark.parametrize("width", [20, 64, 72, 128])
def test_organised_points_go_where_their_place_says(order: str, width: int, rng: np.random.Generator) -> None:
    rows = tuple(int(v) for v in rng.permutation(BEAMS))
    shift = tuple(int(v) for v in rng.integers(-70, 70, BEAMS))
    scan = sensor_scan(rng, order, lost=0.3)
    image = OrganisedProjection(BEAMS, width, order, rows, shift)(scan)
    place = np.arange(len(scan))
    line, column = (place % BEAMS, place // BEAMS) if order == "column" else (place // COLUMNS, place % COLUMNS)
    lost = image.no_return
    assert np.array_equal(image.row, np.where(lost, -1, np.asarray(rows)[line]))
    assert np.array_equal(
        image.col, np.where(lost, -1, (column + np.asarray(shift)[line]) % COLUMNS * width // COLUMNS)
    )
    assert np.array_equal(image.point_index, oracle_winners(image))
    if width >= COLUMNS:
        assert not image.hidden.any()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (dict(height=0, width=8), "positive"),
        (dict(height=4, width=8, order="diagonal"), "column or row"),
        (dict(height=4, width=8, rows=(1, 2, 3)), "each of 0 to 3 once"),
        (dict(height=4, width=8, shift=(1, 2)), "give 4 values, one per row"),
    ],
)
def test_bad_organisations_are_an_error(arguments: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        OrganisedProjection(**arguments)


def test_a_scan_that_lost_points_is_not_organised(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=r"1023 points, not a multiple of 16 rows.*augmentation.drop"):
        OrganisedProjection(BEAMS, 64)(bare(sensor_scan(rng).xyz[1:]))


def test_real_organised_scans_lose_nothing(data_root: Path) -> None:
    rellis = read(data_root / "rellis3d/sequences/00/velodyne/000104.bin")
    image = OrganisedProjection(64, 2048)(rellis)
    assert (image.no_return_count, image.hidden.sum(), image.valid.sum()) == (53_364, 0, 131_072 - 53_364)
    shipped: RangeImage = PROJECTIONS["sensor"]("os1_64_rellis")(rellis)
    row, col = oracle(rellis.xyz[~image.no_return], 64, 2048, 17.29, -16.7)
    turn = (shipped.col[~image.no_return] - col + 1024) % 2048 - 1024
    assert np.array_equal(shipped.row[~image.no_return], row)
    assert np.abs(turn).max() <= 2  # columns of the order are those of the azimuth
    sweep = read(next((data_root / "nuscenes_fragments/raw").glob("*.pcd.bin")), fields=5)
    raw = np.fromfile(next((data_root / "nuscenes_fragments/raw").glob("*.pcd.bin")), np.float32).reshape(-1, 5)
    rings = replace(sweep, ring=31 - raw[:, 4].astype(int))
    organised, by_ring = PROJECTIONS["sensor"]("hdl32e", projection="organised")(sweep), RingProjection(32, 1088)(rings)
    assert organised.hidden.sum() == 0
    assert np.array_equal(organised.row, by_ring.row)
    assert by_ring.valid.any(axis=1).all()


# --- warnings


def big_scan(kitti_root: Path) -> Scan:
    return read(kitti_root / "sequences/00/velodyne/000000.bin")


def ring_of(scan: Scan) -> Scan:
    return replace(scan, ring=unfolded(scan)[0])


@pytest.mark.parametrize(
    ("projection", "said"),
    [
        (SphericalProjection(64, 1024, -5.0, -25.0), "beyond the field of view.*fov_up_deg: .*fov_down_deg: -2"),
        (SphericalProjection(64, 1024, 80.0, -80.0), "rows are empty. Give fewer rows, or a smaller field"),
        (SphericalProjection(64, 8192, 3.0, -25.0), "give fewer columns, about 19"),
        (BeamProjection(1024, tuple(np.linspace(60, -60, 64))), "rows are empty"),
        (RingProjection(128, 1024), "50 % of the rows are empty"),
        (ScanUnfolding(40, 1024), "found 64 turns in a scan for an image of 40 rows"),
    ],
)
def test_a_plain_misfit_warns_once_with_the_cure(kitti_root: Path, projection: Callable, said: str) -> None:
    scan = ring_of(big_scan(kitti_root))
    with pytest.warns(UserWarning, match=f"(?s){said}.*rangeseg fit-sensor"):
        projection(scan)
    projection(scan)  # and not again


def test_a_blind_sensor_in_a_full_turn_warns(scans_root: Path) -> None:
    scan = big_scan(scans_root)
    ahead = bare(scan.xyz[scan.xyz[:, 0] > 0.6 * np.abs(scan.xyz[:, 1])])
    with pytest.warns(UserWarning, match="columns are empty.*fov_left_deg"):
        SphericalProjection(64, 1024, 3.0, -25.0)(ahead)


def test_what_fits_does_not_warn(scans_root: Path) -> None:
    scan = ring_of(big_scan(scans_root))
    for projection in (SphericalProjection(64, 2048, 3.0, -25.0), RingProjection(64, 2048), ScanUnfolding(64, 2048)):
        projection(scan)
    PROJECTIONS["sensor"]("hdl64e", projection="beam")(scan)


# --- from a config


def test_configs_name_projections() -> None:
    made = build(PROJECTIONS, {"name": "beam", "width": 32, "inclinations_deg": [2, 1.5, -3]}, "data.projection")
    assert (made.height, made.width, made.inclinations_deg) == (3, 32, (2, 1.5, -3))
    assert build(PROJECTIONS, {"name": "ring", "height": 2, "width": 8, "rows": [1, 0]}, "p").rows == (1, 0)
    made = build(PROJECTIONS, {"name": "sensor", "sensor": "hdl64e", "width": 512}, "data.projection")
    assert made == ScanUnfolding(64, 512)
    with pytest.raises(ConfigError, match=r"data\.projection: rangeseg ships no .*hdl65e.*hdl64e"):
        build(PROJECTIONS, {"name": "sensor", "sensor": "hdl65e"}, "data.projection")


def test_a_fitted_image_ends_where_the_scan_ends(rng: np.random.Generator) -> None:
    for up, down in ((3.0, -25.0), (21.0, -16.0), (0.5, -0.5)):
        inclination, azimuth = np.deg2rad(rng.uniform(down, up, 5000)), rng.uniform(-np.pi, np.pi, 5000)
        flat = np.cos(inclination)
        xyz = 9 * np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(inclination)], 1)
        xyz[:100] = np.nan
        scan = Scan(xyz.astype(np.float32), np.zeros(5000, np.float32))
        found = field_of_view(scan)
        least = max(up - down, 2.0)
        assert found == pytest.approx(((up + down + least) / 2 + 0.1, (up + down - least) / 2 - 0.1), abs=0.06)
        image, same = FittedProjection(16, 64)(scan), SphericalProjection(16, 64, *found)(scan)
        assert np.array_equal(image.point_index, same.point_index)
        assert up - down < 2 or image.valid[[0, -1]].any(1).all()


def test_a_fitted_image_of_a_scan_without_returns_is_refused() -> None:
    with pytest.raises(ValueError, match="None of the scan's 3 points"):
        FittedProjection(16, 64)(Scan(np.zeros((3, 3), np.float32), np.zeros(3, np.float32)))


def test_a_fitted_image_is_looked_at_once_and_not_for_each_scan(rng: np.random.Generator) -> None:
    angle = rng.uniform(0, 0.5, 20_000)  # a narrow sector: most columns are empty
    xyz = np.stack([10 * np.cos(angle), 10 * np.sin(angle), rng.uniform(-2, 1, 20_000)], 1).astype(np.float32)
    projection = FittedProjection(16, 512)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        images = [projection(Scan(xyz)) for _ in range(3)]
    assert len(told) == 1
    assert "of the columns are empty" in str(told[0].message)
    assert all("of the columns are empty" in " ".join(misfits(image)) for image in images)


def test_points_beyond_float32_have_no_part_in_the_field_of_view(rng: np.random.Generator) -> None:
    scan = random_scan(rng)
    odd = np.array([[1e30, 0, 1e30], [np.inf, 0, 0], [np.nan, 1, 1], [0, 0, 0]], np.float32)
    assert field_of_view(Scan(np.concatenate([scan.xyz, odd]))) == field_of_view(Scan(scan.xyz))
