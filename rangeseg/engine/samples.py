"""samples.json of a run folder: the names of the scans or photographs that the run trains on.

The config names a list or a folder, whose contents can change later. With the names, a run is only continued on the
same samples, and a person can look up which of them had labels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rangeseg.config import Config
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.training_data import TrainingData, open_views, parts_of
from rangeseg.files import read_whole, write_atomically
from rangeseg.registry import ConfigError

FILE = "samples.json"

Names = Mapping[str, Sequence[str]]
"""labelled, unlabelled or carried -> the names of its samples in their order."""


def names_of(data: TrainingData, config: Config) -> Names:
    """The names of the samples that a training reads; without the unlabelled ones if it is supervised only."""
    return _names(config, labelled=data.labelled, unlabelled=data.unlabelled, carried=data.carried)


def write_samples(folder: Path, names: Names) -> None:
    """Write samples.json."""
    write_atomically(folder / FILE, json.dumps(names, indent=0).encode())


def check_samples(folder: Path, names: Names, cure: str = "choose another runtime.out") -> None:
    """Refuse to continue a run on other samples.

    Args:
        folder: the run folder. Without samples.json, as earlier versions left it, nothing is compared.
        names: result of `names_of`. What only one of both has, for example unlabelled samples, is not compared.
        cure: advice in the error.

    Raises:
        ConfigError: the samples or their order differ, or samples.json cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        return
    try:
        stored = {str(kind): [str(name) for name in found] for kind, found in json.loads(read_whole(path)).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}). Remove it to continue without a comparison.") from error
    for kind, here in names.items():
        there = stored.get(kind, here)
        if list(here) != list(there):
            raise ConfigError(
                f"{folder}: the run was trained with other {kind} samples: {_difference(there, here)}. {path} lists "
                f"them. Restore the list or the files, or {cure}."
            )


def check_finished(folder: Path, config: Config) -> None:
    """`check_samples` for a run that is not opened for training; data that cannot be opened here are not compared.

    Args:
        folder: the run folder.
        config: config of the run, complete.

    Raises:
        ConfigError: see `check_samples`.
    """
    if not (folder / FILE).is_file():
        return
    try:
        experiment = Experiment(config)
        labelled = open_views(experiment, "labelled")
        names = _names(config, labelled=labelled, unlabelled=open_views(experiment, "unlabelled", labelled))
    except (OSError, ValueError):
        return
    check_samples(folder, names, "choose another --out")


def _names(config: Config, **views: Any) -> dict[str, list[str]]:
    read = {kind: one for kind, one in views.items() if one is not None}
    if config.consistency.weight == 0:
        read.pop("unlabelled", None)
    return {kind: [part.name(k) for part in parts_of(one) for k in range(len(part))] for kind, one in read.items()}


def _difference(there: Sequence[str], here: Sequence[str]) -> str:
    more, fewer = sorted({*here} - {*there}), sorted({*there} - {*here})
    named = [f"{len(names)} {what} ({names[0]})" for names, what in ((more, "more"), (fewer, "fewer")) if names]
    return " and ".join(named) or "another order"
