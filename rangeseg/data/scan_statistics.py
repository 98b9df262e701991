"""Range, remission, height and filled pixels of a run's training scans, and a comparison of other scans with them.

A scan in another unit or frame, or with another scale of intensity, is labelled without an error; the comparison
reports it.
Shapes: N points.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from rangeseg.projection.range_image import RangeImage
from rangeseg.scan_formats.checks import ENOUGH_POINTS
from rangeseg.types import Scan

MOST_SCANS = 16
"""Maximum number of scans of a training set that are measured, evenly spaced."""

FACTOR = 2.5
"""Factor by which a scan may be below the least or above the largest value of the training scans. KITTI's own scans, of
30 places, differ by a factor of at most 2.3 in range and 1.8 in remission; PandaSet's remission is lower than the
lowest of these by a factor of 2.6."""

ASIDE = 0.2
"""How far the share of a scan's returns that are below the sensor may be outside that of the training scans. It is 0.72
to 0.92 in the streets of KITTI, PandaSet and nuScenes, 0.08 to 0.28 if z points down, and 0.04 to 0.39 if z counts from
the road."""


def measure(images: Iterable[RangeImage]) -> dict[str, Any]:
    """Statistics of some scans and their range images, as plain numbers for a checkpoint.

    Args:
        images: at least one.

    Returns:
        `scans`: their number. `range_m`, `remission`, `below` and `filled`: [least, largest] value of a scan, where the
        values are the median range in metres, the mean remission, the share of the returns that are below the sensor,
        and the share of pixels with a point.
    """
    numbers = np.array([[*_numbers(image.scan), image.valid.mean()] for image in images])
    names = ("range_m", "remission", "below", "filled")
    low, high = numbers.min(axis=0).tolist(), numbers.max(axis=0).tolist()
    return {"scans": len(numbers)} | {name: [low[k], high[k]] for k, name in enumerate(names)}


def filled_enough(statistics: Mapping[str, Any]) -> float:
    """The least share of filled pixels of a training image; 1 if unknown.

    Args:
        statistics: result of `measure`; checkpoints of earlier versions have no `filled`.
    """
    least: float = statistics.get("filled", [1.0])[0]
    return least


def with_augmentation(statistics: dict[str, Any], drop_remission: float, gain: Sequence[float]) -> dict[str, Any]:
    """The statistics of the scans after the augmentation of their remission.

    Args:
        statistics: result of `measure`.
        drop_remission: probability that a scan's remissions become 0.
        gain: (low, high) of the factor on a scan's remissions.
    """
    low, high = statistics["remission"]
    return statistics | {"remission": [0.0 if drop_remission else low * gain[0], high * gain[1]]}


def unlike(scan: Scan, statistics: Mapping[str, Any], channels: Sequence[str]) -> list[str]:
    """The differences between a scan and the training scans of a run, one sentence each.

    Args:
        scan: N points; below `ENOUGH_POINTS`, no differences are reported.
        statistics: result of `measure`; checkpoints of earlier versions have no `below`.
        channels: input channels of the network.
    """
    if len(scan) < ENOUGH_POINTS:
        return []
    found = []
    metres, remission, below = _numbers(scan)
    low, high = statistics["range_m"]
    if not low / FACTOR <= metres <= high * FACTOR:
        found.append(
            f"its median range is {metres:.3g} m, but {low:.3g} to {high:.3g} m in the training scans; check that it "
            "is in metres and in the sensor's frame."
        )
    low, high = statistics["remission"]
    if "remission" in channels and not low / FACTOR <= remission <= high * FACTOR:
        found.append(
            f"its mean remission is {remission:.3g}, but {low:.3g} to {high:.3g} in the training scans; if its scale "
            "differs, give it with --fields remission=NAME/SCALE."
        )
    low, high = statistics.get("below", (0.0, 1.0))
    if not low - ASIDE <= below <= high + ASIDE:
        found.append(
            f"{100 * below:.0f} % of its returns are below the sensor, but {100 * low:.0f} to {100 * high:.0f} % in "
            "the training scans; check that z points up and that the origin is at the sensor."
        )
    return found


def _numbers(scan: Scan) -> tuple[float, float, float]:
    """The median range and the mean remission of the returns, and the share of them that are below the sensor."""
    every = max(1, len(scan) // 20_000)
    x, y, z = scan.xyz[::every].T.copy()
    with np.errstate(over="ignore", invalid="ignore"):
        squares = x * x + y * y + z * z
    returns = (squares > 0) & (squares < np.inf)
    if not returns.any():
        return 0.0, 0.0, 0.0
    remission = scan.remission[::every][returns]
    middle = float(np.sqrt(np.median(squares[returns])))
    return middle, float(remission.mean(dtype=np.float64)), float((z[returns] < 0).mean())
