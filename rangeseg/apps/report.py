"""`rangeseg report`: one or several runs on one self-contained HTML page.

Runs that differ only in seed and folder are one experiment, for which mean and spread are reported. Two runs of
one seed are two experiments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rangeseg.apps.report_reliability import reliability
from rangeseg.apps.report_runs import RunReport, by_run, comparison, configs, curves, in_words, training
from rangeseg.config import write_config
from rangeseg.engine.drawing import draw, draw_answer
from rangeseg.engine.run_logger import read_metrics
from rangeseg.evaluation.evaluate import Segmented
from rangeseg.files import write_atomically
from rangeseg.inference.run import Run, checkpoint_of
from rangeseg.inference.scoring import open_views, score_run
from rangeseg.parallel import Progress, no_progress
from rangeseg.projection.range_image import RangeImage
from rangeseg.registry import Trust
from rangeseg.vis.report import ReportSample, beside, confusion, heading, legend, page, paragraph, scans, table

SEED = re.compile(r"(?<=[^/])_seed\d+(?=[/.]|$)")
"""The seed in the names of a path. Names of experiments omit it; the table of the runs has it."""


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
        runs: run folders or checkpoints with the same classes. The last experiment determines the best and worst scans.
        out: the output file.
        scans: number of scans or photographs to draw.
        split: train, val or test; None: the split of each run's config.
        title: title of the page; None: made from the experiments.
        intro: paragraph at the top of the page.
        device: a torch device, or auto.
        overrides: `key.path=value` entries that override each run's config.
        trust: see `Run.load`.
        progress: shows the progress.

    Returns:
        `out`.

    Raises:
        ValueError: there are no runs, a run cannot be loaded, or the runs have different classes or scans.
    """
    if not runs:
        raise ValueError("A report needs at least one run; give run folders.")
    loaded = [(Path(path), Run.load(path, device=device, overrides=overrides, trust=trust)) for path in runs]
    opened = [(path, run, open_views(run, split)) for path, run in loaded]
    for one in opened[1:]:
        _check_comparable(opened[0], one)
    reports = [_report_run(*one, progress) for one in opened]
    label_map = reports[0].run.label_map
    groups = _groups(reports)
    firsts = {name: group[0] for name, group in groups.items()}
    drawn = _draw(firsts, scans)
    sections = [
        *([paragraph(intro)] if intro else []),
        *_first_look(firsts),
        *comparison(groups),
        *training(groups),
        *curves(groups),
        *_classes(groups),
        *reliability({name: (one.scores.reliability, one.run.temperature) for name, one in by_run(groups).items()}),
        *_scans(drawn, [*firsts.values()][-1]),
        *configs(groups),
    ]
    name = title or f"{', '.join(groups)} on {label_map.dataset}"
    write_atomically(Path(out), page(name, sections, drawn, label_map))
    return Path(out)


def _check_comparable(first: tuple[Path, Run, Any], other: tuple[Path, Run, Any]) -> None:
    """Raise ValueError if two runs have different classes, or are scored on different samples."""
    (path, run, views), (other_path, other_run, other_views) = first, other
    runs = f"{path} and {other_path}"
    if run.label_map.names != other_run.label_map.names:
        raise ValueError(f"{runs} have different classes; report them separately.")
    names, others = ([each.name(index) for index in range(len(each))] for each in (views, other_views))
    if names != others:
        kind = run.experiment.dataset.kind
        left, right = sorted({*names} - {*others}), sorted({*others} - {*names})
        only = [f"only {owner} has {more[0]}" for owner, more in ((path, left), (other_path, right)) if more]
        differ = "; ".join([f"{len(names)} and {len(others)} {kind}s", *(only or ["in another order"])])
        raise ValueError(
            f"{runs} are scored on different {kind}s ({differ}; data.root is {run.config.data.root} and "
            f"{other_run.config.data.root}). Give one data.root=DIR or --split for both, or report them separately."
        )


