"""Static objects beside and on a street: buildings, barriers, plants, furniture, parked vehicles, standing people.

Every object is placed at (s, t): metres along the street and left of its middle.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rangeseg.synthetic.buildings import building, garage
from rangeseg.synthetic.furniture import BARRIERS, FURNITURE, lamp
from rangeseg.synthetic.ground import Path
from rangeseg.synthetic.kinds import StreetKind
from rangeseg.synthetic.layout import Layout, Plot, Side
from rangeseg.synthetic.mesh import Mesh
from rangeseg.synthetic.people import person
from rangeseg.synthetic.plants import bush, hedge, thicket, tree
from rangeseg.synthetic.vehicles import VEHICLES, car

PIECE_M = 5.0
"""Long objects follow the street in pieces of about this length."""

LIBRARY = 10
"""Number of different trees, of bushes and of thickets in a street; each copy is turned and stretched at random."""

PARKED = {"car": 0.86, "truck": 0.02, "trailer": 0.03, "bus": 0.01, "motorcycle": 0.02}
BESIDE = {"bicycle": 0.6, "motorcycle": 0.4}


class Placer:
    """Places objects along one street.

    Args:
        layout: the street's plan.
        path: the street's middle line.
        rng: the only source of randomness.
    """

    def __init__(self, layout: Layout, path: Path, rng: np.random.Generator) -> None:
        self.layout, self.path, self.rng = layout, path, rng
        self._instance = 0
        self._library = {make.__name__: [make(rng) for _ in range(LIBRARY)] for make in (tree, bush, thicket)}
        self._library["far tree"] = [tree(rng, leaves=220) for _ in range(LIBRARY)]

    def put(self, mesh: Mesh, s: float, t: float, turn: float = 0.0, up: float = 0.1, instance: bool = False) -> Mesh:
        """The mesh, moved to its place and turned by `turn` radians from the street's direction."""
        self._instance += instance
        heading = float(self.path.heading_at(s)) + turn
        return mesh.placed(self.path.at(s, t, up), heading, instance=self._instance if instance else 0)

    def plant(self, name: str, s: float, t: float, size: float = 1.0, turn: float | None = None) -> Mesh:
        """A stretched copy of one of the library's trees, bushes or thickets."""
        rng = self.rng
        mesh = self._library[name][rng.integers(LIBRARY)]
        scale = size * rng.uniform(0.8, 1.2, 3)
        heading = rng.uniform(0, 2 * np.pi) if turn is None else turn
        return mesh.placed(self.path.at(s, t, 0.05), heading, scale)

    def run(self, kind: str, start: float, stop: float, t: float) -> Iterator[Mesh]:
        """A hedge or a barrier along the street from start to stop, in similar pieces."""
        rng = self.rng
        count = max(1, round((stop - start) / PIECE_M))
        length = (stop - start) / count
        if kind == "hedge":
            height, width = rng.uniform(0.9, 2.8), rng.uniform(0.6, 1.4)
            pieces = [hedge(rng, length, height * rng.uniform(0.85, 1.15), width) for _ in range(count)]
        else:
            pieces = [BARRIERS[kind](rng, length)] * count
        for place, piece in enumerate(pieces):
            yield self.put(piece, start + (place + 0.5) * length, t, 0 if t < 0 else np.pi, up=0.05)


def furnish(kind: StreetKind, layout: Layout, path: Path, rng: np.random.Generator) -> list[Mesh]:
    """Make all static objects of a street, except its ground.

    Args:
        kind: how many objects of each type there are.
        layout: the street's plan.
        path: the street's middle line.
        rng: the only source of randomness.
    """
    placer = Placer(layout, path, rng)
    meshes: list[Mesh] = []
    for side in layout.sides:
        for plot in side.plots:
            meshes += _plot(placer, kind, side, plot)
        meshes += _street_trees(placer, kind, side)
        meshes += _furniture(placer, kind, side)
        meshes += _parked(placer, kind, side)
        meshes += _background(placer, side)
    meshes += _side_streets(placer)
    return meshes


