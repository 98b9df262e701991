"""Organised clouds: the order of the points gives the pixels directly.

Shapes: N = H * columns points, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from rangeseg.kernels.unfolding import place_points
from rangeseg.projection.checks import FirstScanCheck, check_size, rows_of
from rangeseg.projection.range_image import RangeImage
from rangeseg.projection.spherical import checked_image
from rangeseg.types import Scan


@dataclass(frozen=True)
class OrganisedProjection:
    """A range image from a scan with one point per pixel, including points without a return.

    No two points share a pixel unless the image is narrower than the scan. Pixels depend only on the order of the
    points: in a scan that is turned or mirrored, each point keeps its pixel.

    Args:
        height: H, rows of the scan.
        width: W, columns of the image; the scan may have any number of columns, they are spread over W.
        order: "column" if the scan lists its points column after column (all beams fire at a time), "row" if it lists
            them row after row.
        rows: (H,) row of the image for each row of the scan; empty: the same row.
        shift: by how many of the scan's columns each of its rows is rolled to the right: (H,) for beams with different
            azimuths (Ouster), (1,) for the same shift of all rows, empty for none.
        wrap: True if the scan is a full turn, so that column 0 is next to column W-1.

    Raises:
        ValueError: a size that is not positive, rows that are not each of 0..H-1 once, an unknown order, or a number of
            shifts other than 0, 1 or H.
    """

    height: int
    width: int
    order: Literal["column", "row"] = "column"
    rows: tuple[int, ...] = ()
    shift: tuple[int, ...] = ()
    wrap: bool = True
    _check: FirstScanCheck = field(default_factory=FirstScanCheck, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_size(self.height, self.width)
        rows_of(self.rows, self.height, "row of the scan")
        if self.order not in ("column", "row"):
            raise ValueError(f"order is {self.order!r}; give column or row.")
        if len(self.shift) not in (0, 1, self.height):
            raise ValueError(
                f"shift has {len(self.shift)} values; give {self.height} values, one per row, or one value for all "
                "rows."
            )

    def __call__(self, scan: Scan) -> RangeImage:
        """Place the points of a scan; conflicts and points without a return are handled as in `SphericalProjection`.

        Args:
            scan: H * columns points.

        Returns:
            The range image, (H, W).

        Raises:
            ValueError: the number of points is not a multiple of H, or no point is a return.
        """
        if len(scan) % self.height:
            raise ValueError(
                f"The scan has {len(scan)} points, not a multiple of {self.height} rows, so it is not an organised "
                "scan. Keep points without a return and drop no points (augmentation.drop: 0), or use beam, ring "
                "or spherical."
            )
        columns = len(scan) // self.height
        shift = np.asarray(self.shift or (0,), np.int64) % columns
        order = (rows_of(self.rows, self.height, "row"), np.ascontiguousarray(np.broadcast_to(shift, self.height)))
        xyz = np.ascontiguousarray(scan.xyz, np.float32)
        image = checked_image(
            scan, *place_points(xyz, (self.height, self.width), columns, self.order == "column", order)
        )
        return self._check(image, None)
