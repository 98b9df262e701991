"""A street's plan: the places of road, sidewalks, plots and side streets, in metres along (s) and across (t).

Shapes: S and T cells along and across, as in `lay_ground`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rangeseg.synthetic.ground import MARKING, PARKING, ROAD, SIDEWALK, TERRAIN
from rangeseg.synthetic.kinds import StreetKind

WIDE = 58.0
"""Extent of the ground to either side, metres."""

GRID = 0.25
"""Borders along the street lie on multiples of this, metres."""


@dataclass(frozen=True)
class Junction:
    """A side street: its middle and half its road's width, metres, and the sides that it is on (1 left, -1 right)."""

    s: float
    half: float
    sides: tuple[int, ...]

    def near(self, s: float, side: int, margin: float) -> bool:
        """True if `s`, on that side, is on the side street's road or within a margin of it."""
        return side in self.sides and abs(s - self.s) < self.half + margin


@dataclass(frozen=True)
class Plot:
    """A piece of land beside the street: start and stop, raw id of its ground, whether it is built on, its driveway."""

    start: float
    stop: float
    ground: int
    built: bool
    driveway: tuple[float, float] | None

    @property
    def middle(self) -> float:
        """Metres along the street."""
        return (self.start + self.stop) / 2


@dataclass(frozen=True)
class Side:
    """One side of the street: sign (1 left, -1 right), outer edges of its strips (metres from the middle), plots."""

    sign: int
    lane: float
    verge: float
    walk: float
    plots: tuple[Plot, ...]


