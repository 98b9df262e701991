"""Carries labels along a whole drive, with a window of labelled scans in memory, and writes the files scan by scan.

Only the labelled scans within reach of `BLOCK` scans are in memory, for a drive of any length.

Shapes: N scans of the drive.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from rangeseg.data.evidence import evidence_file, record_file, write_evidence
from rangeseg.drive.carry import Rules, carry
from rangeseg.drive.labelled_points import (
    NO_CLASS,
    WHOLE,
    LabelledPoints,
    PointMap,
    classes_of,
    has_label,
    labelled_points_of,
    make_point_map,
    share_labelled,
)
from rangeseg.drive.layouts import Drive, Raw
from rangeseg.drive.surface import VOXEL_M
from rangeseg.drive.surface_window import Surfaces
from rangeseg.drive.trajectory import Trajectory
from rangeseg.files import read_whole, write_atomically
from rangeseg.parallel import in_order
from rangeseg.types import IGNORE

BLOCK = 16
"""Number of scans that share one map; the map holds all labelled scans within reach of any of them."""

WORDS = {
    "rules": "rules",
    "exclude": "excluded classes",
    "labelled": "labelled scans",
    "contents": "contents of these scans' labels",
    "scans": "names of the scans",
    "poses": "poses",
    "classes": "raw ids or moving objects of the classes",
    "deskew": "--deskew",
    "times": "time stamps of the poses",
    "fields": "--fields",
}
"""Entry of `Task.record` -> its name in errors."""

LATER = (("voxel_m", VOXEL_M),)
"""Rules with their defaults that records of earlier versions lack."""


@dataclass(frozen=True)
class Task:
    """The inputs and the output folder of a propagation.

    Args:
        drive: the scans.
        poses: the poses of all scans.
        labelled: indices of the scans whose labels are carried.
        labels: folder of these labels, in the dataset's layout.
        out: folder for the carried labels, in the same layout.
        rules: conditions under which a label is carried.
        exclude: train ids that are not carried.
    """

    drive: Drive
    poses: Trajectory
    labelled: tuple[int, ...]
    labels: Path
    out: Path
    rules: Rules
    exclude: tuple[int, ...] = ()

    def reach(self, number: int) -> list[int]:
        """The labelled scans whose labels may be carried to a scan, including the scan itself."""
        places, position = self.poses.positions, self.poses.positions[number]
        return [
            one
            for one in self.labelled
            if abs(one - number) <= self.rules.max_scans
            and np.linalg.norm(places[one] - position) <= self.rules.max_sensor_distance_m
        ]

    def label_file(self, number: int) -> Path:
        """The file of a scan's carried labels."""
        return self.out / self.drive.scans[number].label_path

    def evidence_file(self, number: int) -> Path:
        """The file with the evidence of a scan's carried labels."""
        return evidence_file(self.label_file(number))

    def raw(self, number: int, points: int | None = None) -> Raw | None:
        """The known labels of a scan; None if the scan is not labelled.

        Args:
            number: index of the scan.
            points: its number of points; None: not compared.

        Raises:
            ValueError: the file cannot be read, or has another number of labels.
        """
        entry = self.drive.scans[number]
        return self.drive.labels_of(entry, self.labels, points) if number in self.labelled else None

    def record(self) -> dict[str, Any]:
        """The settings that must be equal for a later run to continue."""
        names, classes = self.drive.names, self.drive.label_map
        optional: dict[str, Any] = {"deskew": self.drive.deskewed, "fields": self.drive.fields}
        optional["times"] = self.drive.deskewed and self.poses.digest(times=True)
        ids = (classes.names, sorted(classes.learning_map.items()), classes.ignore_raw, sorted(classes.moving))
        return {
            "rules": {name: value for name, value in asdict(self.rules).items() if (name, value) not in LATER},
            "exclude": [classes.names[one] for one in self.exclude],
            "labelled": [names[one] for one in self.labelled],
            "contents": _crc32(self.labels / self.drive.scans[one].label_path for one in self.labelled),
            "scans": _digest(names),
            "poses": self.poses.digest(times=False),
            "classes": _digest(ids),
        } | {key: value for key, value in optional.items() if value}


def propagate(task: Task, *, overwrite: bool = False, workers: int = 2) -> Iterator[int]:
    """Write the labels of every scan in reach of a labelled one. Scans with complete files are skipped.

    Args:
        task: the inputs and the output folder.
        overwrite: delete existing files of the drive first, and allow other rules than before.
        workers: number of threads.

    Yields:
        The index of each scan in reach, when its files are written.

    Raises:
        ValueError: a file cannot be read, or the folder contains labels carried with other rules, or labels of others.
    """
    _check_record(task, overwrite)
    complete = {number for number in range(len(task.drive.scans)) if _is_whole(task, number)}
    for block, point_map in blocks(task, complete, workers):
        yield from (number for number in block if number in complete)
        if point_map is not None:
            todo = [number for number in block if number not in complete]
            yield from in_order(partial(_write, task, block, point_map), todo, workers=workers)


