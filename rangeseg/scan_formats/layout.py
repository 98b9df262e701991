"""What a file of bare numbers holds: the columns it should have, or others that its values tell of.

The length alone does not tell: 4, 5 and 6 columns of float32 fit the same lengths often. A remission is not negative,
and a scan's points follow each other closely, which numbers in wrong columns do not. Shapes: N points.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangeseg.scan_formats.checks import ENOUGH_POINTS, NEVER_SO_FAR_M, records_of

NEGATIVE = 0.02
"""Share of a remission's values below 0 that no sensor gives."""

WINDOW = 4096
"""Points in the middle of the file that are looked at."""

TYPES = {"float32": "<f4", "float64": "<f8", "int32": "<i4", "int16": "<i2", "uint8": "u1", "uint16": "<u2"}
"""Of bare numbers, as `fields` names them."""

GUESSES = [("float32", 3), ("float32", 5), ("float32", 6), ("float32", 7), ("float32", 8)]
GUESSES += [("float64", 4), ("float64", 3), ("float64", 5), ("float64", 6)]
USUAL = {3: "x y z", 4: "x y z remission", 5: "x y z remission ring"}


def check_four_columns(path: Path, content: bytes) -> None:
    """Refuse the bytes of a KITTI file that are no x, y, z, remission of float32.

    Args:
        path: what errors name.
        content: of the file, whole records.

    Raises:
        ValueError: the fourth column holds negative values; it says which columns fit better.
    """
    remission = np.frombuffer(content, "<f4")[3::4]
    if len(remission) < ENOUGH_POINTS:
        return
    with np.errstate(invalid="ignore"):
        share = np.count_nonzero(remission < 0) / max(1, len(remission))
    if share <= NEGATIVE:
        return
    raise ValueError(
        f"{path}: is not x, y, z, remission of float32: {100 * share:.0f} % of the values in the fourth column are "
        f"negative. {advice(content, rough(_window(content, 'float32', 4)))}"
    )


def advice(content: bytes, worse_than: float = np.inf) -> str:
    """Which columns bytes hold, as far as they tell, and how to say it.

    Args:
        content: of a file.
        worse_than: of `rough`, for the columns that were tried already.
    """
    tried = []
    for kind, count in GUESSES:
        if len(content) % (count * np.dtype(TYPES[kind]).itemsize) == 0:
            table = _window(content, kind, count)
            if count == 3 or (table[:, 3] < 0).mean() <= NEGATIVE:
                tried.append((rough(table), kind, count))
    best = min(tried, default=(np.inf, "", 0))
    if best[0] < 0.5 * min(worse_than, 1.0):
        _, kind, count = best
        said = USUAL.get(count, f"x y z remission {' '.join('abcd'[: count - 4])}")
        typed = "" if kind == "float32" else f', "type": "{kind}"'
        return f'It reads like {count} columns of {kind}: say it, fields={{"columns": "{said}"{typed}}}.'
    return 'Say what the columns are, e.g. fields={"columns": "x y z remission ring"}, or copy the file again.'


def rough(table: NDArray) -> float:
    """The median step from point to point, as a share of the range; infinite where it holds no scan.

    Args:
        table: (N, C), the first three columns x, y, z.
    """
    with np.errstate(all="ignore"):
        xyz = table[:, :3].astype(np.float64)
        metres = np.sqrt((xyz**2).sum(axis=1))
        there = np.isfinite(metres) & (metres > 0)
        if np.count_nonzero(there) <= max(1, len(table) / 4) or not 0.1 < np.median(metres[there]) < NEVER_SO_FAR_M:
            return float("inf")
        step = np.sqrt((np.diff(xyz[there], axis=0) ** 2).sum(axis=1))
        return float(np.median(step / metres[there][1:]))


def _window(content: bytes, kind: str, count: int) -> NDArray:
    values = np.frombuffer(content, TYPES[kind])
    table = values.reshape(-1, count)
    return table[max(0, (len(table) - WINDOW) // 2) :][:WINDOW]


def read_columns(path: Path, names: Sequence[str], kind: str) -> dict[str, NDArray]:
    """A file of bare numbers as columns.

    Args:
        path: the file.
        names: of its columns, in order.
        kind: their type, of `TYPES`.

    Raises:
        ValueError: an unknown type, too few columns, or the file is no whole number of records of them.
    """
    if kind not in TYPES:
        raise ValueError(f"fields: type is {kind}; use {', '.join(TYPES)}.")
    table = np.frombuffer(records_of(path, len(names) * np.dtype(TYPES[kind]).itemsize), TYPES[kind])
    return dict(zip(names, table.reshape(-1, len(names)).T, strict=True))
