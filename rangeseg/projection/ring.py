"""The ring projection: the file gives the row of each point.

Columns are those of the spherical projection. Shapes: N points, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rangeseg.projection.checks import FirstScanCheck, check_size, rows_of, sides_of
from rangeseg.projection.range_image import RangeImage
from rangeseg.projection.spherical import NO_BEAMS, NO_CELLS, image_of
from rangeseg.types import Scan

LEVEL = (0.1, -0.1)
"""A placeholder for the kernel's field of view; the kernel does not use it if rows are given."""


@dataclass(frozen=True)
class RingProjection:
    """A range image with one row per beam, given by the ring of each point: two beams never share a row.

    Args:
        height: H, the number of rings.
        width: W, columns.
        rows: (H,) row of each ring, for files whose rings are not counted from the topmost beam; empty: row = ring.
        fov_left_deg: azimuth of the left edge, degrees.
        fov_right_deg: azimuth of the right edge, degrees. 180 and -180 are the full turn.

    Raises:
        ValueError: a size that is not positive, rows that are not each of 0..H-1 once, or an empty field of view.
    """

    height: int
    width: int
    rows: tuple[int, ...] = ()
    fov_left_deg: float = 180.0
    fov_right_deg: float = -180.0
    _check: FirstScanCheck = field(default_factory=FirstScanCheck, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_size(self.height, self.width)
        rows_of(self.rows, self.height, "ring")
        sides_of(self.fov_left_deg, self.fov_right_deg)

    @property
    def wrap(self) -> bool:
        """True if the image is a full turn, so that column 0 is next to column W-1."""
        return self.fov_left_deg - self.fov_right_deg == 360

    def __call__(self, scan: Scan) -> RangeImage:
        """Project a scan; pixel conflicts and points without a return are handled as in `SphericalProjection`.

        Args:
            scan: N points with rings.

        Returns:
            The range image, (H, W).

        Raises:
            ValueError: the scan has no rings, a ring that is not a row of the image, or no return.
        """
        image = image_of(
            scan,
            (self.height, self.width),
            LEVEL,
            sides_of(self.fov_left_deg, self.fov_right_deg),
            (self._rows(scan), NO_CELLS, NO_BEAMS),
        )
        return self._check(image, None)

    def _rows(self, scan: Scan) -> NDArray[np.int32]:
        if scan.ring is None:
            raise ValueError(
                "The scan has no rings, but the ring projection needs them. Read a file with the ring of each point, "
                "or use another projection: unfolding (points in firing order), beam, or spherical."
            )
        lowest, highest = int(scan.ring.min()), int(scan.ring.max())
        if lowest < 0 or highest >= self.height:
            raise ValueError(
                f"The scan's rings go from {lowest} to {highest}, but the image has rows 0 to {self.height - 1}. "
                f"Give height: {max(highest + 1, self.height)}, or number the rings from 0."
            )
        ring = scan.ring.astype(np.int32)
        return np.asarray(self.rows, np.int32)[ring] if self.rows else ring
