"""`rangeseg repeat`: experiments over several seeds, with a table of mean and spread and curves of the scores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import mean, stdev

from rangeseg.apps.steps import ChildProcesses, Step, refuse_own_keys, run_chains
from rangeseg.config import read_config
from rangeseg.config.resuming import changes, check_resumed, read_stored
from rangeseg.config.shipped import experiment_name
from rangeseg.engine.run_logger import read_metrics
from rangeseg.engine.samples import check_finished
from rangeseg.notices import notify

OWN = {"runtime.seed": "--seeds or --seed", "runtime.out": "--out"}
"""Key that each training has for itself -> the option of the commands that sets it."""

UNSCORED = ("evaluation.every", "evaluation.batch")
"""Keys of the evaluation that do not change the score of a finished run. If another one changes, the run is scored
again."""


@dataclass(frozen=True)
class Training(Step):
    """``train CONFIG KEY=VALUE ... --resume auto``. The command itself writes `done`, the report in the run folder."""

    def is_done(self) -> bool:
        """Whether the run folder holds the result of this training.

        Raises:
            ConfigError: the training is done, but with other settings or samples, see `check_resumed` and
                `check_samples`.
        """
        path = self.done.parent / "config.yaml"
        if not (self.done.is_file() and path.is_file()):
            return False
        stored, config = read_stored(path.read_text(), path), read_config(self.words[1], self.words[2:-2])
        for notice in check_resumed(stored, config, complete=True, cure="Choose another --out"):
            notify(notice)
        check_finished(path.parent, config)
        return not any(key.startswith("evaluation.") and key not in UNSCORED for key in changes(stored, config))

    def mark(self) -> None:
        """Do nothing: the command wrote the report."""


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
        return Training(f"{self.config} with seed {self.seed}", words, self.report, log)


def make_jobs(configs: Sequence[str | Path], seeds: Sequence[int], out: Path) -> list[Job]:
    """Every config with every seed, seed by seed, so that an unfinished table compares equal seeds."""
    each = [(seed, config) for seed in dict.fromkeys(seeds) for config in configs]
    return [Job(config, seed, out / f"{experiment_name(config)}_seed{seed}") for seed, config in each]


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
        ValueError: a finished training has other settings, two configs share a run folder, or an override is a key of
            `OWN`.
        RuntimeError: a training failed. The message names its log. Finished trainings stay.
        Stopped: a signal came, and all trainings have written their checkpoints.
    """
    refuse_own_keys(overrides, OWN)
    places: dict[Path, str] = {}
    for job in jobs:
        if places.setdefault(job.folder, str(job.config)) != str(job.config):
            raise ValueError(
                f"{job.config} and {places[job.folder]} have the same run folder {job.folder}. Rename one of them."
            )
    chains = [[job.step(overrides)] for job in jobs]
    for step in chain.from_iterable(chains):
        step.is_done()  # an error before the first training starts
    for job, _ in zip(jobs, run_chains(chains, parallel=parallel, children=children), strict=True):
        yield job


def table(jobs: Sequence[Job]) -> str:
    """Mean, sample standard deviation and single values of each config's mIoU, as Markdown.

    Args:
        jobs: finished ones. The report of another one may be that of an earlier call, which scored another split.
    """
    reports = {job: json.loads(job.report.read_text()) for job in jobs}
    reports = {job: report for job, report in reports.items() if report["mean_iou"] is not None}
    lines = ["| config | mIoU % | spread | seeds | accuracy % |", "| --- | --- | --- | --- | --- |"]
    for config in dict.fromkeys(job.config for job in reports):
        mine = {job.seed: report for job, report in reports.items() if job.config == config}
        scores = [100 * report["mean_iou"] for report in mine.values()]
        spread = f"± {stdev(scores):.2f}" if len(scores) > 1 else ""
        single = ", ".join(f"{seed}: {100 * report['mean_iou']:.2f}" for seed, report in mine.items())
        accuracy = mean(100 * report["accuracy"] for report in mine.values())
        lines.append(f"| {experiment_name(config)} | {mean(scores):.2f} | {spread} | {single} | {accuracy:.2f} |")
    scored: dict[str, Sequence[str]] = {}
    for job, report in reports.items():
        name, present = experiment_name(job.config), report["classes_present"]
        scored[name if scored.setdefault(name, present) == present else f"{name} with seed {job.seed}"] = present
    return "\n".join([*lines, "", _classes(scored)])


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


def _classes(scored: Mapping[str, Sequence[str]]) -> str:
    """A sentence about the classes in the scored split of all configs, or of each if they differ."""
    if not scored:
        return "Nothing is trained yet."

    def sentence(present: Sequence[str], whose: str) -> str:
        return f"Mean over the {len(present)} classes present in the scored split{whose}: {', '.join(present)}."

    if len(set(map(tuple, scored.values()))) == 1:
        return sentence(next(iter(scored.values())), "")
    lines = [sentence(present, f" of {name}") for name, present in scored.items()]
    return "\n\n".join([*lines, "The scored splits have different classes, so these scores cannot be compared."])
