"""Checks of config values that depend on several keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from rangeseg.registry import ConfigError

if TYPE_CHECKING:
    from rangeseg.config import Config


AS_TARGETS, WEAK = ("targets", "both"), ("weak_head", "both")
"""Values of `data.carried_as` with which carried labels replace the teacher's predictions or train the weak head."""


def check(config: Config) -> None:
    """Reject values outside their choices and ranges, and values that contradict each other.

    Raises:
        ConfigError: a value is wrong; the message says how to correct it.
    """
    for path, metadata, value in _keys(config):
        _check_key(path, metadata, value)
    _check_supervised(config)
    _check_mix(config)
    _check_carried(config)
    if config.consistency.rampup and config.consistency.rampup_share:
        raise ConfigError("consistency.rampup_share: rampup gives the length in steps already. Set one of them to 0.")
    if min(config.data.batch_labelled, config.data.batch_unlabelled) < config.optim.accumulate:
        raise ConfigError(
            f"optim.accumulate: {config.optim.accumulate} is larger than the number of views in a batch. Use a "
            "smaller number."
        )
    read = ["batch_labelled"] + (["batch_unlabelled"] if config.consistency.weight else [])
    for key in (key for key in read if getattr(config.data, key) % config.optim.accumulate):
        raise ConfigError(
            f"optim.accumulate: {config.optim.accumulate} does not divide data.{key}, {getattr(config.data, key)}. The "
            "parts of a batch must be equal; use a divisor of it."
        )
    if config.consistency.pair == "labelled" and config.data.batch_labelled != config.data.batch_unlabelled:
        raise ConfigError(
            f"consistency.pair: each labelled view is mixed with one unlabelled view; data.batch_labelled is "
            f"{config.data.batch_labelled}, data.batch_unlabelled {config.data.batch_unlabelled}. Make them equal."
        )
    certain = {
        "pair: labelled": config.consistency.pair == "labelled",
        f"data.carried_as: {config.data.carried_as}": config.data.carried_as in AS_TARGETS,
    }
    if config.consistency.kind.startswith("logits"):
        for words in (words for words, true in certain.items() if true):
            raise ConfigError(
                f"consistency.kind: this kind needs logits as targets, and labels have none; with {words} "
                "choose ce, kld, var or bce."
            )


def _check_carried(config: Config) -> None:
    """Reject keys of carried labels that would have no effect or that exclude each other."""
    data, settings, carried = config.data, config.supervised, config.data.carried != "none"
    mixes = any(arguments is not None for arguments in settings.mix.values())
    if carried and mixes and (data.carried_as in WEAK or tells_carried_apart(config)):
        raise ConfigError(
            "supervised.mix: a mix of labelled views does not keep what is carried apart from a person's labels. Leave "
            "the mix out, or write data.carried_as=labels without weights of carried labels."
        )
    if carried and data.carried_as == "targets" and config.consistency.weight == 0:
        raise ConfigError(
            "data.carried_as: targets are for unlabelled views, which are not read with consistency.weight 0. Write "
            "labels or weak_head, or give consistency.weight."
        )
    if data.carried_where == "unsure" and carried and data.carried_as not in AS_TARGETS:
        raise ConfigError(
            f"data.carried_where: unsure is for targets; data.carried_as is {data.carried_as}. Write targets or both."
        )
    if settings.carried_term == "own" and carried and data.carried_as != "labels":
        raise ConfigError(
            f"supervised.carried_term: own is for data.carried_as=labels, which is {data.carried_as}. Leave it out."
        )


def tells_carried_apart(config: Config) -> bool:
    """Whether the training treats carried labels differently from labels given by people."""
    data, settings = config.data, config.supervised
    plain = (data.carried_weight, data.carried_classes, data.carried_edges) == ("none", "same", "same")
    plain = plain and (settings.carried_weight, settings.carried_term) == (1.0, "shared")
    return not plain or data.carried_as in WEAK or data.carried_where == "unsure"


def _check_supervised(config: Config) -> None:
    settings = config.supervised
    if settings.ohem_ratio and settings.focal_gamma:
        raise ConfigError(
            "supervised.focal_gamma: cannot be combined with supervised.ohem_ratio, because both select pixels. "
            "Set one to 0."
        )
    if settings.range_weight_m and not settings.ohem_ratio:
        raise ConfigError(
            "supervised.range_weight_m: needs supervised.ohem_ratio, whose pixels it weights; set that too "
            "(FIDNet: 0.15)."
        )
    if settings.range_weight_m and "range" not in config.data.channels:
        raise ConfigError(
            "supervised.range_weight_m: data.channels must contain range to weight pixels by range. Add it, or "
            "set this to 0."
        )


def _check_mix(config: Config) -> None:
    settings, data = config.supervised, config.data
    if not any(arguments is not None for arguments in settings.mix.values()):
        return
    if wrong := [name for name, arguments in settings.mix.items() if not isinstance(arguments, dict | None)]:
        raise ConfigError(
            f"supervised.mix.{wrong[0]}: {settings.mix[wrong[0]]!r} is no mapping of its arguments. Write {{}} for the "
            "defaults, null for none of it."
        )
    if settings.mix_with == "labelled" and data.batch_labelled < 2:
        raise ConfigError(
            "supervised.mix: a labelled view is mixed with another one of its batch, and data.batch_labelled is 1. "
            "Write 2 or more, or supervised.mix_with=unlabelled."
        )
    if settings.mix_with == "unlabelled" and config.consistency.weight == 0:
        raise ConfigError(
            "supervised.mix_with: unlabelled views are read with a consistency loss; consistency.weight is 0. Give it "
            "a weight, or write labelled."
        )
    if settings.mix_with == "unlabelled" and data.batch_labelled != data.batch_unlabelled:
        raise ConfigError(
            f"supervised.mix_with: labelled views are mixed one to one with unlabelled ones; data.batch_labelled is "
            f"{data.batch_labelled}, data.batch_unlabelled {data.batch_unlabelled}. Make them equal."
        )


def keys() -> list[str]:
    """The path of every key of a config."""
    from rangeseg.config.schema import Config

    return [path for path, _, _ in _keys(Config())]


def _keys(section: Any, above: str = "") -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    """The path, metadata and value of every key."""
    for key in fields(section):
        value = getattr(section, key.name)
        if is_dataclass(value):
            yield from _keys(value, f"{above}{key.name}.")
        else:
            yield f"{above}{key.name}", key.metadata, value


def _check_key(path: str, metadata: Mapping[str, Any], value: Any) -> None:
    """Reject a value outside the choices or the range that are declared with its key."""
    choices = metadata.get("choices")
    if choices and value not in choices:
        raise ConfigError(f"{path}: {value!r} is not one of {', '.join(map(repr, choices))}.")
    limits = metadata.get("range")
    if limits is None or value is None:
        return
    parts = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else None
    for where, each in [(path, value)] if parts is None else [(f"{path}[{key}]", part) for key, part in parts]:
        if each not in limits:
            raise ConfigError(f"{where}: {each} is out of range; give {limits}.")
