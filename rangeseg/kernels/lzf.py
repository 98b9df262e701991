"""LZF, the compression of binary_compressed PCD files."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def expand_into(source: NDArray[np.uint8], out: NDArray[np.uint8]) -> int:
    """Expand `source` into `out`; return the number of written bytes, or -1 if `source` is damaged or `out` full."""
    at = 0
    to = 0
    while at < len(source):
        control = int(source[at])
        at += 1
        if control < 32:
            count = control + 1
            if at + count > len(source) or to + count > len(out):
                return -1
            for _ in range(count):
                out[to] = source[at]
                to += 1
                at += 1
            continue
        count = control >> 5
        if count == 7:
            if at >= len(source):
                return -1
            count += int(source[at])
            at += 1
        count += 2
        if at >= len(source):
            return -1
        back = to - ((control & 31) << 8) - int(source[at]) - 1
        at += 1
        if back < 0 or to + count > len(out):
            return -1
        for _ in range(count):  # byte by byte, because the repeated bytes may overlap the written ones
            out[to] = out[back]
            to += 1
            back += 1
    return to
