"""Estimation of the beam of each point from the order of the file, its rings, or the inclinations.

Shapes: N points, H rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.projection.checks import NEAR_M
from rangeseg.projection.fit_beams import Beams, hypotheses, simplest
from rangeseg.projection.fit_frame import Frame, find_frame, seen_from
from rangeseg.projection.unfolding import unfolded
from rangeseg.types import Scan

MOST_ROWS = 256
ONE_WAY = 0.95
"""Least share of the steps of inclination from row to row that go the same way if rows are beams."""
AGAIN = 0.5
"""A step back from a row to the next by more than this share of the vertical field of view shows that a file contains
several scans."""
BLURRED = 1.2
"""If the sharpness of the inclinations is below this, the scan's frame is not the sensor's frame."""


@dataclass(frozen=True)
class Rows:
    """The beam of each point.

    Args:
        how: projection that uses the source of the rows: organised, ring, unfolding or beam.
        row: for each scan, (N,) integers, the row of each point from the top; empty if the rows are known only from the
            inclinations.
        inclinations_deg: (H,) inclinations of the beams from the top down, degrees.
        extra: arguments of the projection `how` besides height and width.
        words: findings, one sentence each.
        frame: the sensor's position and tilt if the scan's frame is not the sensor's frame, else None.
    """

    how: str
    row: tuple[NDArray[np.integer], ...]
    inclinations_deg: NDArray[np.float64]
    extra: dict[str, Any] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    frame: Frame | None = None


def angles(scan: Scan) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(N,) azimuth and inclination, degrees, and range, metres; nan for points without a return."""
    xyz = scan.xyz.astype(np.float64)
    metres = np.sqrt((xyz**2).sum(axis=1))
    metres[~((metres > 0) & np.isfinite(metres))] = np.nan
    inclination = np.degrees(np.arcsin(np.clip(xyz[:, 2] / metres, -1, 1)))
    return np.where(np.isnan(metres), np.nan, np.degrees(np.arctan2(xyz[:, 1], xyz[:, 0]))), inclination, metres


def find_rows(scans: Sequence[Scan], num_rows: int | None = None) -> list[Rows]:
    """The rows by every method that finds them in all scans, the most reliable method first.

    Args:
        scans: scans of one sensor.
        num_rows: required number of rows; None for any.

    Raises:
        ValueError: no method finds rows, or only the inclinations do and leave the number of rows in doubt.
    """
    found = [rows for rows in (_organised(scans), _rings(scans), _turns(scans)) if rows is not None]
    found = [rows for rows in found if num_rows is None or len(rows.inclinations_deg) == num_rows]
    found = found or [rows for rows in (_clusters(scans, num_rows),) if rows is not None]
    if not found:
        raise ValueError(
            "No beams found in these scans, neither from order, rings nor inclinations. Give complete "
            "scans of one rotating sensor in its own frame, in the order of measurement, neither merged nor "
            "downsampled."
        )
    return found


def medians(row: NDArray[np.integer], inclination: NDArray[np.float64], height: int) -> NDArray[np.float64]:
    """(H,) median of the (N,) inclinations of each row; nan for a row without any."""
    order = np.argsort(row, kind="stable")
    pieces = np.split(inclination[order], np.searchsorted(row[order], np.arange(height + 1)))[1:-1]
    return np.array([np.median(piece[~np.isnan(piece)]) if (~np.isnan(piece)).any() else np.nan for piece in pieces])


def _ordered(how: str, lines: Sequence[NDArray], height: int, scans: Sequence[Scan], what: str) -> Rows | None:
    """Rows sorted from the top; None if a row has no points, or the same inclination as another row."""
    line = np.concatenate(lines)
    _, inclination, metres = (np.concatenate(values) for values in zip(*map(angles, scans), strict=True))
    inclination[metres < NEAR_M] = np.nan
    middle = medians(line, inclination, height)
    if how == "ring":
        middle = _filled(middle)
    if np.isnan(middle).any() or len(np.unique(middle.round(4))) < height:
        return None
    row_of_line = np.empty(height, np.int64)
    row_of_line[np.argsort(-middle)] = np.arange(height)
    row = tuple(row_of_line[line] for line in lines)
    down, up = (row_of_line == np.arange(height)).all(), (row_of_line[::-1] == np.arange(height)).all()
    word = "from the top down" if down else "from the bottom up" if up else "out of order"
    extra = {} if down else {"rows": row_of_line.tolist()}
    return Rows(how, row, np.sort(middle)[::-1], extra, (f"{what} {height} rows, {word}.",))


