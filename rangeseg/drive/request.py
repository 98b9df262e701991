"""From the arguments of `rangeseg propagate` to a task (scans, poses, labelled scans, rules), and its counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rangeseg.data.evidence import read_evidence
from rangeseg.data.lists import read_names
from rangeseg.drive.carry import rules_for
from rangeseg.drive.kitti_poses import read_kitti_poses
from rangeseg.drive.labelled_points import WHOLE, classes_of, is_return, share_labelled
from rangeseg.drive.layouts import Drive, open_drive
from rangeseg.drive.poses_of import check_poses_of
from rangeseg.drive.propagate import Task
from rangeseg.drive.registration import register
from rangeseg.drive.sweep import straightened
from rangeseg.drive.tally import Tally, tally
from rangeseg.drive.trajectory import Trajectory
from rangeseg.parallel import Progress, no_progress
from rangeseg.scan_formats.fields import FieldNames

LOOKED_AT = 5
"""About this many of the labelled scans are read to decide whether scans are completely labelled."""


@dataclass(frozen=True)
class Request:
    """The arguments of `rangeseg propagate`.

    Args:
        drive: argument `folder` of `open_drive`.
        out: folder of the carried labels.
        labels: folder of the labels to carry, in the dataset's layout; None: the labels of the dataset.
        labelled: names of the labelled scans, ``NAME`` or ``DRIVE/NAME``, or a list file of them, in which scans of
            other drives are skipped; empty: all scans with labels.
        every: use only every n-th of these scans.
        poses: folder that `rangeseg poses` wrote; None: the poses of the dataset.
        scene: scene of nuScenes.
        dataset: dataset or YAML with the classes; None: found from the layout.
        fields: argument `fields` of `open_drive`.
        exclude: names of classes that are not carried.
        rules: arguments of `Rules` that differ from the defaults; None keeps the default.
        deskew: the moment of a sweep to which the poses refer, see `rangeseg.drive.sweep`; None: no correction of
            motion.
    """

    drive: Path
    out: Path
    labels: Path | None = None
    labelled: tuple[str, ...] = ()
    every: int = 1
    poses: Path | None = None
    scene: str | None = None
    dataset: str | None = None
    fields: FieldNames | None = None
    exclude: tuple[str, ...] = ()
    rules: dict[str, Any] | None = None
    deskew: str | None = None


def make_task(request: Request, *, needs_labels: bool = True, read_as: Callable[[Drive], Drive] | None = None) -> Task:
    """Open the drive, its labels and its poses.

    Args:
        request: the arguments of the command.
        needs_labels: reject a drive without a labelled scan.
        read_as: drive -> the drive with another `read`; None: the usual one.

    Raises:
        ValueError: a file, a scan or a class does not exist, or a rule is outside its range.
    """
    drive = open_drive(request.drive, scene=request.scene, dataset=request.dataset, fields=request.fields)
    drive = drive if read_as is None else read_as(drive)
    labels = request.labels or drive.root
    labelled = _labelled(drive, labels, request.labelled)[:: max(1, request.every)]
    if not labelled and needs_labels:
        raise ValueError(
            f"{labels / drive.scans[0].label_path}: missing. None of the {len(drive.scans)} scans has labels. "
            "Label some scans, or give the folder of the labels with --labels."
        )
    names = drive.label_map.names
    if strange := [name for name in request.exclude if name not in names]:
        raise ValueError(f"--exclude {strange[0]}: no such class. The classes are {', '.join(names)}.")
    exclude = tuple(names.index(name) for name in request.exclude)
    rules = rules_for(_whole(drive, labels, labelled), **(request.rules or {}))
    poses = poses_for(drive, request.poses)
    read = straightened(drive, poses, request.deskew)
    return Task(read, poses, tuple(labelled), labels, request.out, rules, exclude)


def _labelled(drive: Drive, labels: Path, named: Sequence[str]) -> list[int]:
    """Indices of the labelled scans."""
    there = [i for i, entry in enumerate(drive.scans) if (labels / entry.label_path).is_file()]
    if not named:
        return there
    file = Path(named[0]) if len(named) == 1 and named[0] not in drive.names and Path(named[0]).is_file() else None
    if file is not None:
        named = read_names(file, pattern=".+", what="scan", form="NAME", example=drive.names[0])
    wanted = _named(drive, named, there, file)
    if missing := sorted(wanted.difference(there)):
        first = drive.scans[missing[0]]
        raise ValueError(f"{labels / first.label_path}: missing, but --labelled names scan {first.name}.")
    return sorted(wanted)


def _named(drive: Drive, named: Sequence[str], there: Sequence[int], file: Path | None) -> set[int]:
    """Indices of the named scans. The name of the drive stands for its scans with labels, `there`.

    Raises:
        ValueError: a name is not of a scan of the drive; in a list file, scans of other drives are allowed, too, but
            one is of this drive.
    """
    place = {name: i for i, entry in enumerate(drive.scans) for name in (entry.name, *entry.tokens)}
    found: set[int] = set()
    for name in named:
        home, _, end = name.rpartition("/")
        mine = home.rpartition("/")[2] in ("", drive.name)
        if mine and end in place:
            found.add(place[end])
        elif name == drive.name:
            found.update(there)
        elif file is None or (mine and (home or not drive.shares_folder)):  # scenes and tokens have no slash
            what = f"scan {end}" if mine else f"scan {name}, which is of the drive {home}"
            raise ValueError(f"{drive.name}: has no {what}. Names of scans look like {drive.names[0]}.")
    if not found and file is not None:
        raise ValueError(
            f"{file}: lists no scan of the drive {drive.name}. Names look like {drive.name}/{drive.names[0]}, or "
            f"{drive.names[0]} in the list of one drive."
        )
    return found


def _whole(drive: Drive, labels: Path, labelled: Sequence[int]) -> bool:
    """Whether most of the sampled labelled scans are completely labelled, or there are none."""
    shares = [] if labelled else [1.0]
    for number in labelled[:: max(1, len(labelled) // LOOKED_AT)]:
        scan = drive.read(drive.scans[number].file)
        raw = drive.labels_of(drive.scans[number], labels, len(scan))
        shares.append(0.0 if raw is None else share_labelled(scan, classes_of(raw, drive.label_map)))
    return float(np.median(shares)) > WHOLE


def poses_for(drive: Drive, folder: Path | None) -> Trajectory:
    """The poses of a drive, from a folder that `rangeseg poses` wrote or, by default, from the dataset.

    Raises:
        ValueError: there are no poses, some scans have none, or the poses belong to another drive.
    """
    if folder is None:
        return drive.own_poses()
    check_poses_of(folder, drive)
    return read_kitti_poses(folder, drive.names)


def poses_folder(folder: Path | None, drive: Drive, drives: int) -> Path | None:
    """The folder of the poses of one of several drives.

    Args:
        folder: contains a folder for each drive, with its name; or the poses of the only drive. None: no folder.
        drive: the drive.
        drives: number of drives.

    Raises:
        ValueError: there are several drives, but no folder of this one.
    """
    if folder is None or (folder / drive.name).is_dir():
        return folder and folder / drive.name
    if drives > 1:
        raise ValueError(
            f"{folder / drive.name}: missing. The data have {drives} drives, so --poses is a folder with the poses of "
            f"each. Write these with: rangeseg poses DRIVE --out {folder / drive.name}"
        )
    return folder


def find_poses(drive: Drive, by: str | None, progress: Progress = no_progress) -> tuple[Trajectory, str]:
    """The poses of a drive and their source: the dataset, or kiss-icp if the dataset has none or `by` excludes it.

    Raises:
        FileNotFoundError: `by` is the dataset, but it has no poses.
        ImportError: kiss-icp is not installed.
        ValueError: a file cannot be read.
    """
    if by in (None, "dataset"):
        try:
            return drive.own_poses(), "the dataset"
        except FileNotFoundError:
            if by == "dataset":
                raise
    scans = progress((drive.read(entry.file) for entry in drive.scans), "registering", len(drive.scans))
    return register(scans, drive.names), "kiss-icp"


def count(task: Task, number: int) -> Tally:
    """Count the carried labels of a scan, without the points that people labelled."""
    entry, label_map, places = task.drive.scans[number], task.drive.label_map, task.poses.positions
    evidence, truth = read_evidence(task.evidence_file(number)), task.drive.labels_of(entry)
    label = label_map.to_train(task.drive.read_raw(task.label_file(number), entry.file) & 0xFFFF)
    away = np.linalg.norm(places[number + evidence["scans"].astype(np.int64)] - places[number], axis=1)
    known = None if truth is None or truth.shape != label.shape else label_map.to_train(truth & 0xFFFF)
    moving = None if known is None else np.isin(truth & 0xFFFF, label_map.moving)  # type: ignore[operator]
    returns = is_return(task.drive.read(entry.file))
    return tally(label, evidence, known, moving, away, label_map.num_classes, returns)
