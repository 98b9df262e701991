"""Predictions that hold more than raw ids: points with their labels, and how sure each is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rangeseg.data.prediction_files import PredictionFiles, ScanFiles
from rangeseg.engine.experiment import Experiment
from rangeseg.files import write_atomically
from rangeseg.inference.segmentation import Segmentation
from rangeseg.labels import LabelMap
from rangeseg.scan_formats.arrays import read_arrays
from rangeseg.scan_formats.labelled import LABELLED
from rangeseg.scan_io import read_scan
from rangeseg.types import Scan

FORMATS = ("label", *(ending.removeprefix(".") for ending in LABELLED))


class LabelledScanFiles(ScanFiles):
    """Points with their fields, `label`, `confidence` and `entropy`, in one of `LABELLED`'s formats.

    A scan of SemanticKITTI's layout gets ``sequences/SS/predictions/NAME.ply``, any other keeps its place.

    Args:
        label_map: the classes.
        read: scan's file -> `Scan`.
        suffixes: of the files that it reads.
        ending: of the files that are written.
    """

    def __init__(
        self, label_map: LabelMap, read: Callable[[Path], Scan], suffixes: tuple[str, ...], *, ending: str
    ) -> None:
        super().__init__(label_map, read, suffixes)
        self._ending = ending

    def target(self, file: Path, root: Path) -> Path:
        """As a ``.label``'s, with the other ending."""
        return super().target(file, root).with_suffix(self._ending)

    def write(self, target: Path, labels: Any, sample: Scan, file: Path) -> None:
        """Write points and labels."""
        labels.save(target)

    def problem(self, target: Path, file: Path) -> str | None:
        """Missing, damaged, or another number of points."""
        if not target.is_file():
            return "missing"
        try:
            points, needed = len(read_scan(target)), len(self.read(file))
        except ValueError as error:
            return str(error)
        return None if points == needed else f"{points} points; {needed} are needed"


class WithConfidence:
    """Any predictions, and beside each ``NAME_confidence.npz``: `confidence` and `entropy`, (N,) float32.

    Args:
        files: the predictions.
    """

    def __init__(self, files: PredictionFiles) -> None:
        self._files = files

    def __getattr__(self, name: str) -> Any:
        """All else is as it was."""
        return getattr(self._files, name)

    def write(self, target: Path, labels: Segmentation, sample: Any, file: Path) -> None:
        """Write both."""
        arrays: dict[str, Any] = {"confidence": np.asarray(labels.confidence), "entropy": np.asarray(labels.entropy)}
        write_atomically(beside(target), lambda stream: np.savez(stream, **arrays))
        self._files.write(target, labels.labels, sample, file)

    def problem(self, target: Path, file: Path) -> str | None:
        """The prediction's, or the other file is missing or damaged."""
        if problem := self._files.problem(target, file):
            return problem
        try:
            lengths = {len(array) for array in read_arrays(beside(target)).values()}
        except ValueError as error:
            return str(error)
        return None if len(lengths) == 1 else f"{beside(target)} holds arrays of {len(lengths)} lengths"


def beside(target: Path) -> Path:
    """Where the confidence of a prediction's file goes."""
    return target.with_name(f"{target.stem}_confidence.npz")


def chosen_files(experiment: Experiment, kind: str, confidence: bool) -> PredictionFiles:
    """The files that are written.

    Args:
        experiment: of the run.
        kind: one of `FORMATS`; label: what the run's dataset writes.
        confidence: of each label, too.

    Raises:
        ValueError: points are asked for where there are photographs.
    """
    files = experiment.prediction_files
    if kind != "label":
        if experiment.dataset.kind != "scan":
            raise ValueError(f"--format {kind} writes points; photographs have none. Leave it out.")
        return LabelledScanFiles(experiment.label_map, files.read, files.suffixes, ending=f".{kind}")
    return files if not confidence else WithConfidence(files)  # type: ignore[return-value] # by __getattr__
