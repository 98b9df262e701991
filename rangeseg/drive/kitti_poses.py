"""Poses in the format of KITTI odometry: a folder with three text files.

poses.txt   one row of 12 numbers per scan: (3, 4) left camera -> world, relative to the camera's first pose
calib.txt   Tr: 12 numbers, sensor -> left camera; `rangeseg poses` writes the identity and the sensor's poses
times.txt   one row per scan, seconds; optional

Row i belongs to the scan with number i; it is nan if this scan has no pose. If the names are not numbers, rows and
scans are in the same order, see `rangeseg.data.kitti_poses.rows_of`.

Source: Geiger, Lenz, Urtasun, KITTI, CVPR 2012; calibration files of its odometry benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.kitti_poses import is_sparse, numbers_of, rows_of
from rangeseg.drive.trajectory import Trajectory, between
from rangeseg.files import read_whole, write_atomically

PUBLISHED_TR = {
    718.856: (
        *(4.276802385584e-04, -9.999672484946e-01, -8.084491683471e-03, -1.198459927713e-02),
        *(-7.210626507497e-03, 8.081198471645e-03, -9.999413164504e-01, -5.403984729748e-02),
        *(9.999738645903e-01, 4.859485810390e-04, -7.206933692422e-03, -2.921968648686e-01),
    ),
    721.5377: (
        *(2.347736981471e-04, -9.999441545438e-01, -1.056347781105e-02, -2.796816941295e-03),
        *(1.044940741659e-02, 1.056535364138e-02, -9.998895741176e-01, -7.510879138296e-02),
        *(9.999453885620e-01, 1.243653783865e-04, 1.045130299567e-02, -2.721327964059e-01),
    ),
    707.0912: (
        *(-1.857739385241e-03, -9.999659513510e-01, -8.039975204516e-03, -4.784029760483e-03),
        *(-6.481465826011e-03, 8.051860151134e-03, -9.999466081774e-01, -7.337429464231e-02),
        *(9.999773098287e-01, -1.805528627661e-03, -6.496203536139e-03, -3.339968064433e-01),
    ),
}
"""Focal length in P0, one per recording day -> published Tr of sequences 00-02 and 13-21; 03; 04-12."""


def read_kitti_poses(folder: Path, names: Sequence[str]) -> Trajectory:
    """The poses of scans.

    Args:
        folder: contains poses.txt and calib.txt.
        names: names of the scans, in the order of time.

    Raises:
        FileNotFoundError: there is no poses.txt.
        ValueError: a file is not in KITTI's format, scans have no pose, or it is not clear which row is whose.
    """
    if not (folder / "poses.txt").is_file():
        raise FileNotFoundError(f"{folder}: has no poses.txt. Write one with: rangeseg poses DRIVE --by kiss-icp")
    rows = _table(folder / "poses.txt", 12)
    to_camera = read_tr(folder / "calib.txt")
    index = _index(names, rows, folder / "poses.txt")
    camera = _matrices(rows[index])
    poses = np.linalg.inv(to_camera) @ camera @ to_camera
    poses[:, 3] = (0, 0, 0, 1)
    times = _table(folder / "times.txt", 1)[:, 0] if (folder / "times.txt").is_file() else None
    by_order = len(rows) == len(names) and not _are_rows(numbers_of(names))
    if times is not None and (len(times) < len(rows) or (by_order and len(times) > len(rows))):
        rows_of_times = f"{folder / 'times.txt'}: {len(times)} rows for {len(rows)} poses"
        raise ValueError(f"{rows_of_times}. Give one row per pose, or remove the file.")
    try:
        return Trajectory(tuple(names), poses, None if times is None else times[index])
    except ValueError as error:
        raise ValueError(f"{folder / 'poses.txt'}: {error}") from error


def read_tr(path: Path) -> NDArray[np.float64]:
    """(4, 4) sensor -> camera: Tr of a calib.txt, or the published value if the file has no Tr.

    Raises:
        ValueError: the file is missing, or has neither Tr nor a P0 of KITTI.
    """
    found = {}
    for line in _lines(path):
        key, _, numbers = line.partition(":")
        found[key.strip()] = numbers
    try:
        if "Tr" in found:
            values = tuple(float(number) for number in found["Tr"].split())
        else:
            focal = float(found["P0"].split()[0])
            values = next(value for at, value in PUBLISHED_TR.items() if abs(at - focal) < 0.01)
        found_tr = np.asarray(_matrices(np.array(values, np.float64).reshape(1, 12))[0])
    except (ValueError, KeyError, IndexError, StopIteration) as error:
        raise ValueError(
            f"{path}: has neither a line Tr with 12 numbers nor a P0 of KITTI. Add `Tr:` and the pose of the sensor in "
            "the frame of the poses (1 0 0 0 0 1 0 0 0 0 1 0 if the poses are those of the sensor itself)."
        ) from error
    try:
        Trajectory(("Tr",), found_tr[None])
    except ValueError as error:
        raise ValueError(f"{path}: Tr is not a rigid motion. Copy the file again.") from error
    return found_tr


def write_kitti_poses(folder: Path, trajectory: Trajectory, *, a_row_each: bool = False) -> list[Path]:
    """Write poses.txt, calib.txt and, if times are known, times.txt.

    Row i belongs to the scan with number i. Numbers between two scans get an interpolated pose, numbers before the
    first scan get nan. If the names are not increasing numbers, or are too sparse, the files have one row per scan, in
    order.

    Args:
        folder: output folder.
        trajectory: the poses.
        a_row_each: write one row per scan for any names.

    Returns:
        The written files.

    Raises:
        ValueError: the folder contains other poses with times, but these poses have no times.
    """
    poses, times = trajectory.poses, trajectory.times
    numbers = None if a_row_each else numbers_of(trajectory.names)
    if numbers is not None and _are_rows(numbers):
        poses, times = _filled(numbers, poses, times)
    texts = {
        "poses.txt": "".join(" ".join(f"{value:.12g}" for value in pose[:3].ravel()) + "\n" for pose in poses),
        "calib.txt": "Tr: 1 0 0 0 0 1 0 0 0 0 1 0\n",
    }
    if times is not None:
        texts["times.txt"] = "".join(f"{time:.9f}\n" for time in times)
    elif all((folder / name).is_file() for name in ("poses.txt", "times.txt")):
        raise ValueError(
            f"{folder / 'times.txt'}: contains the times of earlier poses, but the new poses have no times. Remove it, "
            "or write to another folder."
        )
    for name, text in texts.items():
        write_atomically(folder / name, text.encode())
    return [folder / name for name in texts]


def _are_rows(numbers: NDArray[np.int64] | None) -> bool:
    """Whether the numbers in the names of scans, None if there are none, are row numbers."""
    return numbers is not None and not is_sparse(numbers)


def _filled(
    numbers: NDArray[np.int64], poses: NDArray, times: NDArray | None
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """One row for every number from 0; numbers before the first scan get nan."""
    every = np.arange(numbers[-1] + 1)
    after = np.searchsorted(numbers, every)
    before = np.where(numbers[after] == every, after, np.maximum(after - 1, 0))
    span = numbers[after] - numbers[before]
    share = np.divide(every - numbers[before], span, out=np.zeros(len(every)), where=span > 0)
    rows = between(poses[before], poses[after], share)
    rows[: numbers[0], :3] = np.nan
    return rows, None if times is None else np.interp(every, numbers, times, left=np.nan)


def _index(names: Sequence[str], rows: NDArray[np.float64], path: Path) -> NDArray[np.int64]:
    """(N,) row of each scan.

    Raises:
        ValueError: scans have no pose, or it is not clear which row is whose.
    """
    index = rows_of(names, len(rows))
    if index is None and numbers_of(names) is None:
        raise ValueError(f"{path}: has {len(rows)} rows, but there are {len(names)} scans. Give one row per scan.")
    if index is None:
        raise ValueError(
            f"{path}: has {len(rows)} rows for as many scans, {names[0]} to {names[-1]}, but row i (from 0) belongs to "
            "the scan with number i. Insert a row of twelve `nan` for each missing number, or number the scans from 0."
        )
    missing = [name for name, row in zip(names, index, strict=True) if row < 0 or np.isnan(rows[row]).any()]
    if missing:
        raise ValueError(
            f"{path}: {len(missing)} of {len(names)} scans have no pose; the first is {missing[0]}, the last "
            f"{missing[-1]}. Row i (from 0) belongs to the scan with number i. Add their poses, or move these scans to "
            "another folder."
        )
    return index


def _matrices(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 12) -> (N, 4, 4)."""
    whole = np.zeros((len(rows), 4, 4))
    whole[:, :3], whole[:, 3, 3] = rows.reshape(-1, 3, 4), 1
    return whole


def _table(path: Path, columns: int) -> NDArray[np.float64]:
    """The (rows, columns) numbers of a file, finite or, in rows of scans without a pose, nan."""
    rows = [line.split() for line in _lines(path)]
    try:
        table = np.array(rows, np.float64).reshape(len(rows), -1)
    except ValueError as error:
        raise ValueError(f"{path}: is not a table of numbers ({error}). Copy the file again.") from error
    finite = np.isfinite(table).all(axis=1) | np.isnan(table).all(axis=1)
    if table.shape[1] != columns or not finite.all():
        raise ValueError(f"{path}: has rows of {table.shape[1]} numbers. Give {columns} finite numbers per scan.")
    return table


def _lines(path: Path) -> list[str]:
    try:
        lines = [line for line in read_whole(path).decode().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read ({error}). Copy the file again.") from error
    if not lines:
        raise ValueError(f"{path}: is empty. Copy the file again.")
    return lines
