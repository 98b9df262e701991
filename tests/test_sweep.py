"""Motion within a sweep: made-up sensors that drive and turn while they measure, straightened exactly; and never twice.

The oracle has the sensor's path as a formula, in float64, and knows no poses but those.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_nuscenes import MINI, write_nuscenes

from rangeseg.cli import main
from rangeseg.drive.kitti_poses import write_kitti_poses
from rangeseg.drive.layouts import open_drive
from rangeseg.drive.sweep import MOMENTS, straighten, straightened
from rangeseg.drive.trajectory import Trajectory
from rangeseg.scan_formats.labelled import write_columns
from rangeseg.scan_formats.times import point_times
from rangeseg.scan_io import read_labels, write_labels

POINTS, SWEEP_S, EPOCH_S = 1200, 0.1, 1_700_000_000.0
SPEED, TURN = np.array([15.0, 4.0, 0.5]), 0.9
"""Metres a second, and radians a second about an axis that leans."""
AXIS = np.array([0.1, -0.2, 1.0]) / np.linalg.norm([0.1, -0.2, 1.0])


def turn_at(seconds: float) -> np.ndarray:
    """Of the sensor: exp of the cross product's matrix, as a power series."""
    x, y, z = AXIS * TURN * seconds
    cross, term, total = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]), np.eye(3), np.eye(3)
    for k in range(1, 20):
        term = term @ cross / k
        total = total + term
    return total


def pose_at(seconds: float) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn_at(seconds), SPEED * seconds
    return pose


