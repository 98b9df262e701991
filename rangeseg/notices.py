"""What a user must be told though nothing fails: one line that names the file.

In Python it is a warning, once for each text. The command line prints `warning: FILE: ...` (`commands/console.py`), and
`rangeseg validate` counts it as a problem.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Notice(UserWarning):
    """One line: the file, what was found in it, and what to do."""


def notify(text: str) -> None:
    """Tell the user.

    Args:
        text: begins with the file's name and a colon, where there is a file.
    """
    warnings.warn(text, Notice, stacklevel=3)


@contextmanager
def collected_notices() -> Iterator[list[str]]:
    """A list that grows by every notice, of all threads, instead of what would be done with it.

    Enter it in the main thread, before the threads start: Python keeps one table of warnings for all of them.
    """
    found: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", Notice)
        shown = warnings.showwarning

        def keep(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, Notice):
                found.append(str(message))
            else:
                shown(message, category, *place, **more)

        warnings.showwarning = keep
        yield found
