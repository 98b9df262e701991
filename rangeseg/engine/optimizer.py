"""The optimiser of the student."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from rangeseg.config import OptimConfig
from rangeseg.networks.base import Network
from rangeseg.registry import ConfigError, did_you_mean
from rangeseg.schedules import SCHEDULES


def parameter_groups(
    network: Network, weight_decay: float, multipliers: Mapping[str, float] | None = None, *, decay_all: bool = False
) -> list[dict[str, Any]]:
    """Groups of the trained parameters; one-dimensional ones (biases, norms) have no weight decay unless `decay_all`.

    Args:
        network: its `parameter_groups()` names its parts.
        weight_decay: weight decay of the other parameters.
        multipliers: part -> factor of its learning rate; 1 for parts that are not named.
        decay_all: apply weight decay to biases and norms, too.

    Returns:
        For each part two groups, each with its `multiplier`.

    Raises:
        ConfigError: a multiplier names a part that the network does not have.
        ValueError: a parameter is in two parts, twice in one, or in none.
    """
    trained = [p for p in network.parameters() if p.requires_grad]
    parts = network.parameter_groups()
    multipliers = multipliers or {}
    for name in multipliers:
        if name not in parts:
            raise ConfigError(
                f"optim.lr_multipliers.{name}: the network has no such part. {did_you_mean(name, list(parts))}"
            )
    listed = [id(p) for part in parts.values() for p in part]
    if len(set(listed)) < len(listed) or set(listed) != {id(p) for p in trained}:
        raise ValueError(
            f"{type(network).__name__}.parameter_groups() lists {len(listed)} parameters ({len(set(listed))} "
            "different), "
            f"but {len(trained)} are trained; list each trained parameter once."
        )
    groups: list[dict[str, Any]] = []
    for name, part in parts.items():
        multiplier = multipliers.get(name, 1.0)
        groups += [
            {"params": [p for p in part if p.ndim > 1], "weight_decay": weight_decay, "multiplier": multiplier},
            {
                "params": [p for p in part if p.ndim <= 1],
                "weight_decay": weight_decay * decay_all,
                "multiplier": multiplier,
            },
        ]
    return groups


def make_optimizer(network: Network, config: OptimConfig) -> torch.optim.Optimizer:
    """AdamW, Adam or SGD.

    Raises:
        ConfigError: a key does not fit the optimiser or the network.
    """
    if config.nesterov and config.name != "sgd":
        raise ConfigError(f"optim.nesterov: {config.name} has no Nesterov momentum. Set optim.name=sgd, or remove it.")
    groups = parameter_groups(network, config.weight_decay, config.lr_multipliers, decay_all=config.decay_all)
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, foreach=True)
    if config.name == "adam":
        return torch.optim.Adam(groups, lr=config.lr, foreach=True)
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov, foreach=True)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a stored state. Settings such as the weight decay stay those of `optimizer`; torch would load them, too."""
    own = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, settings in zip(optimizer.param_groups, own, strict=True):
        group.update(settings)


def rate_multiplier(config: OptimConfig, step: int) -> float:
    """The factor of the learning rate at a step.

    Args:
        config: `optim`.
        step: steps done.
    """
    options = {"end": config.one_cycle_end} if config.schedule == "one_cycle" else {}
    return SCHEDULES[config.schedule](step, config.steps, **options)
