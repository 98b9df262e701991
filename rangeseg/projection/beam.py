"""Projection by a table of beams: the row of a point is the beam nearest to its inclination.

    row = argmin_k |inclination - beam_k|     inclination = asin(z / range), both in the sensor's frame

Columns are those of the spherical projection. Shapes: N points, H beams, W columns, F cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rangeseg.kernels.projection import GUARD_RAD
from rangeseg.kernels.unfolding import level_points
from rangeseg.projection.checks import FirstScanCheck, check_size, sides_of
from rangeseg.projection.range_image import RangeImage
from rangeseg.projection.spherical import NO_GIVEN, image_of
from rangeseg.types import Scan

CELLS = 8192
"""Number of cells of inclination. Most cells lie in the band of one beam, and the beam of their points is looked up; in
the few cells that contain a border between two bands, the beam is computed in float64."""


@dataclass(frozen=True)
class BeamProjection:
    """A range image with one row for each beam of a sensor whose beams are unevenly spaced.

    Args:
        width: W, columns.
        inclinations_deg: (H,) the beams' inclinations from the topmost down, degrees, positive upwards.
        fov_left_deg: azimuth of the left edge, degrees.
        fov_right_deg: azimuth of the right edge, degrees. 180 and -180 are the full turn.
        origin_m: (3,) position of the sensor in the scan's frame, metres, for scans that are not in the sensor's frame.
        tilt_deg: (2,) angles by which the points are turned about x and then about y into the sensor's frame, degrees.

    Raises:
        ValueError: no columns or beams, inclinations that do not decrease or are beyond +-90 degrees, an empty field of
            view, or a wrong number of values in `origin_m` or `tilt_deg`.

    Source:
        The range images of the Waymo Open Dataset are built in this way, from its table of beam inclinations.
    """

    width: int
    inclinations_deg: Sequence[float]
    fov_left_deg: float = 180.0
    fov_right_deg: float = -180.0
    origin_m: Sequence[float] = (0.0, 0.0, 0.0)
    tilt_deg: Sequence[float] = (0.0, 0.0)
    _check: FirstScanCheck = field(default_factory=FirstScanCheck, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_size(len(self.inclinations_deg), self.width)
        sides_of(self.fov_left_deg, self.fov_right_deg)
        beams = np.asarray(self.inclinations_deg, np.float64)
        if not (np.diff(beams) < 0).all() or not (np.abs(beams) <= 90).all():
            raise ValueError(
                f"inclinations_deg goes from {beams[0]} to {beams[-1]} degrees over {len(beams)} beams; give the "
                "inclinations "
                "in decreasing order, from the topmost beam, between -90 and 90."
            )
        if len(self.origin_m) != 3 or len(self.tilt_deg) != 2:
            raise ValueError(
                f"origin_m has {len(self.origin_m)} and tilt_deg {len(self.tilt_deg)} values; give 3 and 2."
            )

    @property
    def height(self) -> int:
        """H, one row per beam."""
        return len(self.inclinations_deg)

    @property
    def wrap(self) -> bool:
        """True if the image is a full turn, so that column 0 is next to column W-1."""
        return self.fov_left_deg - self.fov_right_deg == 360

    @cached_property
    def _table(self) -> tuple[tuple[float, float], NDArray[np.int16], NDArray[np.float64]]:
        """(upper, lower) inclination of the cells' range, (F,) beam of each cell or -1, (H,) beams; radians."""
        beams = np.radians(np.asarray(self.inclinations_deg, np.float64))
        margin = (beams[0] - beams[-1]) / (2 * len(beams)) + 1e-3
        fov = (float(beams[0] + margin), float(beams[-1] - margin))
        edges = np.linspace(fov[0], fov[1], CELLS + 1)
        borders = -(beams[1:] + beams[:-1]) / 2  # grows, as searchsorted needs
        upper = np.searchsorted(borders, -edges[:-1] - 2 * GUARD_RAD)
        lower = np.searchsorted(borders, -edges[1:] + 2 * GUARD_RAD)
        return fov, np.where(upper == lower, upper, -1).astype(np.int16), beams

    def level(self, scan: Scan) -> Scan:
        """The scan in the sensor's frame. It is returned unchanged if `origin_m` and `tilt_deg` are zero."""
        if not any(self.origin_m) and not any(self.tilt_deg):
            return scan
        return replace(scan, xyz=level(scan.xyz, self.origin_m, self.tilt_deg))

    @cached_property
    def centred(self) -> BeamProjection:
        """The same projection for scans that are already in the sensor's frame."""
        return replace(self, origin_m=(0.0, 0.0, 0.0), tilt_deg=(0.0, 0.0))

    def __call__(self, scan: Scan) -> RangeImage:
        """Project a scan; pixel conflicts and points without a return are handled as in `SphericalProjection`.

        Ranges are measured from `origin_m`. The `scan` of the image is in the sensor's frame, `given` in that of the
        file. Points above the topmost beam go to the first row, points below the lowest beam to the last row.

        Args:
            scan: N points.

        Returns:
            The range image, (H, W).

        Raises:
            ValueError: no point of the scan is a return.
        """
        fov, cells, beams = self._table
        sides = sides_of(self.fov_left_deg, self.fov_right_deg)
        image = image_of(self.level(scan), (self.height, self.width), fov, sides, (NO_GIVEN, cells, beams))
        return self._check(replace(image, given=scan), None)


def level(xyz: NDArray[np.float32], origin_m: Sequence[float], tilt_deg: Sequence[float]) -> NDArray[np.float32]:
    """Transform points into the frame of a sensor with another position and tilt; points at the origin stay there.

    Args:
        xyz: (N, 3) metres.
        origin_m: (3,) position of the sensor, metres.
        tilt_deg: (2,) turns about x, then about y, degrees.
    """
    moved = np.empty((len(xyz), 3), np.float32)
    flat = np.ascontiguousarray(xyz, np.float32).reshape(-1)
    level_points(flat, np.asarray(origin_m, np.float32), levelling(*np.radians(tilt_deg)), moved.reshape(-1))
    return moved


def levelling(roll: float, pitch: float) -> NDArray[np.float64]:
    """(3, 3) rotation about x by `roll`, then about y by `pitch`, radians."""
    about_x = np.array([[1, 0, 0], [0, math.cos(roll), -math.sin(roll)], [0, math.sin(roll), math.cos(roll)]])
    about_y = np.array([[math.cos(pitch), 0, math.sin(pitch)], [0, 1, 0], [-math.sin(pitch), 0, math.cos(pitch)]])
    return np.ascontiguousarray(about_y @ about_x)
