"""Checks of projections: their size and field of view, and their fit to the first real scan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rangeseg.notices import notify
from rangeseg.projection.range_image import Expected, RangeImage
from rangeseg.types import Scan

ENOUGH_RETURNS = 10_000
"""Scans with fewer returns are not checked, because they are too small to judge the sensor by."""

NEAR_M = 3.0
"""Points nearer than this are often on the vehicle itself, at inclinations that no beam has."""

LOOKED_AT = 20_000
"""Approximate number of points whose inclinations are compared with the field of view."""

SAME_DEG = 0.01
DOUBLED = 0.15
"""Two directions count as the same within `SAME_DEG`. If more than the share `DOUBLED` of the points have the direction
of another point, the scan has two returns per beam, or its file contains two scans."""

CLAMPED, FILLED, EMPTY_ROWS, EMPTY_COLUMNS = 0.05, 0.35, 0.25, 0.4
"""Limits of the warnings: shares of points beyond the field of view, of filled pixels, of empty rows and columns."""


MOST_PIXELS = 2**26
"""Largest number of pixels of a range image; a sensor of 128 beams and 4096 columns has 2**19."""


def check_size(height: int, width: int) -> None:
    """Refuse an image without pixels, or one that is too large for the memory.

    Raises:
        ValueError: a size that is not positive, or more than `MOST_PIXELS`.
    """
    if height <= 0 or width <= 0:
        raise ValueError(f"Range image of {height} x {width} pixels; give a positive height and width.")
    if height * width > MOST_PIXELS:
        raise ValueError(f"Range image of {height} x {width} pixels; give at most {MOST_PIXELS} in all.")


def sides_of(left_deg: float, right_deg: float) -> tuple[float, float]:
    """The azimuth of the image's middle and the angle that its width covers, radians.

    Args:
        left_deg: azimuth of the left edge, degrees, to the left of straight ahead.
        right_deg: azimuth of the right edge, degrees; negative to the right of straight ahead.

    Raises:
        ValueError: the left edge is not left of the right one, they are more than a full turn apart, or a full turn
            does not go from 180 to -180.
    """
    if not (math.isfinite(left_deg) and math.isfinite(right_deg) and 0 < left_deg - right_deg <= 360):
        raise ValueError(
            f"Horizontal field of view from {left_deg} to {right_deg} degrees; give fov_left_deg > fov_right_deg, "
            "at most 360 degrees apart (to the right is negative; 180 and -180 are the full turn)."
        )
    if left_deg - right_deg == 360:
        if (left_deg, right_deg) != (180, -180):
            raise ValueError(f"A full turn from {left_deg} to {right_deg} degrees; a full turn goes from 180 to -180.")
        return 0.0, 2 * math.pi
    return math.radians((left_deg + right_deg) / 2), math.radians(left_deg - right_deg)


def rows_of(rows: Sequence[int], height: int, what: str) -> np.ndarray:
    """(H,) int64 row of the image for each ring or row of the scan; 0..H-1 if `rows` is empty.

    Args:
        rows: the constructor's argument.
        height: H.
        what: name of what a row belongs to, for the error message.

    Raises:
        ValueError: not each of 0..H-1 once.
    """
    if rows and sorted(rows) != list(range(height)):
        raise ValueError(f"rows names {len(rows)} rows; give each of 0 to {height - 1} once, one for each {what}.")
    return np.asarray(rows or range(height), np.int64)


class FirstScanCheck:
    """Warns once if the first scan with enough points clearly does not fit its projection."""

    def __init__(self) -> None:
        self._done = False

    def __call__(
        self, image: RangeImage, fov: tuple[float, float] | None, *, rows_found: int | None = None
    ) -> RangeImage:
        """Check an image unless an image was checked before.

        Args:
            image: result of the projection.
            fov: inclinations of the image's upper and lower edge, radians; None if the projection does not use them.
            rows_found: number of rows that scan unfolding found; None for other projections.

        Returns:
            The same image, with the `expected` that `misfits` needs.
        """
        image = replace(image, expected=Expected(fov, rows_found))
        if not self._done and len(image.scan) - image.no_return_count >= ENOUGH_RETURNS:
            self._done = True
            if found := misfits(image):
                notify(f"{image.scan.where or 'a scan'}: {' '.join(found)}")
        return image

    def disable(self) -> None:
        """Never warn, because the caller checks every image."""
        self._done = True


def disable_first_scan_check(projection: Any) -> None:
    """Turn off a projection's warning about its first scan, for callers that use `misfits` on each scan.

    Args:
        projection: scan -> range image; one written by a user may have no check.
    """
    for part in vars(projection).values():
        if isinstance(part, FirstScanCheck):
            part.disable()


def misfits(image: RangeImage, filled_enough: float = 1.0) -> list[str]:
    """Sentences on how a scan clearly does not fit its projection; empty if it fits. It takes about a millisecond.

    Args:
        image: of a scan of at least `ENOUGH_RETURNS` returns; a smaller scan is too small to judge.
        filled_enough: if at least this share of the pixels is filled, empty rows and columns are not reported, because
            the network was trained on such images.
    """
    found = _geometry(image)
    if image.valid.mean() < filled_enough:
        found += _empty(image)
    found += ["`rangeseg fit-sensor SCANS` finds the sensor's geometry."] if found else []
    if (share := doubled(image.scan)) > DOUBLED:
        found.append(
            f"{100 * share:.0f} % of its points lie in the direction of another one: two returns a beam, or two scans "
            "in one file. The nearer hides the farther, whose label is a guess. Keep one return a beam."
        )
    return found


def doubled(scan: Scan) -> float:
    """Share of returns with another return in the same direction, in a small sector.

    The sector is the first of ahead, left and behind with enough points; the share is 0 if none has.

    Args:
        scan: N points.
    """
    x, y = scan.xyz[:, 0], scan.xyz[:, 1]
    with np.errstate(invalid="ignore"):
        sectors = (np.flatnonzero(np.abs(b) < 0.1 * a) for a, b in ((x, y), (y, x), (-x, y)))
        sector = next((points for points in sectors if len(points) > ENOUGH_RETURNS // 32), None)
    if sector is None:
        return 0.0
    xyz = scan.xyz[sector].astype(np.float64)
    level = np.hypot(xyz[:, 0], xyz[:, 1])
    angles = np.degrees([np.arctan2(xyz[:, 1], xyz[:, 0]), np.arctan2(xyz[:, 2], level)])
    cells = np.floor((angles[:, np.isfinite(angles).all(axis=0)] + 180) / SAME_DEG).astype(np.int64)
    found = np.sort(cells[0] * 1_000_000 + cells[1])  # np.unique takes three times as long
    return float(np.count_nonzero(found[1:] == found[:-1]) / max(1, len(found)))


def _geometry(image: RangeImage) -> list[str]:
    found = []
    returns = ~image.no_return
    fov, rows_found = image.expected.fov, image.expected.rows_found
    if fov is not None:
        far = np.flatnonzero(returns & (image.range > NEAR_M))
        far = far[:: max(1, len(far) // LOOKED_AT)]
        inclination = np.arcsin(np.clip(image.scan.xyz[far, 2] / image.range[far], -1, 1))
        clamped = np.count_nonzero((inclination > fov[0]) | (inclination < fov[1])) / max(1, len(inclination))
        if clamped > CLAMPED:
            low, high = np.degrees(np.quantile(inclination, [0.001, 0.999]))
            found.append(
                f"{100 * clamped:.0f} % of a scan's points are beyond the field of view of "
                f"{math.degrees(fov[0]):.1f} to {math.degrees(fov[1]):.1f} degrees and were put into the border rows; "
                f"this sensor needs fov_up_deg: {high:.1f} and fov_down_deg: {low:.1f}."
            )
    if rows_found is not None and abs(rows_found - image.height) > image.height // 8:
        found.append(
            f"Unfolding found {rows_found} turns in a scan for an image of {image.height} rows; its points are not in "
            "the order of a beam-by-beam file, or the height is wrong. Use spherical or beam."
        )
    return found


def _empty(image: RangeImage) -> list[str]:
    valid, returns = image.valid, len(image.scan) - image.no_return_count
    filled, empty_rows, empty_columns = (
        float(valid.mean()),
        float((~valid.any(axis=1)).mean()),
        float((~valid.any(axis=0)).mean()),
    )
    start = f"Only {100 * filled:.0f} % of the {image.height} x {image.width} pixels show one of {returns} points:"
    if empty_rows > EMPTY_ROWS:
        return [f"{start} {100 * empty_rows:.0f} % of the rows are empty. Give fewer rows, or a smaller field of view."]
    if empty_columns > EMPTY_COLUMNS:
        return [
            f"{start} {100 * empty_columns:.0f} % of the columns are empty. Give fewer columns, or fov_left_deg and "
            "fov_right_deg of a sensor that sees no full turn."
        ]
    if filled < FILLED:
        return [f"{start} give fewer columns, about {max(1, round(returns / image.height))}."]
    return []
