"""A user's scans: files in folders, with or without labels, and classes from a YAML.

root/scans/NAME.bin        scans, in any format that `rangeseg.scan_io.read_scan` reads
root/labels/NAME.label     labels, as raw ids; a scan may have none

Both paths are patterns, so other folders, formats and splits need no new code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from rangeseg.data.patterns import OwnClasses, Patterns
from rangeseg.data.scan_pairs import Pair, ScanPairs
from rangeseg.labels import LabelMap
from rangeseg.scan_io import READERS, read_scan
from rangeseg.types import Scan


class ScanFolder(OwnClasses, ScanPairs):
    """The scans of one split, in the order of their names.

    Args:
        root: the folder that the patterns start from.
        split: one of `splits`, or of the splits in the YAML.
        classes: the YAML, or the name of a shipped dataset with the same classes; `datasets/scan_folder/README.md`
            lists the required entries.
        splits: split -> its folders; replaces the splits of the YAML.
        scans: pattern of the scan files; see `rangeseg.data.patterns`.
        label_scans: pattern of the label files.
        label_dtype: type of labels in files of bare integers, one per point. It is not used for ``.label`` files, which
            have KITTI's format, and for ``.npy`` files, which contain their type.
        fields: columns of the scans, see `rangeseg.scan_formats.fields`.
        subset: names of the scans to use, or a list file of names; default: all.
        labels: read labels. With False, no label file is needed or opened.

    Raises:
        ValueError: a pattern, folder, split or scan is wrong or missing, or splits share scans.
    """

    folder: ClassVar[str] = "scan_folder"

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        classes: str,
        splits: Mapping[str, Sequence[str]] | None = None,
        scans: str = "scans/*",
        label_scans: str = "labels/{name}.label",
        label_dtype: Literal["uint8", "uint16", "uint32", "int32", "int64"] = "uint32",
        fields: Mapping[str, str | None] | None = None,
        subset: str | Path | Iterable[str] | None = None,
        labels: bool = True,
    ) -> None:
        self._classes, self._splits = classes, splits
        self._label_dtype, self._fields = label_dtype, fields
        self._patterns = Patterns(scans, label_scans, "scans", ("scans/*.pcd", "labels/{name}.label"))
        super().__init__(root, split, subset=subset, labels=labels)

    def find(self, root: Path, split: str) -> Sequence[Pair]:
        """The files of a split.

        Raises:
            ValueError: the pattern is the same for several splits, two files have the same name, or a file is twice in
                the split or also in another one.
        """
        return self._patterns.find(root, split, self.label_map.splits, tuple(READERS), self.kind)

    def read_by(self) -> dict[str, Any]:
        """`label_dtype` and `fields`."""
        return {"label_dtype": self._label_dtype, "fields": self._fields}

    @staticmethod
    def read(
        scan: Path,
        label: Path | None = None,
        *,
        label_map: LabelMap | None = None,
        label_dtype: str = "uint32",
        fields: Mapping[str, str | None] | None = None,
    ) -> Scan:
        """Read a scan file, and its label file if given.

        Raises:
            ValueError: a file is missing, damaged, or does not fit.
        """
        return read_scan(scan, labels=label, label_map=label_map, label_dtype=label_dtype, fields=fields)
