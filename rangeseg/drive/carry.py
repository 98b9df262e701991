"""Carries the labels of some scans of a drive to other scans, using the poses.

A point takes the class of the nearest labelled points of other scans if they are near and enough of them agree. With
clicks, it takes the class of the nearest click along the surface (`rangeseg.drive.surface`). Labels of a scan that saw
through the point do not count, because the object was not there at that time.

Shapes: N points of a scan, K neighbours.

Source: PLE (2410.06893), which carries labels to the ten scans before and the ten after, from the nearest point only.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.evidence import CARRIED, NONE, OWN
from rangeseg.drive.labelled_points import NO_CLASS, PointMap
from rangeseg.drive.surface import VOXEL_M
from rangeseg.kernels.neighbours import nearest, vote
from rangeseg.kernels.visibility import seen_through
from rangeseg.types import IGNORE, Scan

SPREADS = ("nearest", "surface")
"""Ways in which labels spread: to near points by straight distance, or along the surface."""


@dataclass(frozen=True)
class Rules:
    """When a label is carried.

    Args:
        spread: how labels spread. nearest: the nearest labelled points vote. surface: the labelled point nearest along
            the surface gives the label, and `neighbours` is 1.
        neighbours: the number of nearest labelled points that vote, from any of the scans.
        min_neighbours: the number of them that must lie within the maximum distance.
        min_agreement: the share of them that must have the same class, at least 0.5; with surface: the share of the
            path from another class in the length of both paths, 0.5 to 0.95: 0.6 means that it is 1.5 times as long.
        max_distance_m: maximum distance from a point to a labelled point, metres; with surface: length of the path.
        max_distance_per_m: increase of this distance per metre of range, because distant points are farther apart.
        max_scans: labels are carried over at most this many scans, ahead and back.
        max_sensor_distance_m: maximum distance between the sensor's positions of the two scans, metres.
        visibility: ignore labels of a scan whose beams passed through the point.
        margin_m: a beam passed through the point if its range exceeds that of the point by this distance, metres, plus
        margin_share: this share of the range.
        merge_deg: clicks of one class in a scan within this angle count as one labelled point, degrees.
        merge_m: clicks of one class in a scan within this distance count as one, metres; for strokes.
        voxel_m: edge of the voxels that form the surface, metres; smaller ones separate thin objects better and take
            longer.

    Raises:
        ValueError: a rule is outside its range.
    """

    spread: str = "nearest"
    neighbours: int = 3
    min_neighbours: int = 1
    min_agreement: float = 0.6
    max_distance_m: float = 0.5
    max_distance_per_m: float = 0.0
    max_scans: int = 10
    max_sensor_distance_m: float = 30.0
    visibility: bool = True
    margin_m: float = 0.3
    margin_share: float = 0.02
    merge_deg: float = 0.5
    merge_m: float = 0.0
    voxel_m: float = VOXEL_M

    def __post_init__(self) -> None:
        if self.spread not in SPREADS:
            raise ValueError(f"spread is {self.spread}; give {' or '.join(SPREADS)}.")
        surface = self.spread == "surface"
        if surface and (votes := max(self.neighbours, self.min_neighbours)) != 1:
            raise ValueError(
                f"neighbours is {votes}, but along the surface the nearest labelled point alone gives the label. "
                "Leave it out, or give --spread nearest."
            )
        if not surface and self.voxel_m != VOXEL_M:
            raise ValueError("voxel_m is for labels that spread along the surface. Give --spread surface.")
        limits = {
            "neighbours": (1, 32), "min_neighbours": (1, self.neighbours),
            "min_agreement": (0.5, 0.95 if surface else 1),
            "max_distance_m": (1e-3, 100), "max_distance_per_m": (0, 1), "max_scans": (1, np.iinfo(np.int16).max),
            "max_sensor_distance_m": (1e-3, 10**6), "margin_m": (0, 100), "margin_share": (0, 1), "merge_deg": (0, 10),
            "merge_m": (0, 10), "voxel_m": (0.05, 0.5),
        }  # fmt: skip
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is {getattr(self, name)}; give {low} to {high}.")

    def limits(self, range_m: NDArray[np.floating]) -> NDArray[np.float32]:
        """(N,) maximum distance from points at these ranges to labelled points, metres."""
        return np.asarray(self.max_distance_m + self.max_distance_per_m * range_m, np.float32)

    @property
    def merge(self) -> tuple[float, float]:
        """Angle (degrees) and distance (metres) within which clicks of one class count once."""
        return self.merge_deg, self.merge_m

    @property
    def edge_m(self) -> float:
        """Edge of the map's voxels, metres; in measurements, edges near the maximum distance were fastest."""
        return min(1.0, max(0.25, 0.8 * self.max_distance_m))


WHOLE_RULES = Rules()
"""Default rules for completely labelled scans."""

CLICK_RULES = Rules(spread="surface", neighbours=1, min_agreement=0.6, max_distance_m=5.0, max_scans=20)
"""Default rules for clicks and scribbles."""

NEAREST_CLICK_RULES = Rules(neighbours=3, min_neighbours=3, min_agreement=1.0, max_distance_m=2.0, max_scans=20)
"""Default rules for clicks and scribbles with `spread` nearest."""


