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
"""Significant digits of the written numbers."""


def plain_views(config: Config, split: str, subset: str | None = None) -> WholeViews:
    """Whole views of a split without normalisation.

    Args:
        config: `data` is read.
        split: train, val or test.
        subset: a list of the split, as in `data.labelled`; None: the whole split.

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
        views: result of `plain_views`.
        workers: number of threads; 0: no threads.

    Raises:
        ValueError: a scan or photograph cannot be read; the message names the file.
    """
    return in_order(lambda index: tally(views.sample(index)), range(len(views)), workers=workers)


def statistics_yaml(experiment: Experiment, total: RunningStats, *, of: str, words: Sequence[str]) -> str:
    """Statistics as a part of a config: channels, mean and std of `data`, frequencies of `supervised`.

    Args:
        experiment: the measured experiment.
        total: the statistics of all its views.
        of: elements or pixels: which frequencies become those of the config; comments have both.
        words: words of the command, for the first line.
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
            f"  # {', '.join(flat)}: constant. A std of 1 leaves it unscaled; it gives a network no information"
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
        f"  # Share of all {what}, including those without a class. class_weights: inverse or root uses it.",
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
    """(C,) the standard deviations, with 1 in place of 0, because channels are divided by them."""
    return np.where(std > 0, std, 1.0)


def _digits(value: Any) -> str:
    """A number without an exponent, because YAML reads 1e-05, which has no point, as a string."""
    return np.format_float_positional(value, precision=DIGITS, unique=False, fractional=False, trim="0")
