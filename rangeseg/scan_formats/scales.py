"""The full scale of a remission whose type does not define it: one scale for all scans of a folder or recording.

A single scan is not sufficient: one bright reflector would make the scan darker than the next one. Shapes: N points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangeseg.notices import notify
from rangeseg.scan_formats.checks import ENOUGH_POINTS, Where

FULL_SCALES = (1.0, 255.0, 65535.0)
BRIGHT = 0.005
"""Share of a scan's values that may exceed the full scale: reflectors that the sensor does not clip."""

LOOKED_AT = 8
"""Number of files of a folder that are read, evenly spaced by name."""

MOST_VALUES = 20_000
"""Number of points of a scan whose remission is compared with full scale."""

Columns = Mapping[str, NDArray]

BEAM_COUNTS = (4, 8, 16, 20, 32, 40, 64, 80, 96, 128, 256)
"""Numbers of beams of common sensors. The smallest that covers a scan's rings is used; upper beams often lack
returns."""

Form = tuple[str | None, str | None]
"""Names and type of the columns of a file without column names, as the user gave them."""

_known: dict[tuple[Path, str, str, Form], float] = {}
_rings: dict[tuple[Path, str, str, Form], tuple[int, int]] = {}


def declared_scale(name: str, dtype: np.dtype) -> float | None:
    """The full scale from the type or the name of a column; None if they do not define it.

    Args:
        name: name of the column.
        dtype: type of its values.
    """
    if dtype.kind == "u" and dtype.itemsize <= 2:
        return float(np.iinfo(dtype).max)
    if dtype.kind == "f" and name.lower().removeprefix("scalar_") == "remission":
        return 1.0
    return None


def brightest(values: NDArray) -> float:
    """The quantile 1 - `BRIGHT` of the finite values of (N,) values; 0 if there are none."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    return float(np.quantile(finite, 1 - BRIGHT, method="higher")) if len(finite) else 0.0


def tell_bright(where: Where, name: str, remission: NDArray[np.float32], cure: str) -> None:
    """Notify the user if more than `BRIGHT` of a scan's remissions exceed 1: they have another full scale.

    Args:
        where: file name for the notice.
        name: what the remission is, for the notice.
        remission: (N,), divided by its full scale.
        cure: what to do.
    """
    some = remission[:: max(1, len(remission) // MOST_VALUES)]
    if len(remission) >= ENOUGH_POINTS and np.count_nonzero(some > 1) > BRIGHT * len(some):
        most = some[np.isfinite(some)].max(initial=0)
        notify(f"{where}: its {name} goes up to {most:.4g}, but full scale is 1; {cure}")


def common_scale(name: str, clouds: Iterable[Columns]) -> float:
    """The smallest full scale that covers a column of all clouds; the largest value if no scale does.

    Args:
        name: name of the column.
        clouds: columns of some scans.
    """
    highest = max((brightest(columns[name]) for columns in clouds if name in columns), default=0.0)
    return next((scale for scale in FULL_SCALES if highest <= scale), highest)


def folder_scale(path: Path, read: Callable[[Path], Columns], form: Form, name: str) -> float:
    """`common_scale` of the files with the same suffix in a folder, computed once per folder and form.

    Args:
        path: one of the files.
        read: file -> its columns.
        form: what `read` takes for the names and the type of the columns; another form gives another scale.
        name: name of the column.
    """
    key = (path.parent.resolve(), path.suffix, name, form)
    if key not in _known:
        _known[key] = common_scale(name, _readable(_some(path), read))
    return _known[key]


def folder_rings(path: Path, read: Callable[[Path], Columns], form: Form, name: str) -> tuple[int, int]:
    """The lowest and the highest ring in the files with the same suffix in a folder, computed once per folder and form.

    Args:
        path: one of the files.
        read: file -> its columns.
        form: see `folder_scale`.
        name: name of the column.
    """
    key = (path.parent.resolve(), path.suffix, name, form)
    if key not in _rings:
        values = [columns[name] for columns in _readable(_some(path), read) if name in columns and len(columns[name])]
        _rings[key] = ring_limits(values)
    return _rings[key]


def ring_limits(values: Iterable[NDArray]) -> tuple[int, int]:
    """The lowest and the highest finite ring of some scans, of which one at a time is in memory; 0 and 0 without any.

    Args:
        values: (N,) each.
    """
    finite = (one[np.isfinite(one)] if one.dtype.kind == "f" else one for one in values)
    limits = [(int(one.min()), int(one.max())) for one in finite if len(one)]
    return min((low for low, _ in limits), default=0), max((high for _, high in limits), default=0)


def _some(path: Path) -> list[Path]:
    files = sorted(file for file in path.parent.iterdir() if file.suffix == path.suffix)
    return [files[k] for k in np.unique(np.linspace(0, len(files) - 1, LOOKED_AT).astype(int))]


def _readable(files: Iterable[Path], read: Callable[[Path], Columns]) -> Iterable[Columns]:
    for file in files:
        try:
            yield read(file)
        except ValueError:  # reading this file raises its error later
            continue
