"""`rangeseg validate`: check that a dataset on disk is complete and that every file can be read.

The check does not stop at the first problem: it lists all problems, each with its file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rangeseg.catalog import DATASETS
from rangeseg.config import Config, config_from_yaml, read_config
from rangeseg.data.dataset import Dataset
from rangeseg.engine.experiment import Experiment
from rangeseg.labels import LabelMap
from rangeseg.notices import collected_notices
from rangeseg.parallel import Progress, in_order, no_progress
from rangeseg.registry import ConfigError, lookup
from rangeseg.types import IGNORE, Photo, Scan


def dataset_config(word: str, root: str | None = None, overrides: Sequence[str] = ()) -> Config:
    """The config of a dataset that is to be checked.

    Args:
        word: a name of `DATASETS`, ``module:Class``, or a config's YAML.
        root: the dataset's folder; None: `data.root` of the config.
        overrides: `key.path=value`; `data.dataset.key=value` sets an option of the dataset.

    Raises:
        ConfigError: the dataset or config does not exist, or no folder is given.
    """
    place = [f"data.root={root}"] if root else []
    if word.endswith((".yaml", ".yml")):
        return read_config(word, [*overrides, *place, "optim.steps=1", "runtime.out=."])
    lookup(DATASETS, word, "the dataset")
    text = json.dumps({"data": {"dataset": {"name": word}}, "optim": {"steps": 1}, "runtime": {"out": "."}})
    return config_from_yaml(text, [*overrides, *place], trust=True)  # the user has named the class


@dataclass(frozen=True)
class SampleReport:
    """The result of checking one scan or photograph.

    Args:
        name: name in the dataset.
        elements: number of points or pixels; 0 if it cannot be read.
        no_returns: number of points that are non-finite or at the origin.
        labelled: number of elements that have a class.
        problems: all problems, each with the file or the name.
        labels: it has labels, even if no element has a class.
    """

    name: str
    elements: int
    no_returns: int
    labelled: int
    problems: tuple[str, ...]
    labels: bool = False


def examine(source: Dataset, *, workers: int = 2) -> Iterator[SampleReport]:
    """Read everything in a source, with its labels.

    Args:
        source: an opened split.
        workers: number of threads; 0: no threads.
    """
    return in_order(lambda index: _examine(source, index), range(len(source)), workers=workers)


def _examine(source: Dataset, index: int) -> SampleReport:
    name = source.name(index)
    try:
        sample = source.item(index)
    except ValueError as error:
        return SampleReport(name, 0, 0, 0, (str(error),))
    except Exception as error:  # a user's dataset may raise any error; go on with the other samples
        return SampleReport(name, 0, 0, 0, (f"{name}: {type(error).__name__}: {error}",))
    labelled = 0 if sample.label is None else int(np.count_nonzero(sample.label != IGNORE))
    if isinstance(sample, Photo):
        return SampleReport(
            name, sample.image.shape[0] * sample.image.shape[1], 0, labelled, (), sample.label is not None
        )
    problems = tuple(f"{name}: {what}" for what in scan_problems(sample))
    valid = np.isfinite(sample.xyz).all(axis=1) & sample.xyz.any(axis=1)
    return SampleReport(name, len(sample), int(np.count_nonzero(~valid)), labelled, problems, sample.label is not None)


def scan_problems(scan: Scan) -> list[str]:
    """The problems of a scan's values. A point whose coordinates are all nan is no problem: it is a no-return.

    Args:
        scan: N points.
    """
    finite = np.isfinite(scan.xyz)
    torn = ~finite.all(axis=1) & ~np.isnan(scan.xyz).all(axis=1)
    remission = scan.remission[finite.all(axis=1)]
    problems = []
    if torn.any():
        problems.append(f"{np.count_nonzero(torn)} of {len(scan)} points have non-finite coordinates")
    if strange := np.count_nonzero(~np.isfinite(remission)):
        problems.append(f"{strange} of {len(scan)} remissions are not finite")
    elif len(remission) and (remission.min() < 0 or remission.max() > 1):
        problems.append(f"remission runs from {remission.min():g} to {remission.max():g}; expected [0, 1]")
    return problems


def count_problems(label_map: LabelMap, split: str, names: Sequence[str]) -> list[str]:
    """Counts that differ from the official numbers; empty if no number is known.

    Args:
        label_map: the sequences of the split and the official counts.
        split: train, val or test.
        names: names of the existing samples; those of scans begin with the sequence and a ``/``.
    """
    counts = Counter(name.split("/")[0] for name in names)
    wanted = {sequence: label_map.scan_counts.get(sequence) for sequence in label_map.splits.get(split, ())}
    problems = [
        f"sequence {sequence}: {counts[sequence]} scans; the official count is {count}"
        for sequence, count in wanted.items()
        if count is not None and counts[sequence] != count
    ]
    if (count := label_map.split_counts.get(split, len(names))) != len(names):
        what = "photographs" if label_map.sensor is None else "scans"
        problems.append(f"split {split}: {len(names)} {what}; the official count is {count}")
    return problems


@dataclass(frozen=True)
class SplitReport:
    """The result of checking one split.

    Args:
        split: train, val or test.
        samples: number of scans or photographs.
        elements: number of their points or pixels.
        no_returns: number of points that are non-finite or at the origin.
        labelled: number of elements that have a class.
        problems: all problems and notices.
    """

    split: str
    samples: int
    elements: int
    no_returns: int
    labelled: int
    problems: tuple[str, ...]


def validate(
    config: Config,
    splits: Sequence[str] = (),
    *,
    partial: bool = False,
    workers: int = 2,
    progress: Progress = no_progress,
) -> Iterator[SplitReport]:
    """Check a dataset, split by split.

    Args:
        config: result of `dataset_config`; `data.dataset` and `data.root` are read.
        splits: splits to check; empty: all of the dataset.
        partial: accept an incomplete dataset: do not check official counts.
        workers: number of threads; 0: no threads.
        progress: shows the progress.

    Raises:
        ConfigError: the dataset has no such split.
    """
    experiment = Experiment(config)
    label_map = experiment.label_map
    if unknown := [split for split in splits if split not in label_map.splits]:
        raise ConfigError(f"{label_map.dataset} has no split {', '.join(unknown)}; use {', '.join(label_map.splits)}.")
    for split in splits or label_map.splits:
        try:
            source = experiment.open(split)
        except ValueError as error:
            yield SplitReport(split, 0, 0, 0, 0, (f"split {split}: {error}",))
            continue
        names = [source.name(index) for index in range(len(source))]
        with collected_notices() as notices:
            found = list(progress(examine(source, workers=workers), f"reading {split}", len(source)))
        problems = [] if partial else count_problems(label_map, source.split or split, names)
        yield tally(split, found, problems, notices)


def tally(
    split: str, found: Sequence[SampleReport], problems: Sequence[str] = (), notices: Iterable[str] = ()
) -> SplitReport:
    """The report on a split, or on its first samples.

    Args:
        split: name of the split.
        found: results of `examine`.
        problems: problems of the split as a whole.
        notices: notices that were given while the samples were read.
    """
    elements, no_returns, labelled = (
        sum(getattr(one, field) for one in found) for field in ("elements", "no_returns", "labelled")
    )
    silent = labelled == 0 and any(one.labels for one in found)
    problems = [*problems, *([f"split {split}: has labels, but no element has a class"] if silent else [])]
    every = (*problems, *(what for one in found for what in one.problems), *sorted(set(notices)))
    return SplitReport(split, len(found), elements, no_returns, labelled, every)
