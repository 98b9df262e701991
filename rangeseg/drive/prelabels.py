"""Pre-labels, the initial labels that people correct; `rangeseg.drive.corrections` reads the corrected labels back.

FOLDER/prelabels.json                 the drive, the form and the scans
FOLDER/done.txt                       names of the completely checked scans, one per line
FOLDER/start/NAME.npz                 the pre-labels: label, confidence, and own (True for labels given by people)

point_labeler: the folder that SemanticKITTI's labelling tool opens; poses.txt has one row per file
    FOLDER/velodyne/NAME.bin   labels/NAME.label   poses.txt   calib.txt   labels.xml
ply, pcd: for CloudCompare, with the scalar fields label, confidence, remission and point (index in the scan)
    FOLDER/NAME.ply

Shapes: N points.

Source: Behley et al., SemanticKITTI, ICCV 2019, and its point_labeler.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from rangeseg.drive.kitti_poses import write_kitti_poses
from rangeseg.drive.layouts import Drive, DriveScan, Raw
from rangeseg.drive.trajectory import Trajectory
from rangeseg.files import write_atomically
from rangeseg.labels import LabelMap
from rangeseg.scan_formats.labelled import write_columns
from rangeseg.scan_io import write_labels
from rangeseg.types import Scan

FORMS = ("point_labeler", "ply", "pcd")
"""Forms of pre-labels."""

RECORD, DONE, START = "prelabels.json", "done.txt", "start"

HINT = b"# Names of the scans that you have checked completely, one per line. In other scans only your changes count.\n"


@dataclass(frozen=True)
class Start:
    """The initial labels of a scan.

    Args:
        label: (N,) uint32 raw ids, with instance ids in the upper 16 bits.
        confidence: (N,) in [0, 1], 0 for points without a label.
        own: (N,) bool, True for labels that a person gave.
    """

    label: Raw
    confidence: NDArray[np.floating]
    own: NDArray[np.bool_]


def write_prelabels(
    folder: Path, form: str, drive: Drive, poses: Trajectory, starts: Iterable[tuple[int, Start]],
    origin: dict[str, Any],
) -> Iterator[DriveScan]:  # fmt: skip
    """Write scans with initial labels.

    Args:
        folder: a new or an empty folder.
        form: one of `FORMS`.
        drive: the scans.
        poses: the poses of all scans.
        starts: indices of scans, in the order of time, each with its initial labels.
        origin: the arguments of `open_drive` that open the drive again.

    Yields:
        Each scan when its files are written.

    Raises:
        ValueError: unknown form, or the folder is not empty; people may have corrected its pre-labels.
    """
    if form not in FORMS:
        raise ValueError(f"Unknown form {form} of pre-labels; choose from {', '.join(FORMS)}.")
    if folder.is_dir() and any(folder.iterdir()):
        whose = "pre-labels that people may have corrected" if (folder / RECORD).exists() else "other files"
        raise ValueError(f"{folder}: contains {whose}. Give a new folder.")
    numbers = []
    for number, start in starts:
        entry = drive.scans[number]
        _write_scan(folder, form, drive, number, start)
        _write_start(start_file(folder, entry), start)
        numbers.append(number)
        yield entry
    if form == "point_labeler":
        names = sorted((drive.names[number] for number in numbers), key="{}.bin".format)  # the tool sorts as text
        selected = replace(poses, times=None).select(names)
        from_first = np.linalg.inv(selected.poses[0]) @ selected.poses  # the tool computes tiles in float32, near 0
        write_kitti_poses(folder, Trajectory(selected.names, from_first), a_row_each=True)
        write_atomically(folder / "labels.xml", _xml(drive.label_map))
    record = origin | {"form": form, "scans": [drive.names[number] for number in numbers]}
    write_atomically(folder / DONE, HINT)
    write_atomically(folder / RECORD, (json.dumps(record, indent=1) + "\n").encode())


def _write_scan(folder: Path, form: str, drive: Drive, number: int, start: Start) -> None:
    entry = drive.scans[number]
    scan = drive.read(entry.file)
    if form == "point_labeler":
        points = np.concatenate([scan.xyz, scan.remission[:, None]], axis=1).astype("<f4")
        write_labels(folder / "labels" / f"{entry.name}.label", start.label)
        write_atomically(folder / "velodyne" / f"{entry.name}.bin", points.tobytes())
        return
    train = drive.label_map.to_train(start.label & 0xFFFF)
    write_columns(folder / f"{entry.name}.{form}", _columns(scan, start, "scalar_" if form == "ply" else ""), train)


def _columns(scan: Scan, start: Start, prefix: str) -> dict[str, NDArray]:
    """Columns of a file for CloudCompare, whose scalar fields are float32 and, in PLY, named ``scalar_NAME``."""
    fields = {"label": start.label & 0xFFFF, "confidence": start.confidence, "remission": scan.remission,
              "point": np.arange(len(scan))}  # fmt: skip
    columns: dict[str, NDArray] = {axis: scan.xyz[:, k] for k, axis in enumerate("xyz")}
    return columns | {f"{prefix}{name}": value.astype(np.float32) for name, value in fields.items()}


def _xml(label_map: LabelMap) -> bytes:
    """The classes as labels.xml, which point_labeler reads from the folder of its program."""
    root = ElementTree.Element("config")
    for raw, name in label_map.raw_names.items():
        one = ElementTree.SubElement(root, "label")
        color = " ".join(map(str, label_map.raw_colors.get(raw, (128, 128, 128))))
        kind = label_map.learning_map[raw]
        group = label_map.names[kind] if kind < label_map.num_classes else "none"
        for key, text in (("id", str(raw)), ("name", name), ("description", ""), ("color", color), ("root", group)):
            ElementTree.SubElement(one, key).text = text
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, xml_declaration=True, encoding="utf-8"))


def read_record(folder: Path) -> dict[str, Any]:
    """The record that `write_prelabels` wrote.

    Raises:
        ValueError: the file is missing or damaged.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return {"form": record["form"], "scans": [str(name) for name in record["scans"]]} | record
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{folder / RECORD}: cannot be read ({error}). Give a folder written by rangeseg suggest --prelabel."
        ) from error


def _write_start(path: Path, start: Start) -> None:
    arrays: dict[str, Any] = {"label": start.label, "confidence": start.confidence.astype(np.float16), "own": start.own}
    write_atomically(path, lambda file: np.savez_compressed(file, **arrays))


def start_file(folder: Path, entry: DriveScan) -> Path:
    """The file of the initial labels of a scan."""
    return folder / START / f"{entry.name}.npz"
