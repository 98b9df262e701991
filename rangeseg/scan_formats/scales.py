"""The full scale of a remission whose type does not tell it: one for all scans of a folder or recording.

A single scan cannot tell: one bright reflector would make it darker than the next. Shapes: N points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FULL_SCALES = (1.0, 255.0, 65535.0)
BRIGHT = 0.005
"""Share of a scan's values that may exceed the full scale: reflectors that the sensor does not clip."""

LOOKED_AT = 8
"""Files of a folder, evenly spaced by their names."""

Columns = Mapping[str, NDArray]

BEAM_COUNTS = (4, 8, 16, 20, 32, 40, 64, 80, 96, 128, 256)
"""Of sensors that are sold; the smallest that holds a scan's rings is taken, since upper beams often return nothing."""

_known: dict[tuple[Path, str, str], float] = {}
_rings: dict[tuple[Path, str, str], tuple[int, int]] = {}


def declared_scale(name: str, dtype: np.dtype) -> float | None:
    """What a column's type or name says of its full scale; None where they say nothing.

    Args:
        name: of the column.
        dtype: of its values.
    """
    if dtype.kind == "u" and dtype.itemsize <= 2:
        return float(np.iinfo(dtype).max)
    if dtype.kind == "f" and name.lower().removeprefix("scalar_") == "remission":
        return 1.0
    return None


def brightest(values: NDArray) -> float:
    """What all but `BRIGHT` of the finite ones of (N,) values do not exceed; 0 where there are none."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    return float(np.quantile(finite, 1 - BRIGHT, method="higher")) if len(finite) else 0.0


def common_scale(name: str, clouds: Iterable[Columns]) -> float:
    """The smallest full scale that holds a column of all clouds; the largest value where none does.

    Args:
        name: of the column.
        clouds: columns of some scans.
    """
    highest = max((brightest(columns[name]) for columns in clouds if name in columns), default=0.0)
    return next((scale for scale in FULL_SCALES if highest <= scale), highest)


def folder_scale(path: Path, read: Callable[[Path], Columns], name: str) -> float:
    """`common_scale` of the files like one beside it; found once for each folder, and the same for all its files.

    Args:
        path: one of the files.
        read: a file -> its columns.
        name: of the column.
    """
    key = (path.parent.resolve(), path.suffix, name)
    if key not in _known:
        _known[key] = common_scale(name, _readable(_some(path), read))
    return _known[key]


def folder_rings(path: Path, read: Callable[[Path], Columns], name: str) -> tuple[int, int]:
    """The lowest and the highest ring in the files like one beside it; found once for each folder.

    Args:
        path: one of the files.
        read: a file -> its columns.
        name: of the column.
    """
    key = (path.parent.resolve(), path.suffix, f"ring {name}")
    if key not in _rings:
        values = [columns[name] for columns in _readable(_some(path), read) if name in columns and len(columns[name])]
        _rings[key] = ring_limits(values)
    return _rings[key]


def ring_limits(values: Sequence[NDArray]) -> tuple[int, int]:
    """The lowest and the highest of some scans' rings, those that are not finite left out.

    Args:
        values: (N,) each, at least one.
    """
    finite = [one[np.isfinite(one)] if one.dtype.kind == "f" else one for one in values]
    limits = [(int(one.min()), int(one.max())) for one in finite if len(one)]
    return min((low for low, _ in limits), default=0), max((high for _, high in limits), default=0)


def _some(path: Path) -> list[Path]:
    files = sorted(file for file in path.parent.iterdir() if file.suffix == path.suffix)
    return [files[k] for k in np.unique(np.linspace(0, len(files) - 1, LOOKED_AT).astype(int))]


def _readable(files: Iterable[Path], read: Callable[[Path], Columns]) -> Iterable[Columns]:
    for file in files:
        try:
            yield read(file)
        except ValueError:  # it is told of when its turn comes
            continue
