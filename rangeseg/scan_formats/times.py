"""The measurement time of each point of a scan, from its file. Shapes: N points."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangeseg.scan_formats.arrays import columns_of_npz
from rangeseg.scan_formats.fields import plain
from rangeseg.scan_formats.las import columns_of_las
from rangeseg.scan_formats.pcd import columns_of_pcd
from rangeseg.scan_formats.ply import columns_of_ply

COLUMNS: dict[str, Callable[[Path], dict[str, NDArray]]] = {
    ".pcd": columns_of_pcd,
    ".ply": columns_of_ply,
    ".npz": columns_of_npz,
    ".las": columns_of_las,
    ".laz": columns_of_las,
}
"""Readers of the formats with named columns; in other formats, times cannot be found."""

NAMES = ("t", "time", "timestamp", "timestamps", "time_stamp", "offset_time", "time_offset", "gps_time")
"""Names of columns with times from drivers (Ouster, Velodyne, Hesai, RoboSense, Livox) and in LAS, best first."""

SWEEP_S = (0.004, 1.05)
"""Least and largest duration of a sweep, seconds. A Unix time of today, 1.7e9, is outside this range in every unit."""

UNITS = (1.0, 1e-3, 1e-6, 1e-9)
"""Units in seconds: s, ms, µs, ns. For a given span of numbers, only one unit gives the duration of a sweep."""


def point_times(path: Path, returns: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """The measurement time of each point.

    Args:
        path: file of the scan.
        returns: (N,) bool, True for returns; other points may have any time.

    Returns:
        (N,) seconds after the first return, 0 for points without a return; None if the file has no column with times.

    Raises:
        ValueError: the column does not contain the times of a sweep.
    """
    read = COLUMNS.get(path.suffix)
    columns = {plain(name): column for name, column in read(path).items()} if read is not None else {}
    name = next((name for name in NAMES if name in columns), None)
    if name is None:
        return None
    column = columns[name]
    if len(column) != len(returns) or not np.isfinite(column[returns]).all() or not returns.any():
        raise ValueError(f"{path}: {name} is not finite for every return. Remove --deskew.")
    first = column[returns].min()
    after = np.where(returns, column - first if column.dtype.kind == "f" else _after(column, first), 0)
    span = float(after.max())
    unit = next((unit for unit in UNITS if SWEEP_S[0] <= span * unit <= SWEEP_S[1]), None)
    if unit is None:
        raise ValueError(
            f"{path}: {name} spans {span:g}, but a sweep takes {SWEEP_S[0]:g} to {SWEEP_S[1]:g} s, and no unit of s, "
            "ms, µs and ns fits. Remove --deskew."
        )
    return np.asarray(after * unit, np.float64)


def _after(column: NDArray[np.integer], first: np.integer) -> NDArray[np.float64]:
    """Integer differences to the first, because float64 cannot represent nanoseconds of a clock exactly."""
    return (np.maximum(column, first) - first).astype(np.float64)
