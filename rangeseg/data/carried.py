"""Scans with the labels that `rangeseg propagate` wrote for them.

Shapes: N points.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.dataset import ScanDataset
from rangeseg.labels import LabelMap
from rangeseg.types import IGNORE, Scan

OWN = 1
"""What `kind` is, in the file of what labels rest on, where a person labelled the very point."""


class CarriedLabels:
    """The scans of a source, with their labels from another folder of the same layout.

    Args:
        source: scans of files, opened without labels.
        root: the dataset's folder, from which the places of labels count.
        folder: what `rangeseg propagate` wrote.
        within_m: a label counts if it rests on one no farther than this, or is a person's own; 0: all count.
        every: keep the scans for which nothing was carried, without a label; else they are left out.

    Raises:
        ValueError: the source's labels lie in no files, or none of its scans has carried labels.
    """

    def __init__(
        self, source: ScanDataset, root: str | Path, folder: str | Path, *, within_m: float = 0.0, every: bool = False
    ) -> None:
        self._source, self._within = source, within_m
        places = [Path(folder) / _place(source, index, Path(root)) for index in range(len(source))]
        there = [index for index, place in enumerate(places) if every or place.is_file()]
        if not any(place.is_file() for place in places):
            raise ValueError(
                f"{places[0] if places else folder}: missing, like the carried labels of all {len(places)} scans. "
                "Write them with rangeseg propagate --out."
            )
        self._files = [(index, places[index]) for index in there]

    @property
    def label_map(self) -> LabelMap:
        """The classes."""
        return self._source.label_map

    def __len__(self) -> int:
        return len(self._files)

    def name(self, index: int) -> str:
        """What scan `index` is called."""
        return self._source.name(self._files[index][0])

    def scan_path(self, index: int) -> Path:
        """The file of scan `index`."""
        return self._source.scan_path(self._files[index][0])

    def scan(self, index: int) -> Scan:
        """Scan `index` with its carried labels.

        Raises:
            ValueError: a file cannot be read or does not fit.
        """
        number, place = self._files[index]
        if not place.is_file():
            scan = self._source.scan(number)
            return replace(scan, label=np.full(len(scan), IGNORE, np.uint8))
        scan = self._source.read(self._source.scan_path(number), place, label_map=self.label_map)
        if not self._within or scan.label is None:
            return scan
        return replace(scan, label=np.where(_near(place, self._within, len(scan)), scan.label, IGNORE))


def _near(place: Path, within_m: float, points: int) -> NDArray[np.bool_]:
    """(N,) bool, labels that rest on a near one or are a person's."""
    path = place.parent.parent / "evidence" / f"{place.name.partition('.')[0]}.npz"
    try:
        with np.load(path) as rests:
            near = (rests["kind"] == OWN) | (rests["distance"].astype(np.float32) <= within_m)
    except Exception as error:  # whatever a damaged zip or array raises
        raise ValueError(f"{path}: cannot be read ({error}); it says how near carried labels are.") from error
    if near.shape != (points,):
        raise ValueError(f"{path}: tells of {near.size} points, {place} has {points}; carry the labels again.")
    return np.asarray(near)


def _place(source: ScanDataset, index: int, root: Path) -> Path:
    """Where the labels of a scan lie, from the dataset's folder on."""
    place = source.label_path(index).relative_to(root)
    return place.relative_to("dataset") if place.parts[0] == "dataset" else place
