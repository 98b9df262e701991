"""Submissions: predictions packed for a benchmark's server, with a check of the packed file.

    sequences/                                   folders have entries of their own
    sequences/11/predictions/000000.label        uint32 raw ids, one per point

SemanticKITTI's own validator looks at the folders' entries and at the files' sizes, for the scans that are on the disk.
Here every entry is unpacked and read as well: damaged content, values without a class, entries that are missing,
repeated or unexpected. The scans on the disk are counted against the official totals before
(`validate.count_problems`).
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
"""So many problems are told one by one."""

DAMAGE = (OSError, zipfile.BadZipFile, zlib.error)


def refuse(path: Path, problems: Sequence[str], cure: str = "") -> None:
    """Say all that is wrong with a submission.

    Args:
        path: what it is to be called.
        problems: of `check_zip`, or what is known before anything is packed.
        cure: what else one can do.

    Raises:
        ValueError: there are problems.
    """
    if problems:
        more = [f"... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise ValueError(
            "\n".join([f"{path}: not written, because a server would refuse it. {cure}", *problems[:SHOWN], *more])
        )


def check_zip(
    path: Path, tasks: Sequence[Task], files: PredictionFiles, *, beside: Sequence[Path] = (), workers: int = 2
) -> list[str]:
    """Everything that is wrong with a packed submission, read from the packed file.

    Args:
        path: the zip file.
        tasks: what it must hold, and nothing else.
        files: how predictions are read.
        beside: but for these files, of `PredictionFiles.finish`.
        workers: threads; 0 for none.

    Returns:
        Missing, repeated or foreign entries, damaged content, and predictions that do not fit their files.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = Counter(archive.namelist())
            targets = [*(task.target for task in tasks), *beside]
            wanted = {f"{folder}/" for folder in folders_of(targets)} | {target.as_posix() for target in targets}
            problems = [f"{name}: missing" for name in sorted(wanted - set(names))]
            problems += [f"{name}: unexpected file" for name in sorted(set(names) - wanted)]
            problems += [f"{name}: in the file {count} times" for name, count in sorted(names.items()) if count > 1]
            if beside and (damaged := archive.testzip()):
                problems.append(f"{damaged}: cannot be read")
            present = [task for task in tasks if task.target.as_posix() in names]
            return problems + list(_contents(archive, present, files, workers))
    except DAMAGE as error:
        return [f"{path.name}: not a complete zip file ({error})"]


def _contents(archive: zipfile.ZipFile, tasks: Sequence[Task], files: PredictionFiles, workers: int) -> Iterator[str]:
    """Problems of single predictions, each unpacked by itself."""
    with tempfile.TemporaryDirectory(prefix="rangeseg-") as folder:
        look = partial(_content, archive, files, Path(folder))
        for task, problem in zip(tasks, in_order(look, tasks, workers=workers), strict=True):
            if problem:
                yield f"{task.target.as_posix()}: {problem}"


def _content(archive: zipfile.ZipFile, files: PredictionFiles, folder: Path, task: Task) -> str | None:
    target = folder / task.target
    try:
        content = archive.read(task.target.as_posix())
    except (*DAMAGE, NotImplementedError, RuntimeError, EOFError) as error:  # the latter of methods and passwords
        return f"cannot be read ({error})"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    try:
        return files.problem(target, task.file)
    finally:
        target.unlink()