def _report_run(path: Path, run: Run, views: Any, progress: Progress) -> RunReport:
    file = checkpoint_of(path)
    folder = path if path.is_dir() else file.parent  # that of weights is not the current one
    scores = score_run(run, views, by_sample=True, progress=progress)
    return RunReport(path, folder, run, views, scores, read_metrics(folder / "metrics.csv"))


def _groups(reports: Sequence[RunReport]) -> dict[str, list[RunReport]]:
    """Group runs that differ only in seed and folder into experiments, by the ends of their paths without the seed."""
    found: dict[str, list[RunReport]] = {}
    for one in reports:
        start = one.run.config.runtime.initialise_from
        start = None if start is None else SEED.sub("", start)
        runtime = replace(one.run.config.runtime, seed=0, out="", initialise_from=start)
        found.setdefault(write_config(replace(one.run.config, runtime=runtime)), []).append(one)
    groups = [part for group in found.values() for part in _split(group)]
    paths = [Path(SEED.sub("", group[0].path.as_posix())).parts or (".",) for group in groups]
    named: dict[str, list[RunReport]] = {}
    for group, own in zip(groups, paths, strict=True):
        least = 1 if group[0].folder == group[0].path else 2  # of a file, also its folder
        ends = (own[-count:] for count in range(least, len(own) + 1))
        end = next((end for end in ends if sum(path[-len(end) :] == end for path in paths) == 1), own)
        name = str(Path(*end))
        named[name if name not in named else f"{name} ({len(named) + 1})"] = group
    return named


def _split(group: list[RunReport]) -> list[list[RunReport]]:
    """The group; or, if a seed occurs twice, the groups of runs whose paths differ in the seed only."""
    if _has_each_seed_once(group):
        return [group]
    found: dict[str, list[RunReport]] = {}
    for one in group:
        found.setdefault(SEED.sub("", one.path.as_posix()), []).append(one)
    return [part for same in found.values() for part in ([same] if _has_each_seed_once(same) else [[o] for o in same])]


def _has_each_seed_once(group: Sequence[RunReport]) -> bool:
    return len({one.seed for one in group}) == len(group)


def _classes(groups: Mapping[str, Sequence[RunReport]]) -> list[str]:
    name_of_last, (last, *_) = [*groups.items()][-1]
    label_map = last.run.label_map
    counts = last.scores.overall.state.sum(axis=1)
    rows = []
    for index, label in enumerate(label_map.names):
        values = [[100 * one.scores.overall.iou()[index] for one in group] for group in groups.values()]
        shown = ("absent" if np.isnan(group).any() else in_words(group) for group in values)
        rows.append((label, f"{100 * counts[index] / max(1, counts.sum()):.2f}", *shown))
    parts = [
        heading("Classes", "IoU in per cent; absent: no element has this label."),
        table(("class", "share %", *groups), rows, colors=label_map.colors.tolist()),
    ]
    if last.scores.by_distance:
        bins = []
        for edges in last.scores.by_distance:
            each = [[100 * one.scores.by_distance[edges].mean_iou() for one in group] for group in groups.values()]
            shown = ("none" if np.isnan(group).any() else in_words(group) for group in each)
            far = f"{edges[0]:g} to {edges[1]:g} m" if np.isfinite(edges[1]) else f"over {edges[0]:g} m"
            bins.append((far, *shown))
        parts += [
            heading("Distance", "mIoU in per cent, by distance from the sensor."),
            table(("", *groups), bins),
        ]
    words = "Each row is a label: percentages of its elements by predicted class. Hover for counts."
    return [
        *parts,
        heading(f"Confusion of {name_of_last}", words),
        confusion(last.scores.overall.state, label_map.names),
    ]


