"""Columns of a file of unnamed numbers: a check of the expected columns, and a guess from the values.

The length of a file is not sufficient, because 4, 5 and 6 columns of float32 often fit the same length. But a remission
is not negative, and neighbouring points are close, which is not true for wrong columns. Shapes: N points.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangeseg.scan_formats.checks import ENOUGH_POINTS, NEVER_SO_FAR_M, records_of

NEGATIVE = 0.02
"""Share of negative values at which a column is not remission."""

WINDOW = 4096
"""Number of points in the middle of the file that are checked."""

TYPES = {"float32": "<f4", "float64": "<f8", "int32": "<i4", "int16": "<i2", "uint8": "u1", "uint16": "<u2"}
"""Types of unnamed numbers in `fields`."""

GUESSES = [("float32", 3), ("float32", 5), ("float32", 6), ("float32", 7), ("float32", 8), ("float32", 12)]
GUESSES += [("float64", 4), ("float64", 3), ("float64", 5), ("float64", 6)]
USUAL = {3: "x y z", 4: "x y z remission", 5: "x y z remission ring"}


def check_four_columns(path: Path, content: bytes) -> None:
    """Reject the content of a KITTI file that is not x, y, z, remission in float32.

    Args:
        path: file name for errors.
        content: content of the file, whole records.

    Raises:
        ValueError: the fourth column contains negative values; the error suggests other columns.
    """
    table = np.frombuffer(content, "<f4").reshape(-1, 4)
    if len(table) < ENOUGH_POINTS:
        return
    with np.errstate(invalid="ignore"):
        share = np.count_nonzero(table[:, 3] < 0) / len(table)
    found = f"{100 * share:.0f} % of the values in the fourth column are negative" if share > NEGATIVE else ""
    if not found and (count := wider(table)):
        found = f"only every {'second' if count == 8 else 'third'} record is a point, so it has {count} columns"
    if found:
        hint = advice(content, rough(_window(content, "float32", 4)))
        raise ValueError(f"{path}: is not x, y, z, remission of float32: {found}. {hint}")


def wider(table: NDArray[np.float32]) -> int:
    """The number of columns, 8 or 12, of a file whose records are two or three times as long as KITTI's; 0 if not.

    PCL pads the points in memory to such records. The coordinates of points have both signs around a sensor, but the
    other parts of such records, intensity, ring, time and padding, have no negative numbers.

    Args:
        table: (N, 4), the file read as KITTI's.
    """
    for parts in (2, 3):
        if len(table) % parts == 0:
            each = table.reshape(-1, parts, 4)
            each = each[:: 6 * (len(each) // (6 * WINDOW)) + 1]  # not always the same part of a longer record
            with np.errstate(invalid="ignore"):
                negative = (each[:, :, :3] < 0).mean(axis=0)
            if negative[0].max() > 10 * NEGATIVE and not negative[1:].any():
                return 4 * parts
    return 0


def advice(content: bytes, worse_than: float = np.inf) -> str:
    """Advice on the columns of a file, guessed from its values.

    Args:
        content: content of the file.
        worse_than: result of `rough` for the expected columns.
    """
    tried = []
    for kind, count in GUESSES:
        if len(content) % (count * np.dtype(TYPES[kind]).itemsize) == 0:
            table = _window(content, kind, count)
            if count == 3 or (table[:, _remission(table)] < 0).mean() <= NEGATIVE:
                tried.append((rough(table), kind, count))
    best = min(tried, default=(np.inf, "", 0))
    if best[0] < 0.5 * min(worse_than, 1.0):
        _, kind, count = best
        names = [*"xyz", *"abcdefgh"[: max(0, count - 4)]]
        names.insert(_remission(_window(content, kind, count)), "remission")
        columns = USUAL.get(count, " ".join(names))
        typed = "" if kind == "float32" else f', "type": "{kind}"'
        return f'The values look like {count} columns of {kind}. Give fields={{"columns": "{columns}"{typed}}}.'
    return 'Give the columns, for example fields={"columns": "x y z remission ring"}, or copy the file again.'


def _remission(table: NDArray) -> int:
    """The likely column of the remission: the fourth, or the fifth if the fourth is constant, as PCL's padding is."""
    return 4 if table.shape[1] > 5 and np.ptp(table[:, 3]) == 0 else 3


def rough(table: NDArray) -> float:
    """The median distance between consecutive points, as a share of the range; infinite if it is not a scan.

    Args:
        table: (N, C), the first three columns x, y, z.
    """
    with np.errstate(all="ignore"):
        xyz = table[:, :3].astype(np.float64)
        metres = np.sqrt((xyz**2).sum(axis=1))
        valid = np.isfinite(metres) & (metres > 0)
        if np.count_nonzero(valid) <= max(1, len(table) / 4) or not 0.1 < np.median(metres[valid]) < NEVER_SO_FAR_M:
            return float("inf")
        step = np.sqrt((np.diff(xyz[valid], axis=0) ** 2).sum(axis=1))
        return float(np.median(step / metres[valid][1:]))


def _window(content: bytes, kind: str, count: int) -> NDArray:
    values = np.frombuffer(content, TYPES[kind])
    table = values.reshape(-1, count)
    return table[max(0, (len(table) - WINDOW) // 2) :][:WINDOW]


def read_columns(path: Path, names: Sequence[str], kind: str) -> dict[str, NDArray]:
    """Read a file of unnamed numbers as columns.

    Args:
        path: the file.
        names: names of its columns, in order.
        kind: type of the numbers, one of `TYPES`.

    Raises:
        ValueError: unknown type, too few columns, or the length of the file is not a multiple of the record length.
    """
    if kind not in TYPES:
        raise ValueError(f"fields: type is {kind}; use {', '.join(TYPES)}.")
    table = np.frombuffer(records_of(path, len(names) * np.dtype(TYPES[kind]).itemsize), TYPES[kind])
    return dict(zip(names, table.reshape(-1, len(names)).T, strict=True))
