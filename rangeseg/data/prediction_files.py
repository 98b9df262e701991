"""Files of predictions: ``.label`` for scans, PNGs in the dataset's own format for photographs.

A dataset of scans that has another form brings it as its class's `predictions`, as `NuScenes` does.

Shapes: N points, or pixels of a photograph row by row; H, W rows and columns of its file; h, w of what was read of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rangeseg.labels import LabelMap
from rangeseg.scan_io import READERS, read_labels, read_scan, write_labels
from rangeseg.types import Scan


class PredictionFiles(Protocol):
    """One kind of prediction."""

    suffixes: tuple[str, ...]
    """Of the files that are predicted."""

    def target(self, file: Path, root: Path) -> Path:
        """The path of the prediction for a file in `root`, relative to the output folder."""
        ...

    def of_split(self, source: Any) -> list[tuple[Path, Path]]:
        """The files of an opened split and the paths of their predictions, relative to the output folder."""
        ...

    def read(self, file: Path) -> Any:
        """A scan or a photograph, without labels."""
        ...

    def write(self, target: Path, labels: NDArray[np.integer], sample: Any, file: Path) -> None:
        """Write the prediction for `sample`, which was read from `file`: (N,) train ids."""
        ...

    def problem(self, target: Path, file: Path) -> str | None:
        """In which way a written prediction does not fit its file; None where it does."""
        ...

    def finish(self, out: Path, source: Any) -> list[Path]:
        """Write what a submission of an opened split has beside its predictions: the files, relative to `out`."""
        ...

    def problems(self, out: Path, source: Any) -> list[str]:
        """Why the output folder is no submission of an opened split, even if each prediction fits its file."""
        ...


class ScanFiles:
    """``.label``: uint32 raw ids, one per point.

    A scan at ``sequences/SS/velodyne/NAME.bin`` gets ``sequences/SS/predictions/NAME.label``; any other keeps its
    place below the folder that was given.

    Args:
        label_map: the classes.
        read: scan's file -> `Scan`, as the run's dataset reads it.
        suffixes: of the files that it reads.
    """

    def __init__(
        self, label_map: LabelMap, read: Callable[[Path], Scan] = read_scan, suffixes: tuple[str, ...] = tuple(READERS)
    ) -> None:
        self._label_map = label_map
        self._read = read
        self.suffixes = suffixes

    def target(self, file: Path, root: Path) -> Path:
        """``sequences/SS/predictions/NAME.label``, or the place below `root`; links keep the names they have."""
        whole = Path(os.path.abspath(file))  # noqa: PTH100 - resolve() would follow links
        if whole.parent.name == "velodyne" and whole.parents[2].name == "sequences":
            return Path("sequences", whole.parents[1].name, "predictions", f"{file.stem}.label")
        suffix = next((end for end in self.suffixes if file.name.endswith(end)), file.suffix)
        return file.relative_to(root).with_name(f"{file.name.removesuffix(suffix)}.label")

    def of_split(self, source: Any) -> list[tuple[Path, Path]]:
        """The scan files of a split, and their predictions."""
        files = [source.scan_path(index) for index in range(len(source))]
        return [(file, self.target(file, file.parent)) for file in files]

    def read(self, file: Path) -> Scan:
        """A scan as the run reads it."""
        return self._read(file)

    def write(self, target: Path, labels: NDArray[np.integer], sample: Scan, file: Path) -> None:
        """Write raw ids."""
        write_labels(target, self._label_map.to_raw(labels))

    def problem(self, target: Path, file: Path) -> str | None:
        """Missing, a wrong count, or values no benchmark takes."""
        if not target.is_file():
            return "missing"
        points = len(self._read(file))
        if target.stat().st_size != 4 * points:
            return f"{target.stat().st_size} bytes for {points} points; expected {4 * points}"
        semantic, instance = read_labels(target)
        if instance.any():
            return "holds instance ids; labels of classes have none"
        return unknown_ids(semantic, (0, *self._label_map.raw_ids))

    def finish(self, out: Path, source: Any) -> list[Path]:
        """Nothing: predictions are all."""
        return []

    def problems(self, out: Path, source: Any) -> list[str]:
        """None."""
        return []


def unknown_ids(raw: NDArray[np.integer], known: tuple[int, ...]) -> str | None:
    """Describe raw ids of a prediction that the benchmark does not accept; None if it accepts all."""
    strange = np.setdiff1d(raw, known)
    return f"raw ids {strange.tolist()} are not valid in the benchmark" if len(strange) else None
