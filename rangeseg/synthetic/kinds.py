"""Kinds of street: the ranges from which a street's dimensions are drawn.

Lengths are metres; a pair is (smallest, largest).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Range = tuple[float, float]


@dataclass(frozen=True)
class StreetKind:
    """The ranges of one kind of street.

    Args:
        road: width of the carriageway.
        parking_lane: chance that a side has one.
        verge: chance that a side has a green strip beside the road.
        sidewalk: chance that a side has one, and its width.
        setback: distance from the sidewalk to a building's front.
        plot: width of a plot.
        built: chance that a plot has a building.
        floors: number of floors of a building.
        pitched: chance of a pitched roof.
        front: border of a plot on the street's side -> chance; hedge, bushes, fence, garden_wall, guard_rail or none.
        grounds: raw id of a plot's ground -> chance.
        trees: street trees per 100 m and side.
        garden: trees and bushes per plot.
        wild: chance that a plot without a building is a thicket.
        parked: share of the places beside the road that are taken.
        traffic: moving vehicles per 100 m.
        people: walking pedestrians per 100 m; the number of standing ones is in proportion to it.
        furniture: signs, bins and the like per 100 m and side; lamps are not counted.
        bend: largest curvature, 1 / metres.
        slope: largest rise, metres per metre.
        bank: largest slope of the land beside the street, metres per metre.
        junctions: side streets per 100 m.
        speed: speed of the sensor's vehicle, metres per second.
        weight: relative frequency of this kind.
    """

    road: Range
    parking_lane: float
    verge: float
    sidewalk: tuple[float, Range]
    setback: Range
    plot: Range
    built: float
    floors: tuple[int, int]
    pitched: float
    front: Mapping[str, float]
    grounds: Mapping[int, float]
    trees: float
    garden: Range
    wild: float
    parked: float
    traffic: float
    people: float
    furniture: float
    bend: float = 1 / 130
    slope: float = 0.05
    bank: float = 0.08
    junctions: float = 1.3
    speed: Range = (4.0, 13.0)
    weight: float = field(default=1.0)


KINDS: dict[str, StreetKind] = {
    "residential": StreetKind(
        road=(5.0, 7.5), parking_lane=0.13, verge=0.25, sidewalk=(0.97, (1.6, 3.2)), setback=(2.5, 9.0),
        plot=(12.0, 22.0), built=0.8, floors=(1, 3), pitched=0.85,
        front={"hedge": 0.44, "fence": 0.26, "garden_wall": 0.18, "bushes": 0.08, "none": 0.04},
        grounds={72: 0.72, 44: 0.06, 49: 0.08, 48: 0.14}, trees=3.0, garden=(5, 11), wild=0.8, parked=0.33,
        traffic=1.2, people=1.3, furniture=5.5, weight=0.42,
    ),
    "urban": StreetKind(
        road=(5.5, 9.5), parking_lane=0.33, verge=0.12, sidewalk=(1.0, (2.2, 4.5)), setback=(0.0, 2.5),
        plot=(14.0, 28.0), built=0.88, floors=(2, 5), pitched=0.5,
        front={"hedge": 0.22, "fence": 0.15, "garden_wall": 0.13, "bushes": 0.1, "none": 0.4},
        grounds={48: 0.5, 72: 0.3, 44: 0.1, 49: 0.1}, trees=5.0, garden=(2, 7), wild=0.5, parked=0.6,
        traffic=2.5, people=5.0, furniture=8.0, bend=1 / 220, slope=0.03, junctions=1.6, speed=(3.0, 11.0), weight=0.24,
    ),
    "avenue": StreetKind(
        road=(7.0, 12.0), parking_lane=0.22, verge=0.75, sidewalk=(0.95, (2.0, 3.5)), setback=(6.0, 20.0),
        plot=(20.0, 38.0), built=0.6, floors=(2, 6), pitched=0.35,
        front={"hedge": 0.48, "fence": 0.22, "garden_wall": 0.08, "bushes": 0.14, "none": 0.08},
        grounds={72: 0.65, 44: 0.2, 49: 0.1, 48: 0.05}, trees=8.0, garden=(6, 14), wild=0.7, parked=0.4,
        traffic=3.5, people=2.0, furniture=7.0, bend=1 / 250, slope=0.03, junctions=1.0, speed=(6.0, 15.0), weight=0.18,
    ),
    "country": StreetKind(
        road=(6.0, 10.0), parking_lane=0.0, verge=1.0, sidewalk=(0.25, (1.2, 2.0)), setback=(8.0, 26.0),
        plot=(18.0, 40.0), built=0.14, floors=(1, 2), pitched=0.95,
        front={"hedge": 0.2, "fence": 0.12, "garden_wall": 0.03, "guard_rail": 0.17, "bushes": 0.13, "none": 0.35},
        grounds={72: 0.95, 49: 0.05}, trees=5.0, garden=(6, 14), wild=0.6, parked=0.02,
        traffic=1.8, people=0.25, furniture=2.5, bend=1 / 110, slope=0.07, bank=0.25, junctions=0.5, speed=(8.0, 20.0),
        weight=0.16,
    ),
}  # fmt: skip
"""Every kind by its name."""
