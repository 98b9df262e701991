"""The ground of a street, laid out straight and then bent: s along it, t across it (left is positive), both in metres.

The ground is a grid of cells, each of one class. Neighbouring cells do not share corners, so that kerbs are steps;
upright strips close the gaps. Shapes: S and T cells along and across.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rangeseg.synthetic.mesh import Mesh, dress, join

ROAD, PARKING, SIDEWALK, OTHER_GROUND, MARKING, TERRAIN = 40, 44, 48, 49, 60, 72
HEIGHTS = {ROAD: 0.0, MARKING: 0.004, PARKING: 0.02, SIDEWALK: 0.12, OTHER_GROUND: 0.08, TERRAIN: 0.12}
"""Height of each class above the road, metres."""

SURFACES = {
    ROAD: ("asphalt", 0.33), MARKING: ("paving", 0.5), PARKING: ("asphalt", 0.38), SIDEWALK: ("paving", 0.37),
    OTHER_GROUND: ("paving", 0.33), TERRAIN: ("soil", 0.42),
}  # fmt: skip
"""Material and albedo of each class."""

CRACK_M = 1e-4
"""If corners of neighbouring cells differ in height by more than this, metres, an upright strip joins the cells."""


@dataclass(frozen=True)
class Path:
    """The street's middle line, and the slope of the land beside it.

    Args:
        s: (P,) metres along it, evenly spaced from 0.
        xyz: (P, 3) metres.
        heading: (P,) radians.
        bank: (left, right) slope of the land beyond the edge, metres per metre.
        edge: distance from the middle at which the land begins to slope, metres.
    """

    s: NDArray[np.float64]
    xyz: NDArray[np.float64]
    heading: NDArray[np.float64]
    bank: tuple[float, float]
    edge: float

    def heading_at(self, s: ArrayLike) -> NDArray[np.float64]:
        """Direction of the street, radians, at `s` metres along it."""
        return np.interp(np.asarray(s, np.float64), self.s, self.heading)

    def at(self, s: ArrayLike, t: ArrayLike, up: ArrayLike = 0.0) -> NDArray[np.float64]:
        """(..., 3) positions in the world of places given by metres along, across and above the street."""
        s, t, up = np.broadcast_arrays(s, t, up)
        heading = self.heading_at(s)
        x, y, z = (np.interp(s, self.s, self.xyz[:, axis]) for axis in range(3))
        beyond = np.clip(np.abs(t) - self.edge, 0, 25)
        slope = np.where(t > 0, self.bank[0], self.bank[1])
        return np.stack([x - t * np.sin(heading), y + t * np.cos(heading), z + up + slope * beyond], -1)


def winding_path(rng: np.random.Generator, length: float, bend: float, slope: float, edge: float, bank: float) -> Path:
    """A street that bends and rises smoothly.

    Args:
        rng: the only source of randomness.
        length: metres.
        bend: largest curvature, 1 / metres.
        slope: largest rise, metres per metre.
        edge: see `Path`.
        bank: largest slope of the land beside it, metres per metre.
    """
    s = np.arange(0.0, length + 1.0, 1.0)
    waves = [(rng.uniform(-1, 1), rng.uniform(0, 2 * np.pi), rng.uniform(90, 240)) for _ in range(4)]
    wave = [a * np.sin(2 * np.pi * s / period + phase) for a, phase, period in waves]
    curvature = bend * np.clip((wave[0] + wave[1]) + rng.uniform(-0.5, 0.5), -1, 1)
    rise = slope * np.clip(wave[2] + wave[3], -1, 1)
    heading = np.cumsum(curvature)
    steps = np.stack([np.cos(heading), np.sin(heading), rise], 1)
    xyz = np.concatenate([np.zeros((1, 3)), np.cumsum(steps[:-1], 0)])
    return Path(s, xyz, heading, (rng.uniform(-0.3, 1) * bank, rng.uniform(-0.3, 1) * bank), edge)


def lay_ground(path: Path, s: ArrayLike, t: ArrayLike, classes: NDArray[np.integer], rng: np.random.Generator) -> Mesh:
    """Build the ground as triangles.

    Args:
        path: the line that the ground follows.
        s: (S + 1,) borders of the cells, metres along.
        t: (T + 1,) borders, metres across.
        classes: (S, T) raw ids of `SURFACES`.
        rng: source of the random bumps and albedos.
    """
    corners = _corners(np.asarray(s, np.float64), np.asarray(t, np.float64), classes, rng)
    height = np.vectorize(HEIGHTS.get)(classes)
    quads = [corners[:, :, [0, 1, 1, 0], [0, 0, 1, 1]].reshape(-1, 4, 3)]
    labels = [classes.ravel()]
    neighbours = (
        (corners[:-1, :, 1], corners[1:, :, 0], slice(None, -1), slice(1, None)),
        (corners[:, :-1, :, 1], corners[:, 1:, :, 0], np.s_[:, :-1], np.s_[:, 1:]),
    )
    for one, two, first, second in neighbours:  # (..., 2, 3) the ends of the border that two cells share
        open_ = (np.abs(one - two)[..., 2] > CRACK_M).any(-1)
        quads.append(np.concatenate([one[open_], two[open_][:, ::-1]], axis=1))
        higher = np.where(height[first] > height[second], classes[first], classes[second])
        labels.append(higher[open_])
    flat = np.concatenate(quads)
    return _coloured(path.at(flat[..., 0], flat[..., 1], flat[..., 2]), np.concatenate(labels), rng)


def _corners(
    s: NDArray[np.float64], t: NDArray[np.float64], classes: NDArray[np.integer], rng: np.random.Generator
) -> NDArray[np.float64]:
    """(S, T, 2, 2, 3): along, across and height of each cell's four corners."""
    bumps = rng.normal(0, 1, (len(s), len(t)))
    height = np.vectorize(HEIGHTS.get)(classes).astype(np.float64)
    rough = np.where(classes == TERRAIN, 0.06, 0.006)
    corners = np.empty((*classes.shape, 2, 2, 3))
    for i in (0, 1):
        for j in (0, 1):
            rows, columns = slice(i, len(s) - 1 + i), slice(j, len(t) - 1 + j)
            corners[:, :, i, j, 0] = s[rows, None]
            corners[:, :, i, j, 1] = t[columns]
            corners[:, :, i, j, 2] = height + rough * bumps[rows, columns]
    return corners


def _coloured(quads: NDArray[np.float64], labels: NDArray[np.integer], rng: np.random.Generator) -> Mesh:
    """(Q, 4, 3) corners and (Q,) raw ids -> a mesh, each class with its material and an albedo drawn for the street."""
    parts = []
    for raw_id, (material, albedo) in SURFACES.items():
        mine = quads[labels == raw_id]
        if not len(mine):
            continue
        first = 4 * np.arange(len(mine), dtype=np.int32)[:, None]
        triangles = np.concatenate([first + np.array([[0, 1, 2]]), first + np.array([[0, 2, 3]])]).astype(np.int32)
        shape = (mine.reshape(-1, 3).astype(np.float32), triangles)
        mesh = dress(shape, raw_id, material, albedo * rng.uniform(0.85, 1.15))
        mesh.albedo[:] *= np.tile(rng.uniform(0.93, 1.07, len(mine)), 2)
        parts.append(mesh)
    return join(parts)