def _filled(middle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fill in the inclinations of rings without a point by the spacing of the others.

    They stay nan if more than half of them are missing, fewer than four are known, or the known ones are not in order.
    """
    known, missing = np.flatnonzero(~np.isnan(middle)), np.isnan(middle)
    if not missing.any() or missing.mean() > 0.5 or len(known) < 4:
        return middle
    spacing = float(np.median(np.diff(middle[known]) / np.diff(known)))
    if (np.sign(np.diff(middle[known])) != np.sign(spacing)).any():
        return middle  # without an order, the place of the missing rings is unknown
    ring = np.arange(len(middle))
    filled = np.interp(ring, known, middle[known])
    filled[ring < known[0]] = middle[known[0]] + spacing * (ring[ring < known[0]] - known[0])
    filled[ring > known[-1]] = middle[known[-1]] + spacing * (ring[ring > known[-1]] - known[-1])
    return filled


def _organised(scans: Sequence[Scan]) -> Rows | None:
    """Rows of scans with a place for every pixel, where inclinations differ less within a row than between rows."""
    lengths = gcd(*(len(scan) for scan in scans))
    heights = [h for h in range(4, MOST_ROWS + 1) if lengths % h == 0 and len(scans[0]) // h > h]
    _, inclination, metres = angles(scans[0])
    inclination[metres < NEAR_M] = np.nan
    fitting = [(h, order) for h in heights for order in ("column", "row") if _is_table(inclination, h, order)]
    if not fitting:
        return None
    height, order = max(fitting)  # the largest, because half the rows may fit, too, if some beams never return
    lines = [_lines(len(scan), height, order) for scan in scans]
    rows = _ordered(
        "organised", lines, height, scans, f"The points come {order} by {order}, with a place for every pixel:"
    )
    return None if rows is None else _with_shift(rows, scans, height, order)


def _lines(points: int, height: int, order: str) -> NDArray[np.int64]:
    return np.arange(points) % height if order == "column" else np.arange(points) // (points // height)


def _is_table(inclination: NDArray, height: int, order: str) -> bool:
    """True if the inclinations within a row (interquartile range) differ by less than half the spacing of the rows."""
    table = inclination.reshape(-1, height).T if order == "column" else inclination.reshape(height, -1)
    table = table[(~np.isnan(table)).sum(axis=1) >= 2]
    if len(table) < 0.7 * height:
        return False
    low, middle, high = np.nanquantile(table, [0.25, 0.5, 0.75], axis=1)
    spacing = float(np.median(np.diff(np.sort(middle))))
    return spacing > 0.02 and float(np.median(high - low)) < 0.5 * spacing


def _with_shift(rows: Rows, scans: Sequence[Scan], height: int, order: str) -> Rows | None:
    """Add `shift`: by how many columns each line must be rolled so that straight ahead is in the middle.

    None if the columns do not go around the sensor once.
    """
    azimuth, _, metres = angles(scans[0])
    line, columns = _lines(len(azimuth), height, order), len(azimuth) // height
    column = np.arange(len(azimuth)) // height if order == "column" else np.arange(len(azimuth)) % columns
    kept = metres > NEAR_M
    place = (0.5 - azimuth[kept] / 360 - (column[kept] + 0.5) / columns) * 2 * np.pi
    total = np.zeros(height, np.complex128)
    np.add.at(total, line[kept], np.exp(1j * place))
    if np.abs(total).sum() < 0.9 * kept.sum():
        return None  # the columns do not go around once to the right
    shift = np.round(np.angle(total) / (2 * np.pi) * columns).astype(int) % columns
    one = len(set(shift.tolist())) == 1
    extra = {"order": order, **rows.extra, "shift": shift[:1].tolist() if one else shift.tolist()}
    return Rows(rows.how, rows.row, rows.inclinations_deg, extra, rows.words)


def _rings(scans: Sequence[Scan]) -> Rows | None:
    if any(scan.ring is None for scan in scans):
        return None
    lines = [np.asarray(scan.ring, np.int64) for scan in scans if scan.ring is not None]
    height = int(max(line.max() for line in lines)) + 1
    if min(line.min() for line in lines) < 0 or height > MOST_ROWS:
        return None
    return _ordered("ring", lines, height, scans, "The points' rings are")


def _turns(scans: Sequence[Scan]) -> Rows | None:
    """Rows of a file that lists beam after beam: the inclinations of its turns only fall, or only rise."""
    lines, counts = zip(*(unfolded(scan) for scan in scans), strict=True)
    height = int(np.median(counts))
    if max(counts) != min(counts) or not 4 <= height <= MOST_ROWS:
        return None
    rows = _ordered("unfolding", lines, height, scans, "The points come beam by beam, a turn each:")
    if rows is None:
        return None
    down = [np.diff(medians(line, angles(scan)[1], height)) < 0 for line, scan in zip(lines, scans, strict=True)]
    share = float(np.concatenate(down).mean())
    # an unfolding keeps the file's order of rows, it cannot reverse them
    middles = [medians(line, angles(scan)[1], height) for line, scan in zip(lines, scans, strict=True)]
    if any((np.diff(middle) * (1 if share > 0.5 else -1)).max() > AGAIN * np.ptp(middle) for middle in middles):
        return None  # a step from the lowest row back to the topmost: several scans one after another
    if share > ONE_WAY:
        return Rows("unfolding", lines, rows.inclinations_deg, {}, rows.words)
    if share < 1 - ONE_WAY:  # upside down or last point first: the rows are known, but reversed
        return Rows("beam", rows.row, rows.inclinations_deg, {}, rows.words)
    return None


def _clusters(scans: Sequence[Scan], num_rows: int | None) -> Rows | None:
    """Rows from the peaks of the inclinations, in the frame where they are sharpest; None if there are no peaks.

    Raises:
        ValueError: the number of peaks is in doubt and `num_rows` is None, or no smoothing shows `num_rows` peaks.
    """
    best = None
    for scan in _some(scans):
        xyz = scan.xyz[~np.isnan(angles(scan)[2])]
        frame = find_frame(xyz, search=False)
        frame = find_frame(xyz) if frame.sharpness < BLURRED else frame
        best = (frame, xyz) if best is None or frame.sharpness > best[0].sharpness else best
    if best is None or (best[0].sharpness < BLURRED and num_rows is None):
        return None
    frame, found = best[0], _beams_of(*best)
    beams = simplest(found, num_rows)
    counts = sorted({len(one.inclinations_deg) for one in found})
    if beams is None:
        if num_rows is None:
            return None
        raise ValueError(
            f"No {num_rows} beams can be told apart; the inclinations may show {counts}. Give one of these."
        )
    if beams.doubts and num_rows is None:
        raise ValueError(
            f"The number of beams is not clear from these scans. {len(beams.inclinations_deg)} beams fit best, "
            f"but {'; '.join(beams.doubts)}. Give whole scans of one spinning sensor in the order of measurement, "
            "neither merged nor thinned nor in another frame; or give the number: --rows N."
        )
    words = [
        f"The inclinations show {len(beams.inclinations_deg)} beams; the order of the points shows none. Confidence: "
        f"{100 * beams.crowded:.0f} % of the points are in the middle half of their beam's band (50 % is chance), "
        f"{100 * beams.filled:.0f} % of the pixels are filled."
    ]
    return _at_beams(beams, frame, words)


def _beams_of(frame: Frame, xyz: NDArray[np.float32]) -> list[Beams]:
    """Every hypothesis about the beams of a scan, seen from its sensor."""
    return hypotheses(*seen_from(xyz, frame.values), MOST_ROWS)


def _at_beams(found: Beams, best: Frame, words: list[str]) -> Rows:
    """The rows of a sensor with known beams; its frame is kept and described if it is not the scan's frame."""
    beams = found.inclinations_deg
    moved = bool(np.abs(best.values).max() > 0)
    if moved:
        x, y, z, roll, pitch, *_ = (*best.values[:3], *np.degrees(best.values[3:5]))
        way = float(np.linalg.norm(best.values[5:]))
        words.append(
            f"The scans are not in the sensor's frame: it stands at ({x:.2f}, {y:.2f}, {z:.2f}) m, tilted "
            f"by {roll:.2f} and {pitch:.2f} degrees, and moved {way:.2f} m during the scan used."
        )
    return Rows("beam", (), beams, {}, tuple(words), best if moved else None)


def _some(scans: Sequence[Scan], most: int = 8) -> Iterator[Scan]:
    yield from scans[:: -(-len(scans) // most)]