@dataclass(frozen=True)
class Layout:
    """A street's plan.

    Args:
        length: metres.
        half: half the road's width, metres.
        marked: True if the road has markings.
        junctions: its side streets.
        sides: left and right.
    """

    length: float
    half: float
    marked: bool
    junctions: tuple[Junction, ...]
    sides: tuple[Side, Side]

    def free(self, s: float, side: int, margin: float = 2.5) -> bool:
        """True if no side street is within a margin of `s`, on that side."""
        return not any(junction.near(s, side, margin) for junction in self.junctions)

    def cells(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Borders along (S + 1,), borders across (T + 1,), and classes (S, T)."""
        along, across = self._along(), self._across()
        s, t = (along[1:] + along[:-1]) / 2, (across[1:] + across[:-1]) / 2
        classes = np.full((len(s), len(t)), ROAD)
        for side in self.sides:
            mine, out = np.sign(t) == side.sign, np.abs(t)
            for start, stop, raw_id in (
                (self.half, side.lane, PARKING),
                (side.lane, side.verge, TERRAIN),
                (side.verge, side.walk, SIDEWALK),
            ):
                classes[:, mine & (out > start) & (out <= stop)] = raw_id
            classes[:, mine & (out > side.walk)] = TERRAIN
            for plot in side.plots:
                rows = (s > plot.start) & (s < plot.stop)
                classes[np.ix_(rows, mine & (out > side.walk) & (out < side.walk + 16))] = plot.ground
                if plot.driveway:
                    drive = (s > plot.driveway[0]) & (s < plot.driveway[1])
                    classes[np.ix_(drive, mine & (out > side.walk) & (out < side.walk + 12))] = PARKING
                    classes[np.ix_(drive, mine & (out > side.lane) & (out <= side.verge))] = SIDEWALK
        self._mark(classes, s, t)
        self._open_side_streets(classes, s, t)
        return along, across, classes

    def _mark(self, classes: NDArray[np.int64], s: NDArray[np.float64], t: NDArray[np.float64]) -> None:
        if self.marked:
            dashes = (s // 3).astype(int) % 3 == 0
            classes[np.ix_(dashes, np.abs(t) < 0.07)] = MARKING
            if self.half > 3.8:
                classes[:, np.abs(np.abs(t) - (self.half - 0.25)) < 0.07] = MARKING

    def _open_side_streets(self, classes: NDArray[np.int64], s: NDArray[np.float64], t: NDArray[np.float64]) -> None:
        for junction in self.junctions:
            for sign in junction.sides:
                side = self.sides[0 if sign > 0 else 1]
                mine, off = np.sign(t) == sign, np.abs(s - junction.s)
                walk = (off > junction.half) & (off < junction.half + 2)
                classes[np.ix_(walk, mine & (np.abs(t) > side.lane))] = SIDEWALK
                classes[np.ix_(off < junction.half, mine & (np.abs(t) > self.half - 0.4))] = ROAD

    def _along(self) -> NDArray[np.float64]:
        borders = [np.arange(0, self.length + 1, 3.0)]
        for junction in self.junctions:
            borders.append(junction.s + np.array([-2, 0, 0, 2.0]) + junction.half * np.array([-1, -1, 1, 1]))
        for side in self.sides:
            for plot in side.plots:
                borders.append(np.array([plot.start, plot.stop, *(plot.driveway or ())]))
        return np.unique(np.round(np.concatenate(borders).clip(0, self.length) / GRID) * GRID)

    def _across(self) -> NDArray[np.float64]:
        line = self.half - 0.25
        middle = [-line - 0.07, -line + 0.07, -0.07, 0.07, line - 0.07, line + 0.07] if self.marked else [0.0]
        borders = [np.array(middle), np.linspace(-self.half, self.half, 5)]
        for side in self.sides:
            strips = np.array([self.half, side.lane, side.verge, side.walk])
            beyond = side.walk + np.array([2, 4, 6, 8, 10, 12, 14, 16, 20, 26, 34])
            borders.append(side.sign * np.concatenate([strips, beyond, [WIDE]]))
        return np.unique(np.round(np.concatenate(borders), 2))


def plan(kind: StreetKind, rng: np.random.Generator, length: float) -> Layout:
    """Draw a street's plan.

    Args:
        kind: the ranges from which the plan is drawn.
        rng: the only source of randomness.
        length: metres.
    """
    half = round(rng.uniform(*kind.road) / 2, 1)
    count = rng.poisson(kind.junctions * length / 100)
    junctions: list[Junction] = []
    for s in np.sort(rng.uniform(15, length - 15, count)):
        sides = ((1,), (-1,), (1, -1))[rng.choice(3, p=[0.3, 0.3, 0.4])]
        if not junctions or s - junctions[-1].s > 25:
            junctions.append(Junction(round(s), round(rng.uniform(2.2, 4.0), 1), sides))
    left, right = (_side(kind, rng, half, length, sign, junctions) for sign in (1, -1))
    return Layout(length, half, bool(half > 3 and rng.random() < 0.45), tuple(junctions), (left, right))


def _side(
    kind: StreetKind, rng: np.random.Generator, half: float, length: float, sign: int, junctions: list[Junction]
) -> Side:
    lane = half + (round(rng.uniform(2.0, 2.5), 1) if rng.random() < kind.parking_lane else 0.0)
    verge = lane + (round(rng.uniform(0.8, 3.0), 1) if rng.random() < kind.verge else 0.0)
    chance, width = kind.sidewalk
    walk = verge + (round(rng.uniform(*width), 1) if rng.random() < chance else 0.0)
    plots, start = [], 0.0
    grounds = list(kind.grounds)
    while start < length - 8:
        stop = min(length, start + rng.uniform(*kind.plot))
        blocked = [j for j in junctions if sign in j.sides and start < j.s + j.half + 2 and stop > j.s - j.half - 2]
        if blocked:
            stop = blocked[0].s - blocked[0].half - 2
        if stop - start > 5:
            ground = grounds[rng.choice(len(grounds), p=list(kind.grounds.values()))]
            drive = start + rng.uniform(0.3, max(0.4, stop - start - 4.5))
            has = rng.random() < 0.45 and kind.plot[1] < 30 and stop - start > 9
            built = bool(rng.random() < kind.built)
            plots.append(Plot(start, stop, ground, built, (drive, drive + 3.2) if has and built else None))
        start = blocked[0].s + blocked[0].half + 2 if blocked else stop
    return Side(sign, lane, verge, walk, tuple(plots))
