"""What values a config may have."""

from __future__ import annotations

from functools import reduce
from math import inf
from typing import TYPE_CHECKING, Any

from rangeseg.components import ConfigError

if TYPE_CHECKING:
    from rangeseg.config import Config

CHOICES: dict[str, tuple[str, ...]] = {
    "supervised.class_weights": ("none", "inverse", "root", "log"),
    "preset": ("none", "reference"),
    "consistency.pair": ("unlabelled", "labelled"),
    "consistency.kind": ("var", "logits_var", "logits_smoothl1", "bce", "kld", "ce"),
    "consistency.confidence": ("mean", "pixel"),
    "consistency.normalise": ("valid", "confident", "all"),
    "teacher.buffers": ("ema", "copy", "own"),
    "teacher.mode": ("eval", "train"),
    "optim.name": ("adamw", "adam", "sgd"),
    "optim.schedule": ("one_cycle", "poly", "constant"),
    "runtime.precision": ("32-true", "bf16-mixed", "16-mixed"),
}

POSITIVE = (
    "data.batch_labelled",
    "data.batch_unlabelled",
    "optim.steps",
    "optim.lr",
    "optim.accumulate",
    "runtime.devices",
    "runtime.num_nodes",
    "runtime.log_every",
    "runtime.checkpoint_every",
    "evaluation.batch",
)

NOT_NEGATIVE = (
    "supervised.boundary",
    "supervised.focal_gamma",
    "supervised.hardest",
    "supervised.far_m",
    "supervised.auxiliary",
)


def check(config: Config) -> None:
    """Refuse values outside their choices and ranges, and those that contradict each other.

    Raises:
        ConfigError: what is wrong, and what would be right.
    """
    for path, choices in CHOICES.items():
        value = _value(config, path)
        if value not in choices:
            raise ConfigError(f"{path}: {value!r} is not one of {', '.join(map(repr, choices))}.")
    for path in POSITIVE:
        value = _value(config, path)
        if value <= 0:
            raise ConfigError(f"{path}: {value} is not positive.")
    for path in NOT_NEGATIVE:
        value = _value(config, path)
        if not 0 <= value < inf:
            raise ConfigError(f"{path}: {value} is not a number from 0 on.")
    _check_supervised(config)
    if not 0 < config.data.label_fraction <= 1:
        raise ConfigError(f"data.label_fraction: {config.data.label_fraction} is not in (0, 1].")
    if min(config.data.batch_labelled, config.data.batch_unlabelled) < config.optim.accumulate:
        raise ConfigError(f"optim.accumulate: {config.optim.accumulate} parts are more than the views of a batch.")
    if config.consistency.pair == "labelled":
        if config.data.batch_labelled != config.data.batch_unlabelled:
            raise ConfigError(
                f"consistency.pair: labelled views are mixed one to one with unlabelled ones; data.batch_labelled is "
                f"{config.data.batch_labelled}, data.batch_unlabelled {config.data.batch_unlabelled}. Make them equal."
            )
        if config.consistency.kind.startswith("logits"):
            raise ConfigError(
                "consistency.kind: labels have no logits; choose ce, kld, var or bce with pair: labelled."
            )


def _check_supervised(config: Config) -> None:
    settings = config.supervised
    if settings.hardest > 1:
        raise ConfigError(f"supervised.hardest: {settings.hardest} is no share of the pixels; give 0 (all) to 1.")
    if settings.hardest and settings.focal_gamma:
        raise ConfigError("supervised.focal_gamma: one of it and supervised.hardest picks pixels; set the other to 0.")
    if settings.far_m and not settings.hardest:
        raise ConfigError(
            "supervised.far_m: it weighs the pixels of supervised.hardest; set that too, FIDNet's is 0.15."
        )
    if settings.far_m and "range" not in config.data.channels:
        raise ConfigError("supervised.far_m: data.channels have no range to weigh pixels by. Set it to 0.")


def _value(config: Config, path: str) -> Any:
    return reduce(getattr, path.split("."), config)
