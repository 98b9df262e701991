"""Files of predictions: ``.label`` for scans; `rangeseg.photos.prediction_files` has the formats for photographs.

A scan dataset with another format sets the class attribute `predictions`, as `NuScenes` does.

Shapes: N points, or pixels of a photograph, row by row.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rangeseg.labels import LabelMap
from rangeseg.paths import absolute
from rangeseg.scan_io import READERS, read_labels, read_scan, write_labels
from rangeseg.types import Scan


class PredictionFiles(Protocol):
    """A format of predictions."""

    suffixes: tuple[str, ...]
    """Endings of the files for which predictions are made."""

    def target(self, file: Path, root: Path) -> Path:
        """The path of the prediction for a file in `root`, relative to the output folder."""
        ...

    def of_split(self, source: Any) -> list[tuple[Path, Path]]:
        """The files of an opened split and the paths of their predictions, relative to the output folder."""
        ...

    def read(self, file: Path) -> Any:
        """Read a scan or a photograph, without labels."""
        ...

    def write(self, target: Path, labels: NDArray[np.integer], sample: Any, file: Path) -> None:
        """Write the prediction for `sample`, which was read from `file`: (N,) train ids."""
        ...

    def problem(self, target: Path, file: Path) -> str | None:
        """The problem of the prediction for a file; None if it has none."""
        ...

    def finish(self, out: Path, source: Any) -> list[Path]:
        """Write the other files of a submission of an opened split; returns their paths relative to `out`."""
        ...

    def problems(self, out: Path, source: Any) -> list[str]:
        """The problems of the output folder as a submission of an opened split, besides those of single predictions."""
        ...


class ScanFiles:
    """``.label``: uint32 raw ids, one per point.

    The prediction for ``sequences/SS/velodyne/NAME.bin`` is ``sequences/SS/predictions/NAME.label``. That of any other
    file keeps the path of the file relative to the given folder; in a split, it has the name of the scan in lists.

    Args:
        label_map: the classes.
        read: the reader of the run's dataset: file of a scan -> `Scan`.
        suffixes: endings of the files that it reads.
    """

    def __init__(
        self, label_map: LabelMap, read: Callable[[Path], Scan] = read_scan, suffixes: tuple[str, ...] = tuple(READERS)
    ) -> None:
        self._label_map = label_map
        self._read = read
        self.suffixes = suffixes

    def target(self, file: Path, root: Path) -> Path:
        """``sequences/SS/predictions/NAME.label``, or the path relative to `root`; links are not followed."""
        whole = absolute(file)
        if whole.parent.name == "velodyne" and whole.parents[2].name == "sequences":
            return Path("sequences", whole.parents[1].name, "predictions", f"{file.stem}.label")
        suffix = next((end for end in self.suffixes if file.name.endswith(end)), file.suffix)
        return file.relative_to(root).with_name(f"{file.name.removesuffix(suffix)}.label")

    def of_split(self, source: Any) -> list[tuple[Path, Path]]:
        """The scan files of a split and the paths of their predictions, which have the names of the scans."""
        found = []
        for index in range(len(source)):
            file = source.scan_path(index)
            target = self.target(file, file.parent)
            found.append((file, target if target.parts[1:] else Path(f"{source.name(index)}{target.suffix}")))
        return found

    def read(self, file: Path) -> Scan:
        """Read a scan with the reader of the run's dataset."""
        return self._read(file)

    def write(self, target: Path, labels: NDArray[np.integer], sample: Scan, file: Path) -> None:
        """Write raw ids."""
        write_labels(target, self._label_map.to_raw(labels))

    def problem(self, target: Path, file: Path) -> str | None:
        """The problem of a prediction file: missing, a wrong length, or wrong ids; None if there is none."""
        if not target.is_file():
            return "missing"
        points = len(self._read(file))
        if target.stat().st_size != 4 * points:
            return f"{target.stat().st_size} bytes for {points} points; expected {4 * points}"
        semantic, instance = read_labels(target)
        if instance.any():
            return "contains instance ids in the upper 16 bits; a semantic prediction must not contain any"
        return unknown_ids(semantic, (self._label_map.ignore_raw, *self._label_map.raw_ids))

    def finish(self, out: Path, source: Any) -> list[Path]:
        """Write nothing, because a submission has no other files."""
        return []

    def problems(self, out: Path, source: Any) -> list[str]:
        """No problems besides those of single predictions."""
        return []


def unknown_ids(raw: NDArray[np.integer], known: tuple[int, ...]) -> str | None:
    """Describe raw ids of a prediction that the benchmark does not accept; None if it accepts all."""
    strange = np.setdiff1d(raw, known)
    return f"raw ids {strange.tolist()} are not valid in the benchmark" if len(strange) else None
