"""What every LiDAR dataset is to the rest of rangeseg."""

from __future__ import annotations

from typing import Protocol

from rangeseg.labels import LabelMap
from rangeseg.types import Scan


class ScanSource(Protocol):
    """An ordered collection of scans, some or all labelled."""

    @property
    def label_map(self) -> LabelMap:
        """The classes."""
        ...

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What reports and lists call scan `index`, e.g. ``08/000123``."""
        ...

    def scan(self, index: int) -> Scan:
        """Scan `index`, with train-id labels where the files have them."""
        ...
