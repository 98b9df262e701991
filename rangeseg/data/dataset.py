"""Base classes of all datasets. A dataset class declares what rangeseg needs before it opens a file."""

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
    """An ordered collection of scans: a `ScanDataset`, or a wrapper of one, for example `SparseLabels`."""

    @property
    def label_map(self) -> LabelMap:
        """The classes."""
        ...

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """The name of scan `index` in reports and lists, e.g. ``08/000123``."""
        ...

    def scan(self, index: int) -> Scan:
        """Scan `index`, with labels as train ids if the files have labels."""
        ...


class Dataset(ABC):
    """One split of a dataset: an ordered collection of scans or photographs, some or all labelled.

    Derive from `ScanDataset` or `PhotoDataset`, not from this class.
    """

    kind: ClassVar[str]
    """Kind of one sample: scan or photograph."""
    element: ClassVar[str]
    """The part of a sample that has a label: point or pixel."""
    folder: ClassVar[str] = ""
    """The dataset's folder in `datasets/`, which holds its labels.yaml and lists."""
    suffixes: ClassVar[tuple[str, ...]]
    """Endings of the files that `read` can read."""
    read: Callable[..., Any]
    """Static method: (file, label file or None, label_map=None, options) -> sample."""

    split: str | None = None
    """The official name of the opened split; None if the dataset has no official splits."""

    @classmethod
    def read_label_map(cls) -> LabelMap:
        """The dataset's classes, without opening its files."""
        return LabelMap.read(resource("datasets", cls.folder, "labels.yaml"))

    @classmethod
    def classes(cls, options: dict[str, Any]) -> LabelMap:
        """The result of `read_label_map` with the options that it accepts."""
        return cls.read_label_map(**accepted_kwargs(cls.read_label_map, options))

    @classmethod
    @abstractmethod
    def prediction_files(cls, label_map: LabelMap, options: dict[str, Any]) -> PredictionFiles:
        """How predictions are written.

        Args:
            label_map: the classes.
            options: keys of `data.dataset`; those that `read` accepts are passed to it.
        """

    @classmethod
    def reader(cls, options: dict[str, Any]) -> Callable[..., Any]:
        """`read` with the options that it accepts."""
        return partial(cls.read, **accepted_kwargs(cls.read, options))

    @property
    @abstractmethod
    def label_map(self) -> LabelMap:
        """The classes."""

    def with_labels(self) -> Self:
        """The same dataset with only the samples that have labels; all samples, unless a dataset overrides this.

        Raises:
            ValueError: no sample has labels.
        """
        return self

    def read_by(self) -> dict[str, Any]:
        """The constructor's arguments that `read` accepts, if the files of a dataset can be read in several ways."""
        return {}

    @abstractmethod
    def __len__(self) -> int:
        """The number of samples."""

    @abstractmethod
    def name(self, index: int) -> str:
        """The name of sample `index` in reports and lists."""

    @abstractmethod
    def item(self, index: int) -> Scan | Photo:
        """Sample `index`, with labels as train ids if the files have labels."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all samples, in order."""
        return tuple(self.name(index) for index in range(len(self)))


class ScanDataset(Dataset):
    """Base class of scan datasets."""

    kind: ClassVar[str] = "scan"
    element: ClassVar[str] = "point"
    suffixes: ClassVar[tuple[str, ...]] = tuple(READERS)
    predictions: ClassVar[Callable[..., PredictionFiles]] = ScanFiles
    """(classes, reader, suffixes) -> how predictions are written; ``.label`` files by default."""

    read: Callable[..., Scan] = staticmethod(read_scan)

    @classmethod
    def prediction_files(cls, label_map: LabelMap, options: dict[str, Any]) -> PredictionFiles:
        """The format that `predictions` defines, with the dataset's reader."""
        return cls.predictions(label_map, cls.reader(options), cls.suffixes)

    @abstractmethod
    def scan(self, index: int) -> Scan:
        """Scan `index`, with labels as train ids if the files have labels."""

    def item(self, index: int) -> Scan:
        """Scan `index`."""
        return self.scan(index)

    def scan_path(self, index: int) -> Path:
        """The file of scan `index`.

        Raises:
            ValueError: the dataset's scans are not files.
        """
        raise ValueError(
            f"Scan {self.name(index)} is not stored in a separate file, so it cannot be predicted as a file."
        )

    def label_path(self, index: int) -> Path:
        """The path of the labels of scan `index`; the file need not exist.

        Raises:
            ValueError: the dataset's labels are not files, or the split has none.
        """
        raise ValueError(f"The labels of scan {self.name(index)} are not stored in a separate file.")
