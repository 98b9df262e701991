"""Poses of the sensor from the files of KITTI and SemanticKITTI: ``poses.txt``, ``calib.txt`` and ``times.txt``."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rangeseg.files import read_whole
from rangeseg.types import SensorPose

AXES = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
"""The LiDAR's axes (ahead, left, up) -> the camera's (right, down, ahead); used if there is no Tr in calib.txt."""


def pose_of(scan: Path) -> SensorPose | None:
    """The pose of a scan ``SEQUENCE/velodyne/NUMBER.bin``; None if poses.txt is missing or has no pose of this number.

    Raises:
        ValueError: one of the three files does not have KITTI's format.
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
    """(S, 4, 4) poses of the LiDAR, and its times in seconds, (S,), or (0,) if times.txt is missing.

    poses.txt contains the poses of the camera, and Tr in calib.txt is the transform from the LiDAR to the camera.
    """
    camera = _matrices(folder / "poses.txt", _numbers(folder / "poses.txt", 2))
    to_camera = AXES
    if (folder / "calib.txt").is_file():
        for line in read_whole(folder / "calib.txt").decode().splitlines():
            if line.startswith("Tr:"):
                to_camera = _tr(folder / "calib.txt", line.removeprefix("Tr:").split())
    times = folder / "times.txt"
    return np.linalg.inv(to_camera) @ camera @ to_camera, _numbers(times, 1) if times.is_file() else np.empty(0)


def _numbers(path: Path, dimensions: Literal[1, 2]) -> NDArray[np.float64]:
    try:
        return np.loadtxt(path, ndmin=dimensions)
    except ValueError as error:
        raise ValueError(f"{path}: is no table of numbers ({error}). Copy the file again.") from error


def _tr(path: Path, words: list[str]) -> NDArray[np.float64]:
    """The LiDAR's pose in the camera's frame; it must be invertible."""
    try:
        found = _matrices(path, np.array([words], np.float64))[0]
        np.linalg.inv(found)
    except ValueError as error:
        raise ValueError(f"{path}: its line Tr is no pose ({error}). Copy the file again.") from error
    return found


def _matrices(path: Path, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    if rows.ndim != 2 or rows.shape[1] != 12:
        raise ValueError(f"{path}: has rows of {rows.shape[-1]} numbers; KITTI's have 12, the upper rows of a matrix.")
    if not np.isfinite(rows).all():
        row = int(np.flatnonzero(~np.isfinite(rows).all(1))[0])
        raise ValueError(f"{path}: row {row + 1} contains numbers that are not finite. Write the file again.")
    matrices = np.tile(np.eye(4), (len(rows), 1, 1))
    matrices[:, :3] = rows.reshape(-1, 3, 4)
    return matrices
