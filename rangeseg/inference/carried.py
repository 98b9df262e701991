"""Replaces a network's predictions by labels that people gave and by labels that `rangeseg propagate` carried.

Shapes: N points.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rangeseg.drive.layouts import Drive
from rangeseg.drive.propagate import confidence_of
from rangeseg.inference.segmentation import Segmentation
from rangeseg.labels import LabelMap
from rangeseg.types import IGNORE


@dataclass(frozen=True)
class CarriedFolder:
    """The labels in a folder that `rangeseg propagate` wrote.

    Args:
        folder: that folder, in the layout of the drive's dataset.
        drive: the scans.
        label_map: classes of the network.
    """

    folder: Path
    drive: Drive
    label_map: LabelMap

    @staticmethod
    def open(folder: Path, drive: Drive, label_map: LabelMap) -> CarriedFolder:
        """Check that a folder has labels of a drive, with the classes of a network.

        Raises:
            ValueError: it has no labels of any scan, or the drive has other classes than the network.
        """
        if drive.label_map.names != label_map.names:
            raise ValueError(
                f"{drive.root}: its classes are {', '.join(drive.label_map.names)}; those of the run are "
                f"{', '.join(label_map.names)}. Name the classes of the drive with --dataset, or leave --carried out."
            )
        found = CarriedFolder(folder, drive, label_map)
        if not found._files():
            raise ValueError(
                f"{folder}: has no labels of the {len(drive.scans)} scans; looked for {drive.scans[0].label_path} and "
                "the like. Write them with rangeseg propagate --out."
            )
        return found

    def digest(self) -> str:
        """A digest of the names, sizes and times of the label files; it changes if a file changes."""
        files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self._files()]
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
        label = self.label_map.to_train(raw)
        known = label != IGNORE
        confidence = found.confidence
        if confidence is not None:
            confidence = np.where(known, confidence_of(path, known)[0], confidence).astype(np.float32)
        return replace(found, labels=np.where(known, label, found.labels), confidence=confidence)

    def _files(self) -> list[Path]:
        places = [self.folder / scan.label_path for scan in self.drive.scans]
        return [path for path in places if path.is_file()]
