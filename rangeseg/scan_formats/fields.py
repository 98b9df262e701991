"""Named columns -> `Scan`: the meaning of columns, the full scale of remission, and the order of rings.

The result is a `Fields`. A recording determines it on its first scan and keeps it, so that all its scans agree.

Remission is divided by a full scale: 255 for uint8, 65535 for uint16, for any values. For other types, all scans of a
folder or recording have one full scale, see `rangeseg.scan_formats.scales`; the few values above it are clipped to 1. A
floating-point column named remission is in [0, 1], as in KITTI, and not scaled. A notice tells of a scan whose
remission is above 1 after all, also after the division by a scale that the user gave.

Ring 0 is the topmost beam in a `Scan`. Most drivers count from the lowest beam. If the mean inclination of the rings
increases with their number (rank correlation above 0.9), the rings are renumbered from the top. The number of beams is
then the smallest one of common sensors that covers all rings of the folder's scans, because the highest ring differs
between scans. Rings from 1 to such a number, without a 0, are renumbered from 0. Rings in no such order are kept.

Shapes: N points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangeseg.notices import notify
from rangeseg.scan_formats.checks import ENOUGH_POINTS, Where, check_any, checked_scan, returns
from rangeseg.scan_formats.scales import (
    BEAM_COUNTS,
    BRIGHT,
    FULL_SCALES,
    Columns,
    common_scale,
    declared_scale,
    folder_rings,
    folder_scale,
    ring_limits,
    tell_bright,
)
from rangeseg.types import Scan

NAMES = {
    "x": ("x",),
    "y": ("y",),
    "z": ("z",),
    "remission": ("remission", "intensity", "intensities", "reflectivity", "reflectance", "i"),
    "ring": ("ring", "channel", "line", "laser_id", "laser", "beam", "row"),
}
"""Common names of columns, best first; case and CloudCompare's prefix ``scalar_`` are ignored."""

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001}
OPTIONS = ("unit", "columns", "type")
RISING = 0.9
LOOKED_AT = 20_000

FieldNames = Mapping[str, str | None]
"""Column names that replace the common ones: ``{"remission": "reflectivity", "ring": None}``; None omits a column.
``"reflectivity/255"`` divides by 255. ``"ring/32"``: 32 rings, numbered from the lowest; ``"ring/top"``: from the top.
``{"unit": "mm"}`` (or cm) converts x, y and z to metres. For files without column names (.bin, .npy),
``{"columns": "x y z remission ring", "type": "float64"}`` gives the names in order, and the type if not float32.
"""


@dataclass(frozen=True)
class Fields:
    """Names and scales of the columns that make a scan.

    Args:
        x: name of a column, as are `y`, `z`, `remission` and `ring`; the last two may be missing.
        divisor: full scale of remission.
        beams: number of rings if they are numbered from the lowest; None: keep the numbers.
        unit_m: unit of x, y and z, metres.
        clipped: the divisor was inferred from values; remission above 1 is clipped.
        first: number of the first ring.
    """

    x: str
    y: str
    z: str
    remission: str | None
    ring: str | None
    divisor: float = 1.0
    beams: int | None = None
    unit_m: float = 1.0
    clipped: bool = False
    first: int = 0

    def scan(self, where: Where, columns: Mapping[str, NDArray]) -> Scan:
        """Make a scan from columns.

        Args:
            where: file name for errors.
            columns: (N,) arrays of any integer or floating-point type.

        Raises:
            ValueError: a column is missing, the ring column is invalid, or there are no points or no returns.
        """
        check_any(where, columns)
        missing = {self.x, self.y, self.z, self.remission, self.ring} - {None, *columns}
        if missing:
            raise ValueError(f"{where}: has no {' and no '.join(sorted(map(str, missing)))}; {_columns_text(columns)}")
        xyz = _xyz(columns, self)
        remission = np.zeros(len(xyz), np.float32)
        if self.remission is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                remission = columns[self.remission].astype(np.float32) / np.float32(self.divisor)  # see checked_scan
        if self.clipped:
            remission = _clipped(where, remission, self)
        elif self.remission is not None:
            name = self.remission if self.divisor == 1 else f"{self.remission}/{self.divisor:g}"
            cure = f'give its full scale, fields={{"remission": "{self.remission}/N"}}.'
            tell_bright(where, name, remission, cure)
        ring = None if self.ring is None else _ring(where, columns[self.ring], self)
        return checked_scan(where, xyz, remission, ring)