def _plot(placer: Placer, kind: StreetKind, side: Side, plot: Plot) -> Iterator[Mesh]:
    rng, sign = placer.rng, side.sign
    facing = 0.0 if sign > 0 else np.pi
    front = side.walk + rng.uniform(*kind.setback)
    wide = plot.stop - plot.start
    if plot.built:
        gap = rng.uniform(0.0, 0.25) * wide if kind.setback[1] > 3 else 0.0
        width, depth = wide - gap - (3.4 if plot.driveway else 0.0), rng.uniform(8, 13)
        floors = int(rng.integers(kind.floors[0], kind.floors[1] + 1))
        house = building(rng, max(width, 4.0), depth, floors, pitched=bool(rng.random() < kind.pitched))
        middle = plot.middle
        if plot.driveway:
            middle += 1.7 * (1 if sum(plot.driveway) / 2 < plot.middle else -1)
        yield placer.put(house, middle, sign * (front + depth / 2), facing, up=0.15)
        if plot.driveway and rng.random() < 0.6:
            s = sum(plot.driveway) / 2
            yield placer.put(garage(rng), s, sign * (front + rng.uniform(5, 9)), facing, up=0.1)
        if plot.driveway and rng.random() < 0.55:
            s, t = sum(plot.driveway) / 2, sign * (side.walk + rng.uniform(2.8, 3.6))
            yield placer.put(car(rng), s, t, np.pi / 2 * rng.choice([-1, 1]), up=0.03, instance=True)
    elif rng.random() < kind.wild:
        for s in np.arange(plot.start + 4, plot.stop - 2, 6.5):
            for t in (front + 1, front + rng.uniform(5, 9)):
                yield placer.plant("thicket", s, sign * t, turn=float(placer.path.heading_at(s)) + rng.normal(0, 0.15))
    yield from _front(placer, kind, side, plot)
    yield from _garden(placer, kind, side, plot, front)


def _front(placer: Placer, kind: StreetKind, side: Side, plot: Plot) -> Iterator[Mesh]:
    rng = placer.rng
    names = list(kind.front)
    name = names[rng.choice(len(names), p=list(kind.front.values()))]
    if name == "none":
        return
    t = side.sign * (side.walk + (0.6 if name != "guard_rail" else -0.2))
    if name == "bushes":
        places = np.arange(plot.start + 1, plot.stop - 0.5, rng.uniform(1.2, 2.5))
        yield from (placer.plant("bush", s, t + side.sign) for s in places if not _on_driveway(side, s))
        return
    cuts = [plot.start + 0.2, *(plot.driveway or ()), plot.stop - 0.2]
    for start, stop in zip(cuts[::2], cuts[1::2], strict=True):
        if stop - start > 1.5:
            yield from placer.run(name, start, stop, t)
    if rng.random() < 0.5:  # between neighbours, away from the street
        deep = rng.uniform(4, 10)
        piece = hedge(rng, deep, rng.uniform(1, 2.2), 0.8) if rng.random() < 0.5 else BARRIERS["fence"](rng, deep)
        yield placer.put(piece, plot.stop - 0.4, side.sign * (side.walk + 0.9 + deep / 2), np.pi / 2, up=0.05)


def _garden(placer: Placer, kind: StreetKind, side: Side, plot: Plot, front: float) -> Iterator[Mesh]:
    rng = placer.rng
    for _ in range(int(rng.integers(int(kind.garden[0]), int(kind.garden[1]) + 1))):
        s = rng.uniform(plot.start + 0.5, plot.stop - 0.5)
        if plot.driveway and plot.driveway[0] - 1.0 < s < plot.driveway[1] + 1.0:
            continue
        before = front - side.walk
        where = side.walk + (
            rng.uniform(1.0, before) if before > 2 and rng.random() < 0.7 else before + rng.uniform(11, 18)
        )
        if not plot.built:
            where = side.walk + rng.uniform(1, 14)
        name = "tree" if rng.random() < 0.35 else "bush"
        small = plot.built and where < front and name == "tree"
        yield placer.plant(name, s, side.sign * where, size=0.7 if small else 1.0)


def _street_trees(placer: Placer, kind: StreetKind, side: Side) -> Iterator[Mesh]:
    rng = placer.rng
    if rng.random() < 0.35 or kind.trees == 0:
        return
    room = side.verge - side.lane
    t = side.sign * (
        side.lane + room / 2 if room > 0.7 else side.walk - 0.3 if side.walk - side.verge > 2.5 else side.walk + 0.8
    )
    step = 100 / (kind.trees * rng.uniform(0.8, 2.0))
    for s in np.arange(rng.uniform(0, step), placer.layout.length, step):
        place = s + rng.normal(0, 0.5)
        if placer.layout.free(place, side.sign) and not _on_driveway(side, place):
            yield placer.plant("tree", place, t, size=rng.uniform(0.8, 1.15))


def _on_driveway(side: Side, s: float) -> bool:
    return any(plot.driveway and plot.driveway[0] - 0.8 < s < plot.driveway[1] + 0.8 for plot in side.plots)


