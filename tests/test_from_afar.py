"""Scans for somebody without a display: one page, and a file for Rerun."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import random_scan

from rangeseg import LabelMap
from rangeseg.cli import main
from rangeseg.data.kitti_poses import pose_of
from rangeseg.drive.layouts import open_drive
from rangeseg.engine.drawing import colored_points
from rangeseg.evaluation.evaluate import Segmented
from rangeseg.projection.beam import BeamProjection
from rangeseg.projection.spherical import SphericalProjection
from rangeseg.resources import resource
from rangeseg.types import Sample, Scan, SensorPose
from rangeseg.vis.explorer import Frame
from rangeseg.vis.rerun import RerunLog
from rangeseg.vis.web_page import as_sample


def data_of(page: str) -> dict:
    (found,) = re.findall(r'<script type="application/json" id="points">(.*?)</script>', page, re.DOTALL)
    return json.loads(found)


@pytest.fixture
def driven(tiny_kitti: Path, tmp_path: Path) -> Path:
    """With poses: each scan 2 m ahead of the one before, in the camera's frame (z is ahead)."""
    root = tmp_path / "kitti"
    shutil.copytree(tiny_kitti, root)
    rows = [[1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2 * number] for number in range(2)]
    np.savetxt(root / "sequences/08/poses.txt", rows)
    np.savetxt(root / "sequences/08/times.txt", [0.0, 0.1])
    (root / "sequences/08/calib.txt").write_text("P0: 1\nTr: 0 -1 0 0 0 0 -1 0 1 0 0 0.5\n")
    return root


