"""Compiled loops of the projections. They are serial and release the GIL; whole scans run in parallel.

Shapes: N points, H rows, W columns, C channels, K beams, F cells of inclination, much finer than the beams.

Points are processed in blocks, with one array per coordinate, so that the angles are computed with SIMD in float32. The
error of a float32 angle is less than `GUARD_RAD`. Only points nearer than that to a pixel border are computed again
with the float64 formula, so every point gets the pixel of the float64 formula.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

BLOCK = 1024
GUARD_RAD = 1.5e-6  # errors: float32 angles up to 3e-7 (measured), image coordinates up to 1.1e-6
EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)

# The minimax odd polynomial of atan on [0, 1]: error 4e-8 rad, 1.3e-7 rad when evaluated in float32.
A0, A1, A2, A3, A4, A5, A6, A7 = (
    np.float32(c)
    for c in (
        0.9999993443489075,
        -0.33329859375953674,
        0.19946566224098206,
        -0.1390862911939621,
        0.09642195701599121,
        -0.05591230094432831,
        0.0218629390001297,
        -0.00405456218868494,
    )
)
HALF_PI = np.float32(0.5 * math.pi)
PI = np.float32(math.pi)
TURN = np.float32(2.0 * math.pi)
HALF = np.float32(0.5)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _quarter_angle(opposite: np.float32, adjacent: np.float32) -> np.float32:
    """atan2 of two non-negative numbers that are not both zero, float32."""
    low = min(opposite, adjacent)
    high = max(opposite, adjacent)
    t = low / high
    s = t * t
    angle = t * (A0 + s * (A1 + s * (A2 + s * (A3 + s * (A4 + s * (A5 + s * (A6 + s * A7)))))))
    return HALF_PI - angle if opposite > adjacent else angle


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _pixels_float32(
    points: tuple[NDArray, NDArray, NDArray],
    shape: tuple[int, int],
    fov: tuple[float, float],
    sides: tuple[float, float],
    row_guard: float,
    out: tuple[NDArray, ...],
) -> None:
    """Write range (exact), row and column of one block; `unsure` is True if row or column may be wrong."""
    height, width = shape
    x, y, z = points
    fov_up, fov_down = fov
    range_, row, col, unsure = out
    full = sides[1] >= 2.0 * math.pi
    centre = np.float32(sides[0])
    rows_per_rad = np.float32(height / (fov_up - fov_down))
    cols_per_rad = np.float32(width / sides[1])
    middle = np.float32(0.5 * width)
    horizon = np.float32(height * (1.0 + fov_down / (fov_up - fov_down)))
    row_sure = np.float32(0.5 - row_guard * height / (fov_up - fov_down))
    col_sure = np.float32(0.5 - (1.0 if full else 2.0) * GUARD_RAD * width / sides[1])
    opposite = np.float32(4.0 if full else math.pi - 2.0 * GUARD_RAD)  # behind the image, the nearer side is uncertain
    last_row = np.float32(height - 0.5)
    last_col = np.float32(width - 0.5)
    for i in range(len(range_)):
        flat2 = np.float64(x[i]) * np.float64(x[i]) + np.float64(y[i]) * np.float64(y[i])
        metres = np.float32(math.sqrt(flat2 + np.float64(z[i]) * np.float64(z[i])))
        flat = np.float32(math.sqrt(np.float32(flat2)))
        inclination = math.copysign(_quarter_angle(abs(z[i]), flat), z[i])
        azimuth = _quarter_angle(abs(y[i]), abs(x[i]))
        azimuth = math.copysign(PI - azimuth if x[i] < 0 else azimuth, y[i]) - centre
        azimuth = azimuth - math.copysign(TURN, azimuth) if abs(azimuth) > PI else azimuth
        # In the outer half of an edge pixel and outside the image, errors do not change the pixel: clamp to its middle.
        v = min(max(horizon - inclination * rows_per_rad, HALF), last_row)
        u = min(max(middle - azimuth * cols_per_rad, HALF), last_col)
        row[i] = np.int32(v)
        col[i] = np.int32(u)
        range_[i] = metres
        from_row = abs(v - np.float32(row[i]) - HALF)
        from_col = abs(u - np.float32(col[i]) - HALF)
        sure = (flat2 > 1e-12) & (metres < 1e6) & (from_row < row_sure) & (from_col < col_sure)
        unsure[i] = not (sure & (abs(azimuth) < opposite))


@njit(cache=True, nogil=True, error_model="numpy")
def _column_float64(point: tuple[np.float32, np.float32, np.float32], width: int, sides: tuple[float, float]) -> int:
    """Column of one return, by the float64 formula."""
    azimuth = math.atan2(np.float64(point[1]), np.float64(point[0]))
    if sides[1] >= 2.0 * math.pi:
        u = math.floor(0.5 * (1.0 - azimuth / math.pi) * width)
    else:
        azimuth -= sides[0]
        if azimuth > math.pi:
            azimuth -= 2.0 * math.pi
        elif azimuth <= -math.pi:
            azimuth += 2.0 * math.pi
        u = math.floor((0.5 - azimuth / sides[1]) * width)
    return min(max(u, 0), width - 1)


@njit(cache=True, nogil=True, error_model="numpy")
def _row_float64(
    point: tuple[np.float32, np.float32, np.float32], height: int, fov: tuple[float, float], beams: NDArray
) -> int:
    """Row of one return, by the float64 formula: the nearest beam, or the row of even rows if `beams` is empty."""
    x, y, z = np.float64(point[0]), np.float64(point[1]), np.float64(point[2])
    inclination = math.asin(z / math.sqrt(x * x + y * y + z * z))
    if len(beams) == 0:
        v = math.floor((1.0 - (inclination - fov[1]) / (fov[0] - fov[1])) * height)
        return min(max(v, 0), height - 1)
    nearest = 0
    for k in range(1, len(beams)):
        if abs(inclination - beams[k]) < abs(inclination - beams[nearest]):
            nearest = k
    return nearest


@njit(cache=True, nogil=True, error_model="numpy")
def project_points(
    xyz: NDArray[np.float32],
    shape: tuple[int, int],
    fov: tuple[float, float],
    sides: tuple[float, float],
    rows: tuple[NDArray[np.int32], NDArray[np.int16], NDArray[np.float64]],
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32], NDArray[np.int32]]:
    """Each point's pixel and range, and each pixel's nearest point.

    Args:
        xyz: (N, 3) float32, metres.
        shape: H, W.
        fov: inclinations of the image's upper and lower edge, radians; with beams, of the upper and lower edge of the
            range of the cells.
        sides: azimuth of the image's middle and width of the image, radians; (0, 2 pi) is the full turn.
        rows: (N,) row of each point, or (0,) to compute it from the inclination; (F,) beam of each cell, -1 if a border
            between two beams is in the cell or nearer to it than `GUARD_RAD`; (K,) inclinations of the beams, radians.
            The last two are (0,) for even rows.

    Returns:
        row, col (N,) int32, -1 for no returns; range (N,) float32 metres, 0 for no returns;
        point_index (H, W) int32, -1 for empty pixels.
    """
    given, beam_of_cell, beams = rows
    points = len(xyz)
    row = np.empty(points, np.int32)
    col = np.empty(points, np.int32)
    range_ = np.empty(points, np.float32)
    unsure = np.empty(BLOCK, np.bool_)
    x, y, z = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    fine = (1 if len(given) else len(beam_of_cell) if len(beams) else shape[0], shape[1])
    row_guard = 0.0 if len(given) or len(beams) else GUARD_RAD
    nearest = np.full(shape[0] * shape[1] + 1, EMPTY)
    for start in range(0, points, BLOCK):
        size = min(BLOCK, points - start)
        stop = start + size
        for i in range(size):
            x[i], y[i], z[i] = xyz[start + i, 0], xyz[start + i, 1], xyz[start + i, 2]
        block = (range_[start:stop], row[start:stop], col[start:stop], unsure[:size])
        _pixels_float32((x[:size], y[:size], z[:size]), fine, fov, sides, row_guard, block)
        if len(given):
            row[start:stop] = given[start:stop]
        elif len(beams):
            for j in range(start, stop):
                cell = row[j]  # any number, if the point is not finite
                row[j] = beam_of_cell[cell] if 0 <= cell < fine[0] else -1
                unsure[j - start] |= row[j] < 0
        for i in range(size):
            if unsure[i]:
                j = start + i
                if 0.0 < range_[j] < np.inf:
                    point = (x[i], y[i], z[i])
                    row[j] = given[j] if len(given) else _row_float64(point, shape[0], fov, beams)
                    col[j] = _column_float64(point, shape[1], sides)
                else:
                    row[j], col[j], range_[j] = -1, -1, 0.0
        claim_pixels(row, col, range_, (start, stop), shape[1], nearest)
    return row, col, range_, shown_points(nearest, shape)


@njit(cache=True, nogil=True)
def claim_pixels(
    row: NDArray, col: NDArray, range_: NDArray, block: tuple[int, int], width: int, nearest: NDArray[np.uint64]
) -> None:
    """Enter a block's points into `nearest` (H W + 1,), the smallest key of each pixel; no returns: the last entry.

    Non-negative floats sort like their bits, so the smallest key is that of the nearest point, on ties of the lowest
    index.
    """
    bits = range_.view(np.uint32)
    for j in range(block[0], block[1]):
        pixel = row[j] * width + col[j] if row[j] >= 0 else len(nearest) - 1
        key = (np.uint64(bits[j]) << np.uint64(32)) | np.uint64(j)
        nearest[pixel] = min(nearest[pixel], key)


@njit(cache=True, nogil=True)
def shown_points(nearest: NDArray[np.uint64], shape: tuple[int, int]) -> NDArray[np.int32]:
    """(H, W) int32 index of the point with each pixel's smallest key, -1 if there is none."""
    point_index = np.empty(shape, np.int32)
    for v in range(shape[0]):
        for u in range(shape[1]):
            point_index[v, u] = np.int32(nearest[v * shape[1] + u])  # the lower 32 bits of EMPTY are -1
    return point_index


