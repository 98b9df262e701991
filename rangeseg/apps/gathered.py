"""Copies scans of any format into SemanticKITTI's layout: one sequence per folder, with poses if the folder has them.

ROOT/sequences/SS/velodyne/FFFFFF.bin      float32 x, y, z in metres, remission
ROOT/sequences/SS/poses.txt, calib.txt     if the folder is a drive with poses
ROOT.json                                  the folders, and the names and sizes of their scans

The record is outside of ROOT, because trainings know the scans also after ROOT was removed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rangeseg.data.lists import natural_order
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.drive.kitti_poses import write_kitti_poses
from rangeseg.drive.layouts import open_drive
from rangeseg.drive.trajectory import Trajectory
from rangeseg.files import write_atomically
from rangeseg.paths import absolute, walk
from rangeseg.scan_formats.written import begin_scans
from rangeseg.scan_io import READERS, read_scan

CURE = "Give the same folders with the same scans to --unlabelled, or choose another --out."


def sequences() -> tuple[str, ...]:
    """The names of SemanticKITTI's training sequences."""
    return tuple(SemanticKitti.read_label_map().splits["train"])


def gather(folders: Sequence[Path], root: Path) -> Iterator[Path]:
    """Copy the scans of some folders into SemanticKITTI's layout. Scans that are already there stay as they are.

    Args:
        folders: each becomes one sequence.
        root: the folder of the new dataset.

    Yields:
        The new file of each scan.

    Raises:
        ValueError: a folder has no scans, its file of poses is damaged or lacks poses of scans, there are more folders
            than sequences, or `root` contains scans of other folders or of other scans in them.
    """
    names = sequences()
    if len(folders) > len(names):
        raise ValueError(f"--unlabelled got {len(folders)} folders and takes up to {len(names)}. Join some of them.")
    named = dict(zip(names, folders, strict=False))
    found = {sequence: _scans(folder) for sequence, folder in named.items()}
    for sequence, files in found.items():
        if not files:
            raise ValueError(
                f"{named[sequence]}: holds no scans. Give folders with files of {', '.join(sorted(READERS))}."
            )
    if found:
        patterns = [f"{root.name}/sequences/*/velodyne/*.bin"]
        begin_scans(root.with_name(f"{root.name}.json"), _made_of(named, found), patterns, None, keep=True, cure=CURE)
    for sequence, folder in named.items():
        home = root / "sequences" / sequence
        if (poses := own_poses(folder)) is not None:
            write_kitti_poses(home, poses, a_row_each=True)
        for number, file in enumerate(found[sequence]):
            place = home / "velodyne" / f"{number:06d}.bin"
            if not place.is_file():
                scan = read_scan(file)
                columns = np.column_stack([scan.xyz, scan.remission]).astype("<f4")
                write_atomically(place, columns.tobytes())
            yield place


def own_poses(folder: Path) -> Trajectory | None:
    """The poses of a folder that is a drive, in the order of its scans.

    Args:
        folder: holds scans, or is the folder of a sequence.

    Returns:
        The poses; None if the folder has no poses or holds other scans than those of one drive.

    Raises:
        ValueError: the file of poses cannot be read, or scans have no pose in it.
    """
    try:
        drive = open_drive(folder)
    except ValueError:
        return None
    if [scan.file for scan in drive.scans] != _scans(folder):
        return None
    try:
        return drive.own_poses()
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{error} Or turn the votes along drives off with --votes 0.") from error


def _scans(folder: Path) -> list[Path]:
    """The scans of a sequence's folder, or all scans below another folder, in the order of their numbers."""
    home = _home(folder)
    files = [path for path in walk(home) if path.suffix.lower() in READERS]
    return sorted(files, key=lambda file: [natural_order(part) for part in file.relative_to(home).parts])


def _home(folder: Path) -> Path:
    home = absolute(folder)
    return home / "velodyne" if (home / "velodyne").is_dir() else home


def _made_of(folders: Mapping[str, Path], scans: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    """Sequence -> its folder without links, and the size and the path of each scan in it, in order."""
    made_of: dict[str, Any] = {}
    for sequence, folder in folders.items():
        home = _home(folder)
        made_of[f"folder of {sequence}"] = os.path.realpath(home)
        made_of[f"scans of {sequence}"] = [
            f"{file.stat().st_size} {file.relative_to(home).as_posix()}" for file in scans[sequence]
        ]
    return made_of
