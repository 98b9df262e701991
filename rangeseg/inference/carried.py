"""Replaces a network's predictions by labels that people gave and by labels that `rangeseg propagate` carried.

Shapes: N points.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rangeseg.data.evidence import confidence_of, evidence_file
from rangeseg.drive.layouts import Drive
from rangeseg.inference.segmentation import Segmentation
from rangeseg.labels import LabelMap
from rangeseg.types import IGNORE


@dataclass(frozen=True)
class CarriedFolder:
    """The labels in a folder that `rangeseg propagate` wrote.

    Args:
        folder: that folder, in the layout of the drive's dataset.
        drive: the scans.
    """

    folder: Path
    drive: Drive

    @staticmethod
    def open(folder: Path, drive: Drive, label_map: LabelMap, *, chosen: bool = False) -> CarriedFolder:
        """Check that a folder has labels of a drive, with the classes of a network.

        Args:
            folder: see `CarriedFolder`.
            drive: the scans.
            label_map: classes of the network.
            chosen: the user named the classes of the drive, so their raw ids may differ from those of the network.

        Raises:
            ValueError: it has no labels of any scan, or the drive has other classes than the network.
        """
        if drive.label_map.names != label_map.names:
            raise ValueError(
                f"{drive.root}: its classes are {', '.join(drive.label_map.names)}; those of the run are "
                f"{', '.join(label_map.names)}. Name the classes of the drive with --dataset, or leave --carried out."
            )
        if not chosen and drive.label_map.learning_map != label_map.learning_map:
            raise ValueError(
                f"{drive.root}: {drive.label_map.dataset}, found from the layout, has other raw ids than the run's "
                f"{label_map.dataset}. Name the dataset or YAML of the labels in {folder} with --dataset."
            )
        found = CarriedFolder(folder, drive)
        if not found._files():
            raise ValueError(
                f"{folder}: has no labels of the {len(drive.scans)} scans; looked for {drive.scans[0].label_path} and "
                "the like. Write them with rangeseg propagate --out."
            )
        return found

    def digest(self) -> str:
        """A digest of the names, sizes and times of the files of labels and evidence; it changes if a file changes."""
        paths = [path for label in self._files() for path in (label, evidence_file(label)) if path.is_file()]
        files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
        return hashlib.sha256(repr(files).encode()).hexdigest()

    def replaced(self, number: int, found: Segmentation) -> Segmentation:
        """Predictions of a scan, replaced by the labels of the folder at the points that have one.

        Args:
            number: index of the scan in the drive.
            found: the predictions. Their entropy does not change. The confidence of a person's label is 1; that of a
                carried label is the agreement of its neighbours (0.5 if unknown).

        Raises:
            ValueError: the file cannot be read, has another number of points, or contains raw ids without a class.
        """
        path = self.folder / self.drive.scans[number].label_path
        raw = self.drive.labels_of(self.drive.scans[number], self.folder)
        if raw is None:
            return found
        if len(raw) != len(found):
            raise ValueError(f"{path}: has {len(raw)} labels, but the scan has {len(found)} points.")
        label = self.drive.label_map.to_train(raw)  # its raw ids may differ from those of the network's classes
        known = label != IGNORE
        confidence = found.confidence
        if confidence is not None:
            confidence = np.where(known, confidence_of(path, known)[0], confidence).astype(np.float32)
        return replace(found, labels=np.where(known, label, found.labels), confidence=confidence)

    def _files(self) -> list[Path]:
        places = [self.folder / scan.label_path for scan in self.drive.scans]
        return [path for path in places if path.is_file()]
