"""Checks of config values that depend on several keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from rangeseg.config.schema import Config
from rangeseg.registry import ConfigError

AS_TARGETS, WEAK = ("targets", "both"), ("weak_head", "both")
"""Values of `data.carried_as` with which carried labels replace the teacher's predictions or train the weak head."""

_LISTS = "data.labelled or data.unlabelled"

SET_ELSEWHERE = {
    "root": "data.root",
    "split": "evaluation.split for the scored split; training reads the split train",
    "subset": _LISTS,
    "frames": _LISTS,
    "labels": _LISTS,
}
"""Arguments of datasets that are no options of `data.dataset` -> the key to use. `frames`: the old `subset`."""


def check(config: Config) -> None:
    """Reject values outside their choices and ranges, and values that contradict each other.

    Raises:
        ConfigError: a value is wrong; the message says how to correct it.
    """
    for path, metadata, value in schema_keys(config):
        _check_key(path, metadata, value)
    _check_supervised(config)
    _check_mix(config)
    _check_carried(config)
    if config.consistency.rampup and config.consistency.rampup_share:
        raise ConfigError("consistency.rampup_share: rampup gives the length in steps already. Set one of them to 0.")
    _check_teacher(config)
    _check_parts(config)
    if config.consistency.pair == "labelled" and config.data.batch_labelled != config.data.batch_unlabelled:
        raise ConfigError(
            f"consistency.pair: each labelled view is mixed with one unlabelled view; data.batch_labelled is "
            f"{config.data.batch_labelled}, data.batch_unlabelled {config.data.batch_unlabelled}. Make them equal."
        )
    targets_of_labels = {
        "pair: labelled": config.consistency.pair == "labelled",
        f"data.carried_as: {config.data.carried_as}": config.data.carried_as in AS_TARGETS,
        "method.name: cbst": config.method.get("name") == "cbst",
    }
    words = next((words for words, chosen in targets_of_labels.items() if chosen), None)
    if config.consistency.kind.startswith("logits") and words:
        raise ConfigError(
            f"consistency.kind: this kind needs logits as targets, and labels have none; with {words} "
            "choose ce, kld, var or bce."
        )


def check_dataset(section: Mapping[str, Any], entry: str | None = None) -> None:
    """Reject options of a dataset that would override other keys of the config. It is called when the data is opened.

    Args:
        section: `name` and options of a dataset.
        entry: path of the entry of `data.labelled_from` or `data.unlabelled_from` that contains the section; None: the
            section is `data.dataset`.

    Raises:
        ConfigError: the section contains such an option; the message names the key to use.
    """
    for key, use in SET_ELSEWHERE.items():
        if key not in section or (key == "frames" and ":" in str(section.get("name"))):
            continue  # a class of the user may have an argument frames of its own
        if entry:
            place = {"frames": "subset"}.get(key, key)
            use = "data.labelled_from or data.unlabelled_from" if key == "labels" else f"{entry}.{place}"
        path = f"{entry}.dataset" if entry else "data.dataset"
        raise ConfigError(f"{path}.{key}: cannot be set here, because it would override another key. Use {use}.")


def _check_parts(config: Config) -> None:
    """Reject batches that cannot be divided into `optim.accumulate` equal parts."""
    data, parts = config.data, config.optim.accumulate
    read = {"batch_labelled": True, "batch_unlabelled": config.consistency.weight > 0}
    read["batch_carried"] = data.carried != "none" and data.carried_as in WEAK
    for key, size in ((key, getattr(data, key)) for key, is_read in read.items() if is_read):
        if size < parts:
            raise ConfigError(
                f"optim.accumulate: {parts} is larger than the number of views in a batch, data.{key}, {size}. Use a "
                "smaller number."
            )
        if size % parts:
            raise ConfigError(
                f"optim.accumulate: {parts} does not divide data.{key}, {size}. The parts of a batch must be equal; "
                "use a divisor of it."
            )


def _check_teacher(config: Config) -> None:
    """Reject a teacher whose BatchNorm statistics nothing updates."""
    teacher, weight = config.teacher, config.consistency.weight
    if teacher.buffers == "own" and (teacher.mode == "eval" or (weight == 0 and not teacher.update_bn)):
        key = "teacher.mode is eval" if teacher.mode == "eval" else "consistency.weight is 0"
        raise ConfigError(
            "teacher.buffers: own takes the BatchNorm statistics from the teacher's forward passes in mode train, but "
            f"{key}, so they would keep their initial values. Set teacher.mode=train and consistency.weight above 0, "
            "or use ema or copy."
        )


