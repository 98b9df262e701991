"""Objects along a street: poles, lamps, signs, traffic lights, bins, cabinets, benches, fences and walls.

Lengths are metres. All objects stand on z = 0; long objects extend along x.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rangeseg.synthetic.mesh import Mesh, box, cylinder, dress, ellipsoid, join

STRUCTURE, FENCE, POLE, SIGN, OTHER_OBJECT = 52, 51, 80, 81, 99

Maker = Callable[[np.random.Generator], Mesh]


def lamp(rng: np.random.Generator) -> Mesh:
    """A street lamp, possibly with an arm over the street (along y), or a bare pole for wires."""
    height, girth = rng.uniform(4, 9), rng.uniform(0.06, 0.13)
    shapes = [cylinder((girth, 0.6 * girth), height, (0, 0, -0.1), 8)]
    kind = rng.random()
    if kind < 0.5:
        arm = rng.uniform(0.6, 2.2)
        shapes += [cylinder(0.05, arm, (0, 0, height - 0.15), 6, "y"), box(0.25, 0.6, 0.14, (0, arm, height - 0.2))]
    elif kind < 0.8:
        shapes.append(ellipsoid((0.22, 0.22, 0.2), (0, 0, height)))
    return join(dress(shape, POLE, "metal", rng.uniform(0.25, 0.55)) for shape in shapes)


def sign(rng: np.random.Generator) -> Mesh:
    """A traffic sign on its pole, facing -x: round, square, triangular or a large board."""
    height, girth = rng.uniform(2.0, 3.2), rng.uniform(0.03, 0.05)
    parts = [dress(cylinder(girth, height, (0, 0, -0.1), 6), POLE, "metal", 0.4)]
    kind, top = rng.choice(4, p=[0.33, 0.33, 0.26, 0.08]), height - 0.35
    if kind == 0:
        boards = [cylinder(rng.uniform(0.28, 0.42), 0.03, (-0.07, 0, top), 10, "x")]
    elif kind == 1:
        side = rng.uniform(0.4, 0.8)
        boards = [box(0.03, side, side, (-0.07, 0, top - side / 2))]
    elif kind == 2:
        boards = [cylinder(0.45, 0.03, (-0.07, 0, top), 3, "x"), box(0.03, 0.5, 0.25, (-0.07, 0, top - 0.8))]
    else:
        wide = rng.uniform(1.2, 3.0)
        parts.append(dress(cylinder(0.05, height, (0, 0.4 * wide, -0.1), 6), POLE, "metal", 0.4))
        boards = [box(0.05, wide, rng.uniform(0.6, 1.6), (-0.09, 0.2 * wide, height - 0.7))]
    return join([*parts, *(dress(shape, SIGN, "reflector", rng.choice([0.3, 0.55, 0.95])) for shape in boards)])


def traffic_light(rng: np.random.Generator) -> Mesh:
    """A traffic light on its pole; the light is labelled other-object, as in SemanticKITTI."""
    height = rng.uniform(2.8, 3.4)
    head = box(0.3, 0.3, 0.9, (-0.2, 0, height - 0.9))
    return join(
        [dress(cylinder(0.06, height, (0, 0, -0.1), 7), POLE, "metal", 0.35), dress(head, OTHER_OBJECT, "metal", 0.2)]
    )


def rubbish_bin(rng: np.random.Generator) -> Mesh:
    """One to three wheeled bins, or a large container."""
    if rng.random() < 0.3:
        hull = box(rng.uniform(1.1, 1.8), rng.uniform(0.9, 1.1), rng.uniform(1.1, 1.5))
        return dress(hull, OTHER_OBJECT, "metal", rng.uniform(0.2, 0.5))
    shapes = [box(0.6, 0.55, rng.uniform(0.9, 1.15), (0.7 * place, 0, 0)) for place in range(int(rng.integers(1, 4)))]
    return join(dress(shape, OTHER_OBJECT, "metal", rng.uniform(0.15, 0.5)) for shape in shapes)


def cabinet(rng: np.random.Generator) -> Mesh:
    """A power or telephone cabinet, a letter box or a bollard."""
    if rng.random() < 0.35:
        return dress(cylinder(0.09, rng.uniform(0.7, 1.1), (0, 0, -0.05), 8), OTHER_OBJECT, "metal", 0.5)
    size = rng.uniform((0.4, 0.25, 0.8), (1.3, 0.45, 1.5))
    return dress(box(*size), OTHER_OBJECT, "metal", rng.uniform(0.3, 0.55))


def bench(rng: np.random.Generator) -> Mesh:
    """A bench or a table."""
    long = rng.uniform(1.3, 2.0)
    shapes = [box(long, 0.45, 0.06, (0, 0, 0.43)), box(long, 0.05, 0.4, (0, 0.22, 0.5))]
    shapes += [box(0.08, 0.4, 0.43, (x, 0, 0)) for x in (-0.4 * long, 0.4 * long)]
    return join(dress(shape, OTHER_OBJECT, "wood", rng.uniform(0.3, 0.5)) for shape in shapes)


def advertising(rng: np.random.Generator) -> Mesh:
    """An advertising column, or the glass shelter of a bus stop."""
    if rng.random() < 0.5:
        return dress(cylinder(rng.uniform(0.5, 0.7), rng.uniform(2.6, 3.4), sides=12), OTHER_OBJECT, "wall", 0.4)
    panes = [box(3.6, 0.04, 2.1, (0, 0.7, 0.2)), box(0.04, 1.3, 2.1, (1.8, 0.05, 0.2))]
    frame = [box(4.0, 1.7, 0.12, (0, 0, 2.4)), *(box(0.1, 0.1, 2.4, (x, 0.7, 0)) for x in (-1.8, 0, 1.8))]
    return join(
        [
            *(dress(pane, STRUCTURE, "glass", 0.1) for pane in panes),
            *(dress(bar, STRUCTURE, "metal", 0.4) for bar in frame),
        ]
    )


def fence(rng: np.random.Generator, length: float) -> Mesh:
    """A fence along x: boards, pickets, rails, or a wire mesh that most beams pass through."""
    kind, height, albedo = rng.integers(4), rng.uniform(0.8, 1.9), rng.uniform(0.3, 0.5)
    posts = [box(0.1, 0.1, height, (x, 0, -0.05)) for x in np.arange(-length / 2 + 0.1, length / 2, 2.4)]
    if kind == 0:
        shapes = [box(length, 0.04, height - 0.05, (0, 0, 0.05))]
    elif kind == 1:
        shapes = [box(0.1, 0.03, 0.9 * height, (x, 0, 0.05)) for x in np.arange(-length / 2, length / 2, 0.17)]
    elif kind == 2:
        shapes = [box(length, 0.05, 0.12, (0, 0, z)) for z in np.linspace(0.3, height - 0.15, 3)]
    else:
        wires = np.arange(-length / 2, length / 2, 0.11)
        shapes = [box(0.025, 0.025, height, (x, 0, 0)) for x in wires]
        shapes += [box(length, 0.02, 0.03, (0, 0, z)) for z in (0.1, 0.5 * height, height - 0.03)]
    return join(dress(shape, FENCE, "wood", albedo) for shape in (*posts, *shapes))


def garden_wall(rng: np.random.Generator, length: float) -> Mesh:
    """A wall along x with piers, which SemanticKITTI labels as a fence; a low wall has a fence on top."""
    height, thick = rng.uniform(0.4, 2.0), rng.uniform(0.2, 0.35)
    shapes = [box(length, thick, height, (0, 0, -0.1))]
    shapes += [box(0.4, 0.42, height + 0.2, (x, 0, -0.1)) for x in (-length / 2 + 0.2, length / 2 - 0.2)]
    wall = join(dress(shape, FENCE, "wall", rng.uniform(0.32, 0.48)) for shape in shapes)
    return join([wall, fence(rng, length).placed((0, 0, height - 0.1), scale=(1, 1, 0.5))]) if height < 0.7 else wall


def guard_rail(rng: np.random.Generator, length: float) -> Mesh:
    """A guard rail along x."""
    posts = [box(0.1, 0.12, 0.7, (x, 0, -0.05)) for x in np.arange(-length / 2, length / 2, 2.0)]
    rails = [box(length, 0.06, 0.3, (0, 0.08, 0.45))]
    return join(dress(shape, FENCE, "metal", rng.uniform(0.35, 0.5)) for shape in (*posts, *rails))


FURNITURE: dict[str, Maker] = {
    "lamp": lamp, "sign": sign, "traffic_light": traffic_light, "rubbish_bin": rubbish_bin, "cabinet": cabinet,
    "bench": bench, "advertising": advertising,
}  # fmt: skip
"""Makers of the objects that stand at one place, by name."""

BARRIERS: dict[str, Callable[[np.random.Generator, float], Mesh]] = {
    "fence": fence, "garden_wall": garden_wall, "guard_rail": guard_rail,
}  # fmt: skip
"""Makers of the objects along a plot's edge, by name; the second argument is the length, metres."""
