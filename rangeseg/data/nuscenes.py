"""nuScenes-lidarseg in its official layout, with tables read without the devkit.

root/v1.0-trainval/*.json                        tables; also v1.0-test, v1.0-mini
root/samples/LIDAR_TOP/*.pcd.bin                 keyframes, two per second: the scans that are labelled and predicted
root/sweeps/LIDAR_TOP/*.pcd.bin                  the scans between them, never labelled
root/lidarseg/v1.0-trainval/TOKEN_lidarseg.bin   labels, uint8 per point; none for the test split

In lists and reports, the name of a scan is ``SCENE/TIMESTAMP``, e.g. ``scene-0061/1532402927647951`` (microseconds).
Files of labels and predictions are named after the token of the scan in the tables.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from rangeseg.data.nuscenes_predictions import ENDING, NuScenesPredictions
from rangeseg.data.nuscenes_tables import LIDAR, Record, read_category_names, read_records
from rangeseg.data.scan_pairs import Pair, ScanPairs
from rangeseg.labels import LabelMap
from rangeseg.paths import inside
from rangeseg.scan_io import read_scan
from rangeseg.types import Scan

HIDDEN_SPLIT = "test"
"""The split whose labels are not published."""

SWEEPS = "_sweeps"
"""Suffix of a split's name: the split then contains its sweeps, too."""

VERSIONS = {
    "train": ("v1.0-trainval", "v1.0-mini"),
    "val": ("v1.0-trainval", "v1.0-mini"),
    "test": ("v1.0-test",),
    "mini_train": ("v1.0-mini",),
    "mini_val": ("v1.0-mini",),
}
"""Split -> versions whose tables contain it; the first whose folder exists is used."""


class NuScenes(ScanPairs):
    """The scans of one split, scene by scene in the order of time.

    Args:
        root: the folder that contains `samples/` and the folder of the tables.
        split: train, val, test, mini_train or mini_val; with the suffix ``_sweeps`` (``train_sweeps``), also the
            unlabelled sweeps of its scenes. In v1.0-mini, train and val mean mini_train and mini_val.
        version: folder of the tables; default: see `VERSIONS`.
        subset: names of the scans to use, or a list file of names or tokens; default: all. The name of a scene means
            all its scans.
        labels: read labels. With False, no label file is needed or opened.

    Attributes:
        version: folder of the tables.
        split: the official name, e.g. mini_val for val of v1.0-mini.

    Raises:
        ValueError: a requested folder, table, split or scan does not exist.

    Source:
        Caesar et al., nuScenes, CVPR 2020; labels: Fong et al., Panoptic nuScenes, RA-L 2022.
    """

    folder: ClassVar[str] = "nuscenes"
    predictions = NuScenesPredictions
    """How predictions are written."""

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        version: str | None = None,
        subset: str | Path | Iterable[str] | None = None,
        labels: bool = True,
    ) -> None:
        wanted, ending = (split.removesuffix(SWEEPS), SWEEPS) if split.endswith(SWEEPS) else (split, "")
        if wanted in VERSIONS:
            version = version or _find_version(Path(root), wanted)
            wanted = f"mini_{wanted}" if version == "v1.0-mini" and wanted in ("train", "val") else wanted
        self.version = version or ""
        self._sweeps = bool(ending)
        self._tokens: dict[str, str] = {}
        self._named: dict[str, str] = {}
        super().__init__(root, wanted, subset=subset, labels=labels)
        self.split = wanted + ending

    def find(self, root: Path, split: str) -> Sequence[Pair]:
        """The files of a split, with its sweeps if requested; missing scenes are skipped.

        Raises:
            ValueError: a table or a scan is missing or cannot be read.
        """
        tables, scenes = root / self.version, set(self.label_map.splits[split])
        if self._labelled and split != HIDDEN_SPLIT:
            _check_categories(tables / "category.json", self.label_map)
        records = [one for one in read_records(tables, sweeps=self._sweeps) if one.scene in scenes]
        if not records:
            raise ValueError(
                f"{tables}: its tables have no {LIDAR} scan of split {split}. Leave `version` out, or give the version "
                f"that contains the split: {' or '.join(VERSIONS[split])}."
            )
        records = _on_disk(root, records)
        self._tokens = {record.name: record.token for record in records}
        self._named = {record.token: record.name for record in records}
        self._named |= {record.sample: record.name for record in records if record.keyframe}
        labels = root / "lidarseg" / self.version if split != HIDDEN_SPLIT else None
        return [
            Pair(
                one.name,
                inside(root, one.file),
                inside(labels, f"{one.token}{ENDING}") if labels and one.keyframe else None,
            )
            for one in records
        ]

    def label_path(self, index: int) -> Path:
        """The path of the labels of scan `index`; for a sweep, which nuScenes does not label, that of carried labels.

        Raises:
            ValueError: the split has no labels.
        """
        hidden = self.split in (HIDDEN_SPLIT, HIDDEN_SPLIT + SWEEPS)
        if self.pair(index).label is None and not hidden:
            return inside(self._root / "lidarseg" / self.version, f"{self.token(index)}{ENDING}")
        return super().label_path(index)

    def read_list(self, path: str | Path) -> tuple[str, ...]:
        """Read a list of scans, one per line: names, or tokens of sample_data.json or (in IT2's lists) of sample.json.

        Raises:
            ValueError: the file cannot be read or contains no names.
        """
        return tuple(self._named.get(name, name) for name in super().read_list(path))

    def token(self, index: int) -> str:
        """The token of scan `index` in sample_data.json."""
        return self._tokens[self.name(index)]

    @staticmethod
    def read(
        scan: Path,
        label: Path | None = None,
        *,
        label_map: LabelMap | None = None,
        fields: Mapping[str, str | None] | None = None,
    ) -> Scan:
        """Read a scan file, and its label file if given.

        Raises:
            ValueError: a file is missing, damaged, or does not fit.
        """
        return read_scan(scan, labels=label, label_map=label_map, label_dtype="uint8", fields=fields)


