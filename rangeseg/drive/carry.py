"""Labels of some scans of a drive carried to others by their poses.

A point takes the class of the nearest labelled points of other scans, if enough of them agree and are near enough, and
none comes from a scan that saw through the point: what was not there then has no label from then.

Shapes: N points of a scan, K neighbours.

Source: PLE (2410.06893) carries labels by poses to ten scans before and behind, by the nearest point alone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.drive.labelled_points import NO_CLASS, PointMap
from rangeseg.kernels.neighbours import nearest, vote
from rangeseg.kernels.visibility import seen_through
from rangeseg.types import IGNORE, Scan

NONE, OWN, CARRIED = 0, 1, 2
"""What a label rests on: nothing, a person's label of this very point, labels of other points."""


@dataclass(frozen=True)
class Rules:
    """When a label is carried.

    Args:
        neighbours: how many nearest labelled points are asked, of whatever scans.
        least: how many must be there.
        agree: the share of them that must agree, above 0.5.
        limit_m: a neighbour is nearer than this, metres,
        growth: and this more for each metre of range, as points lie farther apart there.
        scans: labels are carried this many scans ahead and back at most.
        metres: and this far at most, from one place of the sensor to the other.
        visibility: a scan that saw through a point says nothing about it.
        margin_m: by how much farther its beams must have gone, metres,
        margin_share: and as a share of the range.
        place_deg: clicks of one class in a scan within this angle count once,
        place_m: and those within so many metres: a stroke is not as many labelled points as it has points.

    Raises:
        ValueError: a rule is outside its range.
    """

    neighbours: int = 3
    least: int = 1
    agree: float = 0.6
    limit_m: float = 0.5
    growth: float = 0.0
    scans: int = 10
    metres: float = 30.0
    visibility: bool = True
    margin_m: float = 0.3
    margin_share: float = 0.02
    place_deg: float = 0.5
    place_m: float = 0.0

    def __post_init__(self) -> None:
        limits = {
            "neighbours": (1, 32), "least": (1, self.neighbours), "agree": (0.5, 1), "limit_m": (1e-3, 100),
            "growth": (0, 1), "scans": (1, 10**6), "metres": (1e-3, 10**6), "margin_m": (0, 100),
            "margin_share": (0, 1), "place_deg": (0, 10), "place_m": (0, 10),
        }  # fmt: skip
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is {getattr(self, name)}; give {low} to {high}.")

    def limits(self, range_m: NDArray[np.floating]) -> NDArray[np.float32]:
        """(N,) metres within which neighbours of points at these ranges count."""
        return np.asarray(self.limit_m + self.growth * range_m, np.float32)

    @property
    def place(self) -> tuple[float, float]:
        """Degrees and metres within which clicks count once."""
        return self.place_deg, self.place_m

    @property
    def edge_m(self) -> float:
        """Of the map's voxels, metres; measured: about the limit is fastest."""
        return min(1.0, max(0.25, 0.8 * self.limit_m))


WHOLE_RULES = Rules()
"""For scans that are labelled in whole."""

CLICK_RULES = Rules(neighbours=3, least=3, agree=1.0, limit_m=2.0, scans=20)
"""For clicks and scribbles."""


def rules_for(whole: bool, **changed: Any) -> Rules:
    """The rules for scans labelled in whole or by clicks, some of them changed; None keeps one.

    Raises:
        ValueError: a rule is outside its range.
    """
    usual = WHOLE_RULES if whole else CLICK_RULES
    given = {name: value for name, value in changed.items() if value is not None}
    if "neighbours" in given and "least" not in given:
        given["least"] = min(usual.least, given["neighbours"]) if whole else given["neighbours"]
    return Rules(**{one.name: getattr(usual, one.name) for one in fields(Rules)} | given)


@dataclass(frozen=True)
class Carried:
    """The labels of one scan, and what each rests on.

    Args:
        label: (N,) uint8 train ids or IGNORE.
        distance: (N,) float32 metres to the nearest labelled point that agrees; 0 for own labels, nan for none.
        neighbours: (N,) uint8 labelled points that were asked.
        agreement: (N,) float32 share of them that agree.
        scans: (N,) int16 scans to the one that the nearest is of, in the order of time; 0 for own labels and none.
        kind: (N,) uint8, NONE, OWN or CARRIED.
    """

    label: NDArray[np.uint8]
    distance: NDArray[np.float32]
    neighbours: NDArray[np.uint8]
    agreement: NDArray[np.float32]
    scans: NDArray[np.int16]
    kind: NDArray[np.uint8]

    EVIDENCE = ("distance", "neighbours", "agreement", "scans", "kind")


def carry(
    scan: Scan, number: int, pose: NDArray[np.float64], point_map: PointMap, allowed: NDArray[np.bool_], rules: Rules,
    *, own: NDArray[np.uint8] | None = None,
) -> Carried:  # fmt: skip
    """Label a scan by a point_map.

    Args:
        scan: N points.
        number: its place in the drive.
        pose: (4, 4) its sensor -> world.
        point_map: labelled points of some scans.
        allowed: (S,) bool, which of these scans are within reach.
        rules: when a label is carried.
        own: (N,) train ids that are known for this scan, `NO_CLASS` for what is known to have none, else IGNORE.
    """
    count = len(scan)
    own = np.full(count, IGNORE, np.uint8) if own is None else own
    distance, index = np.empty((count, rules.neighbours), np.float32), np.empty((count, rules.neighbours), np.int32)
    range_m = np.linalg.norm(scan.xyz, axis=1)
    points = point_map.moved(scan.xyz, pose)
    points[~(range_m > 0)] = np.nan
    points[own != IGNORE] = np.nan
    nearest(points, rules.limits(range_m), point_map.search, allowed, (distance, index))
    if rules.visibility:
        margin = (rules.margin_m, rules.margin_share)
        through = seen_through(points, index, point_map.source, point_map.depth_images, margin)
    else:
        through = np.zeros(index.shape, np.bool_)
    said = Vote.of(count)
    rule = (rules.least, rules.agree, NO_CLASS)
    vote(index, distance, (point_map.label, point_map.source), through, rule, said.columns())
    known, carried = own != IGNORE, said.label != IGNORE
    sources = np.array([*point_map.scans, number], np.int64)
    label = np.where(own == NO_CLASS, IGNORE, np.where(known, own, said.label)).astype(np.uint8)
    return Carried(
        label, np.where(known, 0, said.distance).astype(np.float32), said.neighbours, said.agreement,
        np.where(carried, sources[said.origin] - number, 0).astype(np.int16),
        np.where(known, OWN, np.where(carried, CARRIED, NONE)).astype(np.uint8),
    )  # fmt: skip


@dataclass(frozen=True)
class Vote:
    """What `vote` fills."""

    label: NDArray[np.uint8]
    distance: NDArray[np.float32]
    neighbours: NDArray[np.uint8]
    agreement: NDArray[np.float32]
    origin: NDArray[np.int32]

    @staticmethod
    def of(count: int) -> Vote:
        """Empty columns."""
        return Vote(np.empty(count, np.uint8), np.empty(count, np.float32), np.empty(count, np.uint8),
                    np.empty(count, np.float32), np.empty(count, np.int32))  # fmt: skip

    def columns(self) -> tuple[NDArray, ...]:
        """In `vote`'s order."""
        return (self.label, self.distance, self.neighbours, self.agreement, self.origin)
