"""Overrides, ``key.path=value``, and keys whose value is text: YAML must not turn a name into a number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rangeseg.config.checks import schema_keys
from rangeseg.config.schema import Config
from rangeseg.registry import ConfigError

NULLS = ("", "null", "Null", "NULL")
"""Values that are null without quotes; ``~`` is null only where null is allowed, and else the home folder."""


def read_overrides(pairs: Sequence[str]) -> DictConfig:
    """Read overrides. The value of a text key is used as it is, without surrounding quotes; other values are YAML.

    Args:
        pairs: ``key.path=value``. Later ones override earlier ones.

    Raises:
        ConfigError: no equals sign, or a value that is not readable as YAML or contains a YAML comment.
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


def _refuse_comment(pair: str, value: str) -> None:
    """Refuse a value of which YAML would read only the part before a ``#``."""
    ends = [token.end_mark.index for token in yaml.scan(value) if token.end_mark.index > token.start_mark.index]
    if ignored := value[max(ends, default=0) :].strip():
        raise ConfigError(f"{pair}: YAML ignores {ignored!r} as a comment. Put quotes around the text: KEY=\"'a #1'\".")


@cache
def _text_keys() -> dict[str, bool]:
    """The keys whose value is text -> whether null is allowed."""
    found = schema_keys(Config())
    return {path: value is None for path, metadata, value in found if {"text", "choices"} & set(metadata)}
