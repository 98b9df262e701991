"""Predictions of photographs: PNGs in the dataset's own format.

Shapes: N pixels of a photograph row by row; H, W rows and columns of its file; h, w of what was read of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.prediction_files import unknown_ids
from rangeseg.labels import LabelMap
from rangeseg.photos.io import IMAGE_SUFFIXES, read_label_image, read_size, write_label_image
from rangeseg.photos.padded_image import nearest_centers
from rangeseg.types import Photo


class PhotoFiles:
    """PNGs of raw ids at the resolution of the photographs' files.

    Args:
        label_map: the classes.
        name: photograph's file -> its prediction's file name.
        read: photograph's file -> `Photo`, as the run's dataset reads it, perhaps smaller than the file.
        palette: the PNGs have a palette that shows the classes' colours.
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
        """Path of the prediction in the output folder: that of `file` below `root`, with the dataset's file name."""
        return file.relative_to(root).with_name(self._name(file))

    def of_split(self, source: Any) -> list[tuple[Path, Path]]:
        """The photographs' files of a split, and their predictions, in the folders that the photographs' names have."""
        files = [source.pair(index).file for index in range(len(source))]
        return [(file, Path(source.name(index)).with_name(self._name(file))) for index, file in enumerate(files)]

    def read(self, file: Path) -> Photo:
        """Read a photograph as the run does."""
        return self._read(file)

    def write(self, target: Path, labels: NDArray[np.integer], sample: Photo, file: Path) -> None:
        """Write raw ids at the file's size; each pixel has the label of the `sample` pixel that contains its centre."""
        raw = self._label_map.to_raw(labels.reshape(sample.image.shape[:2]))
        rows, cols = (nearest_centers(*sizes, 0) for sizes in zip(read_size(file), raw.shape, strict=True))
        write_label_image(target, raw[np.ix_(rows, cols)], self._palette)

    def problem(self, target: Path, file: Path) -> str | None:
        """The problem of a prediction file: missing, no label image, wrong size or unknown ids; None if it has none."""
        if not target.is_file():
            return "missing"
        try:
            raw = read_label_image(target)
        except ValueError as error:
            return str(error)
        (height, width), size = raw.shape, read_size(file)
        if (height, width) != size:
            return f"{height} x {width} pixels (rows x columns) for the {size[0]} x {size[1]} of {file}"
        return unknown_ids(raw, self._label_map.raw_ids)

    def finish(self, out: Path, source: Any) -> list[Path]:
        """Writes nothing: a submission consists of predictions only."""
        return []

    def problems(self, out: Path, source: Any) -> list[str]:
        """No problems: there are no rules for the whole folder."""
        return []


def _palette(label_map: LabelMap) -> NDArray[np.uint8]:
    palette = np.zeros((256, 3), np.uint8)
    for raw, color in label_map.raw_colors.items():
        palette[raw] = color
    return palette
