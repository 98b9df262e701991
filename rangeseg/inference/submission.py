"""Submissions: predictions packed for a benchmark's server, with a check of the packed file.

    sequences/                                   folders have their own entries
    sequences/11/predictions/000000.label        uint32 raw ids, one per point

SemanticKITTI's own validator checks the entries of folders and the sizes of files, for the scans on disk. rangeseg also
unpacks and reads every entry. It finds damaged content, values without a class, and missing, repeated or unexpected
entries. It first compares the number of scans on disk with the official totals (`validate.count_problems`).
"""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from rangeseg.data.prediction_files import PredictionFiles
from rangeseg.inference.predict import Task, folders_of
from rangeseg.parallel import in_order

SHOWN = 20
"""Maximum number of problems in an error."""

DAMAGE = (OSError, zipfile.BadZipFile, zlib.error)


def refuse(path: Path, problems: Sequence[str], cure: str = "") -> None:
    """Raise an error if a submission has problems.

    Args:
        path: name of the submission.
        problems: from `check_zip`, or problems found before packing.
        cure: advice at the end of the error.

    Raises:
        ValueError: there are problems.
    """
    if problems:
        more = [f"... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise ValueError(
            "\n".join([f"{path}: not written, because a server would reject it. {cure}", *problems[:SHOWN], *more])
        )


def check_zip(
    path: Path, tasks: Sequence[Task], files: PredictionFiles, *, beside: Sequence[Path] = (), workers: int = 2
) -> list[str]:
    """All problems of a packed submission, read from the packed file.

    Args:
        path: the zip file.
        tasks: the tasks whose labels it must contain.
        files: reads predictions.
        beside: further files that it must contain, from `PredictionFiles.finish`.
        workers: number of threads; 0: no threads.

    Returns:
        Missing, repeated or unexpected entries, damaged content, and predictions that do not fit their files.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = Counter(archive.namelist())
            targets = [*(task.target for task in tasks), *beside]
            wanted = {f"{folder}/" for folder in folders_of(targets)} | {target.as_posix() for target in targets}
            problems = [f"{name}: missing" for name in sorted(wanted - set(names))]
            problems += [f"{name}: unexpected file" for name in sorted(set(names) - wanted)]
            problems += [
                f"{name}: occurs {count} times in the file" for name, count in sorted(names.items()) if count > 1
            ]
            if beside and (damaged := archive.testzip()):
                problems.append(f"{damaged}: cannot be read")
            present = [task for task in tasks if task.target.as_posix() in names]
            return problems + list(_contents(archive, present, files, workers))
    except DAMAGE as error:
        return [f"{path.name}: not a complete zip file ({error})"]


def _contents(archive: zipfile.ZipFile, tasks: Sequence[Task], files: PredictionFiles, workers: int) -> Iterator[str]:
    """Problems of single predictions, each unpacked separately."""
    with tempfile.TemporaryDirectory(prefix="rangeseg-") as folder:
        look = partial(_content, archive, files, Path(folder))
        for task, problem in zip(tasks, in_order(look, tasks, workers=workers), strict=True):
            if problem:
                yield f"{task.target.as_posix()}: {problem}"


def _content(archive: zipfile.ZipFile, files: PredictionFiles, folder: Path, task: Task) -> str | None:
    target = folder / task.target
    try:
        content = archive.read(task.target.as_posix())
    except (*DAMAGE, NotImplementedError, RuntimeError, EOFError) as error:  # unknown compression, password
        return f"cannot be read ({error})"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    try:
        return files.problem(target, task.file)
    finally:
        target.unlink()