def seen(world: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """(N, 3) each point of the world from where the sensor is at its own moment."""
    return np.stack([turn_at(s).T @ (x - SPEED * s) for x, s in zip(world, seconds, strict=True)])


@pytest.fixture
def world(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(0, (20, 20, 2), (POINTS, 3))


def trajectory(starts: np.ndarray, moment: str) -> Trajectory:
    at = starts + MOMENTS[moment] * SWEEP_S
    return Trajectory(tuple(f"{k:06d}" for k in range(len(at))), np.array([pose_at(s) for s in at]), EPOCH_S + at)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_skewed_scan_is_straightened_exactly(world: np.ndarray, moment: str, number: int) -> None:
    """The first and the last scan, too, whose sweeps reach beyond the poses."""
    starts = np.array([0.0, 0.1, 0.25, 0.35])
    poses, own = trajectory(starts, moment), np.linspace(0, SWEEP_S, POINTS)
    skewed = seen(world, starts[number] + own)
    here = starts[number] + MOMENTS[moment] * SWEEP_S
    still = seen(world, np.full(POINTS, here))
    after = own - MOMENTS[moment] * SWEEP_S
    found = straighten(skewed.astype(np.float32), after, poses, number)
    assert np.abs(skewed - still).max() > 0.5
    np.testing.assert_allclose(found, still, atol=2e-5)


def test_no_returns_stay_no_returns(world: np.ndarray) -> None:
    xyz = world.astype(np.float32)
    xyz[3], xyz[4] = 0, np.nan
    found = straighten(xyz, np.linspace(0, SWEEP_S, POINTS), trajectory(np.array([0.0, 0.1]), "start"), 0)
    assert (found[3] == 0).all()
    assert np.isnan(found[4]).all()


FORMS = {
    "Ouster": ("npz", "t", lambda s: np.rint(s * 1e9).astype(np.uint32)),
    "Hesai": ("pcd", "timestamp", lambda s: EPOCH_S + s),
    "Velodyne": ("ply", "time", lambda s: (s - SWEEP_S).astype(np.float32)),
    "Livox": ("npz", "offset_time", lambda s: np.rint(s * 1e9).astype(np.uint32)),
    "nanoseconds of a clock": ("npz", "timestamp", lambda s: int(EPOCH_S) * 10**9 + np.rint(s * 1e9).astype(np.int64)),
    "microseconds": ("pcd", "time_offset", lambda s: np.rint(s * 1e6).astype(np.uint32)),
    "milliseconds": ("ply", "scalar_t", lambda s: (s * 1e3).astype(np.float32)),
}  # fmt: skip


def save(path: Path, xyz: np.ndarray, **others: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {axis: xyz[:, k].astype(np.float32) for k, axis in enumerate("xyz")} | others
    write_columns(path, columns, np.zeros(len(xyz), np.uint8))


@pytest.mark.parametrize("sensor", FORMS)
def test_times_of_points_are_seconds_after_the_first(sensor: str, world: np.ndarray, tmp_path: Path) -> None:
    ending, name, form = FORMS[sensor]
    own = np.random.default_rng(0).uniform(0, SWEEP_S, POINTS)
    save(tmp_path / f"a.{ending}", world, **{name: form(own)})
    found = point_times(tmp_path / f"a.{ending}", np.ones(POINTS, bool))
    assert found is not None
    np.testing.assert_allclose(found, own - own.min(), atol=1e-6)


def test_times_that_are_none(world: np.ndarray, tmp_path: Path) -> None:
    own, path = np.linspace(0, SWEEP_S, POINTS), tmp_path / "a.npz"
    returns = np.ones(POINTS, bool)
    save(path, world)
    assert point_times(path, returns) is None
    assert point_times(tmp_path / "a.bin", returns) is None
    save(path, world, t=np.where(np.arange(POINTS) == 7, 0, EPOCH_S + own))
    with pytest.raises(ValueError, match=r"a\.npz: t spans 1\.7e\+09, but a sweep takes 0\.004 to 1\.05 s"):
        point_times(path, returns)
    returns[7] = False
    found = point_times(path, returns)
    assert found is not None
    assert found[7] == 0
    save(path, world, t=np.where(np.arange(POINTS) == 8, np.nan, own))
    with pytest.raises(ValueError, match="t is not finite for every return"):
        point_times(path, returns)
    save(path, world, t=np.full(POINTS, 5.0))
    with pytest.raises(ValueError, match="t spans 0, but a sweep takes"):
        point_times(path, returns)


@pytest.fixture
def skewed_drive(tmp_path: Path) -> Path:
    """Four sweeps over a wall of stripes of two classes, each point seen at its own moment; the first is labelled."""
    rng, starts = np.random.default_rng(0), np.array([0.0, 0.1, 0.2, 0.3])
    for number, start in enumerate(starts):
        world = np.column_stack([rng.uniform(-10, 14, 3000), np.full(3000, 6.0), rng.uniform(-1, 2, 3000)])
        own = (np.arctan2(world[:, 1], world[:, 0]) / (2 * np.pi)) * SWEEP_S * 1.9
        save(tmp_path / "scans" / f"{number:06d}.pcd", seen(world, start + own), timestamp=EPOCH_S + start + own)
        stripe = np.floor(world[:, 0] / 0.6).astype(int) % 2
        write_labels(tmp_path / "truth" / f"{number:06d}.label", np.where(stripe, 50, 51).astype(np.uint32))
    write_labels(tmp_path / "labels" / "000000.label", read_labels(tmp_path / "truth" / "000000.label")[0])
    write_kitti_poses(tmp_path / "poses", trajectory(starts, "start"))
    return tmp_path / "scans"


def right(out: Path, root: Path) -> float:
    """Share of the points of the unlabelled scans with the right label."""
    pairs = [(read_labels(out / "labels" / f"{n:06d}.label")[0], read_labels(root / "truth" / f"{n:06d}.label")[0])
             for n in (1, 2, 3)]  # fmt: skip
    return float(np.mean([np.mean(label == truth) for label, truth in pairs]))


def test_labels_are_carried_to_where_they_belong(skewed_drive: Path, tmp_path: Path) -> None:
    """The poses are of each sweep's start: read so, stripes of 0.6 m keep their edges; read otherwise, they do not."""
    words = ["propagate", str(skewed_drive), "--poses", str(tmp_path / "poses"), "--no-visibility",
             "--max-distance-m", "0.2", "--neighbours", "1"]  # fmt: skip
    shares = {}
    for moment in (None, *MOMENTS):
        out = tmp_path / f"out_{moment}"
        assert main([*words, "--out", str(out), *(["--deskew", moment] if moment else [])]) == 0
        shares[moment] = right(out, tmp_path)
    assert shares["start"] > max(shares[None], shares["middle"], shares["end"]) + 0.005
    assert shares["start"] > 0.9


def test_other_moments_are_other_labels(skewed_drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["propagate", str(skewed_drive), "--poses", str(tmp_path / "poses"), "--out", str(tmp_path / "o")]
    assert main([*words, "--deskew", "start"]) == 0
    assert main(words) == 1
    assert "carried with other --deskew and time stamps of the poses. Give --overwrite" in " ".join(
        capsys.readouterr().err.split()
    )


def test_never_twice_and_never_without_times(
    tiny_kitti: Path, skewed_drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poses = trajectory(np.arange(3.0), "end")
    nuscenes = write_nuscenes(tmp_path / "n", "v1.0-mini", MINI)
    for drive in (open_drive(tiny_kitti / "sequences" / "00"), open_drive(nuscenes, scene="scene-0061")):
        with pytest.raises(ValueError, match=r"this layout are already corrected for motion\. Remove --deskew"):
            straightened(drive, poses, "end")
        assert straightened(drive, poses, None) is drive
    mine = open_drive(skewed_drive)
    with pytest.raises(ValueError, match="the poses have no time stamps"):
        straightened(mine, replace(trajectory(np.arange(4.0), "end"), times=None), "end")
    four = trajectory(np.arange(4.0) / 10, "end")
    with pytest.raises(ValueError, match=r"two poses or more, and no two with one time stamp"):
        straightened(mine, replace(four, times=np.array([0, 0.1, 0.1, 0.2])), "end")
    for unit, apart in ((1e3, "100 s apart"), (1e9, r"1e\+08 s apart")):  # as if no sensor moved during a sweep
        with pytest.raises(ValueError, match=f"{apart}, if they are in seconds, as they must be"):
            straightened(mine, replace(four, times=four.times * unit), "end")  # type: ignore[operator]
    with pytest.raises(ValueError, match="--deskew is now; choose from start, middle, end"):
        straightened(mine, poses, "now")
    save(skewed_drive / "000001.pcd", np.ones((3000, 3)))
    words = ["propagate", str(skewed_drive), "--poses", str(tmp_path / "poses"), "--deskew", "end"]
    assert main([*words, "--out", str(tmp_path / "o")]) == 1
    assert "000001.pcd: has no column with times" in " ".join(capsys.readouterr().err.split())
