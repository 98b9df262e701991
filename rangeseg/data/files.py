"""A source of single files, scans or photographs with or without label files, that need no dataset layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rangeseg.data.file_pairs import Pair
from rangeseg.labels import LabelMap
from rangeseg.types import Photo, Scan

PathLike = str | Path
FileOrPair = PathLike | tuple[PathLike, PathLike]
"""Path of a scan or photograph, or (path, path of its labels)."""


class FileList:
    """A source of the given files, in the given order.

    Args:
        files: paths of scans or photographs, or (path, path of the labels) for each.
        label_map: the classes.
        read: (file, label file or None, label_map=...) -> scan or photograph, for example a dataset's `read`.

    Raises:
        ValueError: there are no files, or a file does not exist.
    """

    def __init__(self, files: Sequence[FileOrPair], label_map: LabelMap, read: Callable[..., Any]) -> None:
        self.label_map = label_map
        self._read = read
        both = [one if isinstance(one, tuple) else (one, None) for one in files]
        self._pairs = [Pair(str(file), Path(file), None if label is None else Path(label)) for file, label in both]
        if not self._pairs:
            raise ValueError("No files were named; give at least one.")
        for path in (path for pair in self._pairs for path in (pair.file, pair.label) if path is not None):
            if not path.is_file():
                raise ValueError(f"{path}: no such file.")

    def __len__(self) -> int:
        return len(self._pairs)

    def name(self, index: int) -> str:
        """The path of file `index`, as it was given."""
        return self._pairs[index].name

    def scan(self, index: int) -> Scan:
        """Scan `index`."""
        scan: Scan = self._open(index)
        return scan

    def photo(self, index: int) -> Photo:
        """Photograph `index`."""
        photo: Photo = self._open(index)
        return photo

    def _open(self, index: int) -> Any:
        pair = self._pairs[index]
        return self._read(pair.file, pair.label, label_map=self.label_map)
