"""Tables written as text, for the ascii forms of PCD and PLY. Shapes: N points, C columns."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NO_NUMBER = re.compile(rb"[-+]?(?:1\.#(?:IND|QNAN|SNAN)\w*|nan\([^) ]*\))", re.IGNORECASE)
"""Spellings of nan in Microsoft's C library."""


def columns_of_text(lines: Sequence[bytes], rows: int, types: Sequence[np.dtype]) -> list[NDArray]:
    """Read numbers separated by blanks, one row per line.

    Args:
        lines: lines of the file. Blank lines are ignored; ``-1.#IND``, ``1.#QNAN`` and ``nan(ind)`` are nan. A nan in a
            column of integers becomes 0, because writers put it into every column of a point without a return.
        rows: expected number of rows, N.
        types: types of the C columns.

    Returns:
        C columns of (N,).

    Raises:
        ValueError: wrong number of rows or columns, or a value is not a number of its column's type.
    """
    lines = [line for line in lines if line.strip()]
    if len(lines) != rows:
        raise ValueError(f"{len(lines)} lines of data, but the header declares {rows}")
    if rows == 0:
        return [np.empty(0, dtype) for dtype in types]
    words = [NO_NUMBER.sub(b"nan", line).decode("latin1") for line in lines]
    table = np.loadtxt(words, np.float64, comments=None, ndmin=2)
    if table.shape != (rows, len(types)):
        raise ValueError(f"rows of {table.shape[1]} numbers, but the header declares {len(types)}")
    return [_as_type(table[:, k], dtype) for k, dtype in enumerate(types)]


def _as_type(values: NDArray[np.float64], dtype: np.dtype) -> NDArray:
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return values.astype(dtype)
    limits, values = np.iinfo(dtype), np.where(np.isnan(values), 0, values)
    if not ((values >= limits.min) & (values <= limits.max) & (values == np.trunc(values))).all():
        raise ValueError(f"numbers that are not {dtype}")
    return values.astype(dtype)
