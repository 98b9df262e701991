"""`rangeseg stats`: statistics of a dataset's channels and classes, as a YAML that a config includes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from rangeseg.analysis.running_stats import RunningStats, tally
from rangeseg.config import Config
from rangeseg.engine.class_weights import loss_weights
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.inputs import WholeViews
from rangeseg.engine.training_data import NOTHING, keep_fraction
from rangeseg.labels import LabelMap
from rangeseg.parallel import in_order
from rangeseg.types import Sample

DIGITS = 10
"""Significant digits of the written numbers."""


@dataclass(frozen=True)
class Measured:
    """What is measured: channels of every view, and classes of those whose labels the training may read.

    Args:
        views: whole views of a split without labels and normalisation.
        labelled: name -> whole view with the labels that a training reads.
    """

    views: WholeViews
    labelled: Mapping[str, Callable[[], Sample]]

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: int) -> RunningStats:
        read = self.labelled.get(self.views.source.name(index))
        return tally(read() if read else self.views.sample(index))


def measured(config: Config, split: str, subset: str | None = None) -> Measured:
    """The views of a split whose statistics are wanted.

    On the training split, classes are counted on the labels that `data.labelled` and `data.label_fraction` leave to a
    training, because class weights from other labels would use them.

    Args:
        config: `data` is read.
        split: train, val or test.
        subset: a list of the split, as in `data.labelled`: only its scans or photographs are measured, with all their
            labels; None: the whole split.

    Raises:
        ConfigError: the config, the split or a list does not fit.
    """
    channels = len(config.data.channels)
    data = replace(config.data, mean=[0.0] * channels, std=[1.0] * channels)
    experiment = Experiment(replace(config, data=data))
    views = experiment.views(experiment.open(split, subset, labels=False))
    listed = data.labelled if split == "train" and subset is None else subset
    if listed == NOTHING:
        return Measured(views, {})
    source = experiment.open(split, listed)
    labelled = experiment.views(source if subset or split != "train" else keep_fraction(experiment, source))
    return Measured(views, {name: partial(labelled.sample, index) for index, name in enumerate(source.names)})


def tallies(of: Measured, *, workers: int = 2) -> Iterator[RunningStats]:
    """The tally of each view. Their sum in this order has the same bits for any number of threads.

    Args:
        of: result of `measured`.
        workers: number of threads; 0: no threads.

    Raises:
        ValueError: a scan or photograph cannot be read; the message names the file.
    """
    return in_order(of.__getitem__, range(len(of)), workers=workers)


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
        f"# {total.views} {kind.kind}s, {total.pixels} valid pixels; labels of {total.with_labels} are counted. A "
        "config takes this file as one of its bases:",
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
    those = " with a class, because most have none" if total.sparse else ", including those without a class"
    lines = [
        "supervised:",
        f"  # Share of all {what}{those}. class_weights: inverse or root uses it.",
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
