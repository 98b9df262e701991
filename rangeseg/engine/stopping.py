"""Ctrl-C and SIGTERM: the step is finished, a checkpoint is written, and the exit code tells which signal it was."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

SIGNALS = (signal.SIGINT, signal.SIGTERM)

AGAIN_S = 2.0
"""Seconds after which another signal counts as a second one; before, a launcher may have forwarded the first one."""


class Stopped(KeyboardInterrupt):
    """A signal stopped the work, and the work so far is saved.

    Args:
        words: the message: what was done, and how to continue.
        number: number of the signal; the exit code `code` is 128 + number, as in a shell.
    """

    def __init__(self, words: str, number: int) -> None:
        self.words, self.code = words, 128 + number
        super().__init__(words, self.code)

    def __str__(self) -> str:
        return self.words


class StopRequest:
    """Stores the first SIGINT or SIGTERM within a `with` block; a second one has its usual effect."""

    def __init__(self) -> None:
        self.number = 0
        """Number of the signal; 0: none."""
        self._before: dict[int, Any] = {}
        self._came = 0.0

    def agreed(self, fabric: Fabric, *, due: bool) -> int:
        """The signal that one of the processes got, the same number in all processes; 0: none.

        Args:
            fabric: gives the processes.
            due: several processes exchange their signals now, which waits for all of them; False: several return 0.
        """
        if fabric.world_size == 1:
            return self.number
        if not due:
            return 0
        mine = torch.tensor(self.number, device=fabric.device)  # waits for a GPU
        return int(cast(Tensor, fabric.all_reduce(mine, reduce_op="max")))

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():  # only it can set signal handlers
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number and time.monotonic() - self._came >= AGAIN_S:
            self.__exit__()
            signal.raise_signal(number)
        elif not self.number:
            self.number, self._came = number, time.monotonic()
