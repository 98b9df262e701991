"""A drive on disk: its scans in the order of time, the paths of their labels, and functions to read and write these.

root/sequences/SS                 velodyne/FFFFFF.bin, labels/FFFFFF.label: SemanticKITTI and datasets with its layout
root/SSS                          lidar/FF.pkl.gz: PandaSet
root, and the name of a scene     v1.0-*/: nuScenes, its keyframes and sweeps
folder                            scans in any format, NAME.bin; labels NAME.label in the subfolder labels/, or in
                                  labels/ next to the folder if the folder is named scans

Shapes: N points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.lists import natural_order
from rangeseg.data.nuscenes_predictions import ENDING
from rangeseg.data.nuscenes_tables import read_records
from rangeseg.data.pandaset import PandaSet, read_classes, write_classes
from rangeseg.data.semantic_poss import SemanticPOSS
from rangeseg.drive.kitti_poses import read_kitti_poses
from rangeseg.drive.other_poses import read_nuscenes_poses, read_pandaset_poses
from rangeseg.drive.trajectory import Trajectory
from rangeseg.files import write_atomically
from rangeseg.labels import LabelMap
from rangeseg.paths import absolute
from rangeseg.resources import resource
from rangeseg.scan_formats.fields import FieldNames
from rangeseg.scan_io import READERS, read_labels, read_raw_labels, read_scan, stem_of, write_labels
from rangeseg.types import Scan

Raw = NDArray[np.uint32]


@dataclass(frozen=True)
class DriveScan:
    """One scan of a drive.

    Args:
        name: name of its file without the suffix; for nuScenes, its time stamp.
        file: file of the scan.
        label_path: path of its labels, relative to the root of the dataset.
        tokens: its other names in lists; for nuScenes, its token in sample_data.json and, for a keyframe, in
            sample.json.
    """

    name: str
    file: Path
    label_path: Path
    tokens: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drive:
    """The scans of a drive, in the order of time.

    Args:
        name: name of the sequence, the scene or the folder; for a folder named scans, the name of the folder around it.
        root: folder of the dataset; paths of labels are relative to it.
        scans: its scans.
        label_map: the classes.
        read: file of a scan -> the scan, without labels.
        read_raw: (label file, file of the scan) -> (N,) uint32 raw ids, with instance ids in the upper 16 bits.
        write_raw: (label file, (N,) raw ids, file of the scan); writes the label file in the format of the dataset.
        own_poses: reads the poses of the dataset.
        shares_folder: labels of other drives are in the same folder.
        straight: the makers of the dataset have corrected the motion within each sweep.
        fields: the columns that `read` uses, see `rangeseg.scan_formats.fields`; None: the common ones.
        deskewed: the moment of each sweep to which `read` corrects its scan, see `rangeseg.drive.sweep`.
    """

    name: str
    root: Path
    scans: tuple[DriveScan, ...]
    label_map: LabelMap
    read: Callable[[Path], Scan]
    read_raw: Callable[[Path, Path], Raw]
    write_raw: Callable[[Path, Raw, Path], None]
    own_poses: Callable[[], Trajectory]
    shares_folder: bool = False
    straight: bool = False
    fields: FieldNames | None = None
    deskewed: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the scans."""
        return tuple(entry.name for entry in self.scans)

    def labels_of(self, entry: DriveScan, folder: Path | None = None, points: int | None = None) -> Raw | None:
        """(N,) raw ids of a scan; None if there is no label file.

        Args:
            entry: the scan.
            folder: folder of the labels, with the layout of the dataset's root; default: the dataset's root.
            points: the number of points of the scan; None: not compared.

        Raises:
            ValueError: the file cannot be read, or has another number of labels.
        """
        path = (folder or self.root) / entry.label_path
        raw = self.read_raw(path, entry.file) if path.is_file() else None
        if raw is not None and points not in (None, len(raw)):
            raise ValueError(f"{path}: {len(raw)} labels for {points} points. Give the labels of {entry.file}.")
        return raw


def has_fixed_columns(folder: Path) -> bool:
    """Whether a drive has the layout of PandaSet or nuScenes, whose columns cannot be named."""
    if (folder / "velodyne").is_dir():
        return False
    return (folder / "lidar").is_dir() or any(path.is_dir() for path in folder.glob("v1.0-*"))


