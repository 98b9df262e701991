"""Counts of labelled points, and of correctly labelled points if the true labels are known.

Shapes: N points of a scan, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.evidence import CARRIED, OWN
from rangeseg.types import IGNORE

NEAR_M = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Upper bin edges of the distance to the nearest labelled point, metres."""

AWAY_M = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
"""Upper bin edges of the distance between the sensor positions, metres."""

MOST_SCANS = 64


@dataclass(eq=False)
class Tally:
    """Counts over points that have a true class, without the points that were labelled before the propagation.

    Args:
        confusion: (K, K + 1) true class by carried class; the last column counts points without a carried label.
        near: (6 + 1, 2) labelled and correct points by distance to the nearest labelled point.
        scans: (65, 2) the same by number of scans to the labelled scan; larger numbers count in the last row.
        away: (6 + 1, 2) the same by distance between the sensor positions.
        moving: number of all, labelled and correct points of moving objects.
        labelled: number of labelled returns and of all returns, including points without a true class.
    """

    confusion: NDArray[np.int64]
    near: NDArray[np.int64] = field(default_factory=lambda: np.zeros((len(NEAR_M) + 1, 2), np.int64))
    scans: NDArray[np.int64] = field(default_factory=lambda: np.zeros((MOST_SCANS + 1, 2), np.int64))
    away: NDArray[np.int64] = field(default_factory=lambda: np.zeros((len(AWAY_M) + 1, 2), np.int64))
    moving: NDArray[np.int64] = field(default_factory=lambda: np.zeros(3, np.int64))
    labelled: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, np.int64))

    @staticmethod
    def empty(classes: int) -> Tally:
        """A tally with all counts 0."""
        return Tally(np.zeros((classes, classes + 1), np.int64))

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    def report(self, names: Sequence[str]) -> dict[str, Any]:
        """Shares in [0, 1]; None if the denominator is 0."""
        counts, found = self.confusion[:, :-1], self.confusion[:, :-1].sum()
        total, right = self.confusion.sum(), np.trace(counts)
        rows, columns, hits = self.confusion.sum(1), counts.sum(0), np.diagonal(counts)
        classes = {
            name: {
                "points": int(rows[k]),
                "coverage": _share(counts[k].sum(), rows[k]),
                "precision": _share(hits[k], columns[k]),
                "iou": _share(hits[k], counts[k].sum() + columns[k] - hits[k]),
            }
            for k, name in enumerate(names)
            if rows[k]
        }
        ious = [one["iou"] for one in classes.values() if one["iou"] is not None]
        return {
            "labelled": _share(*self.labelled),
            "points": int(total),
            "coverage": _share(found, total),
            "accuracy": _share(right, found),
            "mean_iou_of_covered": float(np.mean(ious)) if ious else None,
            "moving": {
                "points": int(self.moving[0]),
                "coverage": _share(self.moving[1], self.moving[0]),
                "accuracy": _share(self.moving[2], self.moving[1]),
            },
            "by_class": classes,
            "by_metres_to_the_nearest_label": _bins(self.near, NEAR_M),
            "by_scans": {
                str(k): {"points": int(n), "accuracy": _share(r, n)} for k, (n, r) in enumerate(self.scans) if n
            },
            "by_metres_between_sensors": _bins(self.away, AWAY_M),
        }


def tally(
    label: NDArray[np.integer], evidence: dict[str, NDArray], truth: NDArray[np.integer] | None,
    moving: NDArray[np.bool_] | None, away_m: NDArray[np.floating], classes: int, returns: NDArray[np.bool_],
) -> Tally:  # fmt: skip
    """Count one scan.

    Args:
        label: (N,) train ids or IGNORE.
        evidence: evidence of the labels, (N,) columns by name.
        truth: (N,) true train ids or IGNORE; None: unknown.
        moving: (N,) bool, True for points of moving objects.
        away_m: (N,) distance between the sensor positions of this scan and of the labelled scan, metres.
        classes: K.
        returns: (N,) bool, True for returns.
    """
    result = Tally.empty(classes)
    result.labelled += (np.count_nonzero(returns & (label != IGNORE)), np.count_nonzero(returns))
    if truth is None:
        return result
    scored = (truth != IGNORE) & (evidence["kind"] != OWN)
    carried = scored & (evidence["kind"] == CARRIED)
    right = carried & (label == truth)
    column = np.where(carried, label, classes)[scored].astype(np.int64)
    flat = np.bincount(truth[scored].astype(np.int64) * (classes + 1) + column, minlength=classes * (classes + 1))
    result.confusion += flat.reshape(classes, classes + 1)
    for counts, place in (
        (result.near, np.searchsorted(NEAR_M, evidence["distance"].astype(np.float64))),
        (result.scans, np.minimum(np.abs(evidence["scans"]), MOST_SCANS)),
        (result.away, np.searchsorted(AWAY_M, away_m)),
    ):
        for k, chosen in enumerate((carried, right)):
            counts[:, k] += np.bincount(place[chosen], minlength=len(counts))
    if moving is not None:
        result.moving += [np.count_nonzero(chosen & moving) for chosen in (scored, carried, right)]
    return result


def _share(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None


def _bins(counts: NDArray[np.int64], ends: Sequence[float]) -> dict[str, dict[str, Any]]:
    names = [*(f"up to {end:g}" for end in ends), f"above {ends[-1]:g}"]
    return {
        name: {"points": int(points), "accuracy": _share(right, points)}
        for name, (points, right) in zip(names, counts, strict=True)
        if points
    }
