"""Speed of the projections, interleaved on the same scans."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rangeseg.benchmark.timing import compare
from rangeseg.types import Scan


def points_per_ms(projections: Mapping[str, Any], scans: Sequence[Scan]) -> dict[str, float]:
    """Number of points that one thread projects in a millisecond, by the fastest of ten rounds.

    Args:
        projections: name -> projection (scan -> range image); each must accept these scans.
        scans: the scans to project.
    """

    def through(projection: Any) -> Callable[[], None]:
        def run() -> None:
            for scan in scans:
                projection(scan)

        return run

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the caller's table shows a misfit already
        times = compare({name: through(projection) for name, projection in projections.items()}, repeats=10).timings
    points = sum(len(scan) for scan in scans)
    return {name: points / timing.min_ms for name, timing in times.items()}
