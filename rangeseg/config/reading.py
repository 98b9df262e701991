"""Reads experiments: YAML layers over the defaults. Unknown keys and wrong types are errors."""

from __future__ import annotations

import copy
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from rangeseg.config.checks import check
from rangeseg.config.naming import default_folder
from rangeseg.config.overrides import (
    COMPONENTS,
    empty_mappings,
    other_kind,
    override_layers,
    refuse_numbers,
    refuse_scalars,
)
from rangeseg.config.schema import Config
from rangeseg.config.shipped import find_layers, place_of
from rangeseg.paths import expand_home
from rangeseg.registry import ConfigError, Trust, did_you_mean, refuse_code
from rangeseg.yaml_file import parse_yaml

PRESETS: dict[str, dict[str, Any]] = {
    "none": {},
    "reference": {
        "method": {"name": "mean_teacher"},
        "consistency": {
            "weight": 1.0,
            "kind": "var",
            "threshold": 0.97,
            "confidence": "mean",
            "normalise": "all",
            "rampup": 0,
            "rampup_share": 0.0,
            "pair": "unlabelled",
        },
        "teacher": {"decay": 0.99, "warmup": False, "buffers": "ema", "mode": "train", "joint": False},
        "supervised": {"cross_entropy": 1.0, "lovasz": 0.0, "class_weights": "none"}
        | {"boundary": 0.0, "focal_gamma": 0.0, "ohem_ratio": 0.0, "range_weight_m": 0.0, "auxiliary": 0.0},
        "optim": {"clip": None},
    },
}
"""The keys that each preset sets. `reference` is the training step of French et al.'s code, with its boxes."""


RENAMED = {
    "strategy": "method",
    "supervised.hardest": "supervised.ohem_ratio",
    "supervised.far_m": "supervised.range_weight_m",
    "teacher.recount": "teacher.update_bn",
    "optim.multipliers": "optim.lr_multipliers",
    "runtime.pictures": "runtime.log_images",
    "teacher.together": "teacher.joint",
    "network.trunk": "network.encoder",
    "data.labelled_from.frames": "data.labelled_from.subset",
    "data.unlabelled_from.frames": "data.unlabelled_from.subset",
}
"""Keys of version 0.1 -> present names. Old keys are translated in stored configs and rejected in the user's files."""

RENAMED_PERTURBATIONS = {"none": "identity", "combined": "compose", "several": "all_of", "in_turn": "sequential"}
"""The same for `perturbation.name`, also of nested perturbations."""