def rules_for(whole: bool, **changed: Any) -> Rules:
    """The default rules for completely labelled scans or for clicks, with some rules changed; None keeps the default.

    Raises:
        ValueError: a rule is outside its range.
    """
    given = {name: value for name, value in changed.items() if value is not None}
    usual = WHOLE_RULES if whole else CLICK_RULES
    if given.get("spread", usual.spread) != usual.spread:
        usual = replace(CLICK_RULES, max_scans=usual.max_scans) if whole else NEAREST_CLICK_RULES
    if "neighbours" in given and "min_neighbours" not in given:
        given["min_neighbours"] = min(usual.min_neighbours, given["neighbours"]) if whole else given["neighbours"]
    return Rules(**{one.name: getattr(usual, one.name) for one in fields(Rules)} | given)


@dataclass(frozen=True)
class Carried:
    """The labels of one scan, with the evidence for each.

    Args:
        label: (N,) uint8 train ids or IGNORE.
        distance: (N,) float32 metres to the nearest labelled point that agrees, with surface along the path; 0 for
            labels of people, nan for none.
        neighbours: (N,) uint8 number of labelled points that voted.
        agreement: (N,) float32 share of them that agree; with surface, that of `Surface`.
        scans: (N,) int16 signed number of scans to the scan of the nearest labelled point; 0 for labels of people and
            for none.
        kind: (N,) uint8, NONE, OWN or CARRIED.
    """

    label: NDArray[np.uint8]
    distance: NDArray[np.float32]
    neighbours: NDArray[np.uint8]
    agreement: NDArray[np.float32]
    scans: NDArray[np.int16]
    kind: NDArray[np.uint8]


def carry(
    scan: Scan, number: int, pose: NDArray[np.float64], point_map: PointMap, allowed: NDArray[np.bool_], rules: Rules,
    *, own: NDArray[np.uint8] | None = None,
) -> Carried:  # fmt: skip
    """Label a scan from a map of labelled points.

    Args:
        scan: N points.
        number: index of the scan in the drive.
        pose: (4, 4) sensor -> world.
        point_map: labelled points of S scans.
        allowed: (S,) bool, True for scans within reach.
        rules: conditions under which a label is carried.
        own: (N,) known train ids of this scan, `NO_CLASS` for points known to have no class, IGNORE elsewhere.
    """
    count = len(scan)
    own = np.full(count, IGNORE, np.uint8) if own is None else own
    range_m = np.linalg.norm(scan.xyz, axis=1)
    points = point_map.moved(scan.xyz, pose)
    points[~(range_m > 0)] = np.nan
    points[own != IGNORE] = np.nan
    votes = _votes(points, rules.limits(range_m), point_map, allowed, rules)
    known, carried = own != IGNORE, votes.label != IGNORE
    sources = np.array([*point_map.scans, number], np.int64)
    label = np.where(own == NO_CLASS, IGNORE, np.where(known, own, votes.label)).astype(np.uint8)
    return Carried(
        label, np.where(known, 0, votes.distance).astype(np.float32), votes.neighbours, votes.agreement,
        np.where(carried, sources[votes.origin] - number, 0).astype(np.int16),
        np.where(known, OWN, np.where(carried, CARRIED, NONE)).astype(np.uint8),
    )  # fmt: skip


def _votes(
    points: NDArray[np.float32], limit: NDArray[np.float32], point_map: PointMap, allowed: NDArray[np.bool_],
    rules: Rules,
) -> Vote:  # fmt: skip
    """The votes for (N, 3) points in the frame of the map; `limit`: (N,) maximum distances, metres."""
    count = len(points)
    if rules.spread == "surface":
        assert point_map.surface is not None
        seed, length, share = point_map.surface.at(points)
        there = (seed >= 0) & (length <= limit)
        there[there] = allowed[point_map.source[seed[there]]]
        distance, index = length[:, None], np.where(there, seed, -1)[:, None].astype(np.int32)
    else:
        distance, index = np.empty((count, rules.neighbours), np.float32), np.empty((count, rules.neighbours), np.int32)
        nearest(points, limit, point_map.search, allowed, (distance, index))
    if rules.visibility:
        margin = (rules.margin_m, rules.margin_share)
        through = seen_through(points, index, point_map.source, point_map.depth_images, margin)
    else:
        through = np.zeros(index.shape, np.bool_)
    votes = Vote.of(count)
    rule = (rules.min_neighbours, rules.min_agreement, NO_CLASS)
    vote(index, distance, (point_map.label, point_map.source), through, rule, votes.columns())
    if rules.spread == "surface":
        near = votes.label != IGNORE
        votes.agreement[:] = np.where(votes.neighbours > 0, share, 0)
        unclear = near & (share < rules.min_agreement)
        votes.label[unclear], votes.distance[unclear] = IGNORE, np.nan
    return votes


@dataclass(frozen=True)
class Vote:
    """Output arrays of `vote`."""

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
        """The arrays in the order of `vote`."""
        return (self.label, self.distance, self.neighbours, self.agreement, self.origin)
