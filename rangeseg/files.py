"""Atomic writing: a file never appears incomplete."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def write_atomically(path: str | Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file atomically: after a crash it is either complete or unchanged.

    The content goes to a temporary file in the same folder (a dot, the name, ``.tmp``), is flushed to the disk and then
    takes the name. Missing parent folders are made.

    Args:
        path: the file.
        content: its bytes, or a function that writes them to the open binary file it is given.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 - the call that is atomic, by its own name
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