def scan_of_columns(path: Path, columns: Columns, requested: FieldNames, read: Callable[[Path], Columns]) -> Scan:
    """Match columns to fields with `find_fields`, and make the scan.

    Args:
        path: the file.
        columns: (N,) arrays of any integer or floating-point type.
        requested: see `FieldNames`.
        read: file of the same folder -> its columns; used if one scan does not determine the scale.

    Raises:
        ValueError: as for `find_fields` and `Fields.scan`.
    """
    form = requested.get("columns"), requested.get("type")
    scale, rings = partial(folder_scale, path, read, form), partial(folder_rings, path, read, form)
    return find_fields(path, columns, requested, scale, rings).scan(path, columns)


def find_fields(
    where: Where,
    columns: Columns,
    requested: FieldNames,
    scale: Callable[[str], float] | None = None,
    rings: Callable[[str], tuple[int, int]] | None = None,
) -> Fields:
    """Match columns to fields, by common names or by the given ones.

    Args:
        where: file name for errors.
        columns: (N,) arrays of any integer or floating-point type.
        requested: see `FieldNames`.
        scale: column -> full scale, if its type does not define it; None: use these columns only.
        rings: column -> lowest and highest ring of other scans; None: use these columns only.

    Raises:
        NoReturnsError: there are no columns.
        ValueError: x, y, z or a requested column is missing or invalid, or x, y or z has an option after a slash.
    """
    check_names(requested)
    check_any(where, columns)
    if (unit := requested.get("unit") or "m") not in UNITS:
        raise ValueError(f"fields: unit is {unit}; give {', '.join(UNITS)}.")
    found, options = {}, {}
    for name in NAMES:
        found[name], options[name] = _find(where, name, columns, requested)
    if (axis := next((axis for axis in "xyz" if options[axis]), None)) is not None:
        raise ValueError(
            f"fields: {axis} is {found[axis]}/{options[axis]}, but only remission and ring may have a slash; "
            f'give the unit of x, y and z: fields={{"unit": "mm"}} or cm.'
        )
    if not (found["x"] and found["y"] and found["z"]):
        raise ValueError(f"{where}: x, y and z are needed; {_columns_text(columns)}")
    fields = Fields(str(found["x"]), str(found["y"]), str(found["z"]), found["remission"], found["ring"])
    divisor, beams, clipped = fields.divisor, fields.beams, False
    if fields.remission is not None:
        divisor, clipped = _divisor(where, fields.remission, columns, options["remission"], scale)
    if fields.ring is not None:
        limits = ring_limits([columns[fields.ring]])
        if rings is not None:
            low, high = rings(fields.ring)
            limits = min(low, limits[0]), max(high, limits[1])
        if not options["ring"] and limits[0] == 1 and limits[1] in BEAM_COUNTS:
            fields, limits = replace(fields, first=1), (0, limits[1] - 1)
        beams = _beams(where, columns, fields, options["ring"], limits[1])
    return replace(fields, divisor=divisor, beams=beams, unit_m=UNITS[unit], clipped=clipped)


def check_names(requested: FieldNames) -> None:
    """Refuse names that are neither fields nor options.

    Raises:
        ValueError: there is such a name.
    """
    if strange := [name for name in requested if name not in (*NAMES, *OPTIONS)]:
        raise ValueError(f"fields names {', '.join(strange)}; allowed are {', '.join((*NAMES, *OPTIONS))}.")


def _find(where: Where, name: str, columns: Mapping[str, NDArray], requested: FieldNames) -> tuple[str | None, str]:
    """The column for one field, and the option after the slash."""
    if name in requested:
        wanted = requested[name]
        if wanted is None:
            return None, ""
        column, _, option = (wanted, "", "") if wanted in columns else wanted.rpartition("/")
        column, option = (option, "") if not column else (column, option)
        if column not in columns:
            raise ValueError(f"{where}: has no {column} for {name}; {_columns_text(columns)}")
        return column, option
    by_name = {plain(column): column for column in reversed(list(columns))}
    return next((by_name[usual] for usual in NAMES[name] if usual in by_name), None), ""


