"""Shortest paths along surfaces from labelled points to all others. The loops release the GIL.

Shapes: V voxels, K neighbours of a voxel, E edges, S starting points.
"""

from __future__ import annotations

import heapq
import math

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def edges_of(neighbours: NDArray) -> tuple[NDArray, NDArray]:
    """The edges between voxels: from each voxel to its neighbours, and back.

    Args:
        neighbours: (V, K) int32, -1 if there are fewer.

    Returns:
        (V + 1,) int64 start of the edges of each voxel; (E,) int64 voxels at their other ends. Each edge appears
        once in either direction.
    """
    count = len(neighbours)
    start = np.zeros(count + 1, np.int64)
    for turn in range(2):
        if turn == 1:
            for node in range(count):
                start[node + 1] += start[node]
            ends, place = np.empty(start[count], np.int64), start[:-1].copy()
        for node in range(count):
            for other in neighbours[node]:
                if other < 0 or other == node:
                    continue
                mutual = False
                for back in neighbours[other]:
                    mutual = mutual or back == node
                if turn == 0:
                    start[node + 1] += 1
                    start[other + 1] += 0 if mutual else 1
                else:
                    ends[place[node]] = other
                    place[node] += 1
                    if not mutual:
                        ends[place[other]] = node
                        place[other] += 1
    return start, ends


@njit(cache=True, nogil=True)
def scatter_of(places: NDArray, neighbours: NDArray) -> NDArray:
    """(P, 3, 3) scatter matrix of the neighbours of P voxels: sums of the products of their offsets from their mean.

    Args:
        places: (V, 3) float32 metres.
        neighbours: (P, K) int32 indices of voxels, -1 if there are fewer.
    """
    scatter = np.zeros((len(neighbours), 3, 3))
    for n in range(len(neighbours)):
        mean, count = np.zeros(3), 0
        for m in neighbours[n]:
            if m >= 0:
                count += 1
                for axis in range(3):
                    mean[axis] += places[m, axis]
        for m in neighbours[n]:
            if m >= 0:
                for a in range(3):
                    for b in range(3):
                        scatter[n, a, b] += (places[m, a] - mean[a] / count) * (places[m, b] - mean[b] / count)
    return scatter


@njit(cache=True, nogil=True)
def edge_length(first: NDArray, second: NDArray, scales: tuple[float, float, float, float]) -> float:
    """Distance between two voxels in metres, plus metres for a bend and a change of remission.

        max(|p - q|, least)  +  min(most, ((1 - |n_p . n_q|) / bend)^2  +  ((r_p - r_q) / change)^2)

    Args:
        first: (7,) position p, unit normal n_p, remission r_p.
        second: the same of q.
        scales: least, metres; bend; change, in the unit of the remission; most, metres.
    """
    least, bend, change, most = scales
    square, dot = 0.0, 0.0
    for axis in range(3):
        square += (first[axis] - second[axis]) ** 2
        dot += first[3 + axis] * second[3 + axis]
    extra = ((1 - abs(dot)) / bend) ** 2 + ((first[6] - second[6]) / change) ** 2
    return max(math.sqrt(square), least) + min(most, extra)


@njit(cache=True, nogil=True)
def two_shortest_paths(
    voxels: NDArray, start: NDArray, ends: NDArray, seeds: tuple[NDArray, NDArray, NDArray], scales: tuple, limit: float
) -> tuple[NDArray, NDArray, NDArray]:
    """The shortest path to each voxel, and the shortest path from another class: Dijkstra's algorithm.

    Args:
        voxels: (V, 7), see `edge_length`.
        start: (V + 1,), from `edges_of`.
        ends: (E,), from `edges_of`.
        seeds: voxel, class, and length of the way to the voxel in metres of each starting point, (S,) each.
        scales: see `edge_length`.
        limit: paths longer than this are not followed, metres.

    Returns:
        (V,) int32 starting point of the shortest path, -1 if there is none; (V,) float64 its length; (V,) float64
        length of the shortest path from another class. Both are inf beyond the limit.
    """
    node_of, class_of, way = seeds
    count = len(voxels)
    seed, other_seed = np.full(count, -1, np.int32), np.full(count, -1, np.int32)
    length, other_length = np.full(count, np.inf), np.full(count, np.inf)
    heap = [(float(way[s]), int(node_of[s]), s) for s in range(len(node_of))]
    for s in range(len(node_of)):
        _offer(node_of[s], s, way[s], class_of, (seed, other_seed), (length, other_length))
    heapq.heapify(heap)
    while len(heap):
        cost, node, s = heapq.heappop(heap)
        first = s == seed[node] and cost == length[node]
        if not first and not (s == other_seed[node] and cost == other_length[node]):
            continue
        for place in range(start[node], start[node + 1]):
            end = ends[place]
            farther = cost + edge_length(voxels[node], voxels[end], scales)
            if farther <= limit and _offer(end, s, farther, class_of, (seed, other_seed), (length, other_length)):
                heapq.heappush(heap, (farther, int(end), s))
    return seed, length, other_length


@njit(cache=True, nogil=True)
def _offer(node: int, s: int, cost: float, class_of: NDArray, seeds: tuple, lengths: tuple) -> bool:
    """Keep a path to a voxel if it is the shortest, or the shortest from another class; return whether it is kept."""
    seed, other_seed = seeds
    length, other_length = lengths
    same = seed[node] >= 0 and class_of[seed[node]] == class_of[s]
    if cost < length[node]:
        if not same:
            other_seed[node], other_length[node] = seed[node], length[node]
        seed[node], length[node] = s, cost
        return True
    if not same and cost < other_length[node]:
        other_seed[node], other_length[node] = s, cost
        return True
    return False
