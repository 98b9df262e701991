"""`rangeseg report`: one or several runs on one self-contained HTML page.

Runs that differ in nothing but seed and folder are one experiment, told as mean and spread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal

import numpy as np

from rangeseg.apps.report_reliability import reliability
from rangeseg.config import write_config
from rangeseg.engine.drawing import draw
from rangeseg.engine.run_logger import flatten, read_metrics
from rangeseg.evaluation.evaluate import Scores, Segmented
from rangeseg.files import write_atomically
from rangeseg.inference.run import Run
from rangeseg.inference.scoring import open_views, score_run
from rangeseg.parallel import Progress, no_progress
from rangeseg.projection.range_image import RangeImage
from rangeseg.registry import Trust
from rangeseg.vis.plots import Axes, Line, plot
from rangeseg.vis.report import ReportSample, confusion, folded, heading, page, paragraph, pictures, scans, table

CURVES = {"mean_iou": "mIoU, %", "supervised": "supervised loss", "consistency": "consistency loss"}
"""Numbers of metrics.csv that are drawn against the steps."""


@dataclass(frozen=True)
class RunReport:
    """A run and its data for the report."""

    name: str
    run: Run
    views: Any
    scores: Scores
    metrics: Sequence[tuple[int, str, float]]


def write_report(
    runs: Sequence[str | Path],
    out: str | Path,
    *,
    scans: int = 4,
    split: str | None = None,
    title: str | None = None,
    intro: str | None = None,
    device: str = "auto",
    overrides: Sequence[str] = (),
    trust: Trust = False,
    progress: Progress = no_progress,
) -> Path:
    """Score runs on every element of a split and write the results as one self-contained HTML file.

    Args:
        runs: run folders or checkpoints, of one dataset's classes; best and worst are the last experiment's scans.
        out: the file.
        scans: how many scans or photographs are drawn.
        split: train, val or test; None for that of each run's config.
        title: of the page.
        intro: a paragraph above everything.
        device: a torch device, or auto.
        overrides: `key.path=value` above each run's config.
        trust: of the runs, see `Run.load`.
        progress: shows the progress.

    Returns:
        `out`.

    Raises:
        ValueError: no run, one that is none, or runs of different classes.
    """
    if not runs:
        raise ValueError("A report needs at least one run; give run folders.")
    loaded = [(Path(path), Run.load(path, device=device, overrides=overrides, trust=trust)) for path in runs]
    reports = [_report_run(path, run, split, progress) for path, run in loaded]
    label_map = reports[0].run.label_map
    if other := next((one for one in reports if one.run.label_map.names != label_map.names), None):
        raise ValueError(f"{other.name} and {reports[0].name} have different classes; report them separately.")
    groups = _groups(reports)
    firsts = [group[0] for group in groups.values()]
    drawn = _draw(firsts[-1], firsts[:-1], scans)
    sections = [
        *([paragraph(intro)] if intro else []),
        *_comparison(groups),
        *_curves(reports),
        *_classes(groups),
        *reliability({one.name: (one.scores.reliability, one.run.temperature) for one in reports}),
        *_scans(drawn, firsts[-1]),
        *_configs(reports),
    ]
    name = title or f"{', '.join(groups)} on {label_map.dataset}"
    write_atomically(Path(out), page(name, sections, drawn, label_map))
    return Path(out)


def _report_run(path: Path, run: Run, split: str | None, progress: Progress) -> RunReport:
    views = open_views(run, split)
    folder = path if path.is_dir() else path.parent
    scores = score_run(run, views, by_sample=True, progress=progress)
    return RunReport(path.name or str(path), run, views, scores, read_metrics(folder / "metrics.csv"))


def _groups(reports: Sequence[RunReport]) -> dict[str, list[RunReport]]:
    """Group runs that differ only in seed and folder into experiments, named by the common part of their names."""
    found: dict[str, list[RunReport]] = {}
    for one in reports:
        runtime = replace(one.run.config.runtime, seed=0, out="", initialise_from=None)
        found.setdefault(write_config(replace(one.run.config, runtime=runtime)), []).append(one)
    named: dict[str, list[RunReport]] = {}
    for group in found.values():
        name = group[0].name.rpartition("_seed")[0] if len(group) > 1 else ""
        name = name or group[0].name
        named[name if name not in named else f"{name} ({len(named) + 1})"] = group
    return named


def _comparison(groups: Mapping[str, Sequence[RunReport]]) -> list[str]:
    rows = []
    for name, group in groups.items():
        values = [(100 * one.scores.overall.mean_iou(), 100 * one.scores.overall.accuracy()) for one in group]
        iou, accuracy = zip(*values, strict=True)
        seeds = ", ".join(f"{one.run.config.runtime.seed}: {value:.1f}" for one, value in zip(group, iou, strict=True))
        rows.append((name, _spread(iou), _spread(accuracy), seeds))
    first = next(iter(groups.values()))[0]
    kind = first.run.experiment.dataset
    words = (
        f"Of all labelled {kind.element}s of {len(first.views)} {kind.kind}s, the mean over the classes present; "
        "several seeds as mean ± sample standard deviation."
    )
    return [heading("Result", words), table(("", "mIoU %", "accuracy %", "mIoU % by seed"), rows)]


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def _curves(reports: Sequence[RunReport]) -> list[str]:
    drawn = {}
    for key, words in CURVES.items():
        factor = 100 if key == "mean_iou" else 1
        lines: dict[str, Line] = {}  # of every run, so that each keeps its colour
        for one in reports:
            points = [(step, factor * value) for step, name, value in one.metrics if name == key]
            points = points if len(points) > 1 else []
            lines[one.name] = ([step for step, _ in points], [value for _, value in points])
        if any(steps for steps, _ in lines.values()):
            legend: Literal["top", "bottom"] = "bottom" if key == "mean_iou" else "top"
            drawn[words] = plot(lines, Axes("", "steps", words, legend=legend))
    if not drawn:
        return [heading("Training"), paragraph("These checkpoints have no metrics.csv, so there are no curves.")]
    return [heading("Training"), pictures(drawn)]


def _classes(groups: Mapping[str, Sequence[RunReport]]) -> list[str]:
    last = [*groups.values()][-1][0]
    label_map = last.run.label_map
    counts = last.scores.overall.state.sum(axis=1)
    rows = []
    for index, name in enumerate(label_map.names):
        values = [[100 * one.scores.overall.iou()[index] for one in group] for group in groups.values()]
        shown = ("absent" if np.isnan(group).any() else _spread(group) for group in values)
        rows.append((name, f"{100 * counts[index] / max(1, counts.sum()):.2f}", *shown))
    parts = [
        heading("Classes", "IoU in per cent; absent: no element has this label."),
        table(("class", "share %", *groups), rows, colors=label_map.colors.tolist()),
    ]
    if last.scores.by_distance:
        bins = []
        for edges in last.scores.by_distance:
            each = [[100 * one.scores.by_distance[edges].mean_iou() for one in group] for group in groups.values()]
            shown = ("none" if np.isnan(group).any() else _spread(group) for group in each)
            far = f"{edges[0]:g} to {edges[1]:g} m" if np.isfinite(edges[1]) else f"over {edges[0]:g} m"
            bins.append((far, *shown))
        parts += [
            heading("Distance", "mIoU in per cent, by distance from the sensor."),
            table(("", *groups), bins),
        ]
    words = "Each row is a label: percentages of its elements by predicted class. Hover for counts."
    return [
        *parts,
        heading(f"Confusion of {last.name}", words),
        confusion(last.scores.overall.state, label_map.names),
    ]


def _draw(main: RunReport, others: Sequence[RunReport], count: int) -> list[ReportSample]:
    """The worst and the best by mIoU, by `main`; coloured by every run of `others` and by `main`."""
    by_sample = main.scores.by_sample
    ranked = sorted(range(len(by_sample)), key=[matrix.mean_iou() for matrix in by_sample.values()].__getitem__)
    count = min(count, len(ranked))
    chosen = ranked[: count - count // 2] + ranked[len(ranked) - count // 2 :]
    runs = [*others, main]
    segmented_by_run = [_segment(one, chosen) for one in runs]
    shown = []
    for place, segmented in enumerate(segmented_by_run[-1]):
        sample = segmented.sample
        matrix = by_sample[sample.name]
        rank = ranked.index(chosen[place]) + 1
        words = (
            f"mIoU {100 * matrix.mean_iou():.1f} %, accuracy {100 * matrix.accuracy():.1f} %; number {rank} of "
            f"{len(ranked)} from the worst, for {main.name}."
        )
        xyz = sample.raster.scan.xyz if isinstance(sample.raster, RangeImage) else None
        colorings: dict[str, Any] = {"label": sample.label}
        colorings |= {one.name: given[place].elements for one, given in zip(runs, segmented_by_run, strict=True)}
        panel = draw(segmented, main.run.label_map)
        shown.append(ReportSample(sample.name, words, panel, xyz, colorings if xyz is not None else {}))
    return shown


def _segment(one: RunReport, indices: Sequence[int]) -> list[Segmented]:
    return list(one.run.experiment.segment(one.run.network, one.views, indices, one.run.device))


def _scans(drawn: Sequence[ReportSample], main: RunReport) -> list[str]:
    if not drawn:
        return []
    things = f"{main.run.experiment.dataset.kind}s"
    words = "Points turn as the mouse drags them, move with shift, and grow with the wheel; buttons choose the colours."
    first = heading(f"The worst and the best {things}", words if drawn[0].xyz is not None else "")
    return [first, scans(drawn, main.run.label_map)]


def _configs(reports: Sequence[RunReport]) -> list[str]:
    flat = {one.name: {key: str(value) for key, value in flatten(asdict(one.run.config)).items()} for one in reports}
    keys = dict.fromkeys(key for values in flat.values() for key in values)
    differing = [key for key in keys if len({values.get(key) for values in flat.values()}) > 1]
    parts = [heading("Configs")]
    if differing:
        rows = [(key, *(values.get(key, "") for values in flat.values())) for key in differing]
        parts += [paragraph("Keys that differ:"), table(("key", *flat), rows)]
    return parts + [folded(one.name, write_config(one.run.config)) for one in reports]
