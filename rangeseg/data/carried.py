"""Scans with the labels that `rangeseg propagate` wrote for them.

Shapes: N points.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.carried_weights import OWN, CarriedWeights
from rangeseg.data.dataset import ScanDataset
from rangeseg.labels import LabelMap
from rangeseg.types import IGNORE, Scan

COLUMNS = ("distance", "neighbours", "agreement", "scans", "kind")
"""Of a file of what labels rest on."""


class CarriedLabels:
    """The scans of a source, with their labels from another folder of the same layout.

    Args:
        source: scans of files, opened without labels.
        root: the dataset's folder, from which the places of labels count.
        folder: what `rangeseg propagate` wrote.
        within_m: a label counts if it rests on one no farther than this, or is a person's own; 0: all count.
        every: keep the scans for which nothing was carried, without a label; else they are left out.
        weights: what carried labels count, for `Scan.carried`; None: nobody tells them apart from a person's own.

    Raises:
        ValueError: the source's labels lie in no files, or none of its scans has carried labels.
    """

    def __init__(
        self, source: ScanDataset, root: str | Path, folder: str | Path, *, within_m: float = 0.0, every: bool = False,
        weights: CarriedWeights | None = None,
    ) -> None:  # fmt: skip
        self._source, self._within, self._weights = source, within_m, weights
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
        if scan.label is None or not (self._within or self._weights is not None):
            return scan
        rests, label = _evidence(place, len(scan)), scan.label
        if self._within:
            near = (rests["kind"] == OWN) | (rests["distance"].astype(np.float32) <= self._within)
            label = np.where(near, label, IGNORE)
        carried = None if self._weights is None else self._weights(rests, label)
        return replace(scan, label=label, carried=carried)


def _evidence(place: Path, points: int) -> dict[str, NDArray]:
    """What the labels of a file rest on, (N,) each, by name."""
    path = place.parent.parent / "evidence" / f"{place.name.partition('.')[0]}.npz"
    try:
        with np.load(path) as file:
            rests = {name: file[name] for name in file.files}
    except Exception as error:  # whatever a damaged zip or array raises
        raise ValueError(f"{path}: cannot be read ({error}); it says what carried labels rest on.") from error
    if missing := [name for name in COLUMNS if name not in rests]:
        raise ValueError(f"{path}: has no {missing[0]}; carry the labels again.")
    if odd := [column.size for column in rests.values() if column.shape != (points,)]:
        raise ValueError(f"{path}: tells of {odd[0]} points, {place} has {points}; carry the labels again.")
    return rests


def _place(source: ScanDataset, index: int, root: Path) -> Path:
    """Where the labels of a scan lie, from the dataset's folder on."""
    place = source.label_path(index).relative_to(root)
    return place.relative_to("dataset") if place.parts[0] == "dataset" else place
