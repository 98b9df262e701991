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
    The seam lies between the azimuths of the scan's last and first return, where inclinations jump from beam to beam.
    Seam and sense of rotation are found from the points, so that a turned or mirrored scan keeps its rows. The rows
    depend on the order of the points: a shuffled scan gets other rows.

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
        """True: the image is a full turn, so that column 0 is next to column W-1."""
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
    """The turn in which each point was measured.

    Args:
        scan: N points in firing order.

    Returns:
        (N,) int32 turn of each point, from 0, and the number of turns.
    """
    xyz = np.ascontiguousarray(scan.xyz, np.float32)
    first, last = _first_return(xyz), _first_return(xyz[::-1])
    sense = turning_sense(xyz)
    gap = sense * (first - last) % (2 * math.pi)  # azimuth from the last return on to the first
    seam = find_seam(xyz, last, gap, sense)
    return unfold_rows(xyz, (math.cos(seam), math.sin(seam)), sense)


def turning_sense(xyz: NDArray[np.float32]) -> float:
    """1.0 if the azimuth grows from most points to the next, -1.0 if it falls.

    Args:
        xyz: (N, 3) metres, in firing order. Only points at the end of the scan, which is on the ground, are used.
    """
    x, y = xyz[-4096:, 0].astype(np.float64), xyz[-4096:, 1].astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        cross = x[:-1] * y[1:] - y[:-1] * x[1:]
    return 1.0 if np.count_nonzero(cross > 0) >= np.count_nonzero(cross < 0) else -1.0


def _first_return(xyz: NDArray[np.float32]) -> float:
    """Azimuth of the first return, radians; 0 if there is none."""
    for start in range(0, len(xyz), 256):
        block = xyz[start : start + 256]
        returns = np.flatnonzero(np.isfinite(block).all(axis=1) & (block != 0).any(axis=1))
        if len(returns):
            return math.atan2(float(block[returns[0], 1]), float(block[returns[0], 0]))
    return 0.0
