"""Labels for files, folders and splits, in the layout benchmarks take.

OUT/sequences/08/predictions/000123.label        uint32 raw ids, one per point
OUT/aachen_000000_000019_pred_labelIds.png       raw ids, one per pixel of the photograph's file
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rangeseg.engine.prediction_files import PredictionFiles
from rangeseg.engine.segmenter import Segmenter
from rangeseg.files import write_atomically


@dataclass(frozen=True)
class Task:
    """One file of a scan or photograph, and where its labels go, relative to the output folder."""

    file: Path
    target: Path


def find_tasks(inputs: Sequence[str | Path], files: PredictionFiles) -> list[Task]:
    """The scans or photographs among files and folders, in sorted order.

    Args:
        inputs: files and folders.
        files: of what kind; `Modality.files` makes it.

    Raises:
        ValueError: an input is missing or holds nothing to predict, or two would share one label file.
    """
    tasks = [task for path in inputs for task in _find(Path(path), files)]
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
    found = (
        sorted(p for p in path.rglob("*") if p.name.endswith(files.suffixes) and p.is_file()) if path.is_dir() else []
    )
    if not found:
        raise ValueError(
            f"{path}: {'holds nothing to predict' if path.is_dir() else 'no such file or folder'}. "
            f"Give {', '.join(files.suffixes)} files."
        )
    yield from (Task(file, files.target(file, path)) for file in found)


def predict(
    segmenter: Segmenter, files: PredictionFiles, tasks: Iterable[Task], out: Path, *, overwrite: bool = False
) -> Iterator[tuple[Task, bool]]:
    """Write the labels of each task, as raw ids; a file that is there already, and whole, is left alone.

    Args:
        segmenter: what labels.
        files: how they are read and written.
        tasks: from `find_tasks`.
        out: the output folder.
        overwrite: write again what is there.

    Yields:
        Each task when it is done, and whether it was written now.

    Raises:
        ValueError: a scan or photograph cannot be read; what was written before stays.
    """
    for task in tasks:
        target = out / task.target
        done = not overwrite and files.problem(target, task.file) is None
        if not done:
            thing = files.read(task.file)
            files.write(target, segmenter(thing), thing, task.file)
        yield task, not done


def check_predictions(tasks: Iterable[Task], out: Path, files: PredictionFiles) -> list[str]:
    """Every way in which written labels do not fit their files: missing, wrong size, values no benchmark takes."""
    found = ((out / task.target, files.problem(out / task.target, task.file)) for task in tasks)
    return [f"{target}: {problem}" for target, problem in found if problem]


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
