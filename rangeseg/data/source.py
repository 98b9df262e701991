"""What every dataset is to the rest of rangeseg: a source of scans, or one of photographs."""

from __future__ import annotations

from typing import Protocol

from rangeseg.labels import LabelMap
from rangeseg.types import Photo, Scan


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


class PhotoSource(Protocol):
    """An ordered collection of photographs, some or all labelled."""

    @property
    def label_map(self) -> LabelMap:
        """The classes."""
        ...

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What reports and lists call photograph `index`, e.g. ``2007_000032``."""
        ...

    def photo(self, index: int) -> Photo:
        """Photograph `index`, with train-id labels where the files have them."""
        ...


Source = ScanSource | PhotoSource
"""Any dataset."""
