"""Initialisation from the weights of another run or of a shipped network, for example to fine-tune on other classes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rangeseg.config import config_from_yaml
from rangeseg.engine.checkpoint import check_finite, read_checkpoint
from rangeseg.engine.experiment import Experiment
from rangeseg.networks.base import Network
from rangeseg.notices import notify
from rangeseg.registry import ConfigError, named_code
from rangeseg.weights import find_weights, no_such

KEY = "runtime.initialise_from"


def initialise(network: Network, experiment: Experiment) -> None:
    """Load the weights that `runtime.initialise_from` names: those of a run's teacher, or those of `find_weights`.

    Args:
        network: made by the experiment; unchanged if the key is null.
        experiment: its channels must be those of the run; sizes, losses and other settings may differ. With other
            classes or another order of them, the last layer and the auxiliary heads keep their random weights, and a
            notice is shown.

    Raises:
        ConfigError: the checkpoint does not exist, has other channels or another network, or is not finite.
    """
    config = experiment.config
    if config.runtime.initialise_from is None:
        return
    path = Path(config.runtime.initialise_from)
    try:
        state = _read(path)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"{KEY}: {error}") from error
    own = frozenset(name for _, name in named_code(asdict(config)))  # code that the user names, too
    other = Experiment(config_from_yaml(state["config"], trust=own, source=f"{KEY}: {path}"))
    channels, classes = other.config.data.channels, tuple(state.get("classes") or other.label_map.names)
    if channels != config.data.channels:
        raise ConfigError(
            f"{KEY}: {path} has channels {channels}, but data.channels are {config.data.channels}. Use the same list."
        )
    weights = state["teacher"]
    if classes != experiment.label_map.names:
        notify(
            f"{KEY}: {path} was trained on other classes or another order of them ({', '.join(classes)}). The last "
            "layer keeps its random initial weights."
        )
        fresh = network.state_dict()
        weights = weights | {name: fresh[name] for name in _of_classes(network)}
    try:
        network.load_state_dict(weights)
        check_finite(network, path)
    except RuntimeError as error:
        there, here = (f"{one.network} with method.name={one.method['name']}" for one in (other.config, config))
        raise ConfigError(
            f"{KEY}: the network of {path} is not that of this config: {there} there, {here} here. Use the same "
            "network. The method cps trains a pair of networks, which only starts from such a pair."
        ) from error
    except ValueError as error:
        raise ConfigError(f"{KEY}: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    """Read the checkpoint of a run, or weights with a card.

    Raises:
        ValueError: it does not exist or is damaged.
        ImportError: the extra `hub` is not installed.
    """
    if weights := find_weights(path):
        return weights.checkpoint()
    if not path.exists():
        raise ValueError(no_such(path))
    return read_checkpoint(path / "last.pt" if path.is_dir() else path)


def _of_classes(network: Network) -> set[str]:
    """The names of the weights that depend on the classes: those of the classifier and of the auxiliary heads.

    Raises:
        ConfigError: the network does not name its classifier.
    """
    last = network.classifier()
    if last is None:
        raise ConfigError(
            f"{KEY}: the run has other classes than this dataset, and {type(network).__name__} does not name its last "
            "layer. Override classifier() of rangeseg.networks.base.Network."
        )
    parts = (last, *network.auxiliary_heads())
    inside = {id(value) for part in parts for value in (*part.parameters(), *part.buffers())}
    named = (*network.named_parameters(), *network.named_buffers())
    return {name for name, value in named if id(value) in inside}
