"""The parts of a report on its runs: scores and gains, curves, time, machine and configs.

Every experiment has one colour, in the table and in all charts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal

from rangeseg.config import write_config
from rangeseg.engine.run_logger import flatten, read_seconds
from rangeseg.evaluation.evaluate import Scores
from rangeseg.inference.run import Run
from rangeseg.vis.plots import COLORS, Axes, Line, plot
from rangeseg.vis.report import folded, heading, paragraph, pictures, table

CURVES = {"mean_iou": "mIoU, %", "supervised": "supervised loss", "consistency": "consistency loss"}
"""Metric in metrics.csv that is drawn against the steps -> its title."""


@dataclass(frozen=True)
class RunReport:
    """A run and its data for the report."""

    path: Path
    """Of the run, as the user gave it."""
    folder: Path
    run: Run
    views: Any
    scores: Scores
    metrics: Sequence[tuple[int, str, float]]

    @property
    def seed(self) -> int:
        """The seed of the run's config."""
        return self.run.config.runtime.seed


Groups = Mapping[str, Sequence[RunReport]]
"""Experiment -> its runs, one per seed."""


def by_run(groups: Groups) -> dict[str, RunReport]:
    """The runs by name: the experiment, with the seed if it has several."""
    return {
        name if len(group) == 1 else f"{name}, seed {one.seed}": one for name, group in groups.items() for one in group
    }


def in_words(values: Sequence[float], sign: str = "") -> str:
    """The mean and, for several values, the sample standard deviation."""
    return f"{mean(values):{sign}.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def comparison(groups: Groups) -> list[str]:
    """The scores of each experiment, and its gain over the first one, seed by seed."""
    baseline, *others = groups
    before = [_by_seed(groups[baseline], index) for index in (0, 1)]
    rows = []
    for name, group in groups.items():
        cells = []
        for index in (0, 1):
            values = _by_seed(group, index)
            gains = [value - before[index][seed] for seed, value in values.items() if seed in before[index]]
            gain = [in_words(gains, "+") if gains and name != baseline else ""] if others else []
            cells += [in_words([*values.values()]), *gain]
        seeds = ", ".join(f"{seed}: {value:.1f}" for seed, value in _by_seed(group, 0).items())
        rows.append((name, *cells, seeds))
    first = groups[baseline][0]
    kind = first.run.experiment.dataset
    words = (
        f"mIoU: mean over the classes present, on all labelled {kind.element}s of {len(first.views)} {kind.kind}s. "
        "Several seeds give mean ± sample standard deviation; the gain is computed seed by seed."
    )
    if others and all(len(group) == 1 for group in groups.values()):
        words += " With one seed, a gain of one or two points may be chance."
    gain = [f"gain over {baseline}"] if others else []
    head = ("", "mIoU %", *gain, "accuracy %", *gain, "mIoU % by seed")
    return [heading("Result", words), table(head, rows, colors=_colors(len(rows)))]


def _by_seed(group: Sequence[RunReport], index: int) -> dict[int, float]:
    """Seed -> mIoU (0) or accuracy (1), %."""
    matrices = {one.seed: one.scores.overall for one in group}
    return {seed: 100 * (each.accuracy() if index else each.mean_iou()) for seed, each in matrices.items()}


def curves(groups: Groups) -> list[str]:
    """The mean over the seeds of each experiment against the steps, in the experiment's colour."""
    drawn = {}
    for key, words in CURVES.items():
        factor = 100 if key == "mean_iou" else 1
        lines: dict[str, Line] = {}  # also of experiments without values, so that each keeps its colour
        for name, group in groups.items():
            each = [{step: value for step, what, value in one.metrics if what == key} for one in group]
            steps = sorted(set.intersection(*map(set, each)))
            steps = steps if len(steps) > 1 else []
            lines[name] = (steps, [factor * mean(values[step] for values in each) for step in steps])
        if any(steps for steps, _ in lines.values()):
            legend: Literal["top", "bottom"] = "bottom" if key == "mean_iou" else "top"
            drawn[words] = plot(lines, Axes(words, "steps", "", legend=legend))
    if not drawn:
        return [heading("Training"), paragraph("These checkpoints have no metrics.csv, so there are no curves.")]
    return [heading("Training"), pictures(drawn)]


def training(groups: Groups) -> list[str]:
    """The time of each training, and the machines."""
    rows: list[tuple[str, ...]] = []
    machines: dict[str, None] = {}
    for name, group in groups.items():
        for one in group:
            config, seconds = one.run.config, read_seconds(one.folder)
            size = sum(parameter.numel() for parameter in one.run.network.parameters())
            took = "not recorded" if seconds is None else str(timedelta(seconds=round(seconds)))
            network = f"{config.network['name']}, {size / 1e6:.2f} M"
            rows.append((name, str(one.seed), network, str(config.optim.steps), took))
            machines[_machine(one.folder)] = None
    head = ("", "seed", "network, weights", "steps", "time of training")
    return [heading("Time and machine", "; ".join(machines)), table(head, rows)]


def _machine(folder: Path) -> str:
    path = folder / "versions.json"
    if not path.is_file():
        return "This checkpoint has no versions.json, so the machine is not known."
    versions = json.loads(path.read_text())
    device = "" if versions.get("device", "cpu") == "cpu" else f"{versions['device']}, "
    processor = f"{versions['processor']}, {versions['cores']} cores, " if "processor" in versions else ""
    libraries = ", ".join(f"{name} {versions[name]}" for name in ("torch", "rangeseg", "python") if name in versions)
    return f"{device}{processor}{libraries}"


def configs(groups: Groups) -> list[str]:
    """The keys that differ, and all keys of every run."""
    runs = by_run(groups)
    flat = {
        name: {key: str(value) for key, value in flatten(asdict(one.run.config)).items()} for name, one in runs.items()
    }
    keys = dict.fromkeys(key for values in flat.values() for key in values)
    differing = [key for key in keys if len({values.get(key) for values in flat.values()}) > 1]
    parts = [heading("Configs")]
    if differing:
        rows = [(key, *(values.get(key, "") for values in flat.values())) for key in differing]
        parts += [paragraph("Keys that differ:"), table(("key", *flat), rows)]
    return parts + [folded(name, write_config(one.run.config)) for name, one in runs.items()]


def _colors(count: int) -> list[tuple[int, int, int]]:
    return [COLORS[place % len(COLORS)] for place in range(count)]
