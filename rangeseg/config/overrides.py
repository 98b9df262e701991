"""Overrides, ``key.path=value``, and keys whose value is text: YAML must not turn a name into a number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import is_dataclass
from functools import cache, partial
from typing import Any, cast, get_args, get_origin, get_type_hints

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rangeseg.config.checks import schema_keys
from rangeseg.config.schema import Config
from rangeseg.registry import ConfigError
from rangeseg.yaml_file import parse_yaml

NULLS = ("", "null", "Null", "NULL")
"""Values that are null without quotes; ``~`` is null only where null is allowed, and else the home folder."""

MAPPINGS = (
    "data.augmentation",
    "supervised.frequencies",
    "supervised.mix",
    "optim.lr_multipliers",
    "evaluation.window",
)
"""Keys that ``{}`` empties; a merge alone would keep what lower layers set."""

COMPONENTS = ("data.dataset", "data.projection", "network", "perturbation", "method", "evaluation.back_projection")
"""Keys of sections that name a component."""


def override_layers(pairs: Sequence[str]) -> list[DictConfig]:
    """Overrides as two layers. The lower one has the keys that a ``{}`` empties, so that others can then fill them.

    Args:
        pairs: as for `read_overrides`.

    Raises:
        ConfigError: as `read_overrides`.
    """
    emptied = OmegaConf.create()
    for one in (read_overrides([pair]) for pair in pairs):
        for path in filter(partial(_is_empty, one), MAPPINGS):
            OmegaConf.update(emptied, path, {})
    return [emptied, read_overrides(pairs)]


def empty_mappings(below: DictConfig, above: DictConfig) -> None:
    """Empty the `MAPPINGS` of a layer that are empty in the layer above it."""
    for path in filter(partial(_is_empty, above), MAPPINGS):
        OmegaConf.update(below, path, {}, merge=False)


def _is_empty(layer: DictConfig, path: str) -> bool:
    return bool(OmegaConf.select(layer, path, throw_on_resolution_failure=False) == {})


def read_overrides(pairs: Sequence[str]) -> DictConfig:
    """Read overrides. The value of a text key is used as it is, without surrounding quotes; other values are YAML.

    Args:
        pairs: ``key.path=value``. Later ones override earlier ones.

    Raises:
        ConfigError: no equals sign; a value that is not readable as YAML, contains a YAML comment or a number that is
            not decimal; or ``{}`` for a key that it does not empty.
    """
    layer = OmegaConf.create()
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"{pair!r}: not an override; write key.path=value, for example optim.lr=1e-3.")
        try:
            if key in _text_keys() and not value.startswith(("'", '"')):
                null = value in NULLS or (value == "~" and _text_keys()[key])
                OmegaConf.update(layer, key, None if null else value)
                continue
            _refuse_comment(pair, value)
            _refuse_other_numbers(pair, value)
            one = OmegaConf.create()
            one.merge_with_dotlist([pair])
            if not f"{key}.".startswith(tuple(f"{path}." for path in MAPPINGS)) and _is_empty(one, key):
                raise ConfigError(f"{pair}: changes nothing, because a mapping is merged. Write the keys to change.")
            empty_mappings(layer, one)
            layer.merge_with_dotlist([pair])
        except (yaml.YAMLError, OmegaConfBaseException) as error:
            raise ConfigError(
                f"{pair}: the value is not readable as YAML; put quotes around text with special characters, for "
                f"example KEY=\"'{{split}}/*.bin'\": {error}"
            ) from error
    return layer


def read_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Read ``key=value`` options of a component, as `read_overrides` reads overrides.

    Raises:
        ConfigError: as `read_overrides`.
    """
    return cast(dict[str, Any], OmegaConf.to_container(read_overrides(pairs)))


def quoted(value: object) -> str:
    """Text for a mapping or list within an override, in quotes if YAML could read it differently without them."""
    text = str(value)
    plain = re.fullmatch(r"[\w.~/-]*/[\w.~/-]*", text)  # with a slash, it is not a number, a boolean or null
    return text if plain else "'" + text.replace("'", "''") + "'"


def refuse_numbers(layer: DictConfig) -> None:
    """Refuse numbers and booleans as values of text keys: they are not the text that was written.

    Args:
        layer: sections of a config.

    Raises:
        ConfigError: YAML has read the value of a text key as a number or a boolean.
    """
    content = OmegaConf.to_container(layer)
    for path in _text_keys():
        found = content
        for part in path.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if isinstance(found, bool | int | float | bytes):
            kind = type(found).__name__
            raise ConfigError(f"{path}: is text, but YAML reads its value as {found!r} ({kind}). Put quotes around it.")


def refuse_scalars(layer: DictConfig) -> None:
    """Refuse a word or a number in place of a section, of a component, or of an entry of a list of these.

    Args:
        layer: sections of a config.

    Raises:
        ConfigError: a value is not the mapping, or the list of mappings, that its key needs.
    """
    _refuse_scalars(OmegaConf.to_container(layer), Config, "")


def _refuse_scalars(content: Any, kind: Any, path: str) -> None:
    """Compare a value with the type of its key in the schema; `path` is the key's."""
    wanted = dict if is_dataclass(kind) else get_origin(kind)
    if wanted not in (dict, list):
        return
    if not isinstance(content, dict | list):
        what = "a mapping" if wanted is dict else "a list"
        form = f"[{content}]" if wanted is list else "{KEY: VALUE}"
        form = f"{{name: {content}}}" if path in COMPONENTS else form
        raise ConfigError(f"{path}: is {what}, but has the value {content!r}. Write {form}.")
    if is_dataclass(kind) and isinstance(content, dict):
        hints = _hints(cast(type, kind))
        for key in content.keys() & hints.keys():
            _refuse_scalars(content[key], hints[key], f"{path}.{key}".removeprefix("."))
    elif wanted is list and isinstance(content, list):
        for number, entry in enumerate(content):
            _refuse_scalars(entry, get_args(kind)[0], f"{path}[{number}]")


@cache
def _hints(owner: type) -> dict[str, Any]:
    return get_type_hints(owner)


def other_kind(below: Any, above: Any, path: str = "") -> str:
    """The path of the first key that is a list in one layer and a mapping in the other; empty if there is none.

    Args:
        below: a layer, or a part of one.
        above: the layer or part that is merged into it.
        path: path of these parts, with a dot before it.
    """
    if isinstance(below, DictConfig) and isinstance(above, DictConfig):
        for key in map(str, above):
            if found := other_kind(below._get_node(key), above._get_node(key), f"{path}.{key}"):
                return found
        return ""
    kinds = {type(one) for one in (below, above) if isinstance(one, DictConfig | ListConfig)}
    return path.removeprefix(".") if len(kinds) == 2 else ""


def _refuse_comment(pair: str, value: str) -> None:
    """Refuse a value of which YAML would read only the part before a ``#``."""
    ends = [token.end_mark.index for token in yaml.scan(value) if token.end_mark.index > token.start_mark.index]
    if ignored := value[max(ends, default=0) :].strip():
        raise ConfigError(f"{pair}: YAML ignores {ignored!r} as a comment. Put quotes around the text: KEY=\"'a #1'\".")


def _refuse_other_numbers(pair: str, value: str) -> None:
    """Refuse a number that YAML reads in base 8 or 60."""
    try:
        parse_yaml(value)
    except ValueError as error:
        raise ConfigError(f"{pair}: {error}.") from error


@cache
def _text_keys() -> dict[str, bool]:
    """The keys whose value is text -> whether null is allowed."""
    found = schema_keys(Config())
    return {path: value is None for path, metadata, value in found if {"text", "choices"} & set(metadata)}
