"""When each point of a scan was measured, where its file tells. Shapes: N points."""

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
"""How the formats whose columns have names are read; other files hold no times that anybody could find."""

NAMES = ("t", "time", "timestamp", "timestamps", "time_stamp", "offset_time", "time_offset", "gps_time")
"""What columns of times are called by drivers (Ouster, Velodyne, Hesai, RoboSense, Livox) and in LAS, best first."""

SWEEP_S = (0.004, 1.05)
"""How long one sweep takes, seconds: 250 turns a second to one. A clock of today, 1.7e9, is no such span in any unit.
"""

UNITS = (1.0, 1e-3, 1e-6, 1e-9)
"""Seconds of a second, milli-, micro- and nanosecond; of a sweep only one of them fits a span of numbers."""


def point_times(path: Path, returns: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """When each point was measured.

    Args:
        path: the scan's file.
        returns: (N,) bool; what is no return may have any time.

    Returns:
        (N,) seconds after the first return, 0 for what is no return; None where the file has no column of times.

    Raises:
        ValueError: the column holds no times of a sweep.
    """
    read = COLUMNS.get(path.suffix)
    columns = {plain(name): column for name, column in read(path).items()} if read is not None else {}
    name = next((name for name in NAMES if name in columns), None)
    if name is None:
        return None
    column = columns[name]
    if len(column) != len(returns) or not np.isfinite(column[returns]).all() or not returns.any():
        raise ValueError(f"{path}: {name} does not tell the time of every return; leave --deskew out.")
    first = column[returns].min()
    after = np.where(returns, column - first if column.dtype.kind == "f" else _after(column, first), 0)
    span = float(after.max())
    unit = next((unit for unit in UNITS if SWEEP_S[0] <= span * unit <= SWEEP_S[1]), None)
    if unit is None:
        raise ValueError(
            f"{path}: {name} spans {span:g}, which is no sweep of {SWEEP_S[0]:g} to {SWEEP_S[1]:g} s in seconds, "
            "milli-, micro- or nanoseconds; leave --deskew out."
        )
    return np.asarray(after * unit, np.float64)


def _after(column: NDArray[np.integer], first: np.integer) -> NDArray[np.float64]:
    """Whole numbers after the first; nanoseconds of a clock are beyond what float64 holds exactly."""
    return (np.maximum(column, first) - first).astype(np.float64)
