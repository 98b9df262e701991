"""Whether carried labels come only from labels that the training reads as labels.

If the list of labelled scans is shorter than that of `rangeseg propagate`, or if fewer points of a scan are labelled,
people's labels that the training must not know are among the carried ones.

Shapes: N points.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.carried import CarriedLabels
from rangeseg.data.evidence import OWN, evidence_file, read_evidence, record_file
from rangeseg.files import read_whole
from rangeseg.paths import absolute
from rangeseg.scan_io import stem_of
from rangeseg.types import IGNORE

Key = tuple[str, str]
"""Folder and name of a scan."""

Labelled = Mapping[Key, Sequence[tuple[Any, int]]]
"""Labelled scan -> (source, index) of its labels."""

CURE = (
    "Run rangeseg propagate with --config, the same data keys and another --out; or set data.carried_as=labels, which "
    "uses all labels of the folder as labels."
)


def check_origin(carried: CarriedLabels, labelled: Sequence[Any]) -> None:
    """Refuse carried labels that come from other labels than those of the labelled scans.

    The records of `propagate` name the scans whose labels it carried. Without a record, the evidence tells which scans
    have labels of a person. Of each drive, the points of one labelled scan are compared.

    Args:
        carried: scans with carried labels.
        labelled: the sources of the labelled scans. Scans that are not files are not compared.

    Raises:
        ValueError: labels come from other scans or points than those of `labelled`, or a file cannot be read.
    """
    known: dict[Key, list[tuple[Any, int]]] = defaultdict(list)
    for source in labelled:
        for index in range(len(source)):
            for key in _keys(source, index):
                known[key].append((source, index))
    drives: dict[Path, list[int]] = defaultdict(list)
    for index in range(len(carried)):
        drives[carried.label_path(index).parent].append(index)
    others = [other for scans in drives.values() for other in _other_scans(carried, scans, known)]
    if others:
        raise ValueError(
            f"{others[0].parent}: labels were carried from {len(others)} scans that are not among the labelled scans "
            f"of the config, e.g. {others[0].name}. {CURE}"
        )
    for scans in drives.values():
        _check_points(carried, scans, known)


def _keys(source: Any, index: int) -> set[Key]:
    """Folder and names of a scan in records of `propagate`; none if it is not a file."""
    try:
        file = source.scan_path(index)
    except (AttributeError, ValueError):
        return set()
    return {(_folder(file), name) for name in (stem_of(file), source.name(index).rpartition("/")[2])}


def _folder(file: Path) -> str:
    """The path of a file's folder in one spelling."""
    return _real(str(absolute(file.parent)))


@lru_cache(maxsize=1000)
def _real(folder: str) -> str:
    return os.path.realpath(folder)


def _other_scans(carried: CarriedLabels, scans: Sequence[int], known: Labelled) -> Iterator[Path]:
    """Scans of a drive with labels of a person that are not among the labelled scans: folder of labels / name."""
    names = {index: carried.name(index) for index in scans}
    records = {
        record_file(carried.label_path(index), drive) for index in scans for drive in (None, names[index].split("/")[0])
    }
    records = {path for path in records if path.is_file()}
    folders = {_folder(carried.scan_path(index)) for index in scans}
    home = carried.label_path(scans[0]).parent
    for path in sorted(records):
        yield from (home / one for one in _sources(path) if not any((folder, one) in known for folder in folders))
    for index in scans if not records else ():
        evidence = evidence_file(carried.label_path(index))
        if not known.keys() & _keys(carried, index) and evidence.is_file() and _own(evidence).any():
            yield home / stem_of(carried.scan_path(index))


def _own(evidence: Path, points: int | None = None) -> NDArray[np.bool_]:
    """(N,) bool, True for labels of a person."""
    return np.asarray(read_evidence(evidence, points, ("kind",))["kind"] == OWN)


def _sources(record: Path) -> list[str]:
    """The names of the scans whose labels were carried."""
    try:
        return [str(name) for name in json.loads(read_whole(record).decode())["labelled"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{record}: cannot be read ({error!r}). Run rangeseg propagate --overwrite to write it again."
        ) from error


def _check_points(carried: CarriedLabels, scans: Sequence[int], known: Labelled) -> None:
    """Compare the points of the first labelled scan of a drive: labels of a person, and labels that the training reads.

    Raises:
        ValueError: other points have labels of a person, too.
    """
    for index in scans:
        evidence = evidence_file(carried.label_path(index))
        places = [place for key in _keys(carried, index) for place in known.get(key, ())]
        if not places or not evidence.is_file() or not _own(evidence).any():
            continue
        scan = carried.scan(index)
        own = _own(evidence, len(scan)) & (scan.label != IGNORE)
        for source, place in places:
            own &= source.scan(place).label == IGNORE
        if count := np.count_nonzero(own):
            raise ValueError(
                f"{carried.label_path(index)}: {count} of its points have labels given by people that the config does "
                "not read, because of data.label_fraction, data.label_seed, data.label_spread, data.projection or "
                f"other label files. {CURE}"
            )
        return
