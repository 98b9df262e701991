"""What values a config may have."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

from rangeseg.components import ConfigError

if TYPE_CHECKING:
    from rangeseg.config import Config

CHOICES: dict[str, tuple[str, ...]] = {
    "supervised.class_weights": ("none", "inverse", "root"),
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


def _value(config: Config, path: str) -> Any:
    return reduce(getattr, path.split("."), config)
