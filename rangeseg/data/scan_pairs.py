"""Common code of scan datasets: a list of scans with their label files."""

from __future__ import annotations

from pathlib import Path

from rangeseg.data.dataset import ScanDataset
from rangeseg.data.file_pairs import FilePairs, Pair
from rangeseg.types import Scan

__all__ = ["Pair", "ScanPairs"]


class ScanPairs(FilePairs, ScanDataset):
    """The scans of one split, in the order of the dataset's `find`; arguments as `FilePairs`."""

    def scan(self, index: int) -> Scan:
        """Scan `index`, with labels unless the split has none or `labels` is False.

        Raises:
            ValueError: a file is missing, damaged, or does not fit.
        """
        return self._open(index, self.read)

    def scan_path(self, index: int) -> Path:
        """The file of scan `index`."""
        return self.pair(index).file
