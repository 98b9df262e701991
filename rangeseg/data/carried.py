"""Scans with the labels that `rangeseg propagate` wrote for them.

Shapes: N points.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from rangeseg.data.carried_weights import CarriedWeights
from rangeseg.data.dataset import ScanDataset
from rangeseg.data.evidence import OWN, evidence_file, read_evidence
from rangeseg.labels import LabelMap
from rangeseg.scan_io import stem_of
from rangeseg.types import IGNORE, Scan


class CarriedLabels:
    """The scans of a source, with their labels from another folder of the same layout.

    Args:
        source: scans from files, opened without labels.
        root: folder of the dataset; paths of labels are relative to it.
        folder: folder that `rangeseg propagate` wrote.
        within_m: use only carried labels within this distance of an agreeing labelled point, metres, and all labels
            given by people; 0: use all.
        every: keep scans without carried labels, with no label at any point; otherwise they are left out.
        weights: gives `Scan.carried`, the weights of carried labels; None: carried labels count like those given by
            people.

    Raises:
        ValueError: the labels of the source are not files, or none of its scans has carried labels.
    """

    def __init__(
        self, source: ScanDataset, root: str | Path, folder: str | Path, *, within_m: float = 0.0, every: bool = False,
        weights: CarriedWeights | None = None,
    ) -> None:  # fmt: skip
        self._source, self._within, self._weights = source, within_m, weights
        places = [_place(source, index, Path(root), Path(folder)) for index in range(len(source))]
        indices = [index for index, place in enumerate(places) if every or place.is_file()]
        if not any(place.is_file() for place in places):
            raise ValueError(
                f"{places[0] if places else folder}: missing. None of the {len(places)} scans has carried labels. "
                "Write them with rangeseg propagate --out."
            )
        self._files = [(index, places[index]) for index in indices]

    @property
    def label_map(self) -> LabelMap:
        """The classes."""
        return self._source.label_map

    def __len__(self) -> int:
        return len(self._files)

    def name(self, index: int) -> str:
        """The name of scan `index`."""
        return self._source.name(self._files[index][0])

    def scan_path(self, index: int) -> Path:
        """The file of scan `index`."""
        return self._source.scan_path(self._files[index][0])

    def label_path(self, index: int) -> Path:
        """The file of the carried labels of scan `index`, which need not exist."""
        return self._files[index][1]

    def scan(self, index: int) -> Scan:
        """Scan `index` with its carried labels.

        Raises:
            ValueError: a file cannot be read, or its number of points differs.
        """
        number, place = self._files[index]
        if not place.is_file():
            scan = self._source.scan(number)
            return replace(scan, label=np.full(len(scan), IGNORE, np.uint8))
        options = self._source.read_by()  # as in scans without carried labels; `.label` files have no label_dtype
        scan = self._source.read(self._source.scan_path(number), place, label_map=self.label_map, **options)
        if scan.label is None or not (self._within or self._weights is not None):
            return scan
        evidence, label = read_evidence(evidence_file(place), len(scan)), scan.label
        if self._within:
            near = (evidence["kind"] == OWN) | (evidence["distance"].astype(np.float32) <= self._within)
            label = np.where(near, label, IGNORE)
        carried = None if self._weights is None else self._weights(evidence, label)
        return replace(scan, label=label, carried=carried)


def _place(source: ScanDataset, index: int, root: Path, folder: Path) -> Path:
    """Path of the carried labels of a scan, which need not exist.

    `rangeseg propagate` writes them to labels/ next to velodyne/ or scans/, also if the dataset has its labels in
    another folder, as ScribbleKITTI does. For PandaSet and nuScenes, they have the paths of the dataset's labels, and
    for other folders of scans, they are in labels/ in the folder.
    """
    scan = source.scan_path(index)
    name, above = Path("labels", f"{stem_of(scan)}.label"), scan.parent.name in ("velodyne", "scans")
    places = [scan.parent.parent / name] if above else [source.label_path(index), scan.parent / name]
    below = [place.relative_to(root) for place in places]
    found = [folder / (one.relative_to("dataset") if one.parts[0] == "dataset" else one) for one in below]
    return next((place for place in found if place.is_file()), found[0])