def plain(column: str) -> str:
    """The normalised name of a column, as in `NAMES`."""
    return column.lower().removeprefix("scalar_")


def _divisor(
    where: Where, name: str, columns: Columns, option: str, scale: Callable[[str], float] | None
) -> tuple[float, bool]:
    """The full scale, and whether it was inferred from values."""
    if option:
        try:
            divisor = float(option)
        except ValueError:
            divisor = 0.0
        if not 0 < divisor < np.inf:
            raise ValueError(f"fields: remission is {name}/{option}; give a number above 0 after the slash.")
        return divisor, False
    if (declared := declared_scale(name, columns[name].dtype)) is not None:
        return declared, False
    highest = common_scale(name, [columns]) if scale is None else scale(name)
    if highest in FULL_SCALES:
        return highest, True
    raise ValueError(
        f"{where}: {name} reaches {highest:g} and its full scale is unknown; "
        f'give it: fields={{"remission": "{name}/{highest:g}"}}, or leave it out: {{"remission": None}}.'
    )


def _clipped(where: Where, remission: NDArray[np.float32], fields: Fields) -> NDArray[np.float32]:
    share = np.count_nonzero(remission > 1) / max(1, len(remission))
    if share > BRIGHT and len(remission) >= ENOUGH_POINTS:
        notify(
            f"{where}: {100 * share:.0f} % of its {fields.remission} are above {fields.divisor:g}, the full scale of "
            f'the files next to it, and clipped. Give the scale: fields={{"remission": "{fields.remission}/N"}}.'
        )
    return np.minimum(remission, np.float32(1))


def _beams(where: Where, columns: Mapping[str, NDArray], fields: Fields, option: str, highest: int) -> int | None:
    """The number of rings if they are numbered from the lowest; otherwise None."""
    if option == "top":
        return None
    if option:
        if not option.isdecimal() or int(option) == 0:
            raise ValueError(f'fields: ring is {fields.ring}/{option}; give the number of rings, or "top".')
        return int(option)
    ring, xyz = _ring(where, columns[str(fields.ring)], fields), _xyz(columns, fields)
    ring, xyz = ring[returns(xyz)], xyz[returns(xyz)].astype(np.float64)
    every = max(1, len(ring) // LOOKED_AT)
    ring, xyz = ring[::every], xyz[::every]
    rings, index = np.unique(ring, return_inverse=True)
    if len(rings) < 3:
        return None
    inclination = np.arctan2(xyz[:, 2], np.hypot(xyz[:, 0], xyz[:, 1]))
    mean = np.bincount(index, inclination) / np.bincount(index)
    rank = np.argsort(np.argsort(mean))
    if np.corrcoef(rank, np.arange(len(rings)))[0, 1] <= RISING:
        return None
    return next((count for count in BEAM_COUNTS if count > highest), highest + 1)


def _ring(where: Where, values: NDArray, fields: Fields) -> NDArray[np.int32]:
    if values.dtype.kind == "f":
        values = np.where(np.isfinite(values), values, 0)  # points without a return may have no ring
    highest = np.iinfo(np.int32).max if fields.beams is None else fields.beams - 1
    values = np.maximum(values.astype(np.float64) - fields.first, 0) if fields.first else values
    ring = values.astype(np.int64)
    if len(ring) and (ring.min() < 0 or ring.max() > highest or (ring != values).any()):
        numbers = "" if fields.beams is None else f" from 0 to {highest}"
        raise ValueError(
            f"{where}: {fields.ring} is not a column of rings{numbers}; it has values from {values.min()} to "
            f"{values.max()}; "
            'name the column of the rings, fields={"ring": "NAME"}, or leave it out: {"ring": None}.'
        )
    if fields.beams is not None:
        ring = highest - ring
    return ring.astype(np.int32)


def _xyz(columns: Mapping[str, NDArray], fields: Fields) -> NDArray[np.float32]:
    xyz = np.empty((len(columns[fields.x]), 3), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32: infinite, thus no return
        for axis, name in enumerate((fields.x, fields.y, fields.z)):
            xyz[:, axis] = columns[name] if fields.unit_m == 1 else columns[name] * np.float64(fields.unit_m)
    return xyz


def _columns_text(columns: Mapping[str, NDArray]) -> str:
    return f"it has {', '.join(columns) or 'nothing'}. Name them: fields={{...}}."
