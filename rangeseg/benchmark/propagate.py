"""Coverage, accuracy and speed of labels carried along drives: `python -m` this module.

Every sequence of a folder in SemanticKITTI's layout is a drive. Its labels are hidden except those of one scan in five,
or of some clicks or strokes in each scan. The carried labels are compared with the hidden ones.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rangeseg.data.sparse import SparseLabels
from rangeseg.drive.kitti_poses import write_kitti_poses
from rangeseg.drive.layouts import Drive, Raw, open_drive
from rangeseg.drive.propagate import propagate
from rangeseg.drive.request import Request, count, find_poses, make_task
from rangeseg.drive.trajectory import Trajectory
from rangeseg.projection.spherical import SphericalProjection
from rangeseg.scan_io import write_labels
from rangeseg.types import IGNORE, Scan

SEQUENCES = ("00", "01", "02", "04", "06", "07", "09")
PIXELS = SphericalProjection(64, 512, 3.0, -25.0)
"""Projection to the image whose pixels are clicked; 0.2 % of its pixels are about 52 clicks per scan."""

STROKE = (12, 0.35)
"""Largest number of points of a stroke, and largest distance from one point to the next, metres."""


class _Labelled:
    """A drive as a source of labelled scans."""

    def __init__(self, drive: Drive) -> None:
        self._drive, self.label_map = drive, drive.label_map

    def __len__(self) -> int:
        return len(self._drive.scans)

    def name(self, index: int) -> str:
        return f"{self._drive.name}/{self._drive.scans[index].name}"

    def scan(self, index: int) -> Scan:
        entry = self._drive.scans[index]
        return self._drive_scan(entry.file, _raw(self._drive, index))

    def _drive_scan(self, file: Path, raw: Raw) -> Scan:
        scan = self._drive.read(file)
        return Scan(scan.xyz, scan.remission, label=self.label_map.to_train(raw & 0xFFFF))


def clicks(drive: Drive, index: int, seed: int, fraction: float = 0.002) -> np.ndarray:
    """(N,) bool, True for labelled points in a random share `fraction` of a scan's pixels."""
    scan = SparseLabels(_Labelled(drive), PIXELS, fraction, seed).scan(index)
    assert scan.label is not None
    return np.asarray(scan.label != IGNORE)


def strokes(drive: Drive, index: int, seed: int, many: int = 30) -> np.ndarray:
    """(N,) bool, True for points on lines of neighbouring points of one class, as a brush draws them."""
    scan, raw = drive.read(drive.scans[index].file), _raw(drive, index) & 0xFFFF
    rng, chosen = np.random.default_rng([seed, index]), np.zeros(len(raw), bool)
    for _ in range(many):
        point = int(rng.choice(np.flatnonzero(raw)))
        way = rng.normal(size=3) * (1, 1, 0.5)
        for _ in range(STROKE[0]):
            chosen[point] = True
            ahead = scan.xyz - scan.xyz[point]
            far = np.linalg.norm(ahead, axis=1)
            next_ones = np.flatnonzero((far > 0.02) & (far < STROKE[1]) & (raw == raw[point]) & (ahead @ way > 0))
            if not len(next_ones):
                break
            point = int(next_ones[np.argmax(ahead[next_ones] @ way)])
    return chosen


def _raw(drive: Drive, index: int) -> Raw:
    raw = drive.labels_of(drive.scans[index])
    assert raw is not None, f"{drive.scans[index].file}: has no labels"
    return raw


def measure(
    root: Path, kind: str, by: str, seed: int, work: Path, sequences: Sequence[str] = SEQUENCES, **rules: Any
) -> dict[str, Any]:
    """Carry labels along every drive and count the results.

    Args:
        root: folder that contains `sequences/`.
        kind: whole (one scan in five), clicks or strokes.
        by: source of the poses, dataset or kiss-icp.
        seed: seed of clicks and strokes.
        work: an empty folder.
        sequences: the drives.
        rules: rules that differ from the defaults.

    Returns:
        `Tally.report` of all drives, and `given_a_scan`: labelled points per scan with clicks or strokes, 0 for whole.
    """
    chosen: dict[str, Callable[[Drive, int, int], np.ndarray]] = {"clicks": clicks, "strokes": strokes}
    total, given, scans = None, 0, 0
    for sequence in sequences:
        home = root / "sequences" / sequence
        drive = open_drive(home)
        labels = root if kind == "whole" else work / "labels"
        for index, entry in enumerate(drive.scans if kind != "whole" else ()):
            raw = np.where(chosen[kind](drive, index, seed), _raw(drive, index), 0)
            given, scans = given + int(np.count_nonzero(raw)), scans + 1
            write_labels(labels / entry.label_path, raw)
        poses = None if by == "dataset" else work / f"poses_{sequence}"
        if poses is not None:
            write_kitti_poses(poses, find_poses(drive, by)[0])
        every = 5 if kind == "whole" else 1
        task = make_task(Request(home, work / "out", labels, every=every, poses=poses, rules=rules))
        for number in propagate(task, workers=2):
            one = count(task, number)
            total = one if total is None else total + one
    assert total is not None
    return total.report(drive.label_map.names) | {"given_a_scan": given / max(1, scans)}


