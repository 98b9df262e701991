"""Estimation of a sensor's geometry from a few scans, and a comparison of projections on them.

Shapes: N points, H rows, W columns.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.projection.beam import level
from rangeseg.projection.fit_rows import Rows, angles, find_rows
from rangeseg.projection.sensor import projection_of
from rangeseg.sensors import KINDS, SensorModel
from rangeseg.types import Scan

WIDTH_STEP = 64
"""Widths are rounded up to a multiple of this number of columns, so that the strides of networks divide them."""

REGULAR, MOSTLY = 0.35, 0.52
"""A step of azimuth is regular if it differs from the median step by less than the share `REGULAR`. At least the share
`MOSTLY` of the steps of a rotating sensor is regular."""

BLIND_DEG = 30.0
"""An empty sector this wide is the end of the horizontal field of view."""


@dataclass(frozen=True)
class ProjectionStats:
    """Counts of what a projection preserves of some scans, summed over the scans.

    Args:
        returns: points that are returns.
        hidden: returns whose pixel shows another point.
        pixels: H W, times the number of scans.
        empty: pixels that show no return.
    """

    returns: int
    hidden: int
    pixels: int
    empty: int


@dataclass(frozen=True)
class SensorFit:
    """The estimated sensor.

    Args:
        model: rows, columns, and the arguments of every projection; its default projection hides the fewest points.
        inclinations_deg: (H,) inclinations of the beams from the top down, degrees.
        columns: number of columns of the horizontal field of view, before rounding up.
        kept: projection -> what it preserves of the scans.
        words: findings, one sentence each.
    """

    model: SensorModel
    inclinations_deg: NDArray[np.float64]
    columns: int
    kept: Mapping[str, ProjectionStats]
    words: tuple[str, ...]


def fit_sensor(
    scans: Sequence[Scan],
    *,
    name: str = "my sensor",
    source: str = "rangeseg fit-sensor",
    rows: int | None = None,
) -> SensorFit:
    """Find rows, beams, fields of view, ring order, columns and firing order of a sensor.

    Args:
        scans: complete scans of one sensor in one frame, in the file's order.
        name: name of the sensor.
        source: where the numbers are from.
        rows: number of beams, for scans from which it is not clear; None to find it.

    Returns:
        The sensor, and what each of its projections preserves of these scans.

    Raises:
        ValueError: no scans, or scans from which the beams or the number of columns are not clear.
    """
    if not scans:
        raise ValueError("No scans to fit a sensor to. Give at least one.")
    found = find_rows(scans, rows)
    surest = found[0]
    height = len(surest.inclinations_deg)
    sides = _sides(scans, surest)
    columns, word = _columns(scans, found, sides, sure=rows is None)
    width = -(-columns // WIDTH_STEP) * WIDTH_STEP
    sections = _sections(found, sides)
    model = SensorModel(name, source, height, width, next(iter(sections)), sections)
    kept = {kind: projection_stats(projection_of(model, projection=kind), scans) for kind in sections}
    best = min(sections, key=lambda kind: (kept[kind].hidden, KINDS.index(kind)))
    words = [word for one in found for word in one.words]
    full = "a full turn" if not sides else f"azimuth {sides['fov_left_deg']} to {sides['fov_right_deg']} degrees"
    words += [word, _blocks(surest.inclinations_deg), f"Horizontal field of view: {full}."]
    model = SensorModel(name, source, height, width, best, sections)
    return SensorFit(model, surest.inclinations_deg, columns, kept, tuple(words))


def projection_stats(projection: Any, scans: Sequence[Scan]) -> ProjectionStats:
    """Count what a projection preserves of scans.

    Args:
        projection: scan -> range image.
        scans: the scans to project.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the counts show a misfit already
        images = [projection(scan) for scan in scans]
    return ProjectionStats(
        returns=sum(len(image.scan) - image.no_return_count for image in images),
        hidden=sum(int(image.hidden.sum()) for image in images),
        pixels=sum(image.point_index.size for image in images),
        empty=sum(int((~image.valid).sum()) for image in images),
    )


def _sections(found: Sequence[Rows], sides: dict[str, float]) -> dict[str, dict[str, Any]]:
    """Arguments of each projection, the most reliable projection first."""
    beams = found[0].inclinations_deg
    gap = (beams[0] - beams[-1]) / max(1, len(beams) - 1) / 2
    sections: dict[str, dict[str, Any]] = {}
    for rows in found:
        takes_sides = rows.how in ("ring", "beam")
        blind = {"wrap": False} if sides and rows.how == "organised" else {}
        sections[rows.how] = {**rows.extra, **blind, **(sides if takes_sides else {})}
    if sides:
        sections.pop("unfolding", None)
    beam = {"inclinations_deg": [round(float(beam), 3) for beam in beams]} | sides
    if found[0].frame is not None:
        values = found[0].frame.values
        beam["origin_m"] = [round(float(v), 3) for v in values[:3]]
        beam["tilt_deg"] = [round(float(v), 3) for v in np.degrees(values[3:5])]
    sections["beam"] = beam
    up, down = min(90.0, float(beams[0] + gap)), max(-90.0, float(beams[-1] - gap))
    sections["spherical"] = {"fov_up_deg": round(up, 2), "fov_down_deg": round(down, 2)} | sides
    return sections