def open_drive(
    folder: Path, *, scene: str | None = None, dataset: str | None = None, fields: FieldNames | None = None
) -> Drive:
    """Open a drive by its layout.

    Args:
        folder: folder of the sequence; for nuScenes, the root of the dataset.
        scene: name of the scene of nuScenes.
        dataset: dataset or YAML with the classes; default: found from the layout.
        fields: columns of the scans, see `rangeseg.scan_formats.fields`.

    Raises:
        ValueError: there are no scans, the scene does not exist, the classes are unknown, `fields` are given for a
            layout with fixed columns, or `scene` for another dataset than nuScenes.
    """
    folder = absolute(folder)
    if fields and has_fixed_columns(folder):
        raise ValueError(f"{folder}: --fields is not for PandaSet and nuScenes, whose columns are fixed. Leave it out.")
    if (folder / "velodyne").is_dir():
        drive = _kitti(folder, _classes(dataset or "semantic_kitti"), fields)
    elif (folder / "lidar").is_dir():
        drive = _pandaset(folder, _classes(dataset or "pandaset"))
    elif tables := sorted(path for path in folder.glob("v1.0-*") if path.is_dir()):
        drive = _nuscenes(folder, tables, scene, _classes(dataset or "nuscenes"))
    elif folder.is_dir():
        drive = _files(folder, _classes(dataset or "semantic_kitti"), fields)
    else:
        raise ValueError(f"{folder}: is not a folder. Give the folder of a sequence, or a folder of scans.")
    if not drive.scans:
        raise ValueError(f"{folder}: has no scans. Give root/sequences/SS, PandaSet's root/SSS, nuScenes' root with "
                         "--scene, or a folder of scans.")  # fmt: skip
    if scene and not drive.shares_folder:
        raise ValueError(f"{folder}: is no root of nuScenes (with v1.0-*), so it has no scene {scene}. Remove --scene.")
    return drive


def _classes(dataset: str) -> LabelMap:
    own = Path(dataset)
    return LabelMap.read(own if own.is_file() else resource("datasets", dataset, "labels.yaml"))


def _kitti(folder: Path, label_map: LabelMap, fields: FieldNames | None) -> Drive:
    entries = tuple(
        DriveScan(file.stem, file, Path("sequences", folder.name, "labels", f"{file.stem}.label"))
        for file in sorted((folder / "velodyne").glob("*.bin"), key=lambda file: natural_order(file.name))
    )
    names = tuple(entry.name for entry in entries)
    root = folder.parent.parent if folder.parent.name == "sequences" else folder
    if root == folder:
        entries = tuple(replace(entry, label_path=Path(*entry.label_path.parts[2:])) for entry in entries)
    read = SemanticPOSS.read if label_map.dataset == "SemanticPOSS" else read_scan
    return Drive(folder.name, root, entries, label_map, partial(read, fields=fields), _read_label, _write_label,
                 lambda: read_kitti_poses(folder, names), straight=True, fields=fields)  # fmt: skip


def _pandaset(folder: Path, label_map: LabelMap) -> Drive:
    files = sorted(folder.glob("lidar/[0-9]*.pkl.gz"), key=lambda file: natural_order(file.name))
    entries = tuple(
        DriveScan(file.name.removesuffix(".pkl.gz"), file, Path(folder.name, "annotations", "semseg", file.name))
        for file in files
    )
    names = tuple(entry.name for entry in entries)
    return Drive(folder.name, folder.parent, entries, label_map, PandaSet.read, read_classes, write_classes,
                 lambda: read_pandaset_poses(folder, names), straight=True)  # fmt: skip


def _nuscenes(folder: Path, tables: Sequence[Path], scene: str | None, label_map: LabelMap) -> Drive:
    found = {version: read_records(version, sweeps=True) for version in tables}
    scenes = sorted({record.scene for records in found.values() for record in records})
    if scene not in scenes:
        few = ", ".join(scenes[:5])
        raise ValueError(f"{folder}: a drive of nuScenes is one scene. Name it with --scene: {few}, ...")
    version = next(path for path, records in found.items() if any(record.scene == scene for record in records))
    entries = tuple(
        DriveScan(str(one.timestamp), folder / one.file, Path("lidarseg", version.name, f"{one.token}{ENDING}"),
                  (one.token, one.sample) if one.keyframe else (one.token,))
        for one in found[version]
        if one.scene == scene and (folder / one.file).is_file()
    )  # fmt: skip
    names = tuple(entry.name for entry in entries)
    return Drive(str(scene), folder, entries, label_map, read_scan, _read_uint8, _write_uint8,
                 lambda: read_nuscenes_poses(version, str(scene), names), shares_folder=True,
                 straight=True)  # fmt: skip


def _files(folder: Path, label_map: LabelMap, fields: FieldNames | None) -> Drive:
    """A folder of scans, with ``labels/`` in the folder, or next to a folder named ``scans``, as in `scan_folder`."""
    found = (file for file in folder.iterdir() if file.name.endswith(READERS))
    files = sorted(found, key=lambda file: natural_order(file.name))
    root = folder.parent if folder.name == "scans" else folder
    entries = [DriveScan(stem_of(file), file, Path("labels", f"{stem_of(file)}.label")) for file in files]
    names = tuple(entry.name for entry in entries)
    read = partial(read_scan, fields=fields)
    return Drive(root.name or folder.name, root, tuple(entries), label_map, read, _read_label, _write_label,
                 lambda: read_kitti_poses(root, names), fields=fields)  # fmt: skip


def _read_label(path: Path, scan: Path) -> Raw:
    semantic, instance = read_labels(path)
    return semantic + (instance.astype(np.uint32) << 16)


def _write_label(path: Path, raw: Raw, scan: Path) -> None:
    write_labels(path, raw)


def _read_uint8(path: Path, scan: Path) -> Raw:
    return read_raw_labels(path, "uint8").astype(np.uint32)


def _write_uint8(path: Path, raw: Raw, scan: Path) -> None:
    write_atomically(path, (raw & 0xFFFF).astype(np.uint8).tobytes())
