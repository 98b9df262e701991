"""Affine motion of points, and dropping of points."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True, error_model="numpy")
def move(xyz: NDArray, matrix: NDArray, shift: NDArray, out: NDArray) -> None:
    """Write matrix xyz + shift of every return to `out`; other points stay in place.

    `xyz` and `out` are (3 N,), so that the compiler knows the stride and uses SIMD, which is four times as fast.
    """
    for i in range(len(xyz) // 3):
        x, y, z = xyz[3 * i], xyz[3 * i + 1], xyz[3 * i + 2]
        square = x * x + y * y + z * z
        is_return = (square > 0) & (square < np.inf)  # a shift must not turn points at the origin into returns
        new_x = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] * z + shift[0]
        new_y = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] * z + shift[1]
        new_z = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2] * z + shift[2]
        out[3 * i] = new_x if is_return else x
        out[3 * i + 1] = new_y if is_return else y
        out[3 * i + 2] = new_z if is_return else z


@njit(cache=True, nogil=True)
def drop(seed: np.uint64, dropped: float, xyz: NDArray, kept: NDArray) -> int:
    """Drop points at random, each with probability `dropped`.

    Moves the kept points to the front of `xyz` (3 N,), and writes their indices to the front of `kept` (N,). Returns
    the number of kept points, at least 1.
    """
    border = np.uint64(dropped * 2.0**53)
    state = seed
    count = 0
    for i in range(len(kept)):
        state += np.uint64(0x9E3779B97F4A7C15)  # SplitMix64 (Steele, Lea, Flood 2014): a counter, well mixed
        bits = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits = (bits ^ (bits >> np.uint64(31))) >> np.uint64(11)
        kept[count] = i
        xyz[3 * count], xyz[3 * count + 1], xyz[3 * count + 2] = xyz[3 * i], xyz[3 * i + 1], xyz[3 * i + 2]
        count += 1 if bits >= border else 0
    return max(count, 1)  # if no point is kept: the last one, which is at index 0
