"""The spherical projection: azimuth -> column, inclination -> row.

    col = floor(W * (1 - azimuth / pi) / 2)                                azimuth     = atan2(y, x)
    row = floor(H * (1 - (inclination - fov_down) / (fov_up - fov_down)))  inclination = asin(z / range)

Column W/2 is straight ahead (+x), W/4 to the left (+y); the seam is behind. Row 0 is the top. Both are clamped to the
image. For less than a full turn: col = floor(W * (1/2 - (azimuth - middle) / (fov_left - fov_right))).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rangeseg.kernels.projection import project_points
from rangeseg.projection.checks import FirstScanCheck, check_size, sides_of
from rangeseg.projection.range_image import RangeImage
from rangeseg.types import Scan

NO_GIVEN, NO_CELLS, NO_BEAMS = np.empty(0, np.int32), np.empty(0, np.int16), np.empty(0, np.float64)
"""Empty arguments of `project_points` for rows evenly spaced in inclination: no given rows, no cells, no beams."""


@dataclass(frozen=True)
class SphericalProjection:
    """A range image with rows evenly spaced in inclination.

    Args:
        height: H, rows.
        width: W, columns.
        fov_up_deg: inclination of the image's upper edge, degrees, positive upwards.
        fov_down_deg: inclination of its lower edge, degrees; negative below the horizon.
        fov_left_deg: azimuth of the image's left edge, degrees, positive to the left of straight ahead.
        fov_right_deg: azimuth of its right edge, degrees; negative to the right. 180 and -180 are the full turn.

    Raises:
        ValueError: a size that is not positive, or a field of view that is empty, goes beyond +-90 degrees of
            inclination, or is more than a full turn.

    Source:
        RangeNet++ (Milioto et al., IROS 2019), eq. 1, with the field of view signed, in float64.
    """

    height: int
    width: int
    fov_up_deg: float
    fov_down_deg: float
    fov_left_deg: float = 180.0
    fov_right_deg: float = -180.0
    _check: FirstScanCheck = field(default_factory=FirstScanCheck, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_size(self.height, self.width)
        sides_of(self.fov_left_deg, self.fov_right_deg)
        if not -90 <= self.fov_down_deg < self.fov_up_deg <= 90:
            raise ValueError(
                f"Field of view from {self.fov_down_deg} up to {self.fov_up_deg} degrees; "
                "give -90 <= fov_down_deg < fov_up_deg <= 90 (degrees below the horizon are negative)."
            )

    @property
    def wrap(self) -> bool:
        """True if the image is a full turn, so that column 0 is next to column W-1."""
        return self.fov_left_deg - self.fov_right_deg == 360

    def __call__(self, scan: Scan) -> RangeImage:
        """Project a scan; a pixel shows its nearest point, and the lowest index among equal (float32) ranges.

        Points beyond the field of view go to the border rows and columns. A point with a range of 0 or a non-finite
        range is not a return: it gets row and column -1 and range 0.

        Args:
            scan: N points.

        Returns:
            The range image, (H, W).

        Raises:
            ValueError: no point of the scan is a return.
        """
        fov = (math.radians(self.fov_up_deg), math.radians(self.fov_down_deg))
        sides = sides_of(self.fov_left_deg, self.fov_right_deg)
        image = image_of(scan, (self.height, self.width), fov, sides, (NO_GIVEN, NO_CELLS, NO_BEAMS))
        return self._check(image, fov)


def image_of(
    scan: Scan,
    shape: tuple[int, int],
    fov: tuple[float, float],
    sides: tuple[float, float],
    rows: tuple[NDArray, NDArray, NDArray],
) -> RangeImage:
    """Project a scan with `project_points`, where the arguments are described.

    Raises:
        ValueError: no point of the scan is a return.
    """
    xyz = np.ascontiguousarray(scan.xyz, np.float32)
    return checked_image(scan, *project_points(xyz, shape, fov, sides, rows))


def checked_image(scan: Scan, row: NDArray, col: NDArray, metres: NDArray, point_index: NDArray) -> RangeImage:
    """Make a range image from a kernel's results.

    Raises:
        ValueError: no point of the scan is a return.
    """
    if (row < 0).all():
        raise ValueError(
            f"None of the scan's {len(scan)} points is a return (all are non-finite or at the origin); "
            "check the file's format, or leave the scan out."
        )
    return RangeImage(scan, row, col, metres, point_index)
