"""A run's folder belongs to one training at a time."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning_fabric import Fabric

from rangeseg.files import try_lock
from rangeseg.registry import ConfigError

LOCK = ".training"
"""Name of the lock file, which names the process of the training. The file stays; the lock ends with the process."""


@contextmanager
def own_folder(folder: Path, fabric: Fabric) -> Iterator[None]:
    """Keep other trainings out of a folder.

    Args:
        folder: made if absent.
        fabric: its first process takes the lock for all.

    Raises:
        ConfigError: in all processes, if another training uses the folder, or it cannot be written to.
    """
    refusal, file = "", None
    if fabric.is_global_zero:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = (folder / LOCK).open("a+")
        except OSError as error:
            refusal = f"runtime.out: {folder} cannot be written to ({error.strerror}). Choose another folder."
        if file is not None and not try_lock(file):
            file.seek(0)
            refusal = (
                f"runtime.out: another training is using {folder} ({file.read().strip() or 'unknown process'}). "
                "Wait until it ends, or choose another folder."
            )
    try:
        if refusal := fabric.broadcast(refusal):
            raise ConfigError(refusal)
        if file is not None:
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}")
            file.flush()
        yield
    finally:
        if file is not None:
            file.close()
