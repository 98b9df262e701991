"""The files of predictions: scans become ``.label``, photographs become PNGs in their dataset's own form.

A dataset of scans that has another form brings it as its class's `predictions`, as `NuScenes` does.

Shapes: N points, or pixels of a photograph row by row; H, W rows and columns of its file; h, w of what was read of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.photo_io import IMAGE_SUFFIXES, read_label_image, read_size, write_label_image
from rangeseg.labels import LabelMap
from rangeseg.projection.padded_image import nearest_centers
from rangeseg.scan_io import READERS, read_labels, read_scan, write_labels
from rangeseg.types import Photo, Scan


class PredictionFiles(Protocol):
    """One kind of prediction."""

    suffixes: tuple[str, ...]
    """Of the files that are predicted."""

    def target(self, file: Path, root: Path) -> Path:
        """Where the prediction of a file below `root` goes, relative to the output folder."""
        ...

    def of_split(self, source: Any) -> list[tuple[Path, Path]]:
        """The files of an opened split, and where their predictions go, relative to the output folder."""
        ...

    def read(self, file: Path) -> Any:
        """A scan or a photograph, without labels."""
        ...

    def write(self, target: Path, labels: NDArray[np.integer], thing: Any, file: Path) -> None:
        """Write the prediction for `thing`, which was read from `file`: (N,) train ids."""
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
        """``sequences/SS/predictions/NAME.label``, or the place below `root`."""
        whole = file.resolve()
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

    def write(self, target: Path, labels: NDArray[np.integer], thing: Scan, file: Path) -> None:
        """Write raw ids."""
        write_labels(target, self._label_map.to_raw(labels))

    def problem(self, target: Path, file: Path) -> str | None:
        """Missing, a wrong count, or values no benchmark takes."""
        if not target.is_file():
            return "missing"
        points = len(self._read(file))
        if target.stat().st_size != 4 * points:
            return f"{target.stat().st_size} bytes for {points} points; {4 * points} are needed"
        semantic, instance = read_labels(target)
        if instance.any():
            return "holds instance ids; labels of classes have none"
        return _strange(semantic, (0, *self._label_map.raw_ids))

    def finish(self, out: Path, source: Any) -> list[Path]:
        """Nothing: predictions are all."""
        return []

    def problems(self, out: Path, source: Any) -> list[str]:
        """None."""
        return []


class PhotoFiles:
    """PNGs of raw ids at the resolution of the photographs' files.

    Args:
        label_map: the classes.
        name: photograph's file -> its prediction's file name.
        read: photograph's file -> `Photo`, as the run's dataset reads it, perhaps smaller than the file.
        palette: the PNGs show the classes' colours too.
    """

    suffixes: tuple[str, ...] = IMAGE_SUFFIXES

    def __init__(
        self,
        label_map: LabelMap,
        name: Callable[[Path], str],
        read: Callable[[Path], Photo],
        *,
        palette: bool,
    ) -> None:
        self._label_map = label_map
        self._name = name
        self._read = read
        self._palette = _palette(label_map) if palette else None

    def target(self, file: Path, root: Path) -> Path:
        """The place below `root`, under the name that the dataset gives predictions."""
        return file.relative_to(root).with_name(self._name(file))

    def of_split(self, source: Any) -> list[tuple[Path, Path]]:
        """The photographs' files of a split, and their predictions."""
        files = [source.pair(index).file for index in range(len(source))]
        return [(file, self.target(file, file.parent)) for file in files]

    def read(self, file: Path) -> Photo:
        """A photograph as the run reads it."""
        return self._read(file)

    def write(self, target: Path, labels: NDArray[np.integer], thing: Photo, file: Path) -> None:
        """Write raw ids, each pixel of the file with the label of the pixel read there."""
        raw = self._label_map.to_raw(labels.reshape(thing.image.shape[:2]))
        rows, cols = (nearest_centers(*sizes, 0) for sizes in zip(read_size(file), raw.shape, strict=True))
        write_label_image(target, raw[np.ix_(rows, cols)], self._palette)

    def problem(self, target: Path, file: Path) -> str | None:
        """Missing, no label image, another size, or values no benchmark takes."""
        if not target.is_file():
            return "missing"
        try:
            raw = read_label_image(target)
        except ValueError as error:
            return str(error)
        (height, width), size = raw.shape, read_size(file)
        if (height, width) != size:
            return f"{height} x {width} pixels (rows x columns) for the {size[0]} x {size[1]} of {file}"
        return _strange(raw, self._label_map.raw_ids)

    def finish(self, out: Path, source: Any) -> list[Path]:
        """Nothing: predictions are all."""
        return []

    def problems(self, out: Path, source: Any) -> list[str]:
        """None."""
        return []


def _strange(raw: NDArray[np.integer], known: tuple[int, ...]) -> str | None:
    strange = np.setdiff1d(raw, known)
    return f"raw ids {strange.tolist()} are none a benchmark takes" if len(strange) else None


def _palette(label_map: LabelMap) -> NDArray[np.uint8]:
    palette = np.zeros((256, 3), np.uint8)
    for raw, color in label_map.raw_colors.items():
        palette[raw] = color
    return palette
