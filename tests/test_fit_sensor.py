"""What is known of real sensors is found again from their scans alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import count_colors
from PIL import Image
from test_projection import bare, read
from test_projections import BEAMS, COLUMNS, UNEVEN, sensor_scan

from rangeseg.apps.fit_sensor import candidates, compare, find_labels
from rangeseg.cli import main
from rangeseg.projection.fit import SensorFit, fit_sensor, projection_stats, split_of
from rangeseg.projection.fit_beams import find_peaks
from rangeseg.projection.fit_frame import find_frame
from rangeseg.projection.sensor import sensor_projection
from rangeseg.projection.spherical import SphericalProjection
from rangeseg.resources import resource
from rangeseg.sensors import SensorModel, read_sensor, write_sensor
from rangeseg.types import Scan

PANDAR64 = np.array(
    [15, 11, 8, 5, 3, 2] + [2 - k / 6 for k in range(1, 49)] + [-7, -8, -9, -10, -11, -12, -13, -14, -19, -25]
)
"""The maker's nominal table, from memory of the data sheet, unverified: a sixth of a degree between +2 and -6."""


def share_hidden(fitted: SensorFit, projection: str | None = None) -> float:
    kept = fitted.kept[projection or fitted.model.projection]
    return kept.hidden / kept.returns


def share_hidden_by(projection: object, scans: Sequence[Scan]) -> float:
    kept = projection_stats(projection, scans)
    return kept.hidden / kept.returns


# --- real sensors


def test_kitti_has_64_rows_in_two_blocks_and_turns(kitti_root: Path) -> None:
    scans = [read(path) for path in sorted(kitti_root.glob("sequences/*/velodyne/000000.bin"))]
    fitted = fit_sensor(scans)
    assert (fitted.model.height, fitted.model.width, fitted.model.projection) == (64, 2048, "unfolding")
    assert split_of(fitted.inclinations_deg) == 32
    spacing = -np.diff(fitted.inclinations_deg)
    assert np.median(spacing[:31]) == pytest.approx(1 / 3, abs=0.03)
    assert np.median(spacing[32:]) == pytest.approx(1 / 2, abs=0.03)
    assert fitted.inclinations_deg[0] == pytest.approx(2, abs=0.6)
    assert fitted.inclinations_deg[-1] == pytest.approx(-24.3, abs=0.8)
    assert any("beam by beam" in word for word in fitted.words)
    by_hand = share_hidden_by(SphericalProjection(64, 2048, 3.0, -25.0), scans)
    assert share_hidden(fitted) < 0.5 * by_hand
    assert share_hidden(fitted, "beam") < share_hidden(fitted, "spherical") < by_hand


def test_each_kitti_scan_alone_has_64_rows(kitti_root: Path) -> None:
    for path in sorted(kitti_root.glob("sequences/0[1479]/velodyne/000004.bin")):
        fitted = fit_sensor([read(path)])
        assert (fitted.model.height, fitted.model.projection) == (64, "unfolding")


def test_pandaset_has_the_beams_of_its_data_sheet_though_its_origin_is_wrong(data_root: Path) -> None:
    paths = sorted(data_root.glob("pandaset/sequences/002/velodyne/*.bin"))[:2]
    scans = [read(path) for path in paths]
    fitted = fit_sensor(scans)
    assert (fitted.model.height, fitted.model.projection) == (64, "beam")
    assert np.abs(fitted.inclinations_deg - PANDAR64).max() < 0.15
    assert fitted.columns == pytest.approx(1800, abs=10)
    assert np.linalg.norm(fitted.model.sections["beam"]["origin_m"]) > 0.5
    assert any("not in the sensor's frame" in word for word in fitted.words)
    hand_set = [SphericalProjection(64, 1856, 15.0, -25.0), SphericalProjection(64, 1856, 5.0, -15.0)]
    assert share_hidden(fitted) < 0.03 < 0.3 < min(share_hidden_by(projection, scans) for projection in hand_set)


def test_a_pandaset_sweep_from_a_moving_car_has_64_beams_too(data_root: Path) -> None:
    fitted = fit_sensor([read(data_root / "pandaset/sequences/001/velodyne/000000.bin")])
    assert fitted.model.height == 64
    assert np.abs(fitted.inclinations_deg - PANDAR64).max() < 0.2


@pytest.mark.parametrize("rings", ["from the top", "from the bottom", "none"])
def test_nuscenes_has_32_rows_whatever_its_rings_say(data_root: Path, rings: str) -> None:
    path = next((data_root / "nuscenes_fragments/raw").glob("*.pcd.bin"))
    raw = np.fromfile(path, np.float32).reshape(-1, 5)[:, 4].astype(int)
    ring = {"from the top": 31 - raw, "from the bottom": raw, "none": None}[rings]
    scan = replace(read(path, fields=5), ring=ring)
    fitted = fit_sensor([scan])
    assert (fitted.model.height, fitted.model.width, fitted.columns) == (32, 1088, 1084)
    assert np.abs(fitted.inclinations_deg - (32 / 3 - 4 / 3 * np.arange(32))).max() < 0.5
    assert fitted.model.projection == "organised"
    assert share_hidden(fitted) == 0 < share_hidden_by(SphericalProjection(32, 1088, 10.0, -30.0), [scan])
    if ring is None:
        assert "ring" not in fitted.model.sections
    else:
        assert ("rows" in fitted.model.sections["ring"]) == (rings == "from the bottom")


