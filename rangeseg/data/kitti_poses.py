"""Poses of the sensor from the files of KITTI and SemanticKITTI: ``poses.txt``, ``calib.txt`` and ``times.txt``.

A row of nan in poses.txt belongs to a scan without a pose.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.lists import natural_order
from rangeseg.files import Version, read_whole, version_of
from rangeseg.paths import absolute
from rangeseg.scan_io import READERS, home_of, stem_of
from rangeseg.types import SensorPose

AXES = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
"""The LiDAR's axes (ahead, left, up) -> the camera's (right, down, ahead); used if there is no Tr in calib.txt."""

SPREAD = 10
"""Names of scans are used as row numbers if the last number is less than this many times the number of scans."""


def pose_of(scan: Path) -> SensorPose | None:
    """The pose of a scan ``SEQUENCE/velodyne/NAME.bin``; None if poses.txt is missing or has no pose of this scan.

    `rows_of` finds its row.

    Raises:
        ValueError: one of the three files does not have KITTI's format.
    """
    folder, place = home_of(scan), absolute(scan).parent
    if not (folder / "poses.txt").is_file():
        return None
    poses, times = _read(folder, tuple(version_of(folder / name) for name in ("poses.txt", "calib.txt", "times.txt")))
    row = _rows(place, len(poses), version_of(place)).get(scan.name, -1)
    if row < 0 or np.isnan(poses[row]).any():
        return None
    number = numbers_of([stem_of(scan)])
    fitting = len(times) == len(poses) or (row < len(times) and number is not None and number[0] == row)
    return SensorPose(poses[row], float(times[row]) if fitting and np.isfinite(times[row]) else None)


def rows_of(names: Sequence[str], rows: int) -> NDArray[np.int64] | None:
    """The row of each scan in a poses.txt.

    Row i belongs to the scan with number i. If the names are not increasing numbers, or if these numbers are too sparse
    to be row numbers (`SPREAD`), rows and scans are in the same order.

    Args:
        names: names of all N scans of a drive, in the order of time.
        rows: number of rows of the file.

    Returns:
        (N,) rows, -1 for scans without a row. None if the names are not numbers and there are not N rows, or if there
        are N rows but a scan has a larger number: they may be those of the numbers from 0, or those of these scans.
    """
    numbers = numbers_of(names)
    if rows == len(names) and (numbers is None or is_sparse(numbers)):
        return np.arange(rows)
    if numbers is None or (rows == len(names) and numbers[-1] >= rows):
        return None
    return np.where(numbers < rows, numbers, -1)


def numbers_of(names: Sequence[str]) -> NDArray[np.int64] | None:
    """The numbers in the names of scans, if all names end in a number and the numbers increase; otherwise None."""
    ends = [name.rpartition("/")[2] for name in names]
    if not ends or not all(end.isdecimal() and len(end) < 16 for end in ends):
        return None
    numbers = np.array([int(end) for end in ends], np.int64)
    return numbers if (np.diff(numbers) > 0).all() else None


def is_sparse(numbers: NDArray[np.int64]) -> bool:
    """Whether numbers of scans are too sparse to be row numbers."""
    return bool(numbers[-1] >= SPREAD * len(numbers))


@lru_cache(maxsize=8)
def _rows(folder: Path, rows: int, version: Version) -> dict[str, int]:
    """File name of each scan of a folder -> its row, if `rows_of` knows it.

    Args:
        folder: folder of the scans.
        rows: number of rows of poses.txt.
        version: result of `version_of`; a folder that has changed is read again.
    """
    files = sorted((path.name for path in folder.iterdir() if path.name.endswith(READERS)), key=natural_order)
    found = rows_of([stem_of(name) for name in files], rows)
    return {} if found is None else dict(zip(files, found.tolist(), strict=True))


@lru_cache(maxsize=8)
def _read(folder: Path, versions: tuple[Version, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(S, 4, 4) poses of the LiDAR, and its times in seconds, (S,), or (0,) if times.txt is missing.

    poses.txt contains the poses of the camera, and Tr in calib.txt is the transform from the LiDAR to the camera.

    Args:
        folder: folder of the three files.
        versions: result of `version_of` for each of them; files that have changed are read again.
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
        raise ValueError(
            f"{path}: its line Tr is not an invertible 3 x 4 matrix ({error}). Copy the file again."
        ) from error
    return found


def _matrices(path: Path, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    if rows.ndim != 2 or rows.shape[1] != 12:
        raise ValueError(f"{path}: has rows of {rows.shape[-1]} numbers; each row must have 12, a 3 x 4 matrix.")
    known = np.isfinite(rows).all(axis=1)
    if not (known | np.isnan(rows).all(axis=1)).all():
        row = int(np.flatnonzero(~known & ~np.isnan(rows).all(axis=1))[0])
        raise ValueError(f"{path}: row {row + 1} contains numbers that are not finite. Write the file again.")
    matrices = np.tile(np.eye(4), (len(rows), 1, 1))
    matrices[:, :3] = rows.reshape(-1, 3, 4)
    return matrices