def _ranked(one: RunReport) -> list[int]:
    """Indices of the scans, from the worst mIoU to the best, without those that have no labelled point."""
    scores = [matrix.mean_iou() for matrix in one.scores.by_sample.values()]
    return sorted((index for index, score in enumerate(scores) if not np.isnan(score)), key=scores.__getitem__)


def _first_look(firsts: Mapping[str, RunReport]) -> list[str]:
    """The middle scan of the last experiment's ranking: true labels, and the prediction of each experiment."""
    main = [*firsts.values()][-1]
    ranked = _ranked(main)
    if not ranked:
        return []
    place = ranked[len(ranked) // 2]
    answers = {name: given[0] for name, given in _answers(firsts, [place]).items()}
    sample, label_map = answers[[*answers][-1]].sample, main.run.label_map
    drawn = {} if sample.label is None else {"truth": draw_answer(sample, sample.label, label_map)}
    for name, given in answers.items():
        accuracy = 100 * firsts[name].scores.by_sample[sample.name].accuracy()
        words = f"{name}: {accuracy:.1f} % right"
        drawn[words] = draw_answer(sample, given.elements, label_map)
    kind = main.run.experiment.dataset.kind
    words = f"{sample.name}, the middle of {len(ranked)} {kind}s ranked by {[*firsts][-1]}'s mIoU."
    return [beside(drawn), legend(label_map), paragraph(words, soft=True)]


def _draw(firsts: Mapping[str, RunReport], count: int) -> list[ReportSample]:
    """The worst and the best scans by the last experiment's mIoU, coloured by the predictions of each experiment."""
    name_of_main, main = [*firsts.items()][-1]
    by_sample, ranked = main.scores.by_sample, _ranked(main)
    count = min(count, len(ranked))
    chosen = ranked[: count - count // 2] + ranked[len(ranked) - count // 2 :]
    answers = _answers(firsts, chosen)
    shown = []
    for place, segmented in enumerate(answers[name_of_main]):
        sample = segmented.sample
        matrix = by_sample[sample.name]
        rank = ranked.index(chosen[place]) + 1
        words = (
            f"mIoU {100 * matrix.mean_iou():.1f} %, accuracy {100 * matrix.accuracy():.1f} %; number {rank} of "
            f"{len(ranked)} from the worst, for {name_of_main}."
        )
        xyz = sample.raster.given.xyz if isinstance(sample.raster, RangeImage) else None
        colorings: dict[str, Any] = {"label": sample.label}
        colorings |= {name: given[place].elements for name, given in answers.items()}
        panel = draw(segmented, main.run.label_map)
        shown.append(ReportSample(sample.name, words, panel, xyz, colorings if xyz is not None else {}))
    return shown


def _answers(firsts: Mapping[str, RunReport], indices: Sequence[int]) -> dict[str, list[Segmented]]:
    """The predictions of each experiment for the same samples. ValueError if their files differ in size."""
    answers = {
        name: list(one.run.experiment.segment(one.run.network, one.views, indices, one.run.device))
        for name, one in firsts.items()
    }
    main, *others = answers
    for other in others:
        for one, same in zip(answers[main], answers[other], strict=True):
            if one.elements.shape != same.elements.shape:
                sizes = f"{one.elements.size:,} and {same.elements.size:,}"
                raise ValueError(
                    f"{firsts[main].folder} and {firsts[other].folder} are scored on different files: "
                    f"{one.sample.name} has {sizes} {firsts[main].run.experiment.dataset.element}s. "
                    f"Give one data.root=DIR for both, or report them separately."
                )
    return answers


def _scans(drawn: Sequence[ReportSample], main: RunReport) -> list[str]:
    if not drawn:
        return []
    things = f"{main.run.experiment.dataset.kind}s"
    words = "Drag to rotate, shift and drag to move, wheel to zoom; the buttons select what the colours show."
    first = heading(f"The worst and the best {things}", words if drawn[0].xyz is not None else "")
    return [first, scans(drawn, main.run.label_map)]
