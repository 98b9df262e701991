"""SemanticKITTI in its official layout, and other datasets in this layout.

    root/sequences/SS/velodyne/FFFFFF.bin     scans
    root/sequences/SS/labels/FFFFFF.label     labels; none for the test split

A scan is called ``SS/FFFFFF`` everywhere: in lists, reports and predictions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from rangeseg.data.lists import natural_order, read_names
from rangeseg.data.scan_pairs import Pair, ScanPairs
from rangeseg.labels import LabelMap

HIDDEN_SPLIT = "test"
"""The split whose labels are not published."""

FILE = r"(?:.*/)?(\d\d)/(?:velodyne|labels|scribbles)/(\d+)\.(?:bin|label)"
"""Regular expression for the path of a scan or of its labels, in any folder; the groups are SS and FFFFFF."""


class SemanticKitti(ScanPairs):
    """The scans of one split, in the order of their names.

    Args:
        root: the folder that contains `sequences/` or (as the zip files unpack) `dataset/sequences/`.
        split: train, val or test.
        sequences: sequences of the split to use, or a single one; default: those that are on the disk.
        subset: names of the scans to use, or a list file of names; default: all. Shipped lists are at
            ``resource("datasets", "semantic_kitti", "splits", "train_10pct_uniform.txt")`` and in the same folder.
        labels: read labels. With False, no label file is needed or opened.
        labels_from: read the labels that `rangeseg predict` or `pseudo-label` wrote into this folder instead:
            ``sequences/SS/predictions/FFFFFF.label``.
        label_map: the classes; default: those of the dataset.
        fields: columns of the scans, if they are not the usual ones, see `rangeseg.scan_formats.fields`.

    Raises:
        ValueError: a requested folder, sequence, split or scan does not exist.
    """

    folder: ClassVar[str] = "semantic_kitti"
    labels_in: ClassVar[str] = "data_odometry_labels.zip"

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        sequences: str | int | Iterable[str | int] | None = None,
        subset: str | Path | Iterable[str] | None = None,
        labels: bool = True,
        labels_from: str | Path | None = None,
        label_map: LabelMap | None = None,
        fields: Mapping[str, str | None] | None = None,
    ) -> None:
        self._sequences, self._fields, self._labels_from = sequences, fields, labels_from
        super().__init__(root, split, subset=subset, labels=labels, label_map=label_map)

    def find(self, root: Path, split: str) -> Sequence[Pair]:
        """The files of a split, sequence by sequence.

        Raises:
            ValueError: a folder or sequence is missing, or a sequence is not in the split.
        """
        folder = _sequences_folder(root)
        chosen = self._choose_sequences(folder, split)
        pairs = [
            Pair(f"{sequence}/{scan.stem}", scan, self._label_file(folder, split, sequence, scan.stem))
            for sequence in chosen
            for scan in sorted(
                (folder / sequence / "velodyne").glob("[0-9]*.bin"), key=lambda file: natural_order(file.name)
            )
        ]
        if not pairs:
            raise ValueError(f"{folder}: sequences {', '.join(chosen)} have no scans in velodyne/; unpack them again.")
        return pairs

    def read_by(self) -> dict[str, Any]:
        """`fields`."""
        return {"fields": self._fields}

    def where_labels_are(self) -> str:
        """The archive or folder with the labels, for the error about a missing label file."""
        if self._labels_from is None:
            return self.labels_in
        return f"labels ({self._labels_from} has none of this scan; its scans.txt lists those that have some)"

    def _label_file(self, folder: Path, split: str, sequence: str, frame: str) -> Path | None:
        if self._labels_from is not None:
            return Path(self._labels_from) / "sequences" / sequence / "predictions" / f"{frame}.label"
        return self.label_file(folder, split, sequence, frame)

    def label_file(self, folder: Path, split: str, sequence: str, frame: str) -> Path | None:
        """The path of the labels of a scan in the folder of sequences; None if they are not published."""
        return None if split == HIDDEN_SPLIT else folder / sequence / "labels" / f"{frame}.label"

    def read_list(self, path: str | Path) -> tuple[str, ...]:
        """Read a list of scans, see the function `read_list`."""
        return read_list(path)

    def _choose_sequences(self, folder: Path, split: str) -> list[str]:
        splits, sequences = self.label_map.splits, self._sequences
        present = [sequence for sequence in splits[split] if (folder / sequence / "velodyne").is_dir()]
        if sequences is None and not present:
            looked_for = ", ".join(splits[split])
            raise ValueError(
                f"{folder}: no sequence of split {split} found; looked for SS/velodyne with SS {looked_for}."
            )
        wanted = present if sequences is None else sequence_names(sequences)
        if foreign := [sequence for sequence in wanted if sequence not in splits[split]]:
            raise ValueError(
                f"Sequences {', '.join(foreign)} are not in split {split}; use {', '.join(splits[split])}."
            )
        if missing := [sequence for sequence in wanted if sequence not in present]:
            raise ValueError(f"{folder}: sequences {', '.join(missing)} have no velodyne/ folder; unpack them there.")
        return wanted


def sequence_names(sequences: str | int | Iterable[str | int]) -> list[str]:
    """The names of sequences, each with two digits, sorted.

    Args:
        sequences: names or numbers. A single string or number is one sequence.
    """
    return sorted({str(one).zfill(2) for one in ([sequences] if isinstance(sequences, str | int) else sequences)})


def read_list(path: str | Path) -> tuple[str, ...]:
    """Read a list of scans, one per line; ``#`` begins a comment.

    A scan is ``SS/FFFFFF`` (the form of IT2's lists, too), or the path of its file, ``.../SS/velodyne/FFFFFF.bin`` (the
    form of LiM3D's); ``SS`` means all scans of a sequence.

    Raises:
        ValueError: the file cannot be read, contains no names, or a line is not a scan.
    """
    names = read_names(path, pattern=rf"\d+/\d+|\d\d|{FILE}", what="scan", form="SS/FFFFFF", example="08/000123")
    return tuple(re.sub(FILE, r"\1/\2", name) for name in names)


def _sequences_folder(root: Path) -> Path:
    candidates = (root / "sequences", root / "dataset" / "sequences")
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise ValueError(
        f"{root}: neither {candidates[0]} nor {candidates[1]} exists; give the folder that holds sequences/."
    )
