"""Moving objects of a street: cars, trucks, buses and two-wheelers on the road, people on the sidewalks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rangeseg.synthetic.ground import Path
from rangeseg.synthetic.kinds import StreetKind
from rangeseg.synthetic.layout import Layout
from rangeseg.synthetic.mesh import Mesh
from rangeseg.synthetic.people import person
from rangeseg.synthetic.vehicles import VEHICLES, on_the_move

SHARES = {"car": 0.58, "truck": 0.08, "bus": 0.06, "bicyclist": 0.17, "motorcyclist": 0.11}
"""Share of each type among the moving vehicles."""

FAR_M, CLOSE_M, BESIDE_M = 75.0, 7.0, 2.4
"""No moving object is placed more than `FAR_M` along the street from the vehicle, nor so close that they may collide:
less than `CLOSE_M` away along the street and less than `BESIDE_M` (vehicles) or 1.3 m (people) across it."""


@dataclass(frozen=True)
class Mover:
    """An object that moves along the street.

    Args:
        mesh: its mesh, facing x, labelled as moving.
        start: metres along the street at the beginning.
        across: metres left of the street's middle.
        speed: metres per second, negative against the street's direction.
        up: metres above the road; 0 for vehicles.
        instance: number for the upper 16 bits of its labels.
    """

    mesh: Mesh
    start: float
    across: float
    speed: float
    up: float
    instance: int

    def at(self, path: Path, seconds: float, length: float, vehicle: tuple[float, float]) -> Mesh | None:
        """The mesh at its place; None if it is too far from the vehicle, at (along, across), or would collide with it.

        An object that reaches an end of the street continues at the other end.
        """
        s = (self.start + self.speed * seconds) % length
        along, aside = abs(s - vehicle[0]), abs(self.across - vehicle[1])
        if along > FAR_M or (along < CLOSE_M and aside < (BESIDE_M if self.up == 0 else 1.3)):
            return None
        heading = float(path.heading_at(s)) + (np.pi if self.speed < 0 else 0.0)
        return self.mesh.placed(path.at(s, self.across, self.up), heading, instance=self.instance)


def make_traffic(kind: StreetKind, layout: Layout, rng: np.random.Generator, speed: float, lane: float) -> list[Mover]:
    """Draw the moving objects.

    Args:
        kind: how many there are.
        layout: where they may be.
        rng: the only source of randomness.
        speed: speed of the sensor's vehicle and of the other vehicles in its lane, metres per second.
        lane: lane of the sensor's vehicle, metres left of the middle.
    """
    movers, names = [], list(SHARES)
    for number in range(rng.poisson(kind.traffic * layout.length / 100)):
        name = names[rng.choice(len(names), p=list(SHARES.values()))]
        mesh = on_the_move(VEHICLES[name](rng))
        thin = name in ("bicyclist", "motorcyclist")
        ahead = rng.random() < 0.5
        across = (lane if ahead else -lane) + rng.normal(0, 0.2)
        if thin:
            across = (-1 if ahead else 1) * (layout.half - rng.uniform(0.5, 0.9))
        pace = speed if ahead and not thin else -rng.uniform(4, 14) if not ahead else rng.uniform(3, 7)
        movers.append(Mover(mesh, rng.uniform(0, layout.length), across, pace, 0.0, 20_000 + number))
    for number in range(rng.poisson(kind.people * layout.length / 100)):
        side = layout.sides[rng.integers(2)]
        if side.walk - side.verge < 1:
            continue
        across = side.sign * rng.uniform(side.verge + 0.3, side.walk - 0.3)
        pace = rng.uniform(0.7, 1.7) * rng.choice([-1, 1])
        mesh = on_the_move(person(rng))
        movers.append(Mover(mesh, rng.uniform(0, layout.length), across, pace, 0.12, 30_000 + number))
    return movers