@pytest.mark.filterwarnings("ignore:.*rangeseg fit-sensor")
def test_a_page_holds_points_labels_and_errors_and_asks_no_network(
    driven: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = driven / "sequences/08/velodyne/000001.bin"
    label = driven / "sequences/08/labels/000001.label"
    raw = np.fromfile(label, "<u4")
    raw[:100] = 10
    raw.tofile(tmp_path / "other.label")
    out = tmp_path / "page.html"
    assert main(["show", str(scan), "--prediction", str(tmp_path / "other.label"), "--html", str(out)]) == 0
    page = out.read_text()
    assert not re.findall(r"(?:src|href)=['\"]?(?!data:)[a-z]*:?//", page)
    assert "<h3>" in page
    (shown,) = data_of(page)["scans"]
    centimetres = np.frombuffer(base64.b64decode(shown["xyz"]), "<i2").reshape(-1, 3)
    points = np.fromfile(scan, "<f4").reshape(-1, 4)[:, :3]
    np.testing.assert_allclose(centimetres / 100, points, atol=0.006)
    layers = {one["name"]: np.frombuffer(base64.b64decode(one["ids"]), np.uint8) for one in shown["layers"]}
    label_map = LabelMap.read(resource("datasets", "semantic_kitti", "labels.yaml"))
    truth = label_map.to_train(np.fromfile(label, "<u4"))
    np.testing.assert_array_equal(layers["label"], truth)
    np.testing.assert_array_equal(layers["prediction"], label_map.to_train(raw))
    np.testing.assert_array_equal(layers["prediction: errors"], np.where(label_map.to_train(raw) == truth, 20, 21))
    assert main(["show", str(scan), "--html", str(tmp_path / "page.txt")]) == 1
    assert "give a file name that ends in .html" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*rangeseg fit-sensor")
def test_rerun_reads_what_is_written(driven: Path, tmp_path: Path) -> None:
    """By Rerun's own command."""
    pytest.importorskip("rerun", reason="the extra rerun is not installed")
    out = tmp_path / "drive.rrd"
    assert main(["show", str(driven), "--split", "val", "--rerun", str(out)]) == 0
    rerun = Path(sys.executable).with_name("rerun")
    subprocess.run([rerun, "rrd", "verify", out], check=True, capture_output=True)
    told = subprocess.run([rerun, "rrd", "print", "-v", out], check=True, capture_output=True, text=True).stdout
    rows: Counter[str] = Counter()
    for count, entity in re.findall(r"with (\d+) rows? \([^)]*\) - (\S+) - ", told):  # in one chunk or several
        rows[entity] += int(count)
    expected = {
        "/world/sensor/label": 2,
        "/image/label": 2,
        "/image/range": 2,
        "/world/sensor": 2,
        "/world/trajectory": 1,
    }
    assert expected.items() <= rows.items()
    assert "AnnotationContext" in told


def test_what_only_an_earlier_scan_has_is_not_shown_with_a_later_one(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rerun shows the last values of a place until there are others."""
    pytest.importorskip("rerun", reason="the extra rerun is not installed")
    label_map = LabelMap.read(resource("datasets", "semantic_kitti", "labels.yaml"))
    image = SphericalProjection(16, 64, 6.0, -28.0)(random_scan(rng, 500))
    bare = replace(image, scan=replace(image.scan, label=None), given=None)
    labels = np.zeros(500, np.uint8)
    full = Frame("a", image, labels, labels.astype(np.float32), SensorPose(np.eye(4), 0.0))
    logged: list[tuple[str, str]] = []
    with RerunLog(str(tmp_path / "a.rrd"), label_map) as log:
        monkeypatch.setattr(log._stream, "log", lambda place, value: logged.append((place, type(value).__name__)))
        for frame in (full, Frame("b", bare), full):
            logged.clear()
            log.log(frame)
            cleared = {place for place, kind in logged if kind == "Clear"}
            given = {place for place, kind in logged if kind != "Clear"}
            both = {f"{root}/{name}" for root in ("/world/sensor", "/image") for name in ("label", "prediction")}
            only = {*both, "/world/sensor/confidence", "/image/confidence", "/world/sensor"}
            without = {"/world/sensor/points", "/image/points"}
            if frame is full:
                assert only <= given
                assert cleared in (set(), without)
            else:
                assert cleared == only
                assert without <= given
    assert cleared == without


def test_without_a_display_show_says_so_in_one_line(
    driven: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert main(["show", str(driven / "sequences/08/velodyne/000000.bin")]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    (line,) = said
    assert line.startswith(
        "error: There is no display to open a window on (DISPLAY is not set). Write --html FILE.html"
    )
    assert "--rerun FILE.rrd" in line


def test_poses_are_those_of_the_lidar(driven: Path, data_root: Path) -> None:
    folder = driven / "sequences/08"
    first, second = (pose_of(folder / "velodyne" / f"00000{number}.bin") for number in (0, 1))
    assert first is not None
    assert second is not None
    np.testing.assert_allclose(first.matrix, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(second.matrix[:3, 3], [2, 0, 0], atol=1e-12)  # x is ahead
    assert second.time_s == 0.1
    assert pose_of(folder / "velodyne/000002.bin") is None
    assert pose_of(driven / "sequences/00/velodyne/000000.bin") is None
    real = pose_of(data_root / "semantickitti/sequences/00/velodyne/000008.bin")
    assert real is not None
    x, y, z = real.matrix[:3, 3]
    assert x > 5 > abs(y) + abs(z)  # a car drives ahead
    (folder / "poses.txt").write_text("1 2 3\n")
    pose_of.__globals__["_read"].cache_clear()
    with pytest.raises(ValueError, match=r"poses\.txt: has rows of 3 numbers"):
        pose_of(folder / "velodyne/000000.bin")


@pytest.mark.parametrize(
    ("names", "rows", "expected"),
    [
        (("000001", "000003"), (0, 10, 20, 30), (10, 30)),
        (("000001", "000002"), (None, 10, 20), (10, 20)),
        (("000001", "000002"), (0, 10, None), (10, None)),
        (("000001", "000002"), (0, 10), (None, None)),  # of scans 0 and 1, or of 1 and 2?
        (("8", "9", "10"), tuple(range(11)), (8, 9, 10)),
        (("a", "b"), (10, 20), (10, 20)),
    ],
)
def test_the_viewer_shows_the_poses_of_the_drive_or_none(
    tmp_path: Path, names: tuple[str, ...], rows: tuple[int | None, ...], expected: tuple[int | None, ...]
) -> None:
    (tmp_path / "velodyne").mkdir()
    for name in names:
        np.ones((20, 4), "<f4").tofile(tmp_path / "velodyne" / f"{name}.bin")
    unknown = " ".join(12 * ["nan"])
    lines = [unknown if x is None else f"1 0 0 {x} 0 1 0 0 0 0 1 0" for x in rows]
    (tmp_path / "poses.txt").write_text("\n".join(lines))
    (tmp_path / "calib.txt").write_text("Tr: 1 0 0 0 0 1 0 0 0 0 1 0\n")
    shown = [pose_of(tmp_path / "velodyne" / f"{name}.bin") for name in names]
    assert [None if one is None else one.matrix[0, 3] for one in shown] == list(expected)
    drive = open_drive(tmp_path)
    if None in expected:
        with pytest.raises(ValueError, match=r"have no pose|as many scans"):
            drive.own_poses()
    else:
        np.testing.assert_allclose(drive.own_poses().positions[:, 0], expected)


def test_what_is_shown_are_the_points_of_the_file_for_a_tilted_sensor_too(rng: np.random.Generator) -> None:
    """The pose of a scan is that of the file's frame, so points in the sensor's own frame would be at wrong places."""
    scan = Scan(rng.normal(0, 9, (300, 3)).astype(np.float32), label=np.zeros(300, np.uint8))
    image = BeamProjection(64, [9.0, 0.0, -9.0], origin_m=(1.0, 0.0, 1.8), tilt_deg=(0.0, 10.0))(scan)
    label_map = LabelMap.read(resource("datasets", "semantic_kitti", "labels.yaml"))
    np.testing.assert_array_equal(as_sample(Frame("a", image), label_map).xyz, scan.xyz)
    sample = Sample("a", image.view(("range",), [0.0], [1.0]), image, scan.label, image.range)
    points = colored_points(Segmented(sample, image.point_index, scan.label), label_map)["label"][0]
    np.testing.assert_array_equal(points, scan.xyz)
