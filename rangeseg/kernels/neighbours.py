"""Nearest points, found by a hash of voxels, and the votes of neighbours. The loops release the GIL.

Shapes: M points of the map, N query points, K neighbours, S scans, 2^B buckets.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

OFFSET = 1 << 20
"""Voxels have indices from -OFFSET to OFFSET - 1 along each axis. Voxels beyond share keys with others; `nearest` is
then slower, but still exact."""

ROUNDING = 1e-6
"""A number of votes may fall short of the minimum share by this rounding error of the share."""


@njit(cache=True, nogil=True)
def _voxel(x: float, y: float, z: float, edge: float) -> tuple[int, int, int]:
    return math.floor(x / edge), math.floor(y / edge), math.floor(z / edge)


@njit(cache=True, nogil=True)
def _key(i: int, j: int, k: int) -> int:
    mask = 2 * OFFSET - 1
    return (((i + OFFSET) & mask) << 42) | (((j + OFFSET) & mask) << 21) | ((k + OFFSET) & mask)


@njit(cache=True, nogil=True)
def _bucket(key: int, shift: int) -> int:
    return int((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(shift))


@njit(cache=True, nogil=True)
def sort_into_voxels(xyz: NDArray, edge: float, bits: int) -> tuple[NDArray, NDArray, NDArray]:
    """Sort points by the bucket of their voxel.

    Args:
        xyz: (M, 3) float32, finite.
        edge: edge of a voxel, metres.
        bits: B.

    Returns:
        (M,) int32 order of the points; (M,) int64 keys of their voxels in this order; (2^B + 1,) int32 start of each
        bucket in this order.
    """
    shift, count = 64 - bits, len(xyz)
    keys, order = np.empty(count, np.int64), np.empty(count, np.int32)
    start = np.zeros((1 << bits) + 1, np.int32)
    for m in range(count):
        i, j, k = _voxel(xyz[m, 0], xyz[m, 1], xyz[m, 2], edge)
        keys[m] = _key(i, j, k)
        start[_bucket(keys[m], shift) + 1] += 1
    for bucket in range(1 << bits):
        start[bucket + 1] += start[bucket]
    place = start[:-1].copy()
    for m in range(count):
        bucket = _bucket(keys[m], shift)
        order[place[bucket]] = m
        place[bucket] += 1
    return order, keys[order], start


def point_map_of(xyz: NDArray, edge: float, source: NDArray | None = None) -> tuple[NDArray, tuple]:
    """Prepare points for the search of `nearest`.

    Args:
        xyz: (M, 3) float32, finite.
        edge: edge of a voxel, metres.
        source: (M,) int32 source of each point; None: all have the source 0.

    Returns:
        (M,) int32 order of the points in the map, and the argument `point_map` of `nearest`.
    """
    bits = int(np.clip(np.ceil(np.log2(max(1, len(xyz)))), 8, 22))
    order, keys, start = sort_into_voxels(xyz, edge, bits)
    source = np.zeros(len(xyz), np.int32) if source is None else source[order]
    return order, (xyz[order], source, keys, start, edge, bits)


@njit(cache=True, nogil=True)
def number_voxels(xyz: NDArray, edge: float) -> tuple[NDArray, int]:
    """Number the voxels that contain points, in the order of their first points.

    Args:
        xyz: (M, 3) float32, finite, within `OFFSET` voxels of the origin.
        edge: edge of a voxel, metres.

    Returns:
        (M,) int64 number of the voxel of each point, and the number of voxels.
    """
    bits = 8
    while (1 << bits) < 2 * len(xyz):
        bits += 1
    table, keys = np.full(1 << bits, -1, np.int64), np.empty(len(xyz), np.int64)
    number, count = np.empty(len(xyz), np.int64), 0
    for m in range(len(xyz)):
        i, j, k = _voxel(xyz[m, 0], xyz[m, 1], xyz[m, 2], edge)
        key = _key(i, j, k)
        slot = np.int64(_bucket(key, 64 - bits))
        while table[slot] >= 0 and keys[table[slot]] != key:
            slot = (slot + 1) & ((1 << bits) - 1)
        if table[slot] < 0:
            table[slot], keys[count] = count, key
            count += 1
        number[m] = table[slot]
    return number, count


@njit(cache=True, nogil=True, error_model="numpy")
def nearest(points: NDArray, limit: NDArray, point_map: tuple, allowed: NDArray, out: tuple[NDArray, NDArray]) -> None:
    """The K nearest points of the map within each point's limit, nearest first.

    Args:
        points: (N, 3) float32; points that are not finite get no neighbours.
        limit: (N,) float32 metres; only points nearer than this are neighbours.
        point_map: from `point_map_of`: (M, 3) xyz and (M,) source, both in the order of `sort_into_voxels`; its keys
            and starts; edge; bits.
        allowed: (S,) bool, True for sources whose points count.
        out: (N, K) float32 distances, metres, and (N, K) int32 indices into the map's points. If there are fewer than K
            neighbours, the other indices are -1 and their distances have no meaning.
    """
    edge, wanted = point_map[4], out[0].shape[1]
    distance, index = out
    for n in range(len(points)):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        best, found = distance[n], index[n]
        best[:] = limit[n] * limit[n]
        found[:] = -1
        if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(z)):
            continue
        i, j, k = _voxel(x, y, z, edge)
        dx, dy, dz = x - i * edge, y - j * edge, z - k * edge
        inner = min(min(dx, edge - dx), min(min(dy, edge - dy), min(dz, edge - dz)))
        if n:  # consecutive points are usually near each other: the last one's neighbours shorten the search
            _start_with(points[n], index[n - 1], point_map, best, found)
        worst, ring = best[wanted - 1], 0
        while ring == 0 or (inner + (ring - 1) * edge) ** 2 < worst:
            for a in range(-ring, ring + 1):
                gap_x = _gap(dx, a, edge)
                if gap_x >= worst:
                    continue
                for b in range(-ring, ring + 1):
                    gap_xy = gap_x + _gap(dy, b, edge)
                    if gap_xy >= worst:
                        continue
                    step = 1 if abs(a) == ring or abs(b) == ring else max(1, 2 * ring)
                    for c in range(-ring, ring + 1, step):
                        if gap_xy + _gap(dz, c, edge) >= worst:
                            continue
                        key = _key(i + a, j + b, k + c)
                        worst = _look_into(points[n], key, point_map, allowed, best, found)
            ring += 1
        for place in range(wanted):
            best[place] = math.sqrt(best[place])


@njit(cache=True, nogil=True, error_model="numpy")
def _look_into(point: NDArray, key: int, point_map: tuple, allowed: NDArray, best: NDArray, found: NDArray) -> float:
    """Add the points of a voxel to the list of the nearest points; return the largest square of a distance in it."""
    xyz, source, keys, start, _, bits = point_map
    bucket, last = _bucket(key, 64 - bits), len(best) - 1
    for m in range(start[bucket], start[bucket + 1]):
        if keys[m] == key and allowed[source[m]]:
            u, v, w = xyz[m, 0] - point[0], xyz[m, 1] - point[1], xyz[m, 2] - point[2]
            square = u * u + v * v + w * w
            if square < best[last]:
                _insert(best, found, square, m)
    return best[last]


@njit(cache=True, nogil=True, error_model="numpy")
def _start_with(point: NDArray, known: NDArray, point_map: tuple, best: NDArray, found: NDArray) -> None:
    xyz, last = point_map[0], len(best) - 1
    for m in known:
        if m >= 0:
            u, v, w = xyz[m, 0] - point[0], xyz[m, 1] - point[1], xyz[m, 2] - point[2]
            square = u * u + v * v + w * w
            if square < best[last]:
                _insert(best, found, square, m)


@njit(cache=True, nogil=True)
def _gap(inside: float, cells: int, edge: float) -> float:
    """Square of the distance along one axis to a voxel that is some cells away."""
    if cells == 0:
        return 0.0
    gap = cells * edge - inside if cells > 0 else inside - (cells + 1) * edge
    return gap * gap


@njit(cache=True, nogil=True)
def _insert(best: NDArray, found: NDArray, square: float, m: int) -> None:
    """Insert a point into the sorted list of the nearest points, unless it is already in the list."""
    last = len(best) - 1
    for place in range(len(best)):
        if found[place] == m:
            return
    while last > 0 and best[last - 1] > square:
        best[last], found[last] = best[last - 1], found[last - 1]
        last -= 1
    best[last], found[last] = square, m


@njit(cache=True, nogil=True)
def vote(
    index: NDArray, distance: NDArray, point_map: tuple[NDArray, NDArray], through: NDArray, rule: tuple, out: tuple
) -> None:
    """Elect the class of each point by the votes of its neighbours.

    Args:
        index: (N, K) indices into the map's points, nearest first, -1 if there is none.
        distance: (N, K) metres.
        point_map: (M,) uint8 class and (M,) source of the map's points.
        through: (N, K) bool, True for neighbours that do not vote.
        rule: minimum number of votes; minimum share of the most frequent class; only classes below this number are
            elected.
        out: (N,) uint8 elected class, 255 if there is none; (N,) float32 distance of the nearest voter of this class,
            metres, nan if there is none; (N,) uint8 number of votes; (N,) float32 share of the most frequent class;
            (N,) int32 source of the nearest voter of the elected class, -1 if there is none.
    """
    classes, source = point_map
    least, share, known = rule
    label, metres, neighbours, agreement, origin = out
    votes = np.zeros(256, np.int64)
    for n in range(len(index)):
        count, most = 0, -1
        for place in range(index.shape[1]):
            m = index[n, place]
            if m < 0 or through[n, place]:
                continue
            count += 1
            votes[classes[m]] += 1
            if most < 0 or votes[classes[m]] > votes[most]:
                most = classes[m]
        label[n], metres[n], neighbours[n], agreement[n], origin[n] = 255, np.nan, count, 0, -1
        if count:
            top = votes[most]
            agreement[n] = top / count
            for place in range(index.shape[1]):
                m = index[n, place]
                if m >= 0:
                    votes[classes[m]] = 0
            if count >= least and top >= share * count - ROUNDING and most < known:
                label[n] = most
                for place in range(index.shape[1]):
                    m = index[n, place]
                    if m >= 0 and classes[m] == most and not through[n, place]:
                        metres[n], origin[n] = distance[n, place], source[m]
                        break
