"""The bases of every dataset. A class declares here what rangeseg needs to know before it opens any file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from rangeseg.data.prediction_files import PredictionFiles, ScanFiles
from rangeseg.labels import LabelMap
from rangeseg.registry import accepted_kwargs
from rangeseg.resources import resource
from rangeseg.scan_io import READERS, read_scan
from rangeseg.types import Photo, Scan


class ScanSource(Protocol):
    """An ordered collection of scans: a `ScanDataset`, or one seen through something else, as `SparseLabels`."""

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


class Dataset(ABC):
    """One split of a dataset: an ordered collection of scans or photographs, some or all labelled.

    Derive from `ScanDataset` or `PhotoDataset`, not from this class.
    """

    kind: ClassVar[str]
    """What one sample is: scan or photograph."""
    element: ClassVar[str]
    """What is labelled of it: point or pixel."""
    folder: ClassVar[str] = ""
    """The dataset's folder in `datasets/`, which holds its labels.yaml and lists."""
    suffixes: ClassVar[tuple[str, ...]]
    """Endings of the files that `read` takes."""
    read: Callable[..., Any]
    """(file, labels' file or None, label_map=None, options) -> a sample. A static method."""

    split: str | None = None
    """The official name of the opened split; None where a dataset has none."""

    @classmethod
    def read_label_map(cls) -> LabelMap:
        """The dataset's classes, without opening its files."""
        return LabelMap.read(resource("datasets", cls.folder, "labels.yaml"))

    @classmethod
    def classes(cls, options: dict[str, Any]) -> LabelMap:
        """`read_label_map` with those of the options that it takes."""
        return cls.read_label_map(**accepted_kwargs(cls.read_label_map, options))

    @classmethod
    @abstractmethod
    def prediction_files(cls, label_map: LabelMap, options: dict[str, Any]) -> PredictionFiles:
        """How predictions are written.

        Args:
            label_map: the classes.
            options: keys of `data.dataset`; those that `read` takes are given to it.
        """

    @classmethod
    def reader(cls, options: dict[str, Any]) -> Callable[..., Any]:
        """`read` with those of the options that it takes."""
        return partial(cls.read, **accepted_kwargs(cls.read, options))

    @property
    @abstractmethod
    def label_map(self) -> LabelMap:
        """The classes."""

    def with_labels(self) -> Self:
        """The same with the samples that have labels: all, unless a dataset overrides this.

        Raises:
            ValueError: none has labels.
        """
        return self

    @abstractmethod
    def __len__(self) -> int:
        """The number of samples."""

    @abstractmethod
    def name(self, index: int) -> str:
        """What reports and lists call sample `index`."""

    @abstractmethod
    def item(self, index: int) -> Scan | Photo:
        """Sample `index`, with train-id labels where the files have them."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all samples, in order."""
        return tuple(self.name(index) for index in range(len(self)))


class ScanDataset(Dataset):
    """The base of datasets of scans."""

    kind: ClassVar[str] = "scan"
    element: ClassVar[str] = "point"
    suffixes: ClassVar[tuple[str, ...]] = tuple(READERS)
    predictions: ClassVar[Callable[..., PredictionFiles]] = ScanFiles
    """(classes, reader, suffixes) -> how predictions are written; ``.label`` files by default."""

    read: Callable[..., Scan] = staticmethod(read_scan)

    @classmethod
    def prediction_files(cls, label_map: LabelMap, options: dict[str, Any]) -> PredictionFiles:
        """As `predictions` makes them."""
        return cls.predictions(label_map, cls.reader(options), cls.suffixes)

    @abstractmethod
    def scan(self, index: int) -> Scan:
        """Scan `index`, with train-id labels where the files have them."""

    def item(self, index: int) -> Scan:
        """Scan `index`."""
        return self.scan(index)

    def scan_path(self, index: int) -> Path:
        """The file of scan `index`.

        Raises:
            ValueError: the dataset's scans are not files.
        """
        raise ValueError(f"Scan {self.name(index)} is not a file of its own, so it cannot be predicted as a file.")

    def label_path(self, index: int) -> Path:
        """Where the labels of scan `index` belong; the file need not be there.

        Raises:
            ValueError: the dataset's labels are not files, or the split has none.
        """
        raise ValueError(f"The labels of scan {self.name(index)} are not a file of their own.")
