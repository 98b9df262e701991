"""Labels for files, folders and splits, in the layout of the benchmarks.

OUT/sequences/08/predictions/000123.label        uint32 raw ids, one per point
OUT/lidarseg/test/TOKEN_lidarseg.bin             uint8, 1 to 16, one per point, and OUT/test/submission.json
OUT/aachen_000000_000019_pred_labelIds.png       raw ids, one per pixel of the photograph's file
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.prediction_files import PredictionFiles
from rangeseg.files import inside, walk, write_atomically
from rangeseg.inference.segmentation import Segmentation
from rangeseg.inference.segmenter import AnySample, Labels, Segmenter
from rangeseg.parallel import in_order


@dataclass(frozen=True)
class Task:
    """One file of a scan or photograph, and where its labels go, relative to the output folder."""

    file: Path
    target: Path


def find_tasks(inputs: Sequence[str | Path], files: PredictionFiles, source: Any = None) -> list[Task]:
    """The scans or photographs among files and folders, in sorted order, and those of a split.

    Args:
        inputs: files and folders.
        files: of what kind; `Modality.files` makes it.
        source: an opened split.

    Raises:
        ValueError: an input is missing or holds nothing to predict, two would share one label file, or a name of the
            split leads out of the output folder.
    """
    tasks = [task for path in inputs for task in _find(Path(path), files)]
    split = [] if source is None else files.of_split(source)
    tasks += [Task(file, inside("", target)) for file, target in split]
    targets: dict[Path, Path] = {}
    for task in tasks:
        if task.target in targets:
            raise ValueError(
                f"{task.file} and {targets[task.target]} would both be written to {task.target}. "
                "Predict them into two folders."
            )
        targets[task.target] = task.file
    return tasks


def _find(path: Path, files: PredictionFiles) -> Iterator[Task]:
    if path.is_file():
        yield Task(path, files.target(path, path.parent))
        return
    found = sorted(file for file in walk(path) if file.name.endswith(files.suffixes))
    if not found:
        raise ValueError(
            f"{path}: {'holds nothing to predict' if path.is_dir() else 'no such file or folder'}. "
            f"Give {', '.join(files.suffixes)} files."
        )
    yield from (Task(file, files.target(file, path)) for file in found)


def predict(
    segmenter: Segmenter,
    files: PredictionFiles,
    tasks: Iterable[Task],
    out: Path,
    *,
    overwrite: bool = False,
    since: int = 0,
    count: Callable[[Labels], object] = lambda labels: None,
    workers: int = 1,
    confidence: bool = False,
    unsure: NDArray[np.float32] | None = None,
) -> Iterator[tuple[Task, bool]]:
    """Write the labels of each task, as raw ids; a file that is there already, and whole, is left alone.

    Args:
        segmenter: what labels.
        files: how they are read and written.
        tasks: from `find_tasks`.
        out: the output folder.
        overwrite: write again what is there.
        since: write again what is older, in nanoseconds as `claim` gives them.
        count: is given the train ids of what is written, on several threads.
        workers: threads, as `Segmenter.stream` uses them; 0 works on one after the other.
        confidence: `files` write it, too: they are given a `Segmentation`.
        unsure: (K,) the confidence that a label of each class needs; others become IGNORE. None: all stay.

    Yields:
        Each task when it is done, and whether it was written now.

    Raises:
        ValueError: a scan or photograph cannot be read; what was written before stays.
    """

    def read(task: Task) -> AnySample | None:
        target = out / task.target
        kept = not overwrite and target.is_file() and target.stat().st_mtime_ns >= since
        return None if kept and files.problem(target, task.file) is None else files.read(task.file)

    def write(task: Task, thing: AnySample, labels: Any) -> bool:
        found = labels if unsure is None else labels.sure(unsure)
        plain = found.labels if isinstance(found, Segmentation) else found
        files.write(out / task.target, found if confidence else plain, thing, task.file)
        count(plain)
        return True

    tasks, asked = tee(tasks)
    batch = segmenter.run.config.evaluation.batch
    asks = confidence or unsure is not None
    written = segmenter.stream(tasks, read, write, batch=batch, workers=workers, confidence=asks)
    yield from zip(asked, map(bool, written), strict=True)


def check_predictions(tasks: Sequence[Task], out: Path, files: PredictionFiles, *, workers: int = 0) -> list[str]:
    """Every way in which written labels do not fit their files: missing, wrong size, values no benchmark takes."""
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
    """Pack predictions as SemanticKITTI's server wants them: folder entries too, nothing else in it.

    Args:
        out: the folder of the predictions.
        tasks: whose labels are packed.
        path: ends in ``.zip``.
        check: is given the packed file before it takes its name, and raises where it must not.
        beside: what else is packed, relative to `out`; of `PredictionFiles.finish`.

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
    """Every folder on the way to the files of a submission, parents first."""
    return sorted({parent.as_posix() for target in targets for parent in target.parents} - {"."})
