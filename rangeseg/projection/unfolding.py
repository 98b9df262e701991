"""Scan unfolding: rows from the firing order of a file that lists one beam after another.

Columns are those of the spherical projection. Shapes: N points, H rows, W columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rangeseg.kernels.unfolding import find_seam, unfold_rows
from rangeseg.projection.checks import FirstScanCheck, check_size
from rangeseg.projection.range_image import RangeImage
from rangeseg.projection.ring import LEVEL
from rangeseg.projection.spherical import NO_BEAMS, NO_CELLS, image_of
from rangeseg.types import Scan


@dataclass(frozen=True)
class ScanUnfolding:
    """A range image with one row per turn of a file that lists one beam after another, as KITTI's files do.

    A row begins where the azimuth passes the seam: a point in the first fifth of the turn follows one in its last.
    The seam lies between the scan's last and first return, where inclinations jump from beam to beam, and the sense of
    rotation is that of its points, so that a turned or mirrored scan keeps its rows. The points' order is what is read
    here: a shuffled scan is another scan.

    Args:
        height: H; points of later turns go to the last row.
        width: W, columns around the full turn.

    Raises:
        ValueError: a size that is not positive.

    Source:
        KPRNet (Kochanov et al., 2020) and the unfolding by Triess et al. (IV 2020).
    """

    height: int
    width: int
    _check: FirstScanCheck = field(default_factory=FirstScanCheck, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_size(self.height, self.width)

    @property
    def wrap(self) -> bool:
        """Column 0 touches column W-1: the image is a full turn."""
        return True

    def __call__(self, scan: Scan) -> RangeImage:
        """Project a scan; pixel conflicts and points without a return are handled as in `SphericalProjection`.

        Args:
            scan: N points in firing order.

        Returns:
            The range image, (H, W).

        Raises:
            ValueError: no point of the scan is a return.
        """
        row, found = unfolded(scan)
        if found > self.height:
            np.minimum(row, self.height - 1, out=row)
        image = image_of(scan, (self.height, self.width), LEVEL, (0.0, 2 * math.pi), (row, NO_CELLS, NO_BEAMS))
        return self._check(image, None, rows_found=found)


def unfolded(scan: Scan) -> tuple[NDArray[np.int32], int]:
    """Which turn each point was measured in.

    Args:
        scan: N points in firing order.

    Returns:
        (N,) int32 from 0, and how many turns there are.
    """
    xyz = np.ascontiguousarray(scan.xyz, np.float32)
    first, last = _first_return(xyz), _first_return(xyz[::-1])
    sense = turning_sense(xyz)
    gap = sense * (first - last) % (2 * math.pi)  # from the last point on to the first
    seam = find_seam(xyz, last, gap, sense)
    return unfold_rows(xyz, (math.cos(seam), math.sin(seam)), sense)


def turning_sense(xyz: NDArray[np.float32], points: int = 4096) -> float:
    """1.0 where the azimuth grows from most points to the next, -1.0 where it falls.

    Args:
        xyz: (N, 3) metres, in firing order.
        points: how many of them, from the end of the scan, which is on the ground, are looked at.
    """
    x, y = xyz[-points:, 0].astype(np.float64), xyz[-points:, 1].astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        cross = x[:-1] * y[1:] - y[:-1] * x[1:]
    return 1.0 if np.count_nonzero(cross > 0) >= np.count_nonzero(cross < 0) else -1.0


def _first_return(xyz: NDArray[np.float32]) -> float:
    """Azimuth of the first return, radians; 0 where there is none."""
    for start in range(0, len(xyz), 256):
        block = xyz[start : start + 256]
        returns = np.flatnonzero(np.isfinite(block).all(axis=1) & (block != 0).any(axis=1))
        if len(returns):
            return math.atan2(float(block[returns[0], 1]), float(block[returns[0], 0]))
    return 0.0
