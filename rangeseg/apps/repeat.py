"""`rangeseg repeat`: experiments over several seeds, with a table of mean and spread and curves of the scores."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from types import FrameType
from typing import IO, Any

from rangeseg.config.shipped import experiment_name
from rangeseg.engine.run_logger import read_metrics
from rangeseg.engine.stopping import SIGNALS, Stopped


@dataclass(frozen=True)
class Job:
    """One config with one seed, its run folder, and `key.path=value` of its own."""

    config: str | Path
    seed: int
    folder: Path
    overrides: tuple[str, ...] = ()

    @property
    def report(self) -> Path:
        """What `rangeseg train` leaves when it is through."""
        return self.folder / "evaluation.json"


def make_jobs(configs: Sequence[str | Path], seeds: Sequence[int], out: Path) -> list[Job]:
    """Every config with every seed, seed by seed, so that a half-done table compares like with like."""
    return [Job(config, seed, out / f"{experiment_name(config)}_seed{seed}") for seed in seeds for config in configs]


class ChildProcesses:
    """Processes that are started here, and that SIGINT and SIGTERM to this process reach within a `with` block."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen] = set()
        self._before: dict[int, Any] = {}
        self._number = 0

    def __enter__(self) -> ChildProcesses:
        if threading.current_thread() is threading.main_thread():  # signals reach no other
            self._before = {number: signal.signal(number, self._pass_on) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def run(self, command: Sequence[str], log: IO[str]) -> int:
        """Run a command to its end, on any thread; its exit code. After a signal none is started."""
        if self._number:
            return 128 + self._number
        with subprocess.Popen(command, stdout=log, stderr=log, env=os.environ) as child:
            self._running.add(child)
            if self._number:  # it came in between
                child.send_signal(self._number)
            code = child.wait()
            self._running.discard(child)
        return code

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._number = number
        for child in [*self._running]:
            child.send_signal(number)
        raise Stopped("stopped; what is trained stays, and the same command goes on", number)


def run_jobs(
    jobs: Sequence[Job], overrides: Sequence[str], *, parallel: int = 1, children: ChildProcesses | None = None
) -> Iterator[Job]:
    """Train the jobs that are not complete, each in its own process; interrupted jobs are resumed.

    Args:
        jobs: from `make_jobs`.
        overrides: `key.path=value` for every job.
        parallel: processes at a time.
        children: entered in the main thread, where this runs in another.

    Yields:
        Each job when its report is there.

    Raises:
        RuntimeError: a training failed; its log is named, and what is done stays.
        Stopped: by a signal, once all trainings have written their checkpoints.
    """
    with ExitStack() as stack:
        if children is None:
            children = stack.enter_context(ChildProcesses())
        train, pool = partial(_train, overrides, children), ThreadPoolExecutor(parallel)
        stack.callback(pool.shutdown, cancel_futures=True)
        for job, code in zip(jobs, pool.map(train, jobs), strict=True):
            if code:
                raise RuntimeError(f"{job.config} with seed {job.seed} failed; see {job.folder}.log")
            yield job


def _train(overrides: Sequence[str], children: ChildProcesses, job: Job) -> int:
    if job.report.is_file():
        return 0
    keys = [f"runtime.seed={job.seed}", f"runtime.out={job.folder}", *job.overrides, *overrides]
    command = [sys.executable, "-m", "rangeseg.cli", "train", str(job.config), *keys, "--resume", "auto"]
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{job.folder}.log").open("a") as log:
        return children.run(command, log)


def table(jobs: Sequence[Job]) -> str:
    """Mean, sample standard deviation and single values of each config's mIoU, as Markdown; undone ones left out."""
    reports = {job: json.loads(job.report.read_text()) for job in jobs if job.report.is_file()}
    reports = {job: report for job, report in reports.items() if report["mean_iou"] is not None}
    lines = ["| config | mIoU % | spread | seeds | accuracy % |", "| --- | --- | --- | --- | --- |"]
    for config in dict.fromkeys(job.config for job in reports):
        mine = {job.seed: report for job, report in reports.items() if job.config == config}
        scores = [100 * report["mean_iou"] for report in mine.values()]
        spread = f"± {stdev(scores):.2f}" if len(scores) > 1 else ""
        single = ", ".join(f"{seed}: {100 * report['mean_iou']:.2f}" for seed, report in mine.items())
        accuracy = mean(100 * report["accuracy"] for report in mine.values())
        lines.append(f"| {experiment_name(config)} | {mean(scores):.2f} | {spread} | {single} | {accuracy:.2f} |")
    return "\n".join([*lines, "", _classes(list(reports.values()))])


def curves(jobs: Sequence[Job], name: str = "mean_iou") -> dict[str, tuple[list[int], list[float]]]:
    """Metrics during training as lines to plot: for each config the mean over its seeds.

    Args:
        jobs: from `make_jobs`; those without numbers yet are left out.
        name: of the number, as metrics.csv calls it.

    Returns:
        Config -> (steps, %), at those steps that every seed has reached.
    """
    lines = {}
    for config in dict.fromkeys(job.config for job in jobs):
        seeds = [
            {step: value for step, key, value in read_metrics(job.folder / "metrics.csv") if key == name}
            for job in jobs
            if job.config == config
        ]
        seeds = [values for values in seeds if values]
        if steps := sorted(set.intersection(*map(set, seeds))) if seeds else []:
            lines[experiment_name(config)] = (steps, [100 * mean(values[step] for values in seeds) for step in steps])
    return lines


def _classes(reports: Sequence[dict[str, Any]]) -> str:
    if not reports:
        return "Nothing is trained yet."
    present = reports[0]["classes_present"]
    return f"Mean over the {len(present)} classes present in the scored split: {', '.join(present)}."
