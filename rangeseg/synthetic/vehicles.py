"""Cars of several shapes, vans, trucks, buses, trailers and two-wheelers. All stand on z = 0 and face x.

Lengths are metres. `VEHICLES` is the table of all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rangeseg.synthetic.mesh import Mesh, Shape, box, cylinder, dress, ellipsoid, frustum, join, prism
from rangeseg.synthetic.people import rider

CAR, BICYCLE, BUS, MOTORCYCLE, TRUCK, OTHER_VEHICLE = 10, 11, 13, 15, 18, 20
BICYCLIST, MOTORCYCLIST = 31, 32
MOVING = {10: 252, 13: 257, 18: 258, 20: 259, 30: 254, 31: 253, 32: 255}
"""Raw id of a standing object -> raw id of the same object when it moves."""

Maker = Callable[[np.random.Generator], Mesh]


@dataclass(frozen=True)
class Body:
    """Proportions of a car's body.

    Args:
        length: (shortest, longest).
        width: (narrowest, widest).
        height: (lowest, highest).
        bonnet: share of the length before the windscreen's foot.
        boot: share of the length behind the rear window's foot.
        rake: horizontal extents of the windscreen and of the rear window, as shares of the length.
    """

    length: tuple[float, float]
    width: tuple[float, float]
    height: tuple[float, float]
    bonnet: float
    boot: float
    rake: tuple[float, float]


BODIES: dict[str, Body] = {
    "small": Body((3.4, 3.9), (1.58, 1.7), (1.42, 1.55), 0.20, 0.02, (0.13, 0.05)),
    "hatchback": Body((3.9, 4.4), (1.7, 1.82), (1.42, 1.52), 0.25, 0.02, (0.15, 0.07)),
    "saloon": Body((4.4, 5.0), (1.75, 1.88), (1.4, 1.5), 0.27, 0.15, (0.14, 0.12)),
    "estate": Body((4.4, 4.9), (1.75, 1.88), (1.44, 1.54), 0.27, 0.01, (0.14, 0.05)),
    "people carrier": Body((4.3, 4.9), (1.78, 1.9), (1.62, 1.8), 0.18, 0.01, (0.16, 0.03)),
    "off-roader": Body((4.2, 4.9), (1.8, 1.95), (1.65, 1.88), 0.26, 0.01, (0.10, 0.04)),
    "coupe": Body((4.1, 4.6), (1.74, 1.86), (1.26, 1.36), 0.30, 0.06, (0.16, 0.20)),
    "van": Body((4.7, 5.9), (1.9, 2.05), (1.9, 2.5), 0.13, 0.005, (0.11, 0.005)),
}
"""Shapes of car; SemanticKITTI labels vans as cars."""


def car(rng: np.random.Generator) -> Mesh:
    """A car: body, bonnet, cabin of glass with pillars and a roof, wheels, lamps, number plates.

    Args:
        rng: the only source of randomness.
    """
    names = list(BODIES)
    body = BODIES[names[rng.choice(len(names), p=[0.14, 0.22, 0.14, 0.16, 0.1, 0.1, 0.04, 0.1])]]
    length, width, height = (rng.uniform(*part) for part in (body.length, body.width, body.height))
    front, back, half = length / 2, -length / 2, width / 2
    belt, sill = 0.56 * height + rng.uniform(-0.05, 0.05), rng.uniform(0.2, 0.32)
    if height > 1.9:
        belt = 0.5 * height
    foot, tail = front - body.bonnet * length, back + body.boot * length
    roof = (tail + body.rake[1] * length, foot - body.rake[0] * length)
    in_, up = rng.uniform(0.06, 0.16), height - 0.07
    color = float(rng.choice([0.08, 0.15, 0.25, 0.4, 0.55], p=[0.2, 0.2, 0.25, 0.2, 0.15]))
    hull = [(back + 0.05, sill), (front - 0.08, sill), (front, 0.5), (front - 0.06, 0.62 + 0.1 * belt),
            (foot, belt), (tail, belt), (back, 0.5 * (sill + belt))]  # fmt: skip
    painted = [prism(hull, width), box(roof[1] - roof[0], width - 2 * in_, 0.07, ((roof[0] + roof[1]) / 2, 0, up))]
    windows = frustum(((tail + 0.02, foot - 0.02), (0.03 - half, half - 0.03), belt),
                      ((roof[0], roof[1]), (in_ - half, half - in_), up))  # fmt: skip
    blind = body is BODIES["van"] and rng.random() < 0.7
    parts = [dress(shape_, CAR, "paint", color) for shape_ in painted]
    parts.append(dress(windows, CAR, "paint" if blind else "glass", color if blind else 0.06))
    parts += [dress(pillar, CAR, "paint", color) for pillar in _pillars(belt, up, half, in_, (tail, foot), roof)]
    wheel = min(0.34, 0.2 + 0.07 * height)
    parts += _wheels((back + 0.17 * length, front - 0.19 * length), half - 0.02, wheel, CAR)
    for x, albedo in ((front - 0.01, 0.9), (back + 0.02, 0.8)):
        plate = box(0.03, 0.5, 0.11, (x, 0, 0.48))
        lamps = [box(0.06, 0.28, 0.13, (x - 0.03 * np.sign(x), y, 0.64)) for y in (0.22 - half, half - 0.22)]
        parts += [dress(one, CAR, "reflector", albedo) for one in (plate, *lamps)]
    return join(parts)


def _pillars(
    belt: float, up: float, half: float, in_: float, foot: tuple[float, float], roof: tuple[float, float]
) -> list[Shape]:
    middle = ((foot[0] + foot[1]) / 2, (roof[0] + roof[1]) / 2)
    ends = [*zip(foot, roof, strict=True), middle]
    return [
        frustum(_square(x, y, belt - 0.02), _square(top, inner, up))
        for x, top in ends
        for y, inner in ((0.03 - half, in_ - half), (half - 0.03, half - in_))
    ]  # fmt: skip


def _square(x: float, y: float, z: float) -> tuple[tuple[float, float], tuple[float, float], float]:
    return (x - 0.05, x + 0.05), (y - 0.03, y + 0.03), z


def _wheels(places: tuple[float, ...], half: float, radius: float, raw_id: int) -> list[Mesh]:
    shapes = [cylinder(radius, 0.2, (x, y, radius), 10, "y") for x in places for y in (-half, half - 0.2)]
    return [dress(shape, raw_id, "rubber", 0.08) for shape in shapes]


def truck(rng: np.random.Generator) -> Mesh:
    """A truck: a cab, wheels, and a box, a tarpaulin or a flat bed with sides and a load."""
    length, width, height = rng.uniform(6, 11), rng.uniform(2.2, 2.5), rng.uniform(2.6, 3.6)
    cab, half = rng.uniform(1.7, 2.2), width / 2
    front, color = length / 2, rng.uniform(0.2, 0.6)
    shield = [
        (front - cab, 0.5),
        (front, 0.5),
        (front, 1.4),
        (front - 0.35, min(height - 0.2, 2.6)),
        (front - cab, min(height, 2.7)),
    ]
    parts = [dress(prism(shield, width), TRUCK, "paint", color)]
    parts.append(dress(box(0.04, width - 0.3, 0.7, (front - 0.16, 0, 1.55)), TRUCK, "glass", 0.05))
    load = length - cab - 0.25
    at = (-length / 2 + load / 2, 0.0, 0.95)
    parts.append(dress(box(load, 0.8, 0.3, (at[0], 0, 0.6)), TRUCK, "metal", 0.2))
    kind = rng.integers(3)
    if kind == 0:
        parts.append(dress(box(load, width, height - 0.95, at), TRUCK, "wall", rng.uniform(0.3, 0.6)))
    elif kind == 1:
        roof = ((at[0] - load / 2, at[0] + load / 2), (-half, half), 0.95)
        ridge = (roof[0], (-0.5 * half, 0.5 * half), height)
        parts.append(dress(frustum(roof, ridge), TRUCK, "cloth", rng.uniform(0.3, 0.6)))
    else:
        parts.append(dress(box(load, width, 0.12, at), TRUCK, "wood", 0.3))
        sides = [box(load, 0.06, 0.6, (at[0], y, 1.05)) for y in (-half, half)]
        sides += [
            box(0.06, width, 0.6, (at[0] - load / 2, 0, 1.05)),
            box(load * 0.6, width * 0.7, rng.uniform(0.2, 1.0), at),
        ]
        parts += [dress(shape, TRUCK, "metal", 0.35) for shape in sides]
    wheels = (-length / 2 + 0.9, -length / 2 + 2.0, front - 1.0)
    return join([*parts, *_wheels(wheels, half - 0.03, 0.48, TRUCK)])


def bus(rng: np.random.Generator) -> Mesh:
    """A bus: a long hull with a band of windows."""
    length, width, height, color = rng.uniform(9, 13), 2.5, rng.uniform(2.9, 3.3), rng.uniform(0.3, 0.6)
    parts = [dress(box(length, width, 1.1, (0, 0, 0.35)), BUS, "paint", color)]
    parts.append(dress(box(length - 0.1, width - 0.06, 1.1, (0, 0, 1.45)), BUS, "glass", 0.08))
    posts = [box(0.12, width, 1.1, (x, 0, 1.45)) for x in np.linspace(-length / 2 + 0.1, length / 2 - 0.1, 8)]
    roof = box(length, width, height - 2.55, (0, 0, 2.55))
    parts += [dress(shape, BUS, "paint", color) for shape in (*posts, roof)]
    return join([*parts, *_wheels((-length / 3.2, length / 2.9), width / 2 - 0.02, 0.48, BUS)])


def trailer(rng: np.random.Generator) -> Mesh:
    """A caravan, a box trailer, or a small digger."""
    kind = rng.integers(3)
    if kind == 0:
        length, height = rng.uniform(4, 6), rng.uniform(2.3, 2.6)
        end = length / 2
        side = [
            (-end, 0.5),
            (end, 0.5),
            (end + 0.1, 1.2),
            (end - 0.4, height),
            (-end + 0.3, height),
            (-end - 0.05, 1.3),
        ]
        hull = [dress(prism(side, 2.2), OTHER_VEHICLE, "paint", 0.5)]
        hull += [dress(box(1.0, 2.22, 0.6, (x, 0, 1.3)), OTHER_VEHICLE, "glass", 0.08) for x in (-end / 2, end / 2)]
    elif kind == 1:
        length = rng.uniform(2, 3.2)
        hull = [dress(box(length, 1.5, rng.uniform(0.4, 1.4), (0, 0, 0.55)), OTHER_VEHICLE, "metal", 0.35)]
        hull.append(dress(box(1.2, 0.1, 0.1, (length / 2 + 0.5, 0, 0.5)), OTHER_VEHICLE, "metal", 0.2))
    else:
        length = rng.uniform(3, 4)
        shapes = [box(length, 1.9, 0.8, (0, 0, 0.5)), box(1.2, 1.2, 1.3, (-0.3, 0, 1.3)),
                  box(0.35, 0.35, 1.9, (1.3, 0, 1.0)), box(1.8, 0.3, 0.3, (2.1, 0, 2.6)),
                  box(0.6, 1.2, 0.6, (2.9, 0, 0.9))]  # fmt: skip
        hull = [dress(shape, OTHER_VEHICLE, "paint", 0.45) for shape in shapes]
    return join([*hull, *_wheels((-length / 5, length / 5), 0.85, 0.33, OTHER_VEHICLE)])


def bicycle(rng: np.random.Generator) -> Mesh:
    """A bicycle: two thin wheels, a frame of bars, handlebars, a saddle."""
    return _two_wheeler(rng, BICYCLE)


def motorcycle(rng: np.random.Generator) -> Mesh:
    """A motorcycle or a scooter."""
    return _two_wheeler(rng, MOTORCYCLE)


def bicyclist(rng: np.random.Generator) -> Mesh:
    """A bicycle with its rider; both are labelled bicyclist, as in SemanticKITTI."""
    return join([_relabelled(_two_wheeler(rng, BICYCLE), BICYCLIST), rider(rng, BICYCLIST, seat=0.92)])


def motorcyclist(rng: np.random.Generator) -> Mesh:
    """A motorcycle with its rider; both are labelled motorcyclist."""
    return join([_relabelled(_two_wheeler(rng, MOTORCYCLE), MOTORCYCLIST), rider(rng, MOTORCYCLIST, seat=0.8)])


def _two_wheeler(rng: np.random.Generator, raw_id: int) -> Mesh:
    heavy = raw_id == MOTORCYCLE
    radius, base, thick = (0.3, rng.uniform(1.25, 1.5), 0.14) if heavy else (0.34, rng.uniform(0.95, 1.1), 0.05)
    wheels = [cylinder(radius, thick, (x, -thick / 2, radius), 10, "y") for x in (-base / 2, base / 2)]
    bars = [box(base * 0.55, 0.05, 0.07, (0, 0, 0.75)), box(0.06, 0.05, 0.6, (-0.1 * base, 0, 0.35)),
            box(0.06, 0.06, 0.75, (0.42 * base, 0, 0.32)), box(0.06, 0.6, 0.06, (0.38 * base, 0, 1.02)),
            box(0.26, 0.16, 0.08, (-0.2 * base, 0, 0.9)),
            box(base * 0.5, 0.05, 0.06, (-0.2 * base, 0, 0.35))]  # fmt: skip
    if heavy:
        bars += [box(0.6 * base, 0.32, 0.42, (0, 0, 0.35)), box(0.45, 0.3, 0.2, (0.12, 0, 0.78)),
                 box(0.7, 0.28, 0.12, (-0.38, 0, 0.72)),
                 ellipsoid((0.13, 0.2, 0.16), (0.36 * base, 0, 0.92))]  # fmt: skip
    parts = [dress(shape, raw_id, "rubber", 0.3) for shape in wheels]
    return join([*parts, *(dress(shape, raw_id, "metal", rng.uniform(0.4, 0.8)) for shape in bars)])


def _relabelled(mesh: Mesh, raw_id: int) -> Mesh:
    return Mesh(mesh.vertices, mesh.triangles, np.full_like(mesh.label, raw_id), mesh.material, mesh.albedo)


def on_the_move(mesh: Mesh) -> Mesh:
    """The same object with the raw id of a moving one; an object without such an id keeps its own."""
    label = mesh.label.copy()
    for still, moving in MOVING.items():
        label[(mesh.label & 0xFFFF) == still] = (mesh.label[(mesh.label & 0xFFFF) == still] & 0xFFFF0000) | moving
    return Mesh(mesh.vertices, mesh.triangles, label, mesh.material, mesh.albedo)


VEHICLES: dict[str, Maker] = {
    "car": car, "truck": truck, "bus": bus, "trailer": trailer, "bicycle": bicycle, "motorcycle": motorcycle,
    "bicyclist": bicyclist, "motorcyclist": motorcyclist,
}  # fmt: skip
"""Makers of all vehicles that drive or park, by name."""
