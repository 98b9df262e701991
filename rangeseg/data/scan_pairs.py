"""What datasets of scans have in common: a list of scans, each beside its labels."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rangeseg.data.file_pairs import FilePairs, Pair
from rangeseg.labels import LabelMap
from rangeseg.scan_io import READERS, read_scan
from rangeseg.types import Scan

__all__ = ["Pair", "ScanPairs"]


class ScanPairs(FilePairs):
    """The scans of one split, in the order in which a dataset's `find` gives them; arguments as `FilePairs`."""

    thing: ClassVar[str] = "scan"
    suffixes: ClassVar[tuple[str, ...]] = tuple(READERS)
    """Of the files that `read` takes."""

    @staticmethod
    def read(scan: Path, label: Path | None = None, *, label_map: LabelMap | None = None) -> Scan:
        """A scan's file, and its labels' where given, as the dataset has them.

        Raises:
            ValueError: a file is missing, damaged, or does not fit.
        """
        return read_scan(scan, labels=label, label_map=label_map)

    def scan(self, index: int) -> Scan:
        """Scan `index`, with labels unless the split or the caller keeps them hidden.

        Raises:
            ValueError: a file is missing, damaged, or does not fit.
        """
        return self._open(index, self.read)

    def scan_path(self, index: int) -> Path:
        """The file of scan `index`."""
        return self.pair(index).file
