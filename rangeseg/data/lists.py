"""Lists of names: the labelled scans or photographs of an experiment, one per line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rangeseg.files import read_whole


def read_names(path: str | Path, *, pattern: str, what: str, form: str, example: str) -> tuple[str, ...]:
    """Read a list of names, one per line, without empty lines, comments (`without_comment`) and a byte order mark.

    Args:
        path: the file.
        pattern: regular expression that a whole name must match.
        what: scan or photograph, for errors.
        form: format of a name, for errors, e.g. ``SS/FFFFFF``.
        example: example of a name, for errors.

    Raises:
        ValueError: the file cannot be read, contains no names, or a line is not a name.
    """
    try:
        lines = read_whole(path).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); give a text file of {form} lines.") from error
    names = []
    for number, line in enumerate(lines, start=1):
        name = without_comment(line)
        if name and not re.fullmatch(pattern, name):
            raise ValueError(f"{path}, line {number}: {name!r} is not a {what}; write {form}, for example {example}.")
        names += [name] if name else []
    if not names:
        raise ValueError(f"{path}: lists no {what}; write one {form} per line.")
    return tuple(names)


def without_comment(line: str) -> str:
    """The name on a line of a list, or an empty text; a ``#`` within a word is a part of the name."""
    return re.sub(r"(^|\s)#.*", "", line).strip()


def natural_order(name: str) -> tuple[list[Any], str]:
    """Sort key of a name that orders numbers by value: 8, 9, 10; and 1.1, 1.15, 1.2, as in time stamps."""
    parts: list[Any] = re.split(r"(\d+)((?:\.\d+)?)", name)
    parts[1::3] = map(int, parts[1::3])  # the decimals after it are in order as text
    return parts, name


def place_of_list(root: object, subset: object) -> object:
    """The place that errors about a list name: the list file, if it is one, and the folder of the dataset."""
    return f"{subset}: in {root}" if isinstance(subset, str | Path) else root


def keep_listed(names: Sequence[str], listed: Iterable[str], where: object, *, what: str, cure: str) -> list[str]:
    """The listed names, in the order of `names`.

    Args:
        names: all names.
        listed: names to keep; a scene or sequence (the part of a name before its last slash) keeps all its names,
            unless it is a name itself.
        where: folder or list, for errors; see `place_of_list`.
        what: scan or photograph, for errors.
        cure: advice on valid names, for errors.

    Raises:
        ValueError: a listed name does not exist, or the list is empty.
    """
    wanted, place = set(listed), {name: name.rpartition("/")[0] or name for name in names}
    if unknown := sorted(wanted.difference(names, place.values())):
        raise ValueError(
            f"{where}: {len(unknown)} of {len(wanted)} listed {what}s do not exist: {', '.join(unknown[:5])}"
            f"{', ...' if len(unknown) > 5 else ''}. {cure}"
        )
    if not wanted:
        raise ValueError(f"{where}: the list names no {what}; give at least one. {cure}")
    scenes = wanted.difference(names)
    return [name for name in names if name in wanted or place[name] in scenes]
