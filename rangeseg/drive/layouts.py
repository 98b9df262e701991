"""A drive on the disk: its scans in the order of time, where their labels lie, how these are read and written.

root/sequences/SS                 velodyne/FFFFFF.bin, labels/FFFFFF.label: SemanticKITTI and all that keep to it
root/SSS                          lidar/FF.pkl.gz: PandaSet
root, and the name of a scene     v1.0-*/: nuScenes, its keyframes and sweeps
folder                            scans of any format, NAME.bin; labels NAME.label in labels/ beside it or in it

Shapes: N points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.nuscenes_predictions import ENDING
from rangeseg.data.nuscenes_tables import read_records
from rangeseg.data.pandaset import PandaSet, read_classes, write_classes
from rangeseg.drive.kitti_poses import read_kitti_poses
from rangeseg.drive.other_poses import read_nuscenes_poses, read_pandaset_poses
from rangeseg.drive.trajectory import Trajectory
from rangeseg.files import write_atomically
from rangeseg.labels import LabelMap
from rangeseg.resources import resource
from rangeseg.scan_io import READERS, read_labels, read_raw_labels, read_scan, write_labels
from rangeseg.types import Scan

Raw = NDArray[np.uint32]


@dataclass(frozen=True)
class DriveScan:
    """One scan of a drive.

    Args:
        name: of its file, without the ending; of nuScenes, its time stamp.
        file: the scan.
        label_path: of its labels, relative to the dataset's root.
    """

    name: str
    file: Path
    label_path: Path


@dataclass(frozen=True)
class Drive:
    """The scans of a drive, in the order of time.

    Args:
        name: the sequence's or the folder's.
        root: the dataset's folder, from which the places of labels count.
        scans: its scans.
        label_map: the classes.
        read: a scan's file -> the scan, without labels.
        read_raw: (a file of labels, its scan) -> (N,) uint32 raw ids, instance ids above them where there are any.
        write_raw: (a file of labels, (N,) raw ids, its scan) writes them in the dataset's own form.
        own_poses: gives the poses that the dataset has.
        shares_folder: the labels of other drives lie in the same folder.
        straight: motion within a sweep has been undone by the dataset's makers.
        deskewed: the moment of each sweep at which `read` sees its scan, see `rangeseg.drive.sweep`.
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
    deskewed: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the scans."""
        return tuple(entry.name for entry in self.scans)

    def labels_of(self, entry: DriveScan, folder: Path | None = None) -> Raw | None:
        """A scan's raw ids, (N,); None where there is no file of them.

        Args:
            entry: the scan.
            folder: where labels lie as in the dataset's root; default: there.

        Raises:
            ValueError: the file cannot be read.
        """
        path = (folder or self.root) / entry.label_path
        return self.read_raw(path, entry.file) if path.is_file() else None


def open_drive(folder: Path, *, scene: str | None = None, dataset: str | None = None) -> Drive:
    """Open a drive by its layout.

    Args:
        folder: of the sequence; of nuScenes, the dataset's.
        scene: nuScenes' name of it.
        dataset: whose classes: a folder of `datasets/`, or a YAML. Default: the layout's; scans of other layouts need
            it.

    Raises:
        ValueError: there are no scans, the scene is not there, or nobody knows the classes.
    """
    folder = Path(folder).resolve()
    if (folder / "velodyne").is_dir():
        drive = _kitti(folder, _classes(dataset or "semantic_kitti"))
    elif (folder / "lidar").is_dir():
        drive = _pandaset(folder, _classes(dataset or "pandaset"))
    elif tables := sorted(path for path in folder.glob("v1.0-*") if path.is_dir()):
        drive = _nuscenes(folder, tables, scene, _classes(dataset or "nuscenes"))
    elif folder.is_dir():
        drive = _files(folder, _classes(dataset or "semantic_kitti"))
    else:
        raise ValueError(f"{folder}: is not a folder. Give the folder of a sequence, or a folder of scans.")
    if not drive.scans:
        raise ValueError(f"{folder}: has no scans. Give root/sequences/SS, PandaSet's root/SSS, nuScenes' root with "
                         "--scene, or a folder of scans.")  # fmt: skip
    return drive


def _classes(dataset: str) -> LabelMap:
    own = Path(dataset)
    return LabelMap.read(own if own.is_file() else resource("datasets", dataset, "labels.yaml"))


def _kitti(folder: Path, label_map: LabelMap) -> Drive:
    entries = tuple(
        DriveScan(file.stem, file, Path("sequences", folder.name, "labels", f"{file.stem}.label"))
        for file in sorted((folder / "velodyne").glob("*.bin"))
    )
    names = tuple(entry.name for entry in entries)
    root = folder.parent.parent if folder.parent.name == "sequences" else folder
    if root == folder:
        entries = tuple(replace(entry, label_path=Path(*entry.label_path.parts[2:])) for entry in entries)
    return Drive(folder.name, root, entries, label_map, read_scan, _read_label, _write_label,
                 lambda: read_kitti_poses(folder, names), straight=True)  # fmt: skip


def _pandaset(folder: Path, label_map: LabelMap) -> Drive:
    files = sorted(folder.glob("lidar/[0-9]*.pkl.gz"))
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
        DriveScan(str(one.timestamp), folder / one.file, Path("lidarseg", version.name, f"{one.token}{ENDING}"))
        for one in found[version]
        if one.scene == scene and (folder / one.file).is_file()
    )
    names = tuple(entry.name for entry in entries)
    return Drive(str(scene), folder, entries, label_map, read_scan, _read_uint8, _write_uint8,
                 lambda: read_nuscenes_poses(version, str(scene), names), shares_folder=True,
                 straight=True)  # fmt: skip


def _files(folder: Path, label_map: LabelMap) -> Drive:
    """``labels/`` in the folder or beside it, as `scan_folder` has them."""
    files = sorted(file for file in folder.iterdir() if file.name.endswith(READERS))
    root = folder.parent if folder.name == "scans" else folder
    entries = []
    for file in files:
        name = file.name.removesuffix(next(ending for ending in READERS if file.name.endswith(ending)))
        entries.append(DriveScan(name, file, Path("labels", f"{name}.label")))
    names = tuple(entry.name for entry in entries)
    return Drive(folder.name, root, tuple(entries), label_map, read_scan, _read_label, _write_label,
                 lambda: read_kitti_poses(root, names))  # fmt: skip


def _read_label(path: Path, scan: Path) -> Raw:
    semantic, instance = read_labels(path)
    return semantic + (instance.astype(np.uint32) << 16)


def _write_label(path: Path, raw: Raw, scan: Path) -> None:
    write_labels(path, raw)


def _read_uint8(path: Path, scan: Path) -> Raw:
    return read_raw_labels(path, "uint8").astype(np.uint32)


def _write_uint8(path: Path, raw: Raw, scan: Path) -> None:
    write_atomically(path, (raw & 0xFFFF).astype(np.uint8).tobytes())