def test_rellis_is_organised_with_its_ousters_shifts(data_root: Path) -> None:
    scan = read(data_root / "rellis3d/sequences/00/velodyne/000104.bin")
    fitted = fit_sensor([scan])
    assert (fitted.model.height, fitted.model.width, fitted.columns) == (64, 2048, 2048)
    section = fitted.model.sections["organised"]
    assert section["order"] == "column"
    shift = np.asarray(section["shift"])
    assert np.abs(shift[:-4] - shift[4:]).max() <= 1  # four neighbours look four ways, and so on
    assert shift[0] - shift[1] == pytest.approx(12, abs=1)
    assert fitted.model.projection == "organised"
    by_hand = [SphericalProjection(64, 2048, 22.5, -22.5), SphericalProjection(64, 2048, 16.6, -16.6)]
    assert share_hidden(fitted) == 0 <= min(share_hidden_by(projection, [scan]) for projection in by_hand)


# --- made-up sensors, whose truth is known


@pytest.mark.parametrize("order", ["column", "row"])
def test_a_made_up_organised_scan_is_found(order: str, rng: np.random.Generator) -> None:
    scan = replace(sensor_scan(rng, order, lost=0.2), ring=None)
    fitted = fit_sensor([scan])
    assert (fitted.model.height, fitted.columns) == (BEAMS, COLUMNS)
    assert fitted.model.sections["organised"]["order"] == order
    assert np.abs(fitted.inclinations_deg - UNEVEN).max() < 1e-3


def dense_scan(rng: np.random.Generator, left: float = 180.0, right: float = -180.0) -> Scan:
    """16 uneven beams, 900 columns of which some are missing, in no order."""
    azimuth = np.radians(rng.choice(np.linspace(left, right, 900, endpoint=False), 12_000))
    inclination = np.radians(rng.choice(UNEVEN, 12_000) + rng.normal(0, 0.002, 12_000))
    metres, flat = rng.uniform(4, 60, 12_000), np.cos(inclination)
    return bare(metres[:, None] * np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(inclination)], 1))


def test_beams_are_found_without_any_order(rng: np.random.Generator) -> None:
    fitted = fit_sensor([dense_scan(rng)])
    assert fitted.model.height == BEAMS
    assert np.abs(fitted.inclinations_deg - UNEVEN).max() < 0.03
    assert set(fitted.model.sections) == {"beam", "spherical"}
    assert "fov_left_deg" not in fitted.model.sections["beam"]


@pytest.mark.parametrize("sides", [(60.0, -40.0), (250.0, 100.0)])
def test_a_limited_horizontal_field_of_view_is_found(sides: tuple[float, float], rng: np.random.Generator) -> None:
    fitted = fit_sensor([dense_scan(rng, *sides)])
    for section in fitted.model.sections.values():
        assert section["fov_left_deg"] == pytest.approx(sides[0], abs=0.5)
        assert section["fov_right_deg"] == pytest.approx(sides[1], abs=0.5)
    assert fitted.columns == pytest.approx(900, abs=10)
    assert fitted.model.width == 960


def test_a_frame_is_found(rng: np.random.Generator) -> None:
    scan = dense_scan(rng)
    moved = (scan.xyz + np.float32([0.8, -0.3, 0.4])).astype(np.float32)
    frame = find_frame(moved)
    assert np.allclose(frame.values[:3], [0.8, -0.3, 0.4], atol=0.05)
    assert len(find_peaks(frame.inclination, 0.05)) == BEAMS
    assert find_frame(moved, search=False).sharpness < 0.7 * frame.sharpness


def test_what_has_no_beams_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=r"No beams found.*complete scans"):
        fit_sensor([bare(rng.normal(size=(20_011, 3)) * 20)])
    with pytest.raises(ValueError, match="No scans"):
        fit_sensor([])


def test_one_block_is_not_two() -> None:
    assert split_of(np.linspace(15, -15, 32)) is None
    assert split_of(np.r_[np.linspace(2, -8, 32), np.linspace(-8.5, -24, 32)]) == 32
    assert split_of(np.linspace(15, -15, 8)) is None


# --- sensors as files


def test_every_shipped_sensor_reads_and_builds_each_projection() -> None:
    folder = Path(__file__).parents[1] / "datasets" / "sensors"
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    assert {"hdl64e", "hdl32e", "vlp16", "vls128", "os1_64", "pandar64", "pandar128"} <= set(names)
    for name in names:
        model = read_sensor(name)
        assert model.source
        for kind in model.sections:
            made = sensor_projection(name, projection=kind)
            assert (made.height, made.width) == (model.height, model.width), (name, kind)
            assert sensor_projection(name, 512, kind).width == 512


