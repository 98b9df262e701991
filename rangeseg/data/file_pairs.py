"""Common code of datasets in files: a list of scans or photographs with their label files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from rangeseg.data.dataset import Dataset
from rangeseg.data.lists import keep_listed, place_of_list, read_names
from rangeseg.labels import LabelMap

T = TypeVar("T")


@dataclass(frozen=True)
class Pair:
    """The files of one scan or photograph.

    Args:
        name: name in lists, reports and predictions.
        file: path of the scan or photograph.
        label: path of the label file, which need not exist before it is read; None if the split has no labels.
    """

    name: str
    file: Path
    label: Path | None


class FilePairs(Dataset):
    """The scans or photographs of one split, in the order of the dataset's `find`.

    Args:
        root: the dataset's folder.
        split: train, val or test.
        subset: names of the scans or photographs to use, or a list file of names; default: all.
        labels: read labels. With False, no label file is needed or opened.
        label_map: the classes; default: those of the dataset.

    Raises:
        ValueError: a requested folder, split, scan or photograph does not exist.
    """

    labels_in: ClassVar[str] = "them"
    """Where the labels come from, for errors."""

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        subset: str | Path | Iterable[str] | None = None,
        labels: bool = True,
        label_map: LabelMap | None = None,
    ) -> None:
        self._label_map = label_map or self.read_label_map(**self.classes_by())
        self._labelled = labels
        self.split, self._root = split, Path(root)
        if split not in self._label_map.splits:
            known = ", ".join(self._label_map.splits)
            raise ValueError(f"{self._label_map.dataset} has no split {split!r}; use {known}.")
        self._pairs = tuple(self.find(Path(root), split))
        if not self._pairs:
            raise ValueError(
                f"{root}: contains no {self.kind}s of split {split}; see datasets/{self.folder}/README.md."
            )
        if subset is not None:
            listed = self.read_list(subset) if isinstance(subset, str | Path) else subset
            self._pairs = self._keep(listed, place_of_list(self._root, subset))

    @abstractmethod
    def find(self, root: Path, split: str) -> Sequence[Pair]:
        """The files of a split, each name once.

        Raises:
            ValueError: a folder or list of the layout is missing.
        """

    def classes_by(self) -> dict[str, Any]:
        """The constructor's arguments that `read_label_map` accepts, if the classes of a dataset have options."""
        return {}

    def where_labels_are(self) -> str:
        """The archive or folder with the labels, for the error about a missing label file."""
        return self.labels_in

    def read_list(self, path: str | Path) -> tuple[str, ...]:
        """Read a list of names, one a line.

        Raises:
            ValueError: the file cannot be read or contains no names.
        """
        return read_names(path, pattern=".+", what=self.kind, form="NAME", example=self._pairs[0].name)

    @property
    def label_map(self) -> LabelMap:
        """The classes."""
        return self._label_map

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all samples, in order."""
        return tuple(pair.name for pair in self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def name(self, index: int) -> str:
        """The name of sample `index`."""
        return self._pairs[index].name

    def select(self, names: Iterable[str]) -> Self:
        """The same dataset with only the named samples, in the dataset's order.

        Raises:
            ValueError: a name does not exist, or there are no names.
        """
        selection = copy(self)
        selection._pairs = self._keep(names, self._root)
        return selection

    def with_labels(self) -> Self:
        """The same dataset with only the samples whose label file exists.

        Raises:
            ValueError: no label file exists.
        """
        named = [pair.name for pair in self._pairs if pair.label is not None and pair.label.exists()]
        if not named:
            first = self._pairs[0].label
            where = "This split has no labels." if first is None else f"The first one would be {first}."
            raise ValueError(
                f"{self._root}: none of the {len(self)} {self.kind}s of split {self.split} has a label file. {where}"
            )
        return self.select(named)

    def label_path(self, index: int) -> Path:
        """The path of the label file of sample `index`, which need not exist.

        Raises:
            ValueError: the split has no labels.
        """
        pair = self._pairs[index]
        if pair.label is None:
            raise ValueError(f"{pair.name}: split {self.split} has no labels.")
        return pair.label

    def pair(self, index: int) -> Pair:
        """The files of sample `index`."""
        return self._pairs[index]

    def _open(self, index: int, read: Callable[..., T]) -> T:
        """Read sample `index`, with labels unless the split has none or `labels` is False."""
        pair = self._pairs[index]
        if not self._labelled or pair.label is None:
            return read(pair.file, **self.read_by())
        if not pair.label.exists():
            raise ValueError(
                f"{pair.label}: the labels of {pair.file} are missing. Unpack {self.where_labels_are()} there, or use "
                f"only the {self.kind}s that have labels (data.labelled=with_labels), or open the {self.kind}s with "
                "labels=False."
            )
        return read(pair.file, pair.label, label_map=self._label_map, **self.read_by())

    def _keep(self, names: Iterable[str], where: object) -> tuple[Pair, ...]:
        cure = f"Name {self.kind}s of split {self.split}, e.g. {self._pairs[0].name}."
        kept = set(keep_listed(self.names, names, where, what=self.kind, cure=cure))
        return tuple(pair for pair in self._pairs if pair.name in kept)
