"""`rangeseg stats`: statistics of a dataset's channels and classes, as a YAML that a config includes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rangeseg.analysis.running_stats import RunningStats, tally
from rangeseg.config import Config
from rangeseg.engine.class_weights import loss_weights
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.inputs import WholeViews
from rangeseg.labels import LabelMap
from rangeseg.parallel import in_order

DIGITS = 10
"""Significant digits of what is written."""


def plain_views(config: Config, split: str, subset: str | None = None) -> WholeViews:
    """Whole views of a split without normalisation.

    Args:
        config: `data` is read.
        split: train, val or test.
        subset: only this list of the split, as `data.labelled` names one.

    Raises:
        ConfigError: the config, the split or the list does not fit.
    """
    channels = len(config.data.channels)
    data = replace(config.data, mean=[0.0] * channels, std=[1.0] * channels)
    experiment = Experiment(replace(config, data=data))
    return experiment.views(experiment.open(split, subset))


def tallies(views: WholeViews, *, workers: int = 2) -> Iterator[RunningStats]:
    """The tally of each view. Their sum in this order has the same bits for any number of threads.

    Args:
        views: of `plain_views`.
        workers: threads; 0 for none.

    Raises:
        ValueError: a scan or photograph cannot be read; it names the file.
    """
    return in_order(lambda index: tally(views.sample(index)), range(len(views)), workers=workers)


def statistics_yaml(experiment: Experiment, total: RunningStats, *, of: str, words: Sequence[str]) -> str:
    """Statistics as a part of a config: data's channels, means and deviations, supervised's frequencies.

    Args:
        experiment: that was measured.
        total: of all its views.
        of: elements or pixels, whose frequencies the config is to weigh classes by; a comment has both.
        words: the command's, for the head.
    """
    kind, channels = experiment.dataset, list(experiment.config.data.channels)
    lines = [
        f"# {shlex.join(['rangeseg', 'stats', *words])}",
        f"# {total.views} {kind.kind}s, {total.pixels} valid pixels. A config takes this file as one of its bases:",
        "#   base: [base.yaml, stats.yaml]",
        "data:",
        f"  channels: {json.dumps(channels)}",
        f"  mean: [{', '.join(map(_digits, total.mean))}]",
        f"  std: [{', '.join(map(_digits, _usable(total.std)))}]",
    ]
    flat = [name for name, std in zip(channels, total.std, strict=True) if std == 0]
    if flat:
        lines.append(
            f"  # {', '.join(flat)}: the same everywhere; 1 leaves it unscaled, and it tells a network nothing"
        )
    if total.labelled:
        lines += _frequency_lines(total, experiment.label_map, of, f"{kind.element}s")
    return "\n".join(lines) + "\n"


def _frequency_lines(total: RunningStats, label_map: LabelMap, of: str, elements: str) -> list[str]:
    both = {one: total.frequencies(label_map.num_classes, one) for one in ("elements", "pixels")}
    chosen = replace(label_map, frequencies=both[of])
    inverse, root = (loss_weights(chosen, kind) for kind in ("inverse", "root"))
    what = elements if of == "elements" else "valid pixels"
    lines = [
        "supervised:",
        f"  # Share of all {what}, those without a class among them; class_weights: inverse or root weighs by it.",
        "  frequencies:",
    ]
    for train_id, name in enumerate(label_map.names):
        points, pixels = both["elements"][train_id], both["pixels"][train_id]
        shares = f"{elements} {points:.6f}, pixels {pixels:.6f}; " if elements != "pixels" else ""
        weights = f"inverse {inverse[train_id]:.4f}, root {root[train_id]:.4f}"
        seen = "" if both[of][train_id] else "; not seen"
        lines.append(f"    {json.dumps(name)}: {_digits(both[of][train_id])}  # {shares}{weights}{seen}")
    return lines


def _usable(std: np.ndarray) -> np.ndarray:
    """What a channel can be divided by."""
    return np.where(std > 0, std, 1.0)


def _digits(value: Any) -> str:
    """Never 1e-05: YAML reads that as a word where it has no point."""
    return np.format_float_positional(value, precision=DIGITS, unique=False, fractional=False, trim="0")
