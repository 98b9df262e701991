"""Trees, bushes and hedges: trunks are solid, crowns are separate leaves with gaps that beams pass through.

Lengths are metres; all plants stand on z = 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rangeseg.synthetic.mesh import Mesh, box, cards, cylinder, dress, ellipsoid, join

VEGETATION, TRUNK = 70, 71


def tree(rng: np.random.Generator, leaves: int = 600) -> Mesh:
    """A tree: broad, tall, conical or with several stems.

    Args:
        rng: the only source of randomness.
        leaves: number of leaves of its crown; fewer leaves are larger.
    """
    kind = rng.choice(["broad", "tall", "conical", "stems"], p=[0.45, 0.25, 0.15, 0.15])
    height = rng.uniform(5, 14)
    stem = rng.uniform(0.1, 0.28) * height if kind != "conical" else 0.1 * height
    girth = rng.uniform(0.006, 0.016) * height + 0.03
    many = np.sqrt(600 / leaves)
    stems = [(0.0, 0.0)] if kind != "stems" else list(rng.normal(0, 0.35, (rng.integers(2, 5), 2)))
    shapes = [cylinder((girth, 0.6 * girth), stem + 0.25 * height, (x, y, -0.2), 7) for x, y in stems]
    parts = [dress(shape, TRUNK, "wood", rng.uniform(0.3, 0.5)) for shape in shapes]
    wide = {"broad": 0.36, "tall": 0.2, "conical": 0.2, "stems": 0.33}[str(kind)] * height * rng.uniform(0.8, 1.2)
    if kind == "conical":
        up = rng.uniform(0, 1, leaves) ** 1.4
        turn, out = rng.uniform(0, 2 * np.pi, leaves), np.sqrt(rng.uniform(0.35, 1, leaves)) * wide * (1 - up)
        middles = np.stack([out * np.cos(turn), out * np.sin(turn), stem + up * (height - stem)], 1)
    else:
        middles = _lumps(rng, wide, (height - stem) / 2, (stem + height) / 2, leaves)
    return join([*parts, _leaves(rng, middles, (0.18 * many, (0.2 + 0.035 * height) * many))])


def _lumps(rng: np.random.Generator, wide: float, tall: float, middle: float, count: int) -> NDArray[np.float64]:
    """(count, 3) positions of leaves in the outer parts of several balls within a crown's ellipsoid."""
    balls = int(rng.integers(4, 9))
    centres = _in_ball(rng, balls) * [0.65 * wide, 0.65 * wide, 0.6 * tall] + [0, 0, middle]
    size = rng.uniform(0.35, 0.65, balls)
    which = rng.integers(0, balls, count)
    around = _in_ball(rng, count, hollow=0.5)
    return centres[which] + around * size[which, None] * [wide, wide, tall]


def _in_ball(rng: np.random.Generator, count: int, hollow: float = 0.0) -> NDArray[np.float64]:
    way = rng.normal(size=(count, 3))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    return way * rng.uniform(hollow**3, 1, (count, 1)) ** (1 / 3)


def _leaves(rng: np.random.Generator, middles: NDArray[np.float64], size: tuple[float, float]) -> Mesh:
    return dress(cards(middles, size, rng), VEGETATION, "leaf", rng.uniform(0.33, 0.48))


def bush(rng: np.random.Generator) -> Mesh:
    """A bush: leaves around a dense core."""
    wide, tall = rng.uniform(0.5, 1.8), rng.uniform(0.4, 1.4)
    core = dress(ellipsoid((0.6 * wide, 0.6 * wide, 0.7 * tall), (0, 0, 0.6 * tall)), VEGETATION, "leaf", 0.38)
    middles = _in_ball(rng, 150, hollow=0.6) * [wide, wide, tall] + [0, 0, tall]
    return join([core, _leaves(rng, middles[middles[:, 2] > 0.03], (0.1, 0.32))])


def hedge(rng: np.random.Generator, length: float, height: float, width: float) -> Mesh:
    """A trimmed hedge along x: leaves that stick out of a dense core.

    Args:
        rng: the only source of randomness.
        length: metres.
        height: metres.
        width: metres.
    """
    core = dress(box(length, 0.7 * width, 0.85 * height), VEGETATION, "leaf", 0.38)
    count = int(28 * length * (height + width / 2)) + 8
    middles = rng.uniform(-0.5, 0.5, (count, 3)) * [length, width, height] + [0, 0, height / 2]
    skin = (np.abs(middles[:, 1]) > 0.3 * width) | (middles[:, 2] > 0.75 * height)
    return join([core, _leaves(rng, middles[skin], (0.1, 0.26))])


def thicket(rng: np.random.Generator) -> Mesh:
    """The wild edge of a wood, about 8 m long: high bushes and young trees."""
    tall = rng.uniform(2, 6)
    lumps = [(x, _lumps(rng, 1.6, tall / 2, tall / 2, 110)) for x in rng.uniform(-3.5, 3.5, 5)]
    middles = np.concatenate([leaves + np.array((x, 0, 0)) for x, leaves in lumps])
    stems = [cylinder(0.06, tall, (x, y, -0.2), 5) for x, y in rng.uniform(-1, 1, (5, 2)) * [3.5, 0.8]]
    trunks = [dress(shape, TRUNK, "wood", 0.35) for shape in stems]
    return join([*trunks, _leaves(rng, middles[middles[:, 2] > 0.05], (0.15, 0.5))])
