"""Selection between two arrays at memory speed: bit operations without branches."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def select(mask: NDArray[np.int8], yes: NDArray, no: NDArray, out: NDArray) -> None:
    """Write `yes` where the mask is 1 and `no` where it is 0: (B, H, W) int8 mask, (B, F, H, W) integers."""
    views, fields, height, _ = out.shape
    for i in range(views):
        for f in range(fields):
            for y in range(height):
                _select_row(mask[i, y], yes[i, f, y], no[i, f, y], out[i, f, y])


@njit(cache=True, nogil=True)
def _select_row(mask: NDArray[np.int8], yes: NDArray, no: NDArray, out: NDArray) -> None:
    for x in range(len(out)):
        bits = -mask[x]  # all ones or all zeros: no branch, and several pixels at a time
        out[x] = (yes[x] & bits) | (no[x] & ~bits)
