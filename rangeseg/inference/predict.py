"""Labels for files, folders and splits, in the layout of the benchmarks.

OUT/sequences/08/predictions/000123.label        uint32 raw ids, one per point
OUT/lidarseg/test/TOKEN_lidarseg.bin             uint8, 1 to 16, one per point, and OUT/test/submission.json
OUT/001/00.label                                 the same, named like the scan in lists: PandaSet, RELLIS-3D and others
OUT/aachen_000000_000019_pred_labelIds.png       raw ids, one per pixel of the photograph's file
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.prediction_files import PredictionFiles
from rangeseg.files import write_atomically
from rangeseg.inference.origin import FILE as PREDICTED_BY
from rangeseg.inference.records import Records
from rangeseg.inference.segmentation import Segmentation
from rangeseg.inference.segmenter import AnySample, Labels, Segmenter
from rangeseg.parallel import in_order
from rangeseg.paths import absolute, inside, walk
from rangeseg.types import Sample

MOST_UNREADABLE = 20
"""With more unreadable files than this, `predict` stops at once."""


@dataclass(frozen=True)
class Task:
    """A file of a scan or photograph, and the path of its labels relative to the output folder."""

    file: Path
    target: Path


def find_tasks(inputs: Sequence[str | Path], files: PredictionFiles, source: Any = None) -> list[Task]:
    """The scans or photographs among files and folders, in sorted order, and those of a split.

    Folders within a given folder that `predict` has written are left out: their PLY files or PNG files are no input. A
    file that is given twice is one task.

    Args:
        inputs: files and folders.
        files: the prediction files of the run (`Experiment.prediction_files`).
        source: an opened split.

    Raises:
        ValueError: an input is missing or contains nothing to predict, two inputs would share a label file, or a name
            in the split leads out of the output folder.
    """
    tasks = [task for path in inputs for task in _find(Path(path), files)]
    split = [] if source is None else files.of_split(source)
    tasks += [Task(file, inside("", target)) for file, target in split]
    targets: dict[Path, Task] = {}
    for task in tasks:
        other = targets.setdefault(task.target, task).file
        if absolute(other) != absolute(task.file):
            raise ValueError(
                f"{task.file} and {other} would both be written to {task.target}. Predict them into two folders."
            )
    return list(targets.values())


def _find(path: Path, files: PredictionFiles) -> Iterator[Task]:
    if path.is_file():
        yield Task(path, files.target(path, path.parent))
        return
    every = list(walk(path))
    written = {file.parent for file in every if file.name == PREDICTED_BY} - {path}
    found = sorted(
        file for file in every if file.name.lower().endswith(files.suffixes) and written.isdisjoint(file.parents)
    )
    if not found:
        raise ValueError(
            f"{path}: {'contains nothing to predict' if path.is_dir() else 'no such file or folder'}. "
            f"Give {', '.join(files.suffixes)} files."
        )
    yield from (Task(file, files.target(file, path)) for file in found)


def predict(
    segmenter: Segmenter,
    files: PredictionFiles,
    tasks: Sequence[Task],
    out: Path,
    *,
    records: Records,
    count: Callable[[Labels], object] = lambda labels: None,
    workers: int = 1,
    confidence: bool = False,
    unsure: NDArray[np.float32] | None = None,
) -> Iterator[tuple[Task, bool]]:
    """Write the labels of each task as raw ids. Complete existing files of the same input are skipped.

    An unreadable file does not stop the others. The error comes after the last task.

    Args:
        segmenter: the run.
        files: reads scans or photographs and writes predictions.
        tasks: from `find_tasks`.
        out: the output folder.
        records: know the finished files, and get the written ones.
        count: called with the train ids of each written file, on several threads.
        workers: number of threads, as in `Segmenter.stream`; 0: process one scan after the other.
        confidence: give `files` a `Segmentation` with confidence and entropy in place of labels.
        unsure: (K,) least confidence of a label of each class; other labels become IGNORE. None: keep all labels.

    Yields:
        Each finished task, and whether its file was written now.

    Raises:
        ValueError: scans or photographs cannot be read, see `MOST_UNREADABLE`; all written files are kept.
    """
    unreadable: list[ValueError] = []

    def read(task: Task) -> AnySample | None:
        try:
            return None if records.is_finished(task.target) else files.read(task.file)
        except ValueError as error:
            unreadable.append(error)
            if len(unreadable) > MOST_UNREADABLE:
                raise ValueError(_message(unreadable, "These are too many; the rest is not labelled.")) from error
            return None

    def write(task: Task, sample: AnySample, labels: Any) -> bool:
        found = labels if unsure is None else labels.sure(unsure)
        plain = found.labels if isinstance(found, Segmentation) else found
        with records.writing(task.target, "" if isinstance(sample, Sample) else sample.where):
            files.write(out / task.target, found if confidence else plain, sample, task.file)
        count(plain)
        return True

    written = segmenter.stream(
        tasks, read, write, batch=segmenter.run.config.evaluation.batch, workers=workers,
        confidence=confidence or unsure is not None,
    )  # fmt: skip
    yield from zip(tasks, map(bool, written), strict=True)
    if unreadable:
        raise ValueError(_message(unreadable, "All other files are labelled." if len(tasks) > 1 else ""))


def _message(errors: Sequence[ValueError], outcome: str) -> str:
    """All errors of unreadable files, and what became of the other files."""
    lines = [*sorted(map(str, errors)), *([outcome] if outcome else [])]
    return " ".join(lines) if len(errors) == 1 else "\n".join([f"{len(errors)} files cannot be read:", *lines])


def check_predictions(tasks: Sequence[Task], out: Path, files: PredictionFiles, *, workers: int = 0) -> list[str]:
    """All problems of the written labels: missing files, wrong sizes, invalid values."""
    found = in_order(lambda task: files.problem(out / task.target, task.file), tasks, workers=workers)
    return [f"{out / task.target}: {problem}" for task, problem in zip(tasks, found, strict=True) if problem]


def write_zip(
    out: Path,
    tasks: Sequence[Task],
    path: Path,
    check: Callable[[Path], None] | None = None,
    *,
    beside: Sequence[Path] = (),
) -> None:
    """Pack predictions in the form that SemanticKITTI's server requires, with entries for folders.

    Args:
        out: the folder of the predictions.
        tasks: the tasks whose labels are packed.
        path: ends in ``.zip``.
        check: called with the packed file before it gets its name; raises to reject it.
        beside: further files to pack, relative to `out`, from `PredictionFiles.finish`.

    Raises:
        ValueError: `path` does not end in .zip.
    """
    if path.suffix != ".zip":
        raise ValueError(f"{path}: the name of a submission must end in .zip.")
    packed = [*(task.target for task in tasks), *beside]

    def pack(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for folder in folders_of(packed):
                archive.writestr(f"{folder}/", b"")
            for target in packed:
                archive.write(out / target, target.as_posix())
        if check is not None:
            file.flush()
            check(Path(file.name))

    write_atomically(path, pack)


def folders_of(targets: Sequence[Path]) -> list[str]:
    """All parent folders of the files of a submission, parents first."""
    return sorted({parent.as_posix() for target in targets for parent in target.parents} - {"."})
