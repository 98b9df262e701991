"""SemanticKITTI in its official layout, and any dataset that keeps to it.

    root/sequences/SS/velodyne/FFFFFF.bin     scans
    root/sequences/SS/labels/FFFFFF.label     labels; none for the test split

A scan is called ``SS/FFFFFF`` everywhere: in lists, reports and predictions.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from pathlib import Path
from typing import ClassVar

from rangeseg.data.lists import keep_listed, read_names
from rangeseg.labels import LabelMap
from rangeseg.resources import resource
from rangeseg.scan_io import read_scan
from rangeseg.types import Scan

HIDDEN_SPLIT = "test"
"""The split whose labels are the benchmark's secret."""


class SemanticKitti:
    """The scans of one split, in the order of their names.

    Args:
        root: the folder that holds `sequences/`, or the one that holds `dataset/sequences/` (as the zip files unpack).
        split: train, val or test.
        sequences: only these of the split; default: those of the split that are on the disk.
        frames: only these scans: their names, or a list file of them. Shipped lists are at
            ``resource("datasets", "semantic_kitti", "splits", "train_10pct_uniform.txt")`` and beside it.
        labels: read labels. Without them a training scan needs no label file (and nobody can peek).
        label_map: the classes; default: SemanticKITTI's. Another dataset in this layout brings its own.

    Raises:
        ValueError: a folder, sequence, split or scan that is asked for is not there.
    """

    folder: ClassVar[str] = "semantic_kitti"
    """Of the classes and lists, in `datasets/`."""
    labels_in: ClassVar[str] = "data_odometry_labels.zip"
    """Where the labels come from, for errors."""

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        sequences: Iterable[str | int] | None = None,
        frames: str | Path | Iterable[str] | None = None,
        labels: bool = True,
        label_map: LabelMap | None = None,
    ) -> None:
        self._label_map = label_map or self.read_label_map()
        self._folder = _sequences_folder(Path(root))
        self._split = split
        self._labelled = labels and split != HIDDEN_SPLIT
        chosen = self._choose_sequences(split, sequences)
        self._names = [name for sequence in chosen for name in self._list_scans(sequence)]
        if not self._names:
            raise ValueError(
                f"{self._folder}: sequences {', '.join(chosen)} hold no scans in velodyne/; unpack them again."
            )
        if frames is not None:
            self._names = self._keep(read_list(frames) if isinstance(frames, str | Path) else frames)

    @classmethod
    def read_label_map(cls) -> LabelMap:
        """The dataset's classes, without opening its files."""
        return LabelMap.read(resource("datasets", cls.folder, "labels.yaml"))

    @staticmethod
    def read(scan: Path, label: Path | None = None, *, label_map: LabelMap | None = None) -> Scan:
        """A scan's file, and its labels' where given, as the dataset has them.

        Raises:
            ValueError: a file is missing, damaged, or does not fit.
        """
        return read_scan(scan, labels=label, label_map=label_map)

    @property
    def label_map(self) -> LabelMap:
        """The classes."""
        return self._label_map

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all scans, in order."""
        return tuple(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> str:
        """What scan `index` is called, e.g. ``08/000123``."""
        return self._names[index]

    def scan_path(self, index: int) -> Path:
        """The file of scan `index`."""
        sequence, frame = self._names[index].split("/")
        return self._folder / sequence / "velodyne" / f"{frame}.bin"

    def label_path(self, index: int) -> Path:
        """Where the labels of scan `index` belong; the file need not be there."""
        sequence, frame = self._names[index].split("/")
        return self._folder / sequence / "labels" / f"{frame}.label"

    def scan(self, index: int) -> Scan:
        """Scan `index`, with labels unless the split or the caller keeps them hidden.

        Raises:
            ValueError: a file is missing, damaged, or does not fit.
        """
        path = self.scan_path(index)
        if not self._labelled:
            return self.read(path)
        labels = self.label_path(index)
        if not labels.exists():
            raise ValueError(
                f"{labels}: missing, the labels of {path}. Unpack {self.labels_in} beside the scans, "
                "or open the scans with labels=False."
            )
        return self.read(path, labels, label_map=self._label_map)

    def select(self, names: Iterable[str]) -> SemanticKitti:
        """The same, with only these scans (still in the order of their names).

        Raises:
            ValueError: a name that is not among the scans.
        """
        selection = copy(self)
        selection._names = self._keep(names)
        return selection

    def _choose_sequences(self, split: str, sequences: Iterable[str | int] | None) -> list[str]:
        splits = self._label_map.splits
        if split not in splits:
            raise ValueError(f"{self._label_map.dataset} has no split {split!r}; use {', '.join(splits)}.")
        there = [sequence for sequence in splits[split] if (self._folder / sequence / "velodyne").is_dir()]
        if sequences is None and not there:
            looked_for = ", ".join(splits[split])
            raise ValueError(
                f"{self._folder}: no sequence of split {split} is there; looked for SS/velodyne with SS {looked_for}."
            )
        wanted = there if sequences is None else sorted({str(sequence).zfill(2) for sequence in sequences})
        if foreign := [sequence for sequence in wanted if sequence not in splits[split]]:
            raise ValueError(
                f"Sequences {', '.join(foreign)} are not in split {split}; use {', '.join(splits[split])}."
            )
        if missing := [sequence for sequence in wanted if sequence not in there]:
            raise ValueError(
                f"{self._folder}: sequences {', '.join(missing)} have no velodyne/ folder; unpack them there."
            )
        return wanted

    def _list_scans(self, sequence: str) -> list[str]:
        return sorted(f"{sequence}/{path.stem}" for path in (self._folder / sequence / "velodyne").glob("[0-9]*.bin"))

    def _keep(self, names: Iterable[str]) -> list[str]:
        cure = "Name scans of this split and these sequences as SS/FFFFFF."
        return keep_listed(self._names, names, self._folder, what="scan", cure=cure)


def read_list(path: str | Path) -> tuple[str, ...]:
    """Read a list of scans: one ``SS/FFFFFF`` a line, or ``SS`` for all of a sequence; ``#`` begins a comment.

    Raises:
        ValueError: the file cannot be read, is empty, or a line is no name of a scan.
    """
    return read_names(path, pattern=r"\d+/\d+|\d\d", what="scan", form="SS/FFFFFF", example="08/000123")


def _sequences_folder(root: Path) -> Path:
    candidates = (root / "sequences", root / "dataset" / "sequences")
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise ValueError(
        f"{root}: neither {candidates[0]} nor {candidates[1]} is there; give the folder that holds sequences/."
    )
