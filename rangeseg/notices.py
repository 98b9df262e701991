"""Notices: warnings for the user, in one line that names the file, when nothing fails.

In Python, a notice is a warning, shown once for each text and place. The command line prints each text once as
`warning: FILE: ...` (`commands/console.py`), and `rangeseg validate` counts it as a problem.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Notice(UserWarning):
    """One line: the file, what was found in it, and what to do."""


def notify(text: str) -> None:
    """Warn the user.

    Args:
        text: one line; it begins with the name of the file and a colon, if there is a file.
    """
    warnings.warn(text, Notice, stacklevel=3)


@contextmanager
def collected_notices() -> Iterator[list[str]]:
    """Collect the notices of all threads in a list inside the block, instead of showing them.

    Enter the block in the main thread before other threads start, because all threads share Python's warning filters.
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
