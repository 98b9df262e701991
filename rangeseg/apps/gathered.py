"""Copies scans of any format into SemanticKITTI's layout: one sequence per folder, with poses if the folder has them.

ROOT/sequences/SS/velodyne/FFFFFF.bin      float32 x, y, z in metres, remission
ROOT/sequences/SS/poses.txt, calib.txt     if the folder is a drive with poses
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.drive.kitti_poses import write_kitti_poses
from rangeseg.drive.layouts import open_drive
from rangeseg.drive.trajectory import Trajectory
from rangeseg.files import walk, write_atomically
from rangeseg.scan_io import READERS, read_scan


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
        ValueError: a folder has no scans, its file of poses is damaged or lacks poses of scans, or there are more
            folders than sequences.
    """
    names = sequences()
    if len(folders) > len(names):
        raise ValueError(f"--unlabelled got {len(folders)} folders and takes up to {len(names)}. Join some of them.")
    for sequence, folder in zip(names, folders, strict=False):
        files = _scans(folder)
        if not files:
            raise ValueError(f"{folder}: holds no scans. Give folders with files of {', '.join(sorted(READERS))}.")
        home = root / "sequences" / sequence
        if (poses := own_poses(folder)) is not None:
            write_kitti_poses(home, poses, a_row_each=True)
        for number, file in enumerate(files):
            place = home / "velodyne" / f"{number:06d}.bin"
            if not place.is_file():
                scan = read_scan(file)
                remission = np.zeros(len(scan)) if scan.remission is None else scan.remission
                columns = np.column_stack([scan.xyz, remission]).astype("<f4")
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
    """The scans of a sequence's folder, or all scans below another folder."""
    home = folder.resolve()
    home = home / "velodyne" if (home / "velodyne").is_dir() else home
    return sorted(path for path in walk(home) if path.suffix.lower() in READERS)
