"""Pre-labels that people corrected, and which of these labels count as true.

For scans that are marked as done, all labels count. For all other scans, only labels that a person changed, and labels
that people gave before, count. An unchanged label of such a scan does not count, because nobody may have checked it.

Shapes: N points.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.lists import read_names, without_comment
from rangeseg.drive.labelled_points import has_label
from rangeseg.drive.layouts import Drive, DriveScan, Raw
from rangeseg.drive.prelabels import DONE, Start, read_record, start_file
from rangeseg.scan_formats.fields import plain
from rangeseg.scan_formats.pcd import columns_of_pcd
from rangeseg.scan_formats.ply import columns_of_ply
from rangeseg.scan_io import read_labels


@dataclass(frozen=True)
class Corrected:
    """The corrected labels of a scan.

    Args:
        entry: the scan.
        label: (N,) uint32 raw ids.
        true: (N,) bool, True for labels that count.
        done: the scan was checked completely.
        changed: number of points whose label differs from the pre-label.
    """

    entry: DriveScan
    label: Raw
    true: NDArray[np.bool_]
    done: bool
    changed: int


def read_done(folder: Path, named: Collection[str] = ()) -> tuple[str, ...]:
    """Names of the completely checked scans: those in `named`, which may contain ``all``, and those in done.txt.

    Raises:
        ValueError: a name is not among the scans.
    """
    scans = read_record(folder)["scans"]
    lines = (folder / DONE).read_text(encoding="utf-8-sig").splitlines() if (folder / DONE).is_file() else []
    if any(map(without_comment, lines)):
        found = read_names(folder / DONE, pattern=".+", what="scan", form="NAME", example=scans[0])
        named = (*named, *found)
    if "all" in named:
        return tuple(scans)
    if strange := [name for name in named if name not in scans]:
        raise ValueError(f"{folder}: has no scan {strange[0]} to mark as done. The scans are {', '.join(scans)}.")
    return tuple(dict.fromkeys(named))


def read_corrected(folder: Path, drive: Drive, done: Collection[str]) -> Iterator[Corrected]:
    """The corrected labels of the scans of a folder.

    Args:
        folder: folder that `write_prelabels` wrote.
        drive: the scans.
        done: names of the completely checked scans.

    Raises:
        ValueError: a file is missing, damaged, of another scan, or contains ids that the dataset does not define.
    """
    record = read_record(folder)
    entries = {entry.name: entry for entry in drive.scans}
    if missing := [name for name in record["scans"] if name not in entries]:
        raise ValueError(f"{folder}: scan {missing[0]} is not in the drive {drive.name}. Give the drive with --drive.")
    for name in record["scans"]:
        entry = entries[name]
        start = _read_start(start_file(folder, entry))
        label, present = _read_label(folder, record["form"], entry, len(start.label))
        try:
            drive.label_map.to_train(label & 0xFFFF)
        except ValueError as error:
            raise ValueError(f"{folder}: scan {name}: {error}") from error
        keep = 0xFFFFFFFF if record["form"] == "point_labeler" else 0xFFFF
        changed = present & (label & keep != start.label & keep)
        label = np.where(changed, label, start.label).astype(np.uint32)  # keep instances, which ply and pcd lack
        true = present if name in done else changed | (start.own & present)
        yield Corrected(entry, label, true, name in done, int(np.count_nonzero(changed)))


def _read_start(path: Path) -> Start:
    try:
        with np.load(path) as file:
            return Start(file["label"].astype(np.uint32), file["confidence"], file["own"].astype(np.bool_))
    except Exception as error:  # whatever a damaged zip or array raises
        raise ValueError(f"{path}: cannot be read ({error}). Write the pre-labels again.") from error


def _read_label(folder: Path, form: str, entry: DriveScan, points: int) -> tuple[Raw, NDArray[np.bool_]]:
    """(N,) raw ids in the corrected file, and (N,) bool, True for points that the file contains."""
    if form == "point_labeler":
        path = folder / "labels" / f"{entry.name}.label"
        semantic, instance = read_labels(path)
        if len(semantic) != points:
            raise ValueError(f"{path}: {len(semantic)} labels for {points} points of {entry.file}. Copy it again.")
        return semantic + (instance.astype(np.uint32) << 16), np.ones(points, np.bool_)
    path = folder / f"{entry.name}.{form}"
    columns = (columns_of_ply if form == "ply" else columns_of_pcd)(path)
    named = {plain(name): column for name, column in columns.items()}
    if "label" not in named:
        raise ValueError(f"{path}: has no scalar field label, only {', '.join(named)}. Save it with all fields.")
    values = _whole_numbers(path, "label", named["label"], 0xFFFF)
    if "point" in named:  # the program may leave points out and change their order
        place = _whole_numbers(path, "point", named["point"], points - 1)
    elif len(values) == points:
        place = np.arange(points)
    else:
        raise ValueError(
            f"{path}: has {len(values)} of {points} points and no scalar field point. Save it with all fields."
        )
    if len(np.unique(place)) != len(place):
        raise ValueError(f"{path}: contains some points twice. Delete the duplicates.")
    label, present = np.zeros(points, np.uint32), np.zeros(points, np.bool_)
    label[place], present[place] = values, True
    return label, present


def _whole_numbers(path: Path, name: str, column: NDArray, most: int) -> NDArray[np.int64]:
    values = column.astype(np.float64)
    if not (np.isfinite(values) & (values == np.rint(values)) & (values >= 0) & (values <= most)).all():
        raise ValueError(f"{path}: the scalar field {name} must contain only integers from 0 to {most}.")
    return values.astype(np.int64)


def write_true(drive: Drive, out: Path, corrected: Corrected) -> int:
    """Write the labels of a scan that count, and keep the existing labels of all other points.

    Args:
        drive: the scans.
        out: folder of labels in the dataset's layout.
        corrected: the corrected labels of the scan.

    Returns:
        Number of points with a label in the written file.

    Raises:
        ValueError: the existing labels belong to another scan.
    """
    found = drive.labels_of(corrected.entry, out)
    before = np.full(len(corrected.label), drive.label_map.ignore_raw, np.uint32) if found is None else found
    if before.shape != corrected.label.shape:
        raise ValueError(f"{out / corrected.entry.label_path}: {len(before)} labels for {len(corrected.label)} points.")
    label = np.where(corrected.true, corrected.label, before)
    known = int(np.count_nonzero(has_label(label, drive.label_map)))
    if known or found is not None:  # a person may have taken all labels away
        drive.write_raw(out / corrected.entry.label_path, label, corrected.entry.file)
    return known
