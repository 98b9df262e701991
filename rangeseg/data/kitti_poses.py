"""Where the sensor was, as KITTI and SemanticKITTI tell it: ``poses.txt``, ``calib.txt`` and ``times.txt``."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangeseg.types import SensorPose

AXES = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
"""The LiDAR's axes (ahead, left, up) -> the camera's (right, down, ahead), where calib.txt has no Tr."""


def pose_of(scan: Path) -> SensorPose | None:
    """The place of a scan ``SEQUENCE/velodyne/NUMBER.bin``; None where its sequence has no poses of this number.

    Raises:
        ValueError: a file beside it is not as KITTI has it.
    """
    folder = scan.parent.parent
    if not scan.stem.isdecimal() or not (folder / "poses.txt").is_file():
        return None
    poses, times = _read(folder)
    number = int(scan.stem)
    if number >= len(poses):
        return None
    return SensorPose(poses[number], float(times[number]) if number < len(times) else None)


@lru_cache(maxsize=8)
def _read(folder: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(S, 4, 4) poses of the LiDAR and (S,) seconds; poses.txt has those of the camera, calib.txt the way to it."""
    camera = _matrices(folder / "poses.txt", np.loadtxt(folder / "poses.txt", ndmin=2))
    to_camera = AXES
    if (folder / "calib.txt").is_file():
        for line in (folder / "calib.txt").read_text().splitlines():
            if line.startswith("Tr:"):
                values = np.array([line.removeprefix("Tr:").split()], np.float64)
                to_camera = _matrices(folder / "calib.txt", values)[0]
    times = folder / "times.txt"
    return np.linalg.inv(to_camera) @ camera @ to_camera, np.loadtxt(times, ndmin=1) if times.is_file() else np.empty(0)


def _matrices(path: Path, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    if rows.ndim != 2 or rows.shape[1] != 12 or not np.isfinite(rows).all():
        raise ValueError(f"{path}: has rows of {rows.shape[-1]} numbers; KITTI's have 12, the upper rows of a matrix.")
    matrices = np.tile(np.eye(4), (len(rows), 1, 1))
    matrices[:, :3] = rows.reshape(-1, 3, 4)
    return matrices