def _check_carried(config: Config) -> None:
    """Reject keys of carried labels that would have no effect or that exclude each other."""
    data, settings = config.data, config.supervised
    carried = data.carried != "none" or any(_has_carried(section) for section in data.labelled_from)
    _check_sources(config)
    mixes = any(arguments is not None for arguments in settings.mix.values())
    if carried and mixes and (data.carried_as in WEAK or tells_carried_apart(config)):
        raise ConfigError(
            "supervised.mix: a mix of labelled views does not record which labels are carried. Remove the mix, or use "
            "data.carried_as=labels and leave carried_weight, carried_classes, carried_edges and carried_term at their "
            "defaults."
        )
    if carried and data.carried_as in AS_TARGETS and config.consistency.weight == 0:
        raise ConfigError(
            f"data.carried_as: {data.carried_as} needs unlabelled views, which are not read if consistency.weight is "
            "0. Use labels or weak_head, or set consistency.weight above 0."
        )
    if data.carried_where == "unsure" and carried and data.carried_as not in AS_TARGETS:
        raise ConfigError(
            f"data.carried_where: unsure needs data.carried_as=targets or both, but that is {data.carried_as}. Change "
            "one of the two keys."
        )
    if settings.carried_term == "own" and carried and data.carried_as != "labels":
        raise ConfigError(
            f"supervised.carried_term: own needs data.carried_as=labels, but that is {data.carried_as}. Remove "
            "supervised.carried_term."
        )


def _check_sources(config: Config) -> None:
    """Reject carried labels that `data.carried_as` does not use, and lists that carried labels replace."""
    data = config.data
    uses = {"labelled": data.carried_as == "labels", "unlabelled": data.carried_as in AS_TARGETS}
    for kind, used in uses.items():
        sections = getattr(data, f"{kind}_from")
        for number, section in ((number, one) for number, one in enumerate(sections) if _has_carried(one)):
            path = f"data.{kind}_from[{number}]"
            if not used:
                wanted = "labels" if kind == "labelled" else "targets or both"
                raise ConfigError(
                    f"{path}.carried: has no effect with data.carried_as={data.carried_as}, but only with {wanted}. "
                    "Remove it, or change data.carried_as."
                )
            if kind == "labelled" and "subset" in section:
                raise ConfigError(
                    f"{path}.subset: has no effect with carried labels, because the labelled scans are those of their "
                    "folder. Remove subset, or carry labels only to the scans of this list."
                )
        if used and data.carried != "none" and getattr(data, kind) == "none" and not any(map(_has_carried, sections)):
            raise ConfigError(
                f"data.carried: is not read, because data.{kind} is none. Set data.{kind}=all, or name the folder as "
                f"carried of an entry of data.{kind}_from."
            )


def _has_carried(section: Mapping[str, Any]) -> bool:
    """Whether an entry of `data.labelled_from` or `data.unlabelled_from` names carried labels."""
    return str(section.get("carried", "none")) != "none"


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
            f"supervised.mix.{wrong[0]}: {settings.mix[wrong[0]]!r} is not a mapping of arguments. Write {{}} for the "
            "default arguments, or null to turn it off."
        )
    if settings.mix_with == "labelled" and data.batch_labelled < 2:
        raise ConfigError(
            "supervised.mix: a labelled view is mixed with another one of its batch, and data.batch_labelled is 1. "
            "Write 2 or more, or supervised.mix_with=unlabelled."
        )
    if settings.mix_with == "unlabelled" and config.consistency.weight == 0:
        raise ConfigError(
            "supervised.mix_with: unlabelled needs unlabelled views, which are not read if consistency.weight is 0. "
            "Set consistency.weight above 0, or use labelled."
        )
    if settings.mix_with == "unlabelled" and data.batch_labelled != data.batch_unlabelled:
        raise ConfigError(
            f"supervised.mix_with: labelled views are mixed one to one with unlabelled ones; data.batch_labelled is "
            f"{data.batch_labelled}, data.batch_unlabelled {data.batch_unlabelled}. Make them equal."
        )


def keys() -> list[str]:
    """The path of every key of a config."""
    return [path for path, _, _ in schema_keys(Config())]


def schema_keys(section: Any, above: str = "") -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    """The path, metadata and value of every key."""
    for key in fields(section):
        value = getattr(section, key.name)
        if is_dataclass(value):
            yield from schema_keys(value, f"{above}{key.name}.")
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
