"""Reads YAML files of classes and sensors. A key that occurs twice is an error, because YAML would use the last one."""

from __future__ import annotations

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


class _Loader(SafeLoader):
    """A safe loader that refuses a key which a mapping has twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node."""
        seen: list[Any] = []
        for key in (key for key, _ in node.value if key.tag != MERGE):
            name = self.construct_object(key, deep=True)
            if name in seen:
                raise ValueError(f"line {key.start_mark.line + 1}: {name!r} occurs twice; keep one of them")
            seen.append(name)
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path) -> Any:
    """The content of a YAML file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not YAML in UTF-8, or a mapping has a key twice.
    """
    text = read_whole(path).decode()
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