def _find_version(root: Path, split: str) -> str:
    for version in VERSIONS[split]:
        if (root / version).is_dir():
            return version
    folders = ", ".join(sorted(path.name for path in root.glob("v1.*") if path.is_dir())) or "no folder of tables"
    raise ValueError(
        f"{root}: split {split} needs the tables of {' or '.join(VERSIONS[split])}; found {folders}. Give the "
        "folder that holds the tables' folder and samples/."
    )


def _check_categories(path: Path, label_map: LabelMap) -> None:
    """Check the raw ids, because training on another numbering would use wrong classes without an error."""
    names = read_category_names(path)
    if names is not None and names != dict(label_map.raw_names):
        odd = sorted(set(names.items()) ^ set(label_map.raw_names.items()))
        raise ValueError(
            f"{path}: its raw ids are not those of {label_map.dataset}: {odd[:4]}. Unpack nuScenes-lidarseg over the "
            "metadata, or open the scans with labels=False."
        )


def _on_disk(root: Path, records: Sequence[Record]) -> list[Record]:
    """The records of the scenes whose files exist.

    Raises:
        ValueError: a scene is incomplete, or there is no scene.
    """
    folders = {record.file.rpartition("/")[0] for record in records}
    files = {
        f"{folder}/{path.name}" for folder in folders if (root / folder).is_dir() for path in (root / folder).iterdir()
    }
    missing: dict[str, list[Record]] = defaultdict(list)
    found: set[str] = set()
    for record in records:
        if record.file in files:
            found.add(record.scene)
        else:
            missing[record.scene].append(record)
    if not found:
        raise ValueError(
            f"{root / records[0].file}: missing, like all {len(records)} scans in the tables. Unpack nuScenes' "
            f"blobs into {root}, so that it holds samples/, sweeps/ and the folder of the tables."
        )
    if partly := sorted(found & missing.keys()):
        lacking = sum(len(missing[scene]) for scene in partly)
        raise ValueError(
            f"{root / missing[partly[0]][0].file}: missing; {lacking} scans of {len(partly)} scenes are missing, but "
            "other scans of these scenes exist. Unpack the blob again (with its sweeps/ if the split has sweeps). Only "
            "scenes without any scan are skipped."
        )
    return [record for record in records if record.scene in found]