def _furniture(placer: Placer, kind: StreetKind, side: Side) -> Iterator[Mesh]:
    """Lamps in a row, other furniture near the kerb or along the plots, and what `_standing` makes."""
    rng, length = placer.rng, placer.layout.length
    kerb, turn = side.sign * (side.lane + 0.35), 0.0 if side.sign < 0 else np.pi
    step = rng.uniform(22, 40)
    if rng.random() < 0.75:
        for s in np.arange(rng.uniform(0, step), length, step):
            if placer.layout.free(s, side.sign) and not _on_driveway(side, s):
                yield placer.put(lamp(rng), s, kerb if side.walk > side.lane else side.sign * (side.walk + 0.6), turn)
    names = ["sign", "cabinet", "rubbish_bin", "bench", "traffic_light", "advertising"]
    chances = [0.42, 0.2, 0.2, 0.07, 0.05, 0.06]
    for _ in range(rng.poisson(kind.furniture * length / 100)):
        s, name = rng.uniform(2, length - 2), names[rng.choice(len(names), p=chances)]
        if not placer.layout.free(s, side.sign) or _on_driveway(side, s):
            continue
        by_kerb = name in ("sign", "traffic_light") or rng.random() < 0.3
        t = kerb if by_kerb else side.sign * (side.walk + rng.uniform(-0.1, 0.4))
        if name == "advertising":
            t = side.sign * (side.walk - 0.9)
        tilt = rng.choice([0, np.pi]) if name in ("sign", "traffic_light") else turn
        yield placer.put(FURNITURE[name](rng), s, t, tilt + rng.normal(0, 0.1))
    yield from _standing(placer, kind, side)


def _standing(placer: Placer, kind: StreetKind, side: Side) -> Iterator[Mesh]:
    """Standing people, and parked bicycles and motorcycles."""
    rng, length = placer.rng, placer.layout.length
    for _ in range(rng.poisson(0.35 * kind.people * length / 100)):
        t = side.sign * rng.uniform(side.verge, max(side.walk, side.verge + 0.8))
        yield placer.put(person(rng), rng.uniform(0, length), t, rng.uniform(0, 6.3), instance=True)
    for _ in range(rng.poisson(0.1 * kind.furniture * length / 100)):
        name = list(BESIDE)[rng.choice(2, p=list(BESIDE.values()))]
        s, turn = rng.uniform(0, length), rng.uniform(0, 6.3)
        for number in range(int(rng.integers(1, 5 if name == "bicycle" else 3))):
            place = s + number * 0.75
            yield placer.put(VEHICLES[name](rng), place, side.sign * (side.walk - 0.5), turn, instance=True)


def _parked(placer: Placer, kind: StreetKind, side: Side) -> Iterator[Mesh]:
    """Vehicles along the kerb: in the parking lane, half on the sidewalk, or on the road."""
    rng, length = placer.rng, placer.layout.length
    lane = side.lane - placer.layout.half
    if lane < 1 and side.sign < 0 and (placer.layout.half < 3.2 or rng.random() < 0.4):
        return  # nobody parks in the way of the sensor's vehicle
    t = side.sign * (placer.layout.half + (lane / 2 if lane > 1 else rng.choice([0.35, 0.9])))
    across = lane > 2.3 and rng.random() < 0.1
    s, names = rng.uniform(0, 6), list(PARKED)
    while s < length:
        taken = rng.random() < kind.parked * (1.0 if lane > 1 else 0.45)
        name = names[rng.choice(len(names), p=np.array(list(PARKED.values())) / sum(PARKED.values()))]
        long = {"truck": 11.0, "bus": 14.0, "trailer": 7.0, "motorcycle": 2.2}.get(name, 3.0 if across else 5.9)
        if taken and placer.layout.free(s + long / 2, side.sign, 5.0) and not _on_driveway(side, s + long / 2):
            turn = rng.choice([0, np.pi]) + rng.normal(0, 0.03) + (np.pi / 2 if across else 0)
            yield placer.put(VEHICLES[name](rng), s + long / 2, t + rng.normal(0, 0.1), turn, up=0.02, instance=True)
        s += long


def _background(placer: Placer, side: Side) -> Iterator[Mesh]:
    """Trees and thickets behind the plots, which block the view."""
    rng = placer.rng
    for _ in range(int(placer.layout.length / 5)):
        s, t = rng.uniform(0, placer.layout.length), side.walk + rng.uniform(18, 38)
        if placer.layout.free(s, side.sign, 5.0):
            yield placer.plant("far tree" if rng.random() < 0.75 else "thicket", s, side.sign * t, size=1.25)


def _side_streets(placer: Placer) -> Iterator[Mesh]:
    """Cars, bushes and trees along side streets, and buildings at the ends of some side streets."""
    rng = placer.rng
    for junction in placer.layout.junctions:
        for sign in junction.sides:
            out = placer.layout.sides[0 if sign > 0 else 1].walk
            for t in np.arange(out + 7, 45, 6.5):
                if rng.random() < 0.3:
                    s = junction.s + rng.choice([-1, 1]) * (junction.half - 0.7)
                    yield placer.put(car(rng), s, sign * t, np.pi / 2, up=0.02, instance=True)
                if rng.random() < 0.4:
                    s = junction.s + rng.choice([-1, 1]) * (junction.half + 3)
                    yield placer.plant("tree" if rng.random() < 0.5 else "bush", s, sign * t)
            if rng.random() < 0.5:
                end = building(rng, 14.0, 8.0, int(rng.integers(1, 4)), pitched=True)
                yield placer.put(end, junction.s, sign * 56, 0 if sign > 0 else np.pi)