def _columns(
    scans: Sequence[Scan], found: Sequence[Rows], sides: Mapping[str, float], *, sure: bool
) -> tuple[int, str]:
    """The number of columns between the sides, and a sentence about it.

    It comes from the order of the points, or from the median azimuth step in a row.

    Raises:
        ValueError: `sure` is True, and the steps are as irregular as in a scan with points left out at random.
    """
    if found[0].how == "organised":
        columns = max(len(scan) for scan in scans) // len(found[0].inclinations_deg)
        return columns, f"A scan has {columns} columns, counted."
    steps = []
    for k, scan in enumerate(scans):
        azimuth, inclination, metres = angles(scan)
        if found[0].row:
            row = found[0].row[k]
        else:
            row, azimuth = _nearest(scan, found[0])
        kept = ~np.isnan(metres) & ~np.isnan(inclination)
        order = np.lexsort((azimuth[kept], row[kept]))
        gaps, same = np.diff(azimuth[kept][order]), np.diff(row[kept][order]) == 0
        steps.append(gaps[same & (gaps > 0.02)])
    step = np.concatenate(steps)
    usual = float(np.median(step))
    regular = float(np.mean(np.abs(step / usual - 1) < REGULAR))
    if sure and regular < MOSTLY:
        raise ValueError(
            f"The number of columns cannot be found from these scans: only {100 * regular:.0f} % of the azimuth steps "
            "are close to the median step, as in thinned or merged scans. Give complete scans; or give --rows N to use "
            "these anyway, and take the width from the sensor's data sheet."
        )
    columns = round((sides["fov_left_deg"] - sides["fov_right_deg"] if sides else 360) / usual)
    return columns, f"The median azimuth step is {usual:.3f} degrees: {columns} columns."


def _nearest(scan: Scan, rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(N,) nearest beam and (N,) azimuth of each point, degrees, in the sensor's frame."""
    if rows.frame is not None:
        values = rows.frame.values
        scan = Scan(level(scan.xyz, tuple(values[:3]), tuple(np.degrees(values[3:5]))), scan.remission)
    azimuth, inclination, _ = angles(scan)
    borders = -(rows.inclinations_deg[1:] + rows.inclinations_deg[:-1]) / 2
    return np.searchsorted(borders, -inclination), azimuth


def _sides(scans: Sequence[Scan], rows: Rows) -> dict[str, float]:
    """Both edges of the horizontal field of view, degrees; empty for a full turn."""
    azimuth = np.concatenate([_nearest(scan, rows)[1] for scan in scans])
    metres = np.concatenate([angles(scan)[2] for scan in scans])
    azimuth = np.sort(azimuth[metres > 0.5])
    gaps = np.diff(np.append(azimuth, azimuth[0] + 360))
    widest = int(gaps.argmax())
    if gaps[widest] < BLIND_DEG:
        return {}
    right, left = azimuth[(widest + 1) % len(azimuth)], azimuth[widest]
    left = left + 360 if left < right else left
    return {"fov_left_deg": round(float(left) + 0.05, 1), "fov_right_deg": round(float(right) - 0.05, 1)}


def _blocks(beams: NDArray[np.float64]) -> str:
    """A sentence about the beams' range and spacing, and about the two blocks if there are two."""
    spacing = -np.diff(beams)
    text = f"Beams from {beams[0]:.2f} to {beams[-1]:.2f} degrees, {spacing.min():.2f} to {spacing.max():.2f} apart"
    border = split_of(beams)
    if border is None:
        return f"{text}."
    upper, lower = np.median(spacing[: border - 1]), np.median(spacing[border:])
    return (
        f"{text}: the upper {border} beams are {upper:.2f} degrees apart, the lower {len(beams) - border} are "
        f"{lower:.2f} degrees apart."
    )


def split_of(beams: NDArray[np.float64]) -> int | None:
    """Number of beams in the upper of two evenly spaced blocks; None if two blocks do not fit much better than one.

    Args:
        beams: (H,) inclinations from the top down, degrees.
    """
    if len(beams) < 12:
        return None

    spacing = -np.diff(beams)

    def misfit(part: NDArray[np.float64]) -> float:
        return float(np.abs(part - np.median(part)).sum())

    splits = range(5, len(beams) - 4)
    misfits = [misfit(spacing[: k - 1]) + misfit(spacing[k:]) for k in splits]
    best = splits[len(misfits) - 1 - int(np.argmin(misfits[::-1]))]  # the blocks may be either spacing apart
    upper, lower = np.median(spacing[: best - 1]), np.median(spacing[best:])
    return best if abs(upper - lower) > 0.2 * max(upper, lower) and min(misfits) < 0.75 * misfit(spacing) else None
