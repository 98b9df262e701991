"""Spreads the labels of clicks along the surfaces that several scans of a drive see together.

The points of the scans are merged into voxels, and each voxel is joined to its nearest voxels. A path along the surface
is longer where the surface bends and where the remission changes. A voxel takes the class of the click with the
shortest path if the shortest path from another class is clearly longer. So a class ends at edges, although no
click lies there.

Shapes: N points of a scan, V voxels, M labelled points, P query points, K neighbours of a voxel.

Source: Falcao, Stolfi, Lotufo, "The image foresting transform", PAMI 2004 (labels by shortest paths, in images).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from rangeseg.kernels.neighbours import nearest, number_voxels, point_map_of
from rangeseg.kernels.surface import edges_of, scatter_of, two_shortest_paths
from rangeseg.parallel import in_order
from rangeseg.types import Scan

VOXEL_M = 0.3
"""Edge of a voxel unless a rule gives another, metres."""

NEIGHBOURS = 10
"""K, the number of nearest voxels to which a voxel is joined."""

JOINED_M = 1.0
"""Voxels farther apart than this are not joined, metres."""

LEAST_M, BEND, CHANGE, MOST_M = 0.05, 0.2, 0.6, 3.0
"""Scales of `edge_length`: least distance in metres, bend, change of remission in standard deviations, most metres.
Chosen on sequences 00 and 04 of SemanticKITTI for voxels of `VOXEL_M`; halving or doubling one changes the accuracy by
at most 0.3 %. For other voxels, see `_scales`."""

CHUNK = 32768
"""Number of voxels that a thread processes at once."""


@dataclass(frozen=True)
class Voxels:
    """Mean points of voxels.

    Args:
        xyz: (V, 3) float32 metres.
        remission: (V,) float32.
        count: (V,) float32 number of points in each voxel.
    """

    xyz: NDArray[np.float32]
    remission: NDArray[np.float32]
    count: NDArray[np.float32]

    @staticmethod
    def of(scan: Scan, returns: NDArray[np.bool_], voxel_m: float = VOXEL_M) -> Voxels:
        """The voxels of a scan in its sensor's frame.

        Args:
            scan: N points.
            returns: (N,) bool, True for returns; other points are left out.
            voxel_m: edge of a voxel, metres.
        """
        xyz, remission = scan.xyz[returns], scan.remission[returns]
        remission = np.where(np.isfinite(remission), remission, np.float32(0))
        return Voxels(xyz, remission, np.ones(len(xyz), np.float32)).joined(voxel_m)

    def joined(self, voxel_m: float) -> Voxels:
        """The voxels, with those merged whose means lie in the same cell of a grid with edge `voxel_m`."""
        index, many = number_voxels(self.xyz, np.float32(voxel_m))
        sums = [np.bincount(index, self.count * column, many) for column in (*self.xyz.T, self.remission)]
        count = np.bincount(index, self.count, many)
        means = (np.array(sums).reshape(4, -1) / count).astype(np.float32)
        return Voxels(np.ascontiguousarray(means[:3].T), means[3], count.astype(np.float32))


@dataclass(frozen=True)
class Surface:
    """For each voxel, the labelled point with the shortest path to it.

    Args:
        search: argument `point_map` of `kernels.neighbours.nearest`, with the voxels as points.
        seed: (V,) int32 index of this labelled point, -1 if there is none.
        length: (V,) length of the path, metres.
        agreement: (V,) length of the shortest path from another class, as a share of the length of both paths; 0.5 if
            they are equal, 0 if there is no labelled point.
        voxel_m: edge of a voxel, metres.
    """

    search: tuple
    seed: NDArray[np.int32]
    length: NDArray[np.float32]
    agreement: NDArray[np.float32]
    voxel_m: float

    def at(self, points: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
        """`seed`, `length` and `agreement` of the nearest voxel of (P, 3) points; seed -1 if no voxel is near."""
        place = _nearest_voxels(self.search, points, 1, 2 * self.voxel_m)[1][:, 0]
        if not len(self.seed):
            return place, np.zeros(len(points), np.float32), np.zeros(len(points), np.float32)
        return np.where(place < 0, -1, self.seed[place]).astype(np.int32), self.length[place], self.agreement[place]


def spread(
    parts: Sequence[Voxels], xyz: NDArray[np.float32], label: NDArray[np.uint8], limit_m: float, share: float,
    workers: int = 2, *, voxel_m: float = VOXEL_M,
) -> Surface:  # fmt: skip
    """Find the labelled point with the shortest path to each voxel.

    Args:
        parts: voxels of scans, all in one frame.
        xyz: (M, 3) labelled points in this frame.
        label: (M,) their classes.
        limit_m: maximum length of a path, metres.
        share: minimum agreement, below 1; paths from other classes are followed as far as is necessary to test it.
        workers: number of threads; the result does not depend on it.
        voxel_m: edge of a voxel, metres, as for `parts`.
    """
    names = ("xyz", "remission", "count")
    whole = Voxels(*(np.concatenate([getattr(one, name) for one in parts]) for name in names)).joined(voxel_m)
    order, search = point_map_of(whole.xyz, JOINED_M)
    places = search[0]
    chunks = [slice(first, first + CHUNK) for first in range(0, len(places), CHUNK)]
    found = list(in_order(partial(_around, search), chunks, workers=workers))
    empty = (np.empty((0, NEIGHBOURS + 1), np.int32), np.empty((0, 3)))
    neighbours, normals = (np.concatenate(columns) for columns in zip(empty, *found, strict=True))
    remission = whole.remission[order].astype(np.float64)
    scales = _scales(voxel_m, max(float(np.std(remission)) if len(remission) else 1.0, 1e-6))
    voxels = np.concatenate([places, normals, remission[:, None]], axis=1)
    distance, at = _nearest_voxels(search, xyz, 1, 2 * voxel_m)
    known = np.flatnonzero(at[:, 0] >= 0)
    seeds = (at[known, 0].astype(np.int64), label[known], distance[known, 0].astype(np.float64))
    farthest = max(limit_m, (limit_m + voxel_m) * share / (1 - share))
    seed, length, other = two_shortest_paths(voxels, *edges_of(neighbours), seeds, scales, farthest)
    other = np.minimum(other, farthest)
    with np.errstate(invalid="ignore"):
        agreement = np.where(seed < 0, 0, (other + voxel_m) / (length + other + 2 * voxel_m))
    index = np.where(seed < 0, -1, known[seed] if len(known) else -1).astype(np.int32)
    return Surface(search, index, length.astype(np.float32), agreement.astype(np.float32), voxel_m)


def _scales(voxel_m: float, deviation: float) -> tuple[float, float, float, float]:
    """The scales of `edge_length` for voxels of another edge.

    A path through smaller voxels has more edges. Most of the bends and changes along it are noise, which does not get
    smaller with the voxels, and their squares add up. So these scales grow with the root of the number of edges.

    Args:
        voxel_m: edge of a voxel, metres.
        deviation: standard deviation of the remission.
    """
    ratio = voxel_m / VOXEL_M
    return LEAST_M * ratio, BEND / ratio**0.5, CHANGE / ratio**0.5 * deviation, MOST_M


def _nearest_voxels(
    search: tuple, points: NDArray[np.float32], count: int, within_m: float
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """The nearest voxels of P points: (P, count) distances in metres, and (P, count) indices, -1 if there are fewer.

    Args:
        search: see `Surface`.
        points: (P, 3).
        count: number of voxels per point.
        within_m: maximum distance, metres.
    """
    found = np.empty((len(points), count), np.float32), np.empty((len(points), count), np.int32)
    nearest(points, np.full(len(points), within_m, np.float32), search, np.ones(1, np.bool_), found)
    return found


def _around(search: tuple, chunk: slice) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The nearest voxels of P voxels, (P, K + 1), and the normals there, (P, 3).

    The index is -1 for the voxel itself, and if there are fewer neighbours.
    """
    places = search[0]
    index = _nearest_voxels(search, places[chunk], NEIGHBOURS + 1, JOINED_M)[1]
    normals = np.linalg.eigh(scatter_of(places, index))[1][..., 0]
    return np.where(index == np.arange(chunk.start, chunk.start + len(index))[:, None], -1, index), normals
