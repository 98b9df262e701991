"""Estimation of a sensor's position and tilt in the frame of its scans.

In the sensor's frame, the points have only as many inclinations as the sensor has beams. In a frame with another origin
or tilt, these inclinations blur. The search therefore maximises the sharpness of the histogram of inclinations.

Shapes: N points, P = 8 parameters: position x, y, z of the sensor (metres, at the middle of the scan), turns about x
and y (radians), and the distance that the sensor moves during the scan along x, y, z (metres).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rangeseg.projection.beam import levelling

STEPS = np.array([0.1, 0.1, 0.1, 0.004, 0.004, 0.2, 0.2, 0.1])
"""First steps of the search, in each parameter's unit."""

STAGES: tuple[tuple[float, float, tuple[int, ...]], ...] = (
    (25.0, 0.1, (3, 4)),
    (12.0, 0.1, (3, 4, 2)),
    (12.0, 0.06, tuple(range(8))),
    (6.0, 0.05, tuple(range(8))),
    (3.0, 0.03, tuple(range(8))),
)
"""Stages of the search: least range of the points (metres), width of the histogram's bins (degrees), and the parameters
that change. Far points depend almost only on the tilt and come first; near points depend most on the position."""

POINTS = 30_000
EDGES = (-45.0, 45.0)


@dataclass(frozen=True)
class Frame:
    """A sensor's position and tilt, and the sharpness of its beams in that frame.

    Args:
        values: (P,) parameters, see the module.
        sharpness: result of `sharpness` for `inclination`; about 1 if no beams show.
        inclination: (M,) degrees in this frame, of a subset of the points farther than 3 m.
    """

    values: NDArray[np.float64]
    sharpness: float
    inclination: NDArray[np.float64]


def find_frame(xyz: NDArray[np.float32], *, search: bool = True) -> Frame:
    """Find the frame in which the beams are sharpest.

    Args:
        xyz: (N, 3) returns of one scan in the order of measurement, metres.
        search: False: use the scan's frame as the sensor's.
    """
    time = np.linspace(-0.5, 0.5, len(xyz))
    far = np.linalg.norm(xyz, axis=1) > STAGES[-1][0]
    kept = np.flatnonzero(far)[:: max(1, int(far.sum()) // POINTS)]
    points, time = xyz[kept].astype(np.float64), time[kept]
    metres = np.linalg.norm(points, axis=1)
    values = np.zeros(len(STEPS))
    for beyond, bin_deg, moving in STAGES if search else ():
        chosen = metres > beyond
        if chosen.sum() > 500:
            values = _climb(points[chosen], time[chosen], values, bin_deg, moving)
    inclination = _inclination(points, time, values)
    return Frame(values, sharpness(inclination, STAGES[-1][1]), inclination)


def sharpness(inclination: NDArray[np.float64], bin_deg: float) -> float:
    """Mean over the points of local density / density within half a degree of inclination; about 1 if no beams show.

    Args:
        inclination: (N,) degrees.
        bin_deg: width of the histogram's bins, degrees.
    """
    count = np.histogram(inclination, np.arange(*EDGES, bin_deg))[0].astype(np.float64)
    count = np.convolve(count, [0.25, 0.5, 0.25], "same")
    around = np.convolve(count, np.full(round(1 / bin_deg), bin_deg), "same") + 5
    return float((count * count / around).sum() / max(count.sum(), 1.0))


def seen_from(xyz: NDArray[np.float32], values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Inclination and azimuth, degrees, of the points farther than 3 m from a sensor that moves during the scan.

    Args:
        xyz: (N, 3) returns of one scan in the order of measurement, metres.
        values: (P,) parameters of a `Frame`.
    """
    moved = _moved(xyz.astype(np.float64), np.linspace(-0.5, 0.5, len(xyz)), values)
    moved = moved[np.linalg.norm(moved, axis=1) > STAGES[-1][0]]
    inclination = np.degrees(np.arctan2(moved[:, 2], np.hypot(moved[:, 0], moved[:, 1])))
    return inclination, np.degrees(np.arctan2(moved[:, 1], moved[:, 0]))


def _moved(points: NDArray, time: NDArray, values: NDArray) -> NDArray[np.float64]:
    turned: NDArray[np.float64] = (points - values[:3] - time[:, None] * values[5:]) @ levelling(values[3], values[4]).T
    return turned


def _inclination(points: NDArray, time: NDArray, values: NDArray) -> NDArray[np.float64]:
    moved = _moved(points, time, values)
    return np.degrees(np.arctan2(moved[:, 2], np.hypot(moved[:, 0], moved[:, 1])))


def _climb(points: NDArray, time: NDArray, values: NDArray, bin_deg: float, moving: Iterable[int]) -> NDArray:
    """Maximise the sharpness one parameter at a time; steps are halved when no step improves it any more."""

    def score(candidate: NDArray) -> float:
        return sharpness(_inclination(points, time, candidate), bin_deg)

    best, step = score(values), STEPS.copy()
    while step[0] > 0.003:
        improved = False
        for parameter in moving:
            for way in (1.0, -1.0):
                while True:
                    candidate = values.copy()
                    candidate[parameter] += way * step[parameter]
                    reached = score(candidate)
                    if reached <= 1.0001 * best:
                        break
                    values, best, improved = candidate, reached, True
        if not improved:
            step /= 2
    return values
