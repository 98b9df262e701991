"""A spherical projection whose rows fit each scan: from its highest return down to its lowest.

It is for networks that read scans of any sensor. If the sensor is known, its own projection (`{name: sensor}`) is
better.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from rangeseg.projection.checks import FirstScanCheck, check_size, disable_first_scan_check
from rangeseg.projection.range_image import RangeImage
from rangeseg.projection.spherical import SphericalProjection
from rangeseg.types import Scan

STRAY = 5e-4
"""Share of the returns that may lie above the image, and the share below it; these go to the border rows."""

LEAST_DEG = 2.0
"""The smallest vertical field of view, degrees."""


@dataclass(frozen=True)
class FittedProjection:
    """A range image with rows evenly spaced over the inclinations of each scan.

    Args:
        height: H, rows.
        width: W, columns of a full turn.

    Raises:
        ValueError: a size that is not positive.
    """

    height: int
    width: int
    wrap = True
    _check: FirstScanCheck = field(default_factory=FirstScanCheck, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_size(self.height, self.width)

    def __call__(self, scan: Scan) -> RangeImage:
        """Project a scan, as `SphericalProjection` does with the scan's own field of view.

        Args:
            scan: N points.

        Raises:
            ValueError: no point of the scan is a return.
        """
        up, down = field_of_view(scan)
        projection = SphericalProjection(self.height, self.width, up, down)
        disable_first_scan_check(projection)  # it is used for one scan only
        return self._check(projection(scan), (math.radians(up), math.radians(down)))


def field_of_view(scan: Scan) -> tuple[float, float]:
    """The inclinations between which all but a few returns lie, degrees: (up, down).

    Args:
        scan: N points; if none is a return, the result is `LEAST_DEG` around the horizon.
    """
    x, y, z = scan.xyz.T.astype(np.float32, order="C")
    with np.errstate(over="ignore", invalid="ignore"):
        metres = np.sqrt(x * x + y * y + z * z)
    returns = (metres > 0) & (metres < np.inf)
    if not returns.any():
        return LEAST_DEG / 2, -LEAST_DEG / 2
    sines = np.quantile(z[returns] / metres[returns], (STRAY, 1 - STRAY))
    down, up = np.rad2deg(np.arcsin(np.clip(sines, -1, 1)))
    more = max(0.0, LEAST_DEG - (up - down)) / 2
    return float(min(up + more + 0.1, 90)), float(max(down - more - 0.1, -90))