def test_a_sensor_is_read_as_it_was_written(tmp_path: Path) -> None:
    model = SensorModel("mine", "here", 2, 64, "beam", {"beam": {"inclinations_deg": [1.0, -1.5]}, "ring": {}})
    write_sensor(tmp_path / "mine.yaml", model, "two\nlines")
    assert read_sensor(tmp_path / "mine.yaml") == model
    assert (tmp_path / "mine.yaml").read_text().startswith("# two\n# lines\nsensor: mine")
    assert sensor_projection(str(tmp_path / "mine.yaml"), width=32).inclinations_deg == (1.0, -1.5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sensor: a\nsource: b\nheight: 2\nwidth: 4\n", "lacks 'projection'"),
        ("sensor: a\nsource: b\nheight: 2\nwidth: 4\nprojection: ring\n", "has no section"),
        (
            "sensor: a\nsource: b\nheight: 2\nwidth: 4\nprojection: ring\nring: {}\nrign: {}\n",
            "rign are not projections",
        ),
        ("[1]", "compare datasets/sensors"),
        ("a: [", "compare datasets/sensors"),
    ],
)
def test_bad_sensor_files_are_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ValueError, match=rf"(?s)bad\.yaml.*{said}"):
        read_sensor(tmp_path / "bad.yaml")


def test_a_wrong_argument_of_a_section_is_named(tmp_path: Path) -> None:
    write_sensor(tmp_path / "x.yaml", SensorModel("x", "y", 2, 8, "ring", {"ring": {"row": [0, 1]}}))
    with pytest.raises(ValueError, match=r"ring\.row: unknown key\. Did you mean 'rows'"):
        sensor_projection(str(tmp_path / "x.yaml"))
    with pytest.raises(ValueError, match="cannot be read"):
        read_sensor(tmp_path / "absent.yaml")
    with pytest.raises(ValueError, match="has no section 'beam'; choose from ring"):
        sensor_projection(str(tmp_path / "x.yaml"), projection="beam")


# --- the command


@pytest.mark.slow
def test_the_command_writes_a_sensor_that_a_config_takes(
    kitti_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = kitti_root / "sequences/08/velodyne/000000.bin"
    out, png = tmp_path / "mine.yaml", tmp_path / "mine.png"
    assert (
        main(["fit-sensor", str(scan), "--out", str(out), "--png", str(png), "--compare-with", "hdl64e", "hdl32e"]) == 0
    )
    said = capsys.readouterr().out
    assert "64 rows" in said
    assert "unfolding" in said
    assert "hdl64e: spherical" in said
    assert "hdl32e: ring" not in said  # these scans have no rings
    assert read_sensor(out).sensor == "mine"
    assert sensor_projection(str(out))(read(scan)).hidden.mean() < 0.11
    picture = np.asarray(Image.open(png))
    assert picture.shape[1] == 2048
    assert count_colors(picture) > 100


def test_the_ceiling_is_what_perfect_pixels_give(scans_root: Path) -> None:
    path = scans_root / "sequences/08/velodyne/000000.bin"
    scan = read(path)
    raw = find_labels(path, len(scan))
    assert raw is not None
    line = compare({"x": SphericalProjection(64, 2048, 3.0, -25.0)}, [scan], [raw])[0]
    image = SphericalProjection(64, 2048, 3.0, -25.0)(scan)
    front = image.point_index[image.row, image.col]
    assert line.ceiling == pytest.approx((raw[front] == raw).mean())
    assert line.hidden == pytest.approx(image.hidden.mean())
    assert compare({"x": SphericalProjection(64, 512, 3.0, -25.0)}, [scan])[0].ceiling is None
    assert find_labels(path, 3) is None


def test_labels_beside_a_scan_whose_suffix_has_two_parts_are_found(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    np.arange(3, dtype="<u4").tofile(tmp_path / "labels" / "a.label")
    for name in ("a.bin", "a.pcd.bin"):
        raw = find_labels(tmp_path / "scans" / name, 3)
        assert raw is not None
        assert raw.tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["mine.yaml", "mine.yml"])
def test_a_sensor_is_read_from_both_endings_of_yaml(name: str, tmp_path: Path) -> None:
    shutil.copy(resource("datasets", "sensors", "hdl64e.yaml"), tmp_path / name)
    assert read_sensor(tmp_path / name) == read_sensor("hdl64e")


def test_candidates_are_those_of_the_sensor_and_of_those_beside_it(rng: np.random.Generator) -> None:
    fitted = fit_sensor([sensor_scan(rng)])
    made = candidates(fitted, ["vlp16"])
    assert set(made) == {*fitted.model.sections, "vlp16: beam", "vlp16: spherical"}
    json.dumps({kind: dict(section) for kind, section in fitted.model.sections.items()})  # plain values only
