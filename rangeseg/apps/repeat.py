"""`rangeseg repeat`: experiments over several seeds, with a table of mean and spread and curves of the scores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rangeseg.apps.steps import ChildProcesses, Step, run_chains
from rangeseg.config.shipped import experiment_name
from rangeseg.engine.run_logger import read_metrics


@dataclass(frozen=True)
class Job:
    """The training of one config with one seed: its run folder, and overrides (`key.path=value`) for this job only."""

    config: str | Path
    seed: int
    folder: Path
    overrides: tuple[str, ...] = ()

    @property
    def report(self) -> Path:
        """The file that `rangeseg train` writes when it is done."""
        return self.folder / "evaluation.json"

    def step(self, overrides: Sequence[str] = ()) -> Step:
        """The training as a step. It resumes an interrupted training.

        Args:
            overrides: further `key.path=value`.
        """
        keys = (f"runtime.seed={self.seed}", f"runtime.out={self.folder}", *self.overrides, *overrides)
        words = ("train", str(self.config), *keys, "--resume", "auto")
        log = Path(f"{self.folder}.log")
        return Step(f"{self.config} with seed {self.seed}", words, self.report, log, marked=False)


def make_jobs(configs: Sequence[str | Path], seeds: Sequence[int], out: Path) -> list[Job]:
    """Every config with every seed, seed by seed, so that an unfinished table compares equal seeds."""
    return [Job(config, seed, out / f"{experiment_name(config)}_seed{seed}") for seed in seeds for config in configs]


def run_jobs(
    jobs: Sequence[Job], overrides: Sequence[str], *, parallel: int = 1, children: ChildProcesses | None = None
) -> Iterator[Job]:
    """Train the jobs that are not complete, each in its own process; interrupted jobs are resumed.

    Args:
        jobs: from `make_jobs`.
        overrides: `key.path=value` for every job.
        parallel: number of processes at the same time.
        children: the processes, entered in the main thread. Needed if this runs in another thread.

    Yields:
        Each job when its report exists.

    Raises:
        RuntimeError: a training failed. The message names its log. Finished trainings stay.
        Stopped: a signal came, and all trainings have written their checkpoints.
    """
    chains = [[job.step(overrides)] for job in jobs]
    for job, _ in zip(jobs, run_chains(chains, parallel=parallel, children=children), strict=True):
        yield job


def table(jobs: Sequence[Job]) -> str:
    """Mean, sample standard deviation and single values of each config's mIoU, as Markdown, for the finished jobs."""
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
        jobs: from `make_jobs`; jobs without values are left out.
        name: name of the metric in metrics.csv.

    Returns:
        Config -> (steps, %), at the steps that every seed has.
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
