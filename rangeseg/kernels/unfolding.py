"""Pixels from the order of the points, and points in the frame of their sensor, as compiled loops.

Shapes: N points, H rows, W columns.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rangeseg.kernels.projection import EMPTY, claim_pixels, shown_points

SLOPE_JUMP = 0.002
"""Minimum difference of the tangents of the inclinations of two beams, about a tenth of a degree."""
SEAM_WIDTH = 0.006
"""The turns of one scan begin within this angle, radians."""


@njit(cache=True, nogil=True, error_model="numpy")
def place_points(
    xyz: NDArray[np.float32], shape: tuple[int, int], columns: int, by_column: bool, order: tuple[NDArray, NDArray]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32], NDArray[np.int32]]:
    """Like `project_points`, for a scan whose order of points gives the pixels.

    Args:
        xyz: (H * columns, 3) float32, metres.
        shape: H, W.
        columns: number of columns of the scan; they are spread over the W columns of the image.
        by_column: the scan lists its points column after column; False: row after row.
        order: for each row of the scan, (H,) int64 row of the image, and (H,) int64 number of columns by which it is
            rolled to the right.

    Returns:
        See `project_points`.
    """
    rows, shift = order
    points = len(xyz)
    row = np.empty(points, np.int32)
    col = np.empty(points, np.int32)
    range_ = np.empty(points, np.float32)
    for j in range(points):
        x, y, z = np.float64(xyz[j, 0]), np.float64(xyz[j, 1]), np.float64(xyz[j, 2])
        metres = np.float32(math.sqrt(x * x + y * y + z * z))
        range_[j] = metres if 0.0 < metres < np.inf else np.float32(0)
    column_of = np.array([c * shape[1] // columns for c in range(columns)], np.int32)
    alone = columns <= shape[1]  # no two points share a pixel
    point_index = np.full(shape, -1, np.int32)
    inner = shape[0] if by_column else columns
    for outer in range(points // inner):
        for k in range(inner):
            j = outer * inner + k
            line, c = (k, outer) if by_column else (outer, k)
            c += shift[line]
            v, u = (rows[line], column_of[c if c < columns else c - columns]) if range_[j] > 0.0 else (-1, -1)
            row[j], col[j] = v, u
            if alone and v >= 0:
                point_index[v, u] = j
    if not alone:
        nearest = np.full(shape[0] * shape[1] + 1, EMPTY)
        claim_pixels(row, col, range_, (0, points), shape[1], nearest)
        point_index = shown_points(nearest, shape)
    return row, col, range_, point_index


@njit(cache=True, nogil=True, error_model="numpy")
def unfold_rows(xyz: NDArray[np.float32], seam: tuple[float, float], sense: float) -> tuple[NDArray[np.int32], int]:
    """Count turns: a new row begins when a point in the first fifth of the turn follows a point in the last fifth.

    Args:
        xyz: (N, 3) float32, metres, in firing order.
        seam: cosine and sine of the azimuth where a turn begins.
        sense: 1.0 if the azimuth increases in the firing order, -1.0 if it decreases.

    Returns:
        (N,) int32 rows from 0, also for no returns; and the number of rows.
    """
    cos2 = 0.09549150281252627  # squared cosine of a fifth of a turn
    row = np.empty(len(xyz), np.int32)
    current = 0
    was_last = False
    for i in range(len(xyz)):
        x, y, z = np.float64(xyz[i, 0]), np.float64(xyz[i, 1]), np.float64(xyz[i, 2])
        flat2 = x * x + y * y
        if 0.0 < flat2 + z * z < np.inf:
            along = x * seam[0] + y * seam[1]
            across = sense * (y * seam[0] - x * seam[1])
            near_seam = (along > 0.0) & (along * along > cos2 * flat2)
            current += int(was_last and near_seam and across >= 0.0)
            was_last = bool(near_seam and across < 0.0)
        row[i] = current
    return row, current + 1


@njit(cache=True, nogil=True, error_model="numpy")
def find_seam(xyz: NDArray[np.float32], start: float, gap: float, sense: float) -> float:
    """The azimuth where turns begin: there, the inclination jumps most often from one point to the next.

    Args:
        xyz: (N, 3) float32, metres, in firing order.
        start: azimuth of the scan's last return, radians.
        gap: angle from there to the scan's first return, in the sense of rotation, radians; the seam lies between them.
        sense: sense of rotation, see `unfold_rows`.

    Returns:
        Azimuth of the seam, radians.
    """
    jumps = np.empty(len(xyz), np.float64)
    found = 0
    # The searched sector is a little wider than the gap. A cosine tests most points, so they need no angle.
    middle, half = start + sense * gap / 2, min(gap / 2 + 0.01, math.pi)
    along_x, along_y, least = math.cos(middle), math.sin(middle), math.cos(half)
    least_along = least if least > 0.0 else -np.inf  # the larger of |x| and |y| is at most the distance
    before, slope, was_in = 0.0, 0.0, False
    for i in range(len(xyz)):
        x, y, z = np.float64(xyz[i, 0]), np.float64(xyz[i, 1]), np.float64(xyz[i, 2])
        along = x * along_x + y * along_y
        if along < least_along * max(abs(x), abs(y)):
            was_in = False
            continue
        flat = math.sqrt(x * x + y * y)
        if not 0.0 < flat < np.inf:
            continue
        is_in = bool(along > least * flat)
        if is_in:
            place = math.atan2(y * along_x - x * along_y, x * along_x + y * along_y)  # relative to the middle
            if was_in and abs(z / flat - slope) > SLOPE_JUMP:
                jumps[found] = (before + place) / 2
                found += 1
            before, slope = place, z / flat
        was_in = is_in
    sorted_jumps = np.sort(jumps[:found])
    best, most, low = 0.0, 0, 0
    for high in range(found):
        while sorted_jumps[high] - sorted_jumps[low] > SEAM_WIDTH:
            low += 1
        if high - low + 1 > most:
            best, most = sorted_jumps[(low + high) // 2], high - low + 1
    return middle + best


@njit(cache=True, nogil=True, error_model="numpy")
def level_points(
    xyz: NDArray[np.float32], origin: NDArray[np.float32], turn: NDArray[np.float64], out: NDArray
) -> None:
    """Write turn (xyz - origin) of every return to `out`; points at the origin stay there.

    `xyz` and `out` are (3 N,), so that the compiler knows the stride.

    Args:
        xyz: metres.
        origin: (3,) metres.
        turn: (3, 3).
        out: float32.
    """
    t = turn.astype(np.float32)
    for i in range(len(xyz) // 3):
        x, y, z = xyz[3 * i], xyz[3 * i + 1], xyz[3 * i + 2]
        is_return = (x != 0) | (y != 0) | (z != 0)
        a, b, c = x - origin[0], y - origin[1], z - origin[2]
        out[3 * i] = t[0, 0] * a + t[0, 1] * b + t[0, 2] * c if is_return else x
        out[3 * i + 1] = t[1, 0] * a + t[1, 1] * b + t[1, 2] * c if is_return else y
        out[3 * i + 2] = t[2, 0] * a + t[2, 1] * b + t[2, 2] * c if is_return else z
