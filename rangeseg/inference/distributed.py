"""Processes that share one piece of work: those that `torchrun` or `srun` started, on one machine or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed

from rangeseg.launch import find_launch, meeting_place

T = TypeVar("T")

PATIENCE = timedelta(days=30)
"""How long a process waits for the others; torchrun ends all of them when one fails."""


@dataclass(frozen=True)
class Rank:
    """One of the processes.

    Args:
        number: which, from 0.
        world: how many there are.
        local: which on its machine.
    """

    number: int = 0
    world: int = 1
    local: int = 0

    @staticmethod
    def join() -> Rank:
        """This process, as torchrun or srun started it, once all others are there; alone without one.

        Raises:
            ValueError: the environment names a rank but not all that belongs to it.
        """
        launch = find_launch()
        if launch is None:
            return Rank()
        if not distributed.is_initialized():
            distributed.init_process_group(
                "gloo", meeting_place(), rank=launch.number, world_size=launch.world, timeout=PATIENCE
            )
        return Rank(launch.number, launch.world, launch.local)

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Every world-th item, from this rank's on: together the ranks have each item once."""
        return items[self.number :: self.world]

    def device(self, name: str) -> str:
        """A torch device; auto gives each of several processes a GPU of its own."""
        if name == "auto" and self.world > 1 and torch.cuda.is_available():
            return f"cuda:{self.local % torch.cuda.device_count()}"
        return name

    def sum(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Element by element over all ranks; every rank gets it."""
        total = torch.from_numpy(values.copy())
        if self.world > 1:
            distributed.all_reduce(total)
        added: NDArray[np.int64] = total.numpy()
        return added

    def wait(self) -> None:
        """Return when all ranks have come here."""
        if self.world > 1:
            distributed.barrier()

    def leave(self) -> None:
        """Let the others go."""
        if self.world > 1:
            distributed.destroy_process_group()
