"""The spherical projection: azimuth -> column, inclination -> row.

    col = floor(W * (1 - azimuth / pi) / 2)                                azimuth     = atan2(y, x)
    row = floor(H * (1 - (inclination - fov_down) / (fov_up - fov_down)))  inclination = asin(z / range)

Column W/2 looks ahead (+x), W/4 to the left (+y); the seam is behind. Row 0 is the top. Both are clamped to the image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rangeseg.projection.kernels import project_points
from rangeseg.projection.range_image import RangeImage
from rangeseg.types import Scan


@dataclass(frozen=True)
class SphericalProjection:
    """A range image with rows evenly spaced in inclination.

    Args:
        height: H, rows.
        width: W, columns around the full turn.
        fov_up_deg: inclination of the image's upper edge, degrees, positive upwards.
        fov_down_deg: inclination of its lower edge, degrees; negative below the horizon.

    Raises:
        ValueError: a size that is not positive, or a field of view that is empty or beyond the vertical.

    Source:
        RangeNet++ (Milioto et al., IROS 2019), eq. 1, with the field of view signed, in float64.
    """

    height: int
    width: int
    fov_up_deg: float
    fov_down_deg: float

    def __post_init__(self) -> None:
        if self.height <= 0 or self.width <= 0:
            raise ValueError(f"Range image of {self.height} x {self.width} pixels; give a positive height and width.")
        if not -90 <= self.fov_down_deg < self.fov_up_deg <= 90:
            raise ValueError(
                f"Field of view from {self.fov_down_deg} up to {self.fov_up_deg} degrees; "
                "give -90 <= fov_down_deg < fov_up_deg <= 90 (degrees below the horizon are negative)."
            )

    @property
    def wrap(self) -> bool:
        """Column 0 touches column W-1: the image is a full turn."""
        return True

    def __call__(self, scan: Scan) -> RangeImage:
        """Project a scan; the nearest point wins a pixel, the lower index among equal (float32) ranges.

        Points beyond the vertical field of view go to the border rows. A point whose range is 0 or not finite is no
        return: it has row and column -1 and range 0.

        Args:
            scan: N points.

        Returns:
            The range image, (H, W).

        Raises:
            ValueError: no point of the scan is a return.
        """
        fov = (math.radians(self.fov_up_deg), math.radians(self.fov_down_deg))
        row, col, metres, point_index = project_points(
            np.ascontiguousarray(scan.xyz, np.float32), (self.height, self.width), fov
        )
        if (row < 0).all():
            raise ValueError(
                f"None of the scan's {len(scan)} points is a return (all are non-finite or at the origin); "
                "check the file's format, or leave the scan out."
            )
        return RangeImage(scan, row, col, metres, point_index)
