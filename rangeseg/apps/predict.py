"""`rangeseg predict`: label files, folders or a split, check the labels and pack a submission.

Each process of torchrun labels its share. Complete files of the same input are skipped, and files are written
atomically, so the same command resumes a stopped one. The first process checks and packs when all processes are done.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from rangeseg.apps.validate import count_problems
from rangeseg.data.prediction_files import PredictionFiles
from rangeseg.engine.experiment import Experiment
from rangeseg.inference.distributed import ProcessGroup
from rangeseg.inference.domain_check import misfit_summary
from rangeseg.inference.labelled_files import chosen_files
from rangeseg.inference.predict import Task, check_predictions, find_tasks, predict, write_zip
from rangeseg.inference.records import Records
from rangeseg.inference.segmenter import Labels, Segmenter
from rangeseg.inference.submission import check_zip, refuse
from rangeseg.parallel import Progress, no_progress
from rangeseg.registry import Trust
from rangeseg.types import IGNORE

MOST_SHARES = 6
"""Maximum number of classes whose shares are reported."""

FEWEST_UNLABELLED = 0.0005
"""Least share of elements without a label that is reported."""


def predict_inputs(
    run: Path | None, inputs: Sequence[Path], out: Path, *, split: str | None = None, zip: Path | None = None,
    partial: bool = False, overwrite: bool = False, anyway: bool = False, workers: int | None = None,
    device: str = "auto", compile: bool = False, format: str = "label", confidence: bool = False,
    unsure: Sequence[str] = (), overrides: Sequence[str] = (), trust: Trust = False, progress: Progress = no_progress,
) -> Iterator[str]:  # fmt: skip
    """Label the given files, folders or split.

    Args:
        run: run folder or checkpoint; None: the default network, `any-lidar`.
        inputs: files and folders of scans or photographs.
        out: the output folder.
        split: also label all scans or photographs of this split.
        zip: pack the labels into this file; None: do not pack.
        partial: pack a split even if its number of scans is not the official one.
        overwrite: write existing complete files again.
        anyway: accept that most scans do not fit the run.
        workers: number of threads per process, see `Segmenter.stream`; None: the default of the device.
        device: a torch device, or auto.
        compile: see `Segmenter`.
        format: format of the files, one of `rangeseg.inference.labelled_files.FORMATS`.
        confidence: also write the confidence and the entropy of each label.
        unsure: least confidences; other labels are left out, see `rangeseg.inference.labelled_files.least_sure`.
        overrides: `key.path=value` entries that override the run's config.
        trust: see `Run.load`.
        progress: shows the progress.

    Yields:
        Messages about each stage, in the first process only.

    Raises:
        ValueError: there is nothing to predict, a file cannot be read, most scans do not fit the run, or a server would
            reject the result.
    """
    group = ProcessGroup.init()
    try:
        segmenter = Segmenter.load(run, device=group.device(device), overrides=overrides, compile=compile, trust=trust)
        workers = segmenter.workers if workers is None else workers
        experiment = segmenter.run.experiment
        files, least = chosen_files(experiment, format, confidence, unsure)
        source, samples = _open(experiment, split, None if partial else zip), f"{experiment.dataset.kind}s"
        if not inputs and source is None:
            raise ValueError(f"Nothing to predict. Give files or folders of {samples}, or --split test.")
        tasks = find_tasks(inputs, files, source)
        records = Records.claim(
            run, segmenter, out, {task.target: [task.file] for task in tasks}, files,
            unsure=unsure, overwrite=overwrite, group=group,
        )  # fmt: skip
        share, seen = group.shard(tasks), ClassShares(segmenter.label_map.names)
        done: Any = predict(
            segmenter, files, share, out, records=records, count=seen.count, workers=workers,
            confidence=confidence or format != "label", unsure=least,
        )  # fmt: skip
        written = sum(new for _, new in (done if group.rank else progress(done, "predicting", len(share))))
        misfits = group.all_reduce(records.counts())  # waits for all processes
        if group.rank:
            return
        beside = _finish(files, source, tasks, out, workers, samples)
        now = f"({written} of them now{group.scope})"
        yield f"{len(tasks)} {samples} labelled in {out} {now}; counts and values checked."
        yield from chain(seen.words(), misfit_summary(*misfits.tolist(), anyway=anyway))
        if zip:
            check = _checking(zip, tasks, experiment.prediction_files, beside, workers)  # packs no confidence
            write_zip(out, tasks, zip, check, beside=beside)
            yield f"submission: {zip}, packed and checked"
        yield f"next: {_next(run, tasks[0], out, trust)}"
    finally:
        group.close()


def _finish(
    files: PredictionFiles, source: Any, tasks: Sequence[Task], out: Path, workers: int, samples: str
) -> Sequence[Path]:
    """Write the further files of a submission, check the predictions, and return the further files.

    Raises:
        ValueError: a prediction does not match its file.
    """
    beside = files.finish(out, source) if source is not None else []
    problems = check_predictions(tasks, out, files, workers=workers)
    if problems := problems + (files.problems(out, source) if source is not None else []):
        raise ValueError(f"Predictions do not match their {samples}:\n" + "\n".join(problems))
    return beside


class ClassShares:
    """Counts how many elements get each class, so that a network that gives one class everywhere is noticed.

    Args:
        names: names of the classes.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names, self._lock = names, Lock()
        self._counts, self._elements = np.zeros(len(names), np.int64), 0

    def count(self, labels: Labels) -> None:
        """Add the (N,) train ids of a scan or photograph; may be called in any thread."""
        counts = np.bincount(labels[labels != IGNORE], minlength=len(self._names))
        with self._lock:
            self._counts += counts
            self._elements += len(labels)

    def words(self) -> Iterator[str]:
        """One line with the shares, the largest first; no line if no element has a label."""
        if total := self._counts.sum():
            order = np.argsort(-self._counts, kind="stable")[: np.count_nonzero(self._counts)]
            shares = [f"{self._names[index]} {self._counts[index] / total:.1%}" for index in order[:MOST_SHARES]]
            more = f" and {len(order) - MOST_SHARES} more classes" if len(order) > MOST_SHARES else ""
            left = 1 - total / self._elements
            without = f"; {left:.1%} of all have no label" if left >= FEWEST_UNLABELLED else ""
            yield f"class shares: {', '.join(shares)}{more}{without}"


def _next(run: Path | None, task: Task, out: Path, trust: Trust) -> str:
    """The command that shows the first prediction."""
    words = ["rangeseg", "show", str(task.file), "--prediction", str(out / task.target), "--png", "picture.png"]
    words += ([] if run is None else ["--run", str(run)]) + (["--trust"] if trust else [])
    return shlex.join(words)


def _checking(
    path: Path, tasks: Sequence[Task], files: PredictionFiles, beside: Sequence[Path], workers: int
) -> Callable[[Path], None]:
    """A function that raises an error if a server would reject the packed submission."""
    return lambda packed: refuse(path, check_zip(packed, tasks, files, beside=beside, workers=workers))


def _open(experiment: Experiment, split: str | None, zip: Path | None) -> Any:
    """The samples of a split, without labels; ValueError if `zip` is given and official counts do not match."""
    if split is None:
        return None
    source = experiment.open(split, labels=False)
    if zip is not None:  # before the prediction, which may take hours
        names = [source.name(index) for index in range(len(source))]
        problems = count_problems(source.label_map, source.split or split, names)
        refuse(zip, problems, cure="Pack a part with --partial.")
    return source
