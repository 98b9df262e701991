"""Initialisation from the weights of another run, for example to fine-tune at a larger size."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from torch import nn

from rangeseg.config import config_from_yaml
from rangeseg.engine.checkpoint import read_checkpoint
from rangeseg.engine.experiment import Experiment
from rangeseg.registry import ConfigError, named_code

KEY = "runtime.initialise_from"


def initialise(network: nn.Module, experiment: Experiment) -> None:
    """Give a network the weights of the teacher of the run that `runtime.initialise_from` names, if it names one.

    Args:
        network: as the experiment makes it.
        experiment: its channels and classes must be those of the run; sizes, losses and all else may differ.

    Raises:
        ConfigError: there is no such checkpoint, or it has other channels, classes or another network.
    """
    config = experiment.config
    if config.runtime.initialise_from is None:
        return
    path = Path(config.runtime.initialise_from)
    try:
        state = read_checkpoint(path / "last.pt" if path.is_dir() else path)
    except ValueError as error:
        raise ConfigError(f"{KEY}: {error}") from error
    own = frozenset(name for _, name in named_code(asdict(config)))  # code that the user names, too
    other = Experiment(config_from_yaml(state["config"], trust=own, source=f"{KEY}: {path}"))
    channels, classes = other.config.data.channels, other.label_map.names
    if channels != config.data.channels:
        raise ConfigError(
            f"{KEY}: {path} has channels {channels}, but data.channels are {config.data.channels}. Use the same list."
        )
    if classes != experiment.label_map.names:
        raise ConfigError(f"{KEY}: {path} has the classes {', '.join(classes)}, not those of this dataset.")
    try:
        network.load_state_dict(state["teacher"])
    except RuntimeError as error:
        raise ConfigError(f"{KEY}: {path} holds a different network from that of this config: {error}") from error