def read_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read an experiment. Files override their bases, and `key.path=value` overrides override files.

    Args:
        path: a YAML file, the name of a shipped config, or several of these joined by ``+``; later ones override
            earlier ones: ``semantic_kitti+cutmix``. `base:` in a file names one base, or a list of them, in the same
            form; a file in the same folder is preferred to a shipped config.
        overrides: e.g. ``optim.lr=1e-3`` or ``perturbation.name=cutout``, see `read_overrides`. If the name of a
            component changes, its other arguments start from the defaults of the new component. ``{}`` empties a
            mapping: ``data.augmentation={}``.

    Raises:
        ConfigError: an unreadable file, unknown key, wrong type, missing field, or value outside its choices or range.
    """
    layers = [layer for found in find_layers(path) for layer in _layers(found)]
    return config_from([*layers, *override_layers(overrides)], place=place_of(path))


def _layers(path: Path | dict[str, Any], above: tuple[Path, ...] = ()) -> list[DictConfig | Mapping[str, Any]]:
    """The bases of a file, lowest first, and then the file itself; a section that is no file has no bases."""
    if not isinstance(path, Path):
        return [path]
    if path.resolve() in above:
        chain = " -> ".join(str(file) for file in (*above, path.resolve()))
        raise ConfigError(f"{path}: includes itself as a base: {chain}. Remove one of these.")
    layer = _read_yaml(path)
    bases = layer.pop("base", None) or []
    names = [bases] if isinstance(bases, str) else bases
    lower: list[DictConfig | Mapping[str, Any]] = []
    for word in (word for name in names for word in ([name] if (path.parent / name).is_file() else name.split("+"))):
        beside = path.parent / word
        for found in [beside] if beside.is_file() else find_layers(word):
            lower += _layers(found, (*above, path.resolve()))
    return [*lower, layer]


def config_from(layers: Sequence[DictConfig | Mapping[str, Any]], *, place: str | None = None) -> Config:
    """Merge layers over the defaults and check the result. Later layers override earlier ones.

    Args:
        layers: sections of a config, lowest first.
        place: part of the name of the default run folder, see `default_folder`.

    Raises:
        ConfigError: as `read_config`.
    """
    merged = copy.deepcopy(_defaults())
    made = [layer if isinstance(layer, DictConfig) else OmegaConf.create(dict(layer)) for layer in layers]
    presets = [preset for layer in made if (preset := layer.get("preset")) is not None]
    for layer in made:
        refuse_numbers(layer)
        refuse_scalars(layer)
        if presets[-1:] != ["none"] and (preset := PRESETS.get(layer.get("preset"))):
            merged = _merge(merged, OmegaConf.create(preset))
        merged = _merge(merged, copy.deepcopy(layer))
    if OmegaConf.is_missing(merged.runtime, "out"):
        merged.runtime.out = default_folder(merged, place)
    missing = sorted(OmegaConf.missing_keys(merged))
    if missing:
        raise ConfigError(f"{missing[0]}: missing. Add it to the file, or give {missing[0]}=VALUE.")
    config = OmegaConf.to_object(merged)
    assert isinstance(config, Config)
    _expand(config)
    for section in _perturbations(config.perturbation):
        if section["name"] in RENAMED_PERTURBATIONS:
            old = section["name"]
            raise ConfigError(f"perturbation.name: {old} was renamed to {RENAMED_PERTURBATIONS[old]} in version 0.2.")
    _refuse_renamed(config)
    check(config)
    return config


def _refuse_renamed(config: Config) -> None:
    """Refuse the old keys of components and of list entries, which are not in the schema."""
    for old in RENAMED:
        above, _, key = old.rpartition(".")
        found: Any = config
        for part in above.split(".") if above else ():
            found = found[part] if isinstance(found, dict) else getattr(found, part)
        for section in found if isinstance(found, list) else [found]:
            if isinstance(section, dict) and key in section and ":" not in str(section.get("name")):
                raise ConfigError(_unknown_key(old))


@cache
def _defaults() -> DictConfig:
    """The schema with its defaults. It is cached, because making it takes six times as long as copying it."""
    return OmegaConf.structured(Config)


def _expand(section: Any) -> None:
    """Expand ``~`` in every value, because a shell does not expand it in `key=~/path`."""
    for key in fields(section):
        value = getattr(section, key.name)
        if is_dataclass(value):
            _expand(value)
        else:
            setattr(section, key.name, expand_home(value))


def config_from_yaml(
    text: str, overrides: Sequence[str] = (), *, trust: Trust = False, source: str = "the stored config"
) -> Config:
    """Read a config from the text that `write_config` made, with `key.path=value` overrides.

    Args:
        text: config of a checkpoint or an exported file; it may come from a stranger.
        overrides: overrides given by the user; they may name code.
        trust: code that the text may name: none (False), any (True), or these names.
        source: name of the file with the text, for errors.

    Raises:
        ConfigError: as `read_config`; the text contains an interpolation, which could read the environment and which
            `write_config` never writes; or the text names code outside of rangeseg that is not trusted.
    """
    if "${" in text:
        raise ConfigError(
            f"{source}: contains ${{...}}, which could read your environment. rangeseg never writes it. "
            "Do not use this file unless you know who changed it."
        )
    try:
        layer = OmegaConf.create(text)
    except (YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"{source}: its config is not readable as YAML: {error}") from error
    if not isinstance(layer, DictConfig):
        raise ConfigError(f"{source}: its config is not a mapping. It must have the keys {_names(Config)}.")
    refuse_code(OmegaConf.to_container(layer), source, trust)
    _translate(layer)
    return config_from([layer, *override_layers(overrides)])


def write_config(config: Config) -> str:
    """The config as YAML for `read_config`, with every key."""
    return OmegaConf.to_yaml(OmegaConf.create(asdict(config)))


def _read_yaml(path: Path) -> DictConfig:
    if not path.is_file():
        raise ConfigError(f"{path}: no such config file.")
    try:
        loaded = OmegaConf.load(path)
        parse_yaml(path.read_text(encoding="utf-8"))  # refuses numbers that are not decimal
    except (YAMLError, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"{path}: is a list; a config is a mapping with the keys {_names(Config)}.")
    return loaded


def _merge(below: DictConfig, above: DictConfig) -> DictConfig:
    for path in COMPONENTS:
        _drop_arguments(below, above, path)
    empty_mappings(below, above)
    try:
        merged = OmegaConf.unsafe_merge(below, above)  # without a copy of both
    except ConfigKeyError as error:
        raise ConfigError(_unknown_key(str(error.full_key))) from error
    except OmegaConfBaseException as error:
        if error.full_key in ("data.labelled", "data.unlabelled"):
            raise ConfigError(
                f"{error.full_key}: null was renamed to all in version 0.2. Write all, or none."
            ) from error
        raise ConfigError(f"{error.full_key}: {str(error.msg or error).splitlines()[0]}") from error
    except TypeError as error:  # a list meets a mapping
        raise ConfigError(f"{other_kind(below, above)}: {error}. Give the whole list or mapping.") from error
    assert isinstance(merged, DictConfig)
    return merged


def _drop_arguments(below: DictConfig, above: DictConfig, path: str) -> None:
    """Remove the arguments of a component from `below` if `above` changes its name, also of components nested in it."""
    old, new = (OmegaConf.select(layer, path, throw_on_resolution_failure=False) for layer in (below, above))
    if not (isinstance(old, DictConfig) and isinstance(new, DictConfig)):
        return
    name = new.get("name")
    if name is not None and name != old.get("name"):
        OmegaConf.update(below, path, {}, merge=False)
    else:
        for key in filter(str.isidentifier, map(str, new)):
            _drop_arguments(below, above, f"{path}.{key}")


def _translate(layer: DictConfig) -> None:
    """Rename keys of version 0.1 to their present names."""
    for key in ("labelled", "unlabelled"):
        if "data" in layer and layer.data.get(key, "all") is None:
            layer.data[key] = "all"
    for old, new in RENAMED.items():
        above, _, key = old.rpartition(".")
        found = OmegaConf.select(layer, above) if above else layer
        for section in found if isinstance(found, ListConfig) else [found]:
            if isinstance(section, DictConfig) and key in section:
                OmegaConf.update(section, new.removeprefix(f"{above}."), section.pop(key), merge=False)
    for perturbation in _perturbations(layer.get("perturbation")):
        perturbation["name"] = RENAMED_PERTURBATIONS.get(perturbation["name"], perturbation["name"])


def _perturbations(section: Any) -> Iterator[Any]:
    """Yield the section of a perturbation and the sections nested in it."""
    if isinstance(section, Mapping | DictConfig):
        if "name" in section:
            yield section
        for value in section.values():
            yield from _perturbations(value)
    elif isinstance(section, Sequence) and not isinstance(section, str):
        for value in section:
            yield from _perturbations(value)


def _names(owner: type) -> list[str]:
    return [f.name for f in fields(owner)]


def _unknown_key(path: str) -> str:
    for old, new in RENAMED.items():
        if path == old or path.startswith(f"{old}."):
            return f"{old}: was renamed to {new} in version 0.2. Rename it."
    owner: Any = Config
    *parents, key = path.split(".")
    for parent in parents:
        hints = typing.get_type_hints(owner)
        if not is_dataclass(hints.get(parent)):
            break
        owner = hints[parent]
    return f"{path}: unknown key. {did_you_mean(key, _names(owner))}"
