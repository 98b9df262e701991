"""Lists of names: the labelled scans or photographs of an experiment, one per line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from rangeseg.files import read_whole


def read_names(path: str | Path, *, pattern: str, what: str, form: str, example: str) -> tuple[str, ...]:
    """Read a list: one name a line; empty lines and lines from ``#`` on are left out.

    Args:
        path: the file.
        pattern: regular expression of a whole name.
        what: what a name names, for errors: scan or photograph.
        form: how a name is written, for errors, e.g. ``SS/FFFFFF``.
        example: a name, for errors.

    Raises:
        ValueError: the file cannot be read, is empty, or a line is no name.
    """
    try:
        lines = read_whole(path).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); give a text file of {form} lines.") from error
    names = []
    for number, line in enumerate(lines, start=1):
        name = line.partition("#")[0].strip()
        if name and not re.fullmatch(pattern, name):
            raise ValueError(f"{path}, line {number}: {name!r} is not a {what}; write {form}, for example {example}.")
        names += [name] if name else []
    if not names:
        raise ValueError(f"{path}: lists no {what}; write one {form} per line.")
    return tuple(names)


def place_of_list(root: object, subset: object) -> object:
    """What errors of a list name: the list where it is a file, and the folder that it is of."""
    return f"{subset}: in {root}" if isinstance(subset, str | Path) else root


def keep_listed(names: Sequence[str], listed: Iterable[str], where: object, *, what: str, cure: str) -> list[str]:
    """The names that are listed, in their own order.

    Args:
        names: all there are.
        listed: those to keep; what stands before the last slash of names, a scene or sequence, keeps all of them.
        where: the folder, for errors.
        what: what a name names, for errors: scan or photograph.
        cure: for errors, how to name one.

    Raises:
        ValueError: a listed name is not there, or none is listed.
    """
    wanted, place = set(listed), {name: name.rpartition("/")[0] or name for name in names}
    if unknown := sorted(wanted.difference(names, place.values())):
        raise ValueError(
            f"{where}: {len(unknown)} of {len(wanted)} listed {what}s do not exist: {', '.join(unknown[:5])}"
            f"{', ...' if len(unknown) > 5 else ''}. {cure}"
        )
    if not wanted:
        raise ValueError(f"{where}: the list names no {what}; give at least one. {cure}")
    return [name for name in names if name in wanted or place[name] in wanted]
