"""Reads YAML files of classes and sensors, and refuses what YAML 1.1 reads otherwise than people do.

A key that occurs twice is an error, because YAML would use the last one. Numbers like 010 and 1:30 are errors, because
YAML reads them as 8 and 90.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from rangeseg.files import read_whole

try:
    from yaml import CSafeLoader as SafeLoader  # seven times as fast
except ImportError:  # PyYAML without libyaml
    from yaml import SafeLoader  # type: ignore[assignment]

MERGE = "tag:yaml.org,2002:merge"
"""Tag of the key ``<<``. The keys that it merges may occur again."""

_OTHER_NUMBER = re.compile(r"[-+]?0[0-7_]*[1-7][0-7_]*|.*:.*")
"""Numbers in base 8 and in base 60; 00 is 0 in base 8, too."""


class _Loader(SafeLoader):
    """A safe loader that refuses a key which a mapping has twice, and numbers in base 8 or 60."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node."""
        seen: list[Any] = []
        for key in (key for key, _ in node.value if key.tag != MERGE):
            name = self.construct_object(key, deep=True)
            if name in seen:
                raise ValueError(f"line {key.start_mark.line + 1}: {name!r} occurs twice; keep one of them")
            seen.append(name)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """The integer of a node."""
        return self._decimal(node, super().construct_yaml_int(node))

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        """The number of a node."""
        return self._decimal(node, super().construct_yaml_float(node))

    def _decimal(self, node: yaml.ScalarNode, number: Any) -> Any:
        """The number, if people read the same one."""
        if _OTHER_NUMBER.fullmatch(node.value):
            where = f"line {node.start_mark.line + 1}: YAML reads {node.value} as {number}"
            raise ValueError(f"{where}; write a decimal number without a leading 0, or put quotes around text")
        return number


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", getattr(_Loader, f"construct_yaml_{_kind}"))


def check_entries(entries: Iterable[Mapping[str, Any]], keys: str, what: str) -> None:
    """Refuse keys that nothing reads, for example misspelled ones, and a name that is no text: YAML reads no as False.

    Args:
        entries: mappings, perhaps with a `name`.
        keys: the keys that they may have, separated by blanks.
        what: what each of them is, for errors.

    Raises:
        ValueError: one has another key, or its name is not text.
    """
    for entry in entries:
        if unknown := [key for key in entry if key not in keys.split()]:
            raise ValueError(f"{unknown[0]!r} is not a key of {what}; use {', '.join(keys.split())}")
        if not isinstance(name := entry.get("name", ""), str):
            raise ValueError(f"the name {name!r} in {what} is not text; put quotes around it")


def check_spelling(content: Iterable[str], keys: str) -> None:
    """Refuse keys that resemble a known key, because they are probably misspelled. Other unknown keys are allowed.

    Args:
        content: keys of a mapping.
        keys: the known keys, separated by blanks.

    Raises:
        ValueError: a key is not known and resembles one.
    """
    for key in content:
        close = get_close_matches(str(key), keys.split(), n=1, cutoff=0.75)
        if close and key not in keys.split():
            raise ValueError(f"{key!r} is not a key; did you mean {close[0]!r}?")


def read_yaml(path: str | Path) -> Any:
    """The content of a YAML file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not YAML in UTF-8, or as for `parse_yaml`.
    """
    try:
        return parse_yaml(read_whole(path).decode())
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def parse_yaml(text: str) -> Any:
    """The content of YAML text.

    Raises:
        yaml.YAMLError: it is not YAML.
        ValueError: a mapping has a key twice, or a number is not decimal.
    """
    return yaml.load(text, _Loader)