def throughput(root: Path, scans: int, work: Path, kind: str = "whole") -> dict[str, float]:
    """Time and speed on two threads, with reading and writing of files, on an artificial long drive.

    The drive repeats the first five scans of sequence 00, moved forward by 8 m each time.

    Args:
        root: folder that contains `sequences/`.
        scans: number of scans.
        work: an empty folder.
        kind: whole: one scan in five is labelled; clicks: every scan has clicks.
    """
    home, made = root / "sequences" / "00", work / "sequences" / "00"
    drive = open_drive(home)
    real, poses, points = drive.own_poses(), [], 0
    for folder in ("velodyne", "labels"):
        (made / folder).mkdir(parents=True)
    for number in range(scans):
        entry, pose = drive.scans[number % 5], real.poses[number % 5].copy()
        pose[0, 3] += 8.0 * (number // 5)
        poses.append(pose)
        points += entry.file.stat().st_size // 16
        (made / "velodyne" / f"{number:06d}.bin").symlink_to(entry.file)
        if kind == "clicks":
            raw = np.where(clicks(drive, number % 5, 0), _raw(drive, number % 5), 0)
            write_labels(made / "labels" / f"{number:06d}.label", raw)
        elif number % 5 == 0:
            (made / "labels" / f"{number:06d}.label").symlink_to(drive.root / entry.label_path)
    write_kitti_poses(made, Trajectory(tuple(f"{number:06d}" for number in range(scans)), np.array(poses)))
    task = make_task(Request(made, work / "out"))
    list(propagate(make_task(Request(made, work / "first", labelled=("000000",), rules={"max_scans": 1}))))  # compiles
    start, used = time.perf_counter(), time.process_time()
    list(propagate(task, workers=2))
    wall, cpu = time.perf_counter() - start, time.process_time() - used
    return {
        "scans": scans, "points_a_scan": points / scans, "wall_s": wall, "scans_a_second": scans / wall,
        "cpu_ms_a_scan": 1000 * cpu / scans, "scans_a_second_of_two_free_cores": 2 * scans / cpu,
    }  # fmt: skip


TRIALS: dict[str, tuple[str, str, int, dict[str, Any]]] = {
    "whole, poses of dataset": ("whole", "dataset", 0, {}),
    "whole, poses of kiss-icp": ("whole", "kiss-icp", 0, {}),
    "whole, no test of visibility": ("whole", "dataset", 0, {"visibility": False}),
    "whole, three nearest must agree": ("whole", "dataset", 0, {"min_neighbours": 3, "min_agreement": 1.0}),
    "whole, along the surface": ("whole", "dataset", 0, {"spread": "surface"}),
    "whole, along the surface, poses of kiss-icp": ("whole", "kiss-icp", 0, {"spread": "surface"}),
    "whole, the nearest alone": ("whole", "dataset", 0, {"neighbours": 1}),
    "clicks, poses of dataset": ("clicks", "dataset", 0, {}),
    "clicks, poses of kiss-icp": ("clicks", "kiss-icp", 0, {}),
    "clicks, seed 1": ("clicks", "dataset", 1, {}),
    "clicks, another class 2.33 times as far": ("clicks", "dataset", 0, {"min_agreement": 0.7}),
    "clicks, within 2 m": ("clicks", "dataset", 0, {"max_distance_m": 2.0}),
    "clicks, voxels of 0.15 m": ("clicks", "dataset", 0, {"voxel_m": 0.15}),
    "clicks, all at one place count": ("clicks", "dataset", 0, {"merge_deg": 0.0}),
    "clicks, nearest": ("clicks", "dataset", 0, {"spread": "nearest"}),
    "clicks, nearest, poses of kiss-icp": ("clicks", "kiss-icp", 0, {"spread": "nearest"}),
    "clicks, nearest, seed 1": ("clicks", "dataset", 1, {"spread": "nearest"}),
    "clicks, nearest, all at one place count": ("clicks", "dataset", 0, {"spread": "nearest", "merge_deg": 0.0}),
    "clicks, nearest, within 1 m": ("clicks", "dataset", 0, {"spread": "nearest", "max_distance_m": 1.0}),
    "strokes, poses of dataset": ("strokes", "dataset", 0, {}),
    "strokes, poses of kiss-icp": ("strokes", "kiss-icp", 0, {}),
    "strokes, once a metre": ("strokes", "dataset", 0, {"merge_m": 1.0}),
    "strokes, nearest": ("strokes", "dataset", 0, {"spread": "nearest"}),
    "strokes, nearest, poses of kiss-icp": ("strokes", "kiss-icp", 0, {"spread": "nearest"}),
    "strokes, nearest, once a metre": ("strokes", "dataset", 0, {"spread": "nearest", "merge_m": 1.0}),
}
"""Name of the measurement -> kind of labels, source of the poses, seed, and rules that differ from the defaults."""


def _lines(root: Path, work: Path, only: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, (kind, by, seed, rules) in TRIALS.items():
        if name.startswith(only):
            yield name, measure(root, kind, by, seed, work / name.replace(" ", "_"), **rules)


def main() -> None:
    """Measure, and write JSON to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="the folder that holds sequences/")
    parser.add_argument("--only", default="", help="measure only the trials whose names begin with this text")
    parser.add_argument("--time", type=int, metavar="SCANS", help="measure only the speed, on this number of scans")
    parser.add_argument(
        "--clicks",
        action="store_true",
        help="with --time: clicks in every scan instead of all labels of one scan in five",
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.time:
            result: dict[str, Any] = throughput(
                arguments.root.resolve(), arguments.time, Path(folder), "clicks" if arguments.clicks else "whole"
            )
        else:
            result = {name: report for name, report in _lines(arguments.root.resolve(), Path(folder), arguments.only)}
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
