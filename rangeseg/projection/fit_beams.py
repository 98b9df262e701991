"""Estimation of the number of beams from inclinations: hypotheses of few and many beams, each judged by the points.

A histogram that is smoothed less has more peaks, and noise can have any number of them. The smallest number of beams
that explains the points is taken: with fewer beams, more points share a pixel. The number must stay the same when the
smoothing changes a little, each row must contain a fair part of a turn, and the points must be close to the beams.

Shapes: N points, K beams.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SMOOTHINGS = tuple(0.015 * 1.2**k for k in range(20))
"""Standard deviations of the smoothing, degrees: from 0.015 to 0.48."""

BIN_DEG = 0.01
EDGES = (-90.0, 90.0)
MORE_HIDDEN = 0.03
"""A hypothesis explains the points if its share of hidden points is at most this much above the least share of all."""

MOST_HIDDEN, LEAST_FILLED, LEAST_IN_A_ROW, LEAST_CROWDED = 0.2, 0.35, 0.08, 0.72
"""Limits of `hidden`, `filled`, `in_a_row` and `crowded` in `Beams`, beyond which the number of beams is in doubt."""

PLAIN = 0.9
"""If at least this share of the points is in the middle half of their band, the beams are plain: no other checks."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Beams:
    """A hypothesis about the beams.

    Args:
        inclinations_deg: (K,) inclinations from the top down, degrees.
        columns: number of columns of a full turn.
        hidden: share of the points that another point of their pixel hides.
        filled: number of points divided by the number of pixels.
        in_a_row: number of points in a row (10 % quantile over the rows) divided by the number of columns.
        crowded: share of the points in the middle half of their beam's band; about 0.5 by chance.
        stable: the next weaker or the next stronger smoothing gives the same number of beams.
    """

    inclinations_deg: Floats
    columns: int
    hidden: float
    filled: float
    in_a_row: float
    crowded: float
    stable: bool = True

    @property
    def doubts(self) -> list[str]:
        """Reasons to doubt the number of beams; empty if there are none, or if the beams are plainly apart."""
        count, found = len(self.inclinations_deg), []
        if self.crowded >= PLAIN:
            return []
        if self.hidden > MOST_HIDDEN:
            found.append(f"{100 * self.hidden:.0f} % of the points would share a pixel")
        if self.filled < LEAST_FILLED or self.in_a_row < LEAST_IN_A_ROW:
            found.append(
                f"{count} x {self.columns} pixels are too many for these points: {100 * self.filled:.0f} % of the "
                f"pixels are filled, and {100 * self.in_a_row:.0f} % of the pixels in the emptiest rows"
            )
        if self.crowded < LEAST_CROWDED:
            found.append(f"only {100 * self.crowded:.0f} % of the points are near a beam (50 % is chance)")
        if not self.stable:
            found.append("another smoothing shows another number")
        return found


def judged(inclination: Floats, azimuth: Floats, beams: Floats) -> Beams:
    """Judge beams by the points.

    Args:
        inclination: (N,) degrees, of returns that are not on the vehicle.
        azimuth: (N,) degrees.
        beams: (K,) inclinations from the top down, degrees.
    """
    row = np.searchsorted(-(beams[1:] + beams[:-1]) / 2, -inclination)
    columns = max(1, round(360 / usual_step(row, azimuth)))
    column = ((azimuth + 180) / 360 * columns).astype(np.int64)
    gap = -np.diff(beams)
    above, below = np.append(gap[0], gap)[row], np.append(gap, gap[-1])[row]
    off = inclination - beams[row]
    points = np.bincount(row, minlength=len(beams))
    return Beams(
        inclinations_deg=beams,
        columns=columns,
        hidden=1 - len(np.unique(row * (columns + 1) + column)) / len(row),
        filled=len(row) / (len(beams) * columns),
        in_a_row=float(np.quantile(points, 0.1)) / columns,
        crowded=float(np.mean(np.abs(off) < np.where(off > 0, above, below) / 4)),
    )


def usual_step(row: NDArray[np.integer], azimuth: Floats) -> float:
    """The median step of azimuth between neighbouring points of a row, degrees; 360 if there are no steps."""
    order = np.lexsort((azimuth, row))
    step, same = np.diff(azimuth[order]), np.diff(row[order]) == 0
    step = step[same & (step > 0.02)]
    return float(np.median(step)) if len(step) else 360.0


def hypotheses(inclination: Floats, azimuth: Floats, most: int) -> list[Beams]:
    """The beams that each smoothing shows, from many to few; only hypotheses of 4 to `most` beams."""
    found: list[Beams] = []
    peaks = [find_peaks(inclination, smoothing) for smoothing in SMOOTHINGS]
    for k, beams in enumerate(peaks):
        if 4 <= len(beams) <= most:
            beside = [len(peaks[j]) for j in (k - 1, k + 1) if 0 <= j < len(peaks)]
            near = len(beams) in beside
            one = judged(inclination, azimuth, beams)
            found.append(Beams(**{**vars(one), "stable": near}))
    return found


def simplest(found: list[Beams], rows: int | None = None) -> Beams | None:
    """The hypothesis with the fewest beams that explains the points; None if there is no hypothesis.

    Numbers of beams that several smoothings show are preferred.

    Args:
        found: result of `hypotheses`.
        rows: number of beams that the hypothesis must have; None for any.
    """
    if rows is not None:
        found = [one for one in found if len(one.inclinations_deg) == rows]
        return max(found, key=lambda one: one.crowded, default=None)
    if not found:
        return None
    enough = min(one.hidden for one in found) + MORE_HIDDEN
    good = [one for one in found if one.hidden <= enough]
    shown = Counter(len(one.inclinations_deg) for one in good)
    several = [one for one in good if shown[len(one.inclinations_deg)] > 1] or good
    return min(several, key=lambda one: (len(one.inclinations_deg), -one.stable, -one.crowded))


def find_peaks(inclination: Floats, smoothing: float) -> Floats:
    """(K,) peaks of the smoothed histogram, degrees, from the top down; peaks much lower than most are left out.

    Args:
        inclination: (N,) degrees.
        smoothing: standard deviation, degrees.
    """
    edges = np.arange(EDGES[0], EDGES[1] + BIN_DEG / 2, BIN_DEG)
    half = int(np.ceil(3 * smoothing / BIN_DEG))
    bell = np.exp(-0.5 * (np.arange(-half, half + 1) * BIN_DEG / smoothing) ** 2)
    count = np.convolve(np.histogram(inclination, edges)[0], bell / bell.sum(), "same")
    count = count + 1e-9 * np.arange(len(count))  # so that a plateau has one peak
    tops = np.flatnonzero((count[1:-1] > count[:-2]) & (count[1:-1] >= count[2:]) & (count[1:-1] > 1e-3)) + 1
    tops = tops[count[tops] > 0.12 * np.median(count[tops])] if len(tops) else tops
    return (edges[tops] + BIN_DEG / 2)[::-1]
