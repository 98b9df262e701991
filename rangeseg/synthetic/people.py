"""Pedestrians and riders, made of ellipsoids, cylinders and boxes. They stand on z = 0 and face x.

Lengths are metres.
"""

from __future__ import annotations

import numpy as np

from rangeseg.synthetic.mesh import Mesh, box, cylinder, dress, ellipsoid, join

PERSON = 30


def person(rng: np.random.Generator) -> Mesh:
    """A person who walks or stands, sometimes with a bag, a pushchair or a child."""
    parts = _figure(rng, rng.uniform(1.5, 1.95), stride=rng.uniform(0, 0.32))
    extra = rng.random()
    if extra < 0.25:
        parts.append(_dressed(box(0.2, 0.14, 0.35, (-0.05, 0.38, 0.5)), rng))
    elif extra < 0.32:
        parts += [
            _dressed(box(0.7, 0.45, 0.45, (0.75, 0, 0.4)), rng),
            _dressed(box(0.5, 0.4, 0.06, (0.4, 0, 0.95)), rng),
        ]
    elif extra < 0.42:
        child = join(_figure(rng, rng.uniform(0.9, 1.3), stride=0.1))
        parts.append(child.placed((rng.uniform(-0.2, 0.2), -0.55, 0)))
    return join(parts)


def rider(rng: np.random.Generator, raw_id: int, seat: float) -> Mesh:
    """The body of a person on two wheels, leaning forward.

    Args:
        rng: the only source of randomness.
        raw_id: raw id of a bicyclist or motorcyclist.
        seat: height of the saddle, metres.
    """
    albedo = rng.uniform(0.25, 0.6)
    shapes = [
        ellipsoid((0.17, 0.23, 0.36), (0.02, 0, seat + 0.33)),
        ellipsoid((0.12, 0.11, 0.15), (0.18, 0, seat + 0.8)),
        *(box(0.5, 0.09, 0.1, (0.28, y, seat + 0.35)) for y in (-0.24, 0.24)),
        *(cylinder((0.07, 0.1), seat - 0.25, (0.1, y, 0.25), 6) for y in (-0.15, 0.15)),
        *(box(0.4, 0.16, 0.16, (0.08, y, seat - 0.1)) for y in (-0.13, 0.13)),
    ]
    return join(dress(shape, raw_id, "cloth", albedo) for shape in shapes)


def _figure(rng: np.random.Generator, height: float, stride: float) -> list[Mesh]:
    wide, hip = rng.uniform(0.19, 0.26) * height / 1.75, 0.48 * height
    legs = [cylinder((0.06, 0.09), hip, (x, y, 0), 6) for x, y in ((stride / 2, 0.1), (-stride / 2, -0.1))]
    arms = [
        cylinder((0.04, 0.055), 0.36 * height, (x, y, 0.46 * height), 6)
        for x, y in ((-stride / 3, wide), (stride / 3, -wide))
    ]
    trunk = [
        ellipsoid((0.14, wide, 0.2 * height), (0, 0, 0.65 * height)),
        box(0.2, 1.5 * wide, 0.2 * height, (0, 0, hip - 0.02)),
    ]
    head = ellipsoid((0.1, 0.09, 0.07 * height), (0.01, 0, 0.925 * height))
    legs_albedo, coat = rng.uniform(0.25, 0.6), rng.uniform(0.3, 0.75)
    parts = [dress(shape, PERSON, "cloth", legs_albedo) for shape in legs]
    parts += [dress(shape, PERSON, "cloth", coat) for shape in (*arms, *trunk)]
    return [*parts, dress(head, PERSON, "cloth", 0.4)]


def _dressed(shape: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> Mesh:
    return dress(shape, PERSON, "cloth", rng.uniform(0.2, 0.6))
