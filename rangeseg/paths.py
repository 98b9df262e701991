"""Paths: without links, below a folder, with a home folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def absolute(path: str | Path) -> Path:
    """The absolute path without following links, so that a linked folder keeps its name; `Path.resolve` follows them.

    Args:
        path: path of a file or folder, which need not exist.
    """
    return Path(os.path.abspath(path))  # noqa: PTH100 - see above


def walk(folder: Path) -> Iterator[Path]:
    """Yield the paths of all files below a folder. Links are followed, except to a folder on the way or its parents."""
    for place, folders, names in os.walk(folder, followlinks=True):
        parent = Path(place)
        yield from (parent / name for name in names if (parent / name).is_file())
        way = [f"\0{os.path.realpath(one)}{os.sep}" for one in (parent, *parent.parents) if one.is_relative_to(folder)]
        folders[:] = [one for one in folders if f"\0{os.path.realpath(parent / one)}{os.sep}" not in "".join(way)]


def inside(folder: str | Path, name: str | Path) -> Path:
    """The path in a folder of a name that comes from data: a table, a list, a token, a prediction of a custom dataset.

    Only the name is checked. Links on the disk are made by the user, and are followed.

    Args:
        folder: folder that must contain the path.
        name: path relative to the folder.

    Raises:
        ValueError: the name is absolute, has a drive letter, a NUL or ``..``, or names no file.
    """
    text = os.fspath(name)
    parts = re.split(r"[/\\]", text)
    absolute = parts[0] == "" or re.match(r"[A-Za-z]:[/\\]", text) or (os.name == "nt" and ":" in text)
    if absolute or ".." in parts or "\0" in text or not set(parts) - {"", "."}:
        raise ValueError(
            f"{text!r} is not a path below {folder}, as names in data must be. Use this data only if you trust its "
            "source."
        )
    return Path(folder, name)


def expand_home(value: Any) -> Any:
    """Expand ``~`` and ``~user`` at the start of a string or path, also in dicts and lists, as a shell does."""
    if isinstance(value, dict):
        return {key: expand_home(within) for key, within in value.items()}
    if isinstance(value, list):
        return [expand_home(within) for within in value]
    if isinstance(value, str | Path) and re.match(r"~[^/\\]*([/\\]|$)", str(value)):
        return type(value)(os.path.expanduser(value))  # noqa: PTH111 - leaves unknown users alone
    return value
