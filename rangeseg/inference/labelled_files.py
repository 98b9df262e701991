"""Prediction files with more than raw ids: points with labels, confidence and entropy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.prediction_files import PredictionFiles, ScanFiles
from rangeseg.engine.experiment import Experiment
from rangeseg.files import write_atomically
from rangeseg.inference.segmentation import Segmentation
from rangeseg.labels import LabelMap
from rangeseg.registry import did_you_mean
from rangeseg.scan_formats.arrays import read_arrays
from rangeseg.scan_formats.labelled import LABELLED
from rangeseg.scan_io import read_scan
from rangeseg.types import Photo, Scan

FORMATS = ("label", *(ending.removeprefix(".") for ending in LABELLED))


class LabelledScanFiles(ScanFiles):
    """Points with their fields, `label`, `confidence` and `entropy`, in one of `LABELLED`'s formats.

    A scan in SemanticKITTI's layout gets ``sequences/SS/predictions/NAME.ply``. Any other scan keeps its relative path.

    Args:
        label_map: the classes.
        read: file of a scan -> `Scan`.
        suffixes: suffixes of the files that `read` accepts.
        ending: suffix of the written files.
    """

    def __init__(
        self, label_map: LabelMap, read: Callable[[Path], Scan], suffixes: tuple[str, ...], *, ending: str
    ) -> None:
        super().__init__(label_map, read, suffixes)
        self._ending = ending

    def target(self, file: Path, root: Path) -> Path:
        """The path for a ``.label`` file, with the other suffix."""
        return super().target(file, root).with_suffix(self._ending)

    def write(self, target: Path, labels: Any, sample: Scan, file: Path) -> None:
        """Write points and labels."""
        labels.save(target)

    def problem(self, target: Path, file: Path) -> str | None:
        """The problem of a file: missing, damaged, or another number of points."""
        if not target.is_file():
            return "missing"
        try:
            points, needed = len(read_scan(target)), len(self.read(file))
        except ValueError as error:
            return str(error)
        return None if points == needed else f"{points} points; {needed} are needed"


class WithConfidence:
    """Predictions with a file ``NAME_confidence.npz`` next to each: `confidence` and `entropy`, (N,) float32.

    Args:
        files: the predictions.
    """

    def __init__(self, files: PredictionFiles) -> None:
        self._files = files

    def __getattr__(self, name: str) -> Any:
        """Forward all other attributes to `files`."""
        return getattr(self._files, name)

    def write(self, target: Path, labels: Segmentation, sample: Any, file: Path) -> None:
        """Write both files."""
        arrays: dict[str, Any] = {"confidence": np.asarray(labels.confidence), "entropy": np.asarray(labels.entropy)}
        write_atomically(beside(target), lambda stream: np.savez(stream, **arrays))
        self._files.write(target, labels.labels, sample, file)

    def problem(self, target: Path, file: Path) -> str | None:
        """The problem of the prediction, or of the confidence file."""
        if problem := self._files.problem(target, file):
            return problem
        try:
            lengths = {len(array) for array in read_arrays(beside(target)).values()}
        except ValueError as error:
            return str(error)
        sample = self._files.read(file)
        needed = int(np.prod(sample.image.shape[:2])) if isinstance(sample, Photo) else len(sample)
        return None if lengths == {needed} else f"{beside(target)} has arrays of length {lengths}; {needed} is needed"


def beside(target: Path) -> Path:
    """Path of the confidence file of a prediction."""
    return target.with_name(f"{target.stem}_confidence.npz")


def outputs(files: PredictionFiles, target: Path) -> tuple[Path, ...]:
    """The paths that are written for a prediction: the prediction, and perhaps its confidence file."""
    return (target, beside(target)) if isinstance(files, WithConfidence) else (target,)


def least_sure(words: Sequence[str], label_map: LabelMap) -> NDArray[np.float32] | None:
    """(K,) minimum confidence of a label of each class; None if `words` is empty.

    Args:
        words: ``0.6`` for all classes, or ``car=0.5`` for one class; commas separate several of them in one word.
        label_map: the classes.

    Raises:
        ValueError: a class is unknown, or a confidence is not a number in [0, 1].
    """
    wanted = [part.strip() for word in words for part in word.split(",") if part.strip()]
    least = np.zeros(label_map.num_classes, np.float32)
    for part in sorted(wanted, key=lambda part: "=" in part):  # the one for all classes first
        name, _, number = part.rpartition("=")
        if name and name not in label_map.names:
            raise ValueError(f"{label_map.dataset} has no class {name!r}. {did_you_mean(name, list(label_map.names))}")
        try:
            value = float(number)
        except ValueError:
            value = np.nan
        if not 0 <= value <= 1:
            raise ValueError(f"The confidence {part!r} is not a number in [0, 1]; give for example 0.6, or CLASS=0.5.")
        least[label_map.names.index(name) if name else slice(None)] = value
    return least if wanted else None


def chosen_files(
    experiment: Experiment, kind: str, confidence: bool, unsure: Sequence[str] = (), label_map: LabelMap | None = None
) -> tuple[PredictionFiles, NDArray[np.float32] | None]:
    """The prediction files of a run, and the (K,) minimum confidences of their labels, from `least_sure`.

    Args:
        experiment: the experiment of the run.
        kind: one of `FORMATS`; label is the format of the run's dataset.
        confidence: also write the confidence and entropy of each label.
        unsure: argument of `least_sure`.
        label_map: classes whose raw ids are written; None: those of the run.

    Raises:
        ValueError: `kind` is a format of points but the run labels photographs, or the dataset's predictions must label
            every element but `unsure` is given; also as `least_sure`.
    """
    label_map = label_map or experiment.label_map
    files = experiment.dataset.prediction_files(label_map, experiment.config.data.dataset)
    least = least_sure(unsure, label_map)
    if least is not None and kind == "label" and not isinstance(files, ScanFiles):
        hint = "; write points instead: --format ply" if experiment.dataset.kind == "scan" else ""
        raise ValueError(
            f"--unsure is not possible: prediction files of {label_map.dataset} must have a label for every "
            f"element{hint}."
        )
    if kind != "label":
        if experiment.dataset.kind != "scan":
            raise ValueError(f"--format {kind} is for scans, but this run labels photographs. Remove --format.")
        return LabelledScanFiles(label_map, files.read, files.suffixes, ending=f".{kind}"), least
    return (WithConfidence(files) if confidence else files), least  # type: ignore[return-value] # by __getattr__
