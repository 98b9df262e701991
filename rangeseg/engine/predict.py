"""Labels for files, folders and splits, in the layout benchmarks take.

OUT/sequences/08/predictions/000123.label        uint32 raw ids, one per point
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rangeseg.engine.segmenter import Segmenter
from rangeseg.files import write_atomically
from rangeseg.labels import LabelMap
from rangeseg.scan_io import READERS, read_labels, read_scan, write_labels


@dataclass(frozen=True)
class Task:
    """One scan file and where its labels go, relative to the output folder."""

    scan: Path
    target: Path


def find_scans(inputs: Sequence[str | Path]) -> list[Task]:
    """The scans among files and folders, in sorted order.

    A scan at ``sequences/SS/velodyne/NAME.bin`` gets ``sequences/SS/predictions/NAME.label``; any other keeps its place
    below the folder that was given.

    Raises:
        ValueError: an input is missing or holds no scans, or two scans would share one label file.
    """
    tasks = [task for path in inputs for task in _find(Path(path))]
    targets: dict[Path, Path] = {}
    for task in tasks:
        if task.target in targets:
            raise ValueError(
                f"{task.scan} and {targets[task.target]} would both be written to {task.target}. "
                "Predict them into two folders."
            )
        targets[task.target] = task.scan
    return tasks


def _find(path: Path) -> Iterator[Task]:
    if path.is_file():
        yield Task(path, _target(path, path.parent))
        return
    found = sorted(p for p in path.rglob("*") if p.suffix in READERS and p.is_file()) if path.is_dir() else []
    if not found:
        raise ValueError(
            f"{path}: {'holds no scans' if path.is_dir() else 'no such file or folder'}. "
            f"Give {', '.join(READERS)} files."
        )
    yield from (Task(scan, _target(scan, path)) for scan in found)


def _target(scan: Path, root: Path) -> Path:
    whole = scan.resolve()
    if whole.parent.name == "velodyne" and whole.parents[2].name == "sequences":
        return Path("sequences", whole.parents[1].name, "predictions", f"{scan.stem}.label")
    return scan.relative_to(root).with_suffix(".label")


def predict(
    segmenter: Segmenter, tasks: Iterable[Task], out: Path, *, overwrite: bool = False
) -> Iterator[tuple[Task, bool]]:
    """Write the labels of each scan, as raw ids; a file that is there already, and whole, is left alone.

    Args:
        segmenter: what labels.
        tasks: from `find_scans`.
        out: the output folder.
        overwrite: write again what is there.

    Yields:
        Each task when it is done, and whether it was written now.

    Raises:
        ValueError: a scan cannot be read; what was written before stays.
    """
    for task in tasks:
        target = out / task.target
        scan = read_scan(task.scan)
        done = not overwrite and target.is_file() and _problem(target, len(scan), segmenter.label_map) is None
        if not done:
            write_labels(target, segmenter.label_map.to_raw(segmenter(scan)))
        yield task, not done


def check_predictions(tasks: Iterable[Task], out: Path, label_map: LabelMap) -> list[str]:
    """Every way in which written labels do not fit their scans: missing, wrong count, values no benchmark takes."""
    problems = []
    for task in tasks:
        problem = _problem(out / task.target, len(read_scan(task.scan)), label_map)
        if problem:
            problems.append(f"{out / task.target}: {problem}")
    return problems


def _problem(target: Path, points: int, label_map: LabelMap) -> str | None:
    if not target.is_file():
        return "missing"
    if target.stat().st_size != 4 * points:
        return f"{target.stat().st_size} bytes for {points} points; {4 * points} are needed"
    semantic, _ = read_labels(target)
    strange = np.setdiff1d(semantic, [0, *label_map.raw_ids])
    return f"raw ids {strange.tolist()} are none a benchmark takes" if len(strange) else None


def write_zip(out: Path, tasks: Sequence[Task], path: Path) -> None:
    """Pack predictions as SemanticKITTI's server wants them: folder entries too, nothing else in it.

    Raises:
        ValueError: `path` does not end in .zip.
    """
    if path.suffix != ".zip":
        raise ValueError(f"{path}: a submission's name ends in .zip.")
    folders = sorted({parent for task in tasks for parent in task.target.parents} - {Path()})

    def pack(file: object) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[call-overload]
            for folder in folders:
                archive.writestr(f"{folder.as_posix()}/", b"")
            for task in tasks:
                archive.write(out / task.target, task.target.as_posix())

    write_atomically(path, pack)
