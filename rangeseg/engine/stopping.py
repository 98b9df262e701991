"""Ctrl-C and SIGTERM: the step is finished, the checkpoint written, and the exit code tells which it was."""

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
"""A signal after so many seconds is a second one; launchers pass a first one on to processes that have it already."""


class Stopped(KeyboardInterrupt):
    """Work was stopped by a signal, in order.

    Args:
        words: what there is, and how to go on.
        number: the signal's; `code` is what a shell calls the exit.
    """

    def __init__(self, words: str, number: int) -> None:
        self.words, self.code = words, 128 + number
        super().__init__(words, self.code)

    def __str__(self) -> str:
        return self.words


class StopRequest:
    """Remembers the first SIGINT or SIGTERM within a `with` block; a second one acts as it would without."""

    def __init__(self) -> None:
        self.number = 0
        """The signal's; 0: none came."""
        self._before: dict[int, Any] = {}
        self._came = 0.0

    def agreed(self, fabric: Fabric, *, due: bool) -> int:
        """The signal that one of the processes got, the same in all; 0: none.

        Args:
            fabric: of the processes.
            due: several processes ask each other now, which waits for all of them.
        """
        if fabric.world_size == 1:
            return self.number
        mine = torch.tensor(self.number, device=fabric.device)
        return int(cast(Tensor, fabric.all_reduce(mine, reduce_op="max"))) if due else 0

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():  # signals reach no other
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