def blocks(
    task: Task, left_out: Collection[int] = (), workers: int = 2
) -> Iterator[tuple[dict[int, list[int]], PointMap | None]]:
    """The drive in parts of up to `BLOCK` scans, with the map of the labelled points within reach of each part.

    Args:
        task: the inputs and the output folder.
        left_out: scans that need no map.
        workers: number of threads.

    Yields:
        Scan -> labelled scans within its reach, for scans with at least one; and the map, None if all are left out.
        The map's surface is computed from all scans of the part, so it does not depend on `left_out`.

    Raises:
        ValueError: a file cannot be read.
    """
    held: dict[int, LabelledPoints] = {}
    surfaces = Surfaces(task.drive, task.poses, task.rules, workers)
    count = len(task.drive.scans)
    for first in range(0, count, BLOCK):
        reach = {number: task.reach(number) for number in range(first, min(first + BLOCK, count))}
        block = {number: sources for number, sources in reach.items() if sources}
        todo = [number for number in block if number not in left_out]
        if todo and task.rules.spread == "surface":
            todo = list(block)
        needed = sorted({source for number in todo for source in block[number]})
        held = _load(task, held, needed, workers)
        if not todo:
            yield block, None
            continue
        frame = task.poses.poses[todo[len(todo) // 2]]
        parts = {one: held[one] for one in needed}
        point_map = make_point_map(parts, task.poses.poses, frame, task.rules.edge_m)
        if task.rules.spread == "surface":
            point_map = replace(point_map, surface=surfaces.of(sorted({*block, *needed}), point_map))
        yield block, point_map


def _load(task: Task, held: Mapping[int, LabelledPoints], needed: list[int], workers: int) -> dict[int, LabelledPoints]:
    """The labelled points of the scans that a block needs; all others are dropped."""

    def load(number: int) -> LabelledPoints:
        entry = task.drive.scans[number]
        scan = task.drive.read(entry.file)
        raw = task.raw(number, len(scan))
        if raw is None:
            raise ValueError(f"{task.labels / entry.label_path}: no labels. Give the labels of {entry.file}.")
        return labelled_points_of(scan, raw, task.drive.label_map, exclude=task.exclude, merge=task.rules.merge)

    new = [number for number in needed if number not in held]
    loaded = dict(zip(new, in_order(load, new, workers=workers), strict=True))
    return {number: held[number] if number in held else loaded[number] for number in needed}


def _write(task: Task, reach: Mapping[int, list[int]], point_map: PointMap, number: int) -> int:
    entry, raw = task.drive.scans[number], task.raw(number)
    scan = task.drive.read(entry.file)
    allowed = np.isin(point_map.scans, reach[number])
    own = None
    if raw is not None:
        own = classes_of(raw, task.drive.label_map)
        if share_labelled(scan, own) > WHOLE:  # the person left the rest out on purpose
            own[own == IGNORE] = NO_CLASS
    carried = carry(scan, number, task.poses.poses[number], point_map, allowed, task.rules, own=own)
    written = task.drive.label_map.to_raw(carried.label)
    if raw is not None:
        written = np.where(has_label(raw, task.drive.label_map), raw, written)
    write_evidence(task.evidence_file(number), vars(carried))
    task.drive.write_raw(task.label_file(number), written, entry.file)
    return number


def _is_whole(task: Task, number: int) -> bool:
    """Whether both files exist. A file gets its name when it is complete, and the label file is written second."""
    return task.evidence_file(number).is_file() and task.label_file(number).is_file()


def _digest(value: Any) -> str:
    """CRC-32 of a value of plain types."""
    return f"{crc32(repr(value).encode()):08x}"


def _crc32(files: Iterable[Path]) -> str:
    """CRC-32 of the concatenated contents of the existing files."""
    value = 0
    for file in files:
        value = crc32(file.read_bytes() if file.is_file() else b"", value)
    return f"{value:08x}"


def _read_record(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(read_whole(path).decode()))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); give --overwrite or another --out.") from error


def _check_record(task: Task, overwrite: bool) -> None:
    """Write the record, after a comparison with the existing one or, to overwrite, without the existing files."""
    drive = task.drive
    path, record = record_file(task.label_file(0), drive.name if drive.shares_folder else None), task.record()
    if task.out.resolve() in (task.labels.resolve(), drive.root.resolve()):
        raise ValueError(f"{task.out}: contains the input labels. Choose another output folder.")
    if path.is_file() and not overwrite:
        before = _read_record(path)
        if before != record:
            other = [word for key, word in WORDS.items() if before.get(key) != record.get(key)]
            old = not {"scans", "poses", "classes"} <= before.keys()
            which = ", which an older version did not record" if old else ""
            raise ValueError(
                f"{path}: the existing labels {'may have been' if old else 'were'} carried with other "
                f"{' and '.join(other)}{which}. Give --overwrite or another --out."
            )
    _refuse_others(task, known=path.is_file() or overwrite)
    for number in range(len(drive.scans)) if overwrite else ():  # also of scans that are no longer in reach
        if _is_whole(task, number):
            task.label_file(number).unlink()
            task.evidence_file(number).unlink()
    write_atomically(path, (json.dumps(record, indent=1) + "\n").encode())


def _refuse_others(task: Task, *, known: bool) -> None:
    """Refuse label files of the drive that `propagate` did not write, because they may be those of people.

    Args:
        task: the inputs and the output folder.
        known: `propagate` wrote the label files that have evidence.
    """
    numbers = [number for number in range(len(task.drive.scans)) if task.label_file(number).is_file()]
    if others := [number for number in numbers if not (known and task.evidence_file(number).is_file())]:
        raise ValueError(
            f"{task.label_file(others[0])}: is not known to be of propagate and would be overwritten; there are "
            f"{len(others)} such label files. Choose another --out, or move them away."
        )