@njit(cache=True, nogil=True)
def gather_pixels(point_index: NDArray, per_point: NDArray, out: NDArray) -> None:
    """out[v, u] = per_point[point_index[v, u]] for pixels with a point; the rest of `out` does not change."""
    for v in range(point_index.shape[0]):
        for u in range(point_index.shape[1]):
            if point_index[v, u] >= 0:
                out[v, u] = per_point[point_index[v, u]]


@njit(cache=True, nogil=True)
def spread_pixels(row: NDArray, col: NDArray, pixels: NDArray, out: NDArray) -> None:
    """out[m, i] = pixels[m, row[i], col[i]] for returns; the rest of `out` does not change."""
    for m in range(pixels.shape[0]):
        for i in range(len(row)):
            if row[i] >= 0:
                out[m, i] = pixels[m, row[i], col[i]]


@njit(cache=True, nogil=True)
def _gather_row(index: NDArray, sources: tuple[NDArray, NDArray, NDArray], row: NDArray) -> None:
    """Write (5, W) range, x, y, z, remission of one row's points, each read once; empty pixels get those of point 0."""
    range_, xyz, remission = sources
    for u in range(len(index)):
        i = np.uint64(max(index[u], 0))  # unsigned: no test for indices from the end
        row[0, u] = range_[i]
        row[1, u] = xyz[i, 0]
        row[2, u] = xyz[i, 1]
        row[3, u] = xyz[i, 2]
        row[4, u] = remission[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _channel(index: NDArray, source: NDArray, mean: np.float32, std: np.float32, out: NDArray) -> None:
    """Write one channel of one row: normalised, 0 for empty pixels."""
    for u in range(len(index)):
        value = (source[u] - mean) / std
        out[u] = value if index[u] >= 0 else np.float32(0)


@njit(cache=True, nogil=True, error_model="numpy")
def fill_view(
    point_index: NDArray[np.int32],
    sources: tuple[NDArray, NDArray, NDArray, NDArray],
    channels: tuple[NDArray, NDArray, NDArray],
    out: tuple[NDArray, NDArray, NDArray],
    ignore: int,
) -> None:
    """Fill the normalised image, with 0 in empty pixels, the valid mask and the labels, in one pass over the rows.

    Args:
        point_index: (H, W) int32, -1 for empty pixels.
        sources: range (N,), xyz (N, 3), remission (N,) float32, label (N,) or (0,) for none.
        channels: kind (0: range, 1 to 3: x, y, z, 4: remission), mean and std of each channel, (C,) each.
        out: image (C, H, W) float32, valid (H, W) bool, label (H, W) int64.
        ignore: the label of empty pixels.
    """
    range_, xyz, remission, point_label = sources
    kind, mean, std = channels
    image, valid, label = out
    row = np.empty((5, point_index.shape[1]), np.float32)
    for v in range(point_index.shape[0]):
        index = point_index[v]
        _gather_row(index, (range_, xyz, remission), row)
        for c in range(len(kind)):
            _channel(index, row[kind[c]], mean[c], std[c], image[c, v])
        for u in range(len(index)):
            valid[v, u] = index[u] >= 0
        if len(point_label) == 0:
            label[v] = ignore
            continue
        for u in range(len(index)):
            label[v, u] = point_label[max(index[u], 0)] if index[u] >= 0 else ignore
