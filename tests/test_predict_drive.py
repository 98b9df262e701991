"""Votes along a drive: what is pooled, by hand; and the command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_trajectory import curve

from rangeseg.cli import main
from rangeseg.drive.kitti_poses import write_kitti_poses
from rangeseg.drive.layouts import open_drive
from rangeseg.drive.trajectory import Trajectory
from rangeseg.inference.drive import ScanProbabilities, label_drive, pooled
from rangeseg.inference.segmenter import Segmenter
from rangeseg.projection.spherical import SphericalProjection
from rangeseg.scan_io import read_labels
from rangeseg.types import Scan

PIXELS = SphericalProjection(16, 64, 30.0, -30.0)


def seen(rng: np.random.Generator, number: int, pose: np.ndarray, world: np.ndarray) -> ScanProbabilities:
    xyz = ((world - pose[:3, 3]) @ pose[:3, :3]).astype(np.float32)
    image = PIXELS(Scan(xyz, np.zeros(len(xyz), np.float32)))
    pixels = np.flatnonzero(image.valid)
    probability = rng.dirichlet(np.ones(4), len(pixels)).astype(np.float16)
    return ScanProbabilities(number, image, pixels, probability, 0.3)


def test_the_mean_is_that_of_the_near(rng: np.random.Generator) -> None:
    """All pairs in float64."""
    poses, world = curve(3, 0.5), rng.normal(0, 4, (400, 3))
    scans = [seen(rng, number, poses[number], world + rng.normal(0, 0.05, world.shape)) for number in range(3)]
    found = pooled(scans[1], scans, poses, 0.3)
    placed = [one.xyz @ poses[one.number, :3, :3].T + poses[one.number, :3, 3] for one in scans]
    alone = 0
    for m, point in enumerate(placed[1]):
        votes = [scans[1].probability[m].astype(float)]
        for other in (0, 2):
            distance = np.linalg.norm(placed[other] - point, axis=1)
            if distance.min() < 0.3:
                votes.append(scans[other].probability[distance.argmin()].astype(float))
        alone += len(votes) == 1
        np.testing.assert_allclose(found[m], np.mean(votes, axis=0), atol=2e-3)
    assert 0 < alone < len(found) / 2


def test_the_order_and_the_window(tiny_drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each scan is asked once; no votes are the run's own labels; threads do not matter."""
    drive, segmenter = open_drive(tiny_drive), Segmenter.load(device="cpu")
    poses = drive.own_poses()
    asked: list[int] = []
    logits = segmenter.logits
    monkeypatch.setattr(segmenter, "logits", lambda image: (asked.append(len(asked)), logits(image))[1])
    found = list(label_drive(segmenter, drive, poses, votes=1, workers=0))
    assert [number for number, _, _ in found] == [0, 1, 2]
    assert len(asked) == 3
    again = list(label_drive(segmenter, drive, poses, votes=1, workers=2))
    alone = list(label_drive(segmenter, drive, poses, votes=0, workers=0))
    for number in range(3):
        np.testing.assert_array_equal(found[number][2], again[number][2])
        own = segmenter(drive.read(drive.scans[number].file))
        assert np.mean(alone[number][2] == own) > 0.999  # half precision of probabilities
    assert any((found[number][2] != alone[number][2]).any() for number in range(3))


@pytest.fixture
def tiny_drive(tiny_kitti: Path, tmp_path: Path) -> Path:
    home = tmp_path / "sequences" / "00"
    home.mkdir(parents=True)
    (home / "velodyne").symlink_to(tiny_kitti / "sequences" / "00" / "velodyne")
    write_kitti_poses(home, Trajectory(("000000", "000001", "000002"), curve(3, 0.1)))
    return home


@pytest.mark.filterwarnings("ignore:.*rangeseg fit-sensor")  # made-up scans are of no sensor
def test_the_command_writes_labels(tiny_drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--drive", str(tiny_drive), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    assert "3 scans labelled" in " ".join(capsys.readouterr().out.split())
    for number in range(3):
        raw, instance = read_labels(tmp_path / "out" / "sequences/00/predictions" / f"{number:06d}.label")
        assert len(raw) == 1500
        assert not instance.any()
    assert main(["predict", "--drive", str(tiny_drive), "--votes", "-1"]) == 1
    assert "--votes is -1; give 0 or more" in " ".join(capsys.readouterr().err.split())
    (tiny_drive / "poses.txt").unlink()
    assert main(["predict", "--drive", str(tiny_drive), "--out", str(tmp_path / "out")]) == 1
    assert "has no poses.txt" in " ".join(capsys.readouterr().err.split())
    assert main(["predict"]) == 1
    assert "There is nothing to predict" in " ".join(capsys.readouterr().err.split())
