"""Processes started by `torchrun` or `srun` that share one task, on one or several machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed

from rangeseg.launch import find_launch, init_method

T = TypeVar("T")

PATIENCE = timedelta(days=30)
"""Maximum time that a process waits for the others; torchrun ends all processes when one fails."""


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that share one task, from the view of this process.

    Args:
        rank: the number of this process, from 0.
        world_size: the number of processes.
        local_rank: the number of this process on its machine.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @staticmethod
    def init() -> ProcessGroup:
        """Join the processes that torchrun or srun started, and wait for them; otherwise, a group of one process.

        Raises:
            ValueError: the environment names a rank, but other required variables are missing.
        """
        launch = find_launch()
        if launch is None:
            return ProcessGroup()
        if not distributed.is_initialized():
            distributed.init_process_group(
                "gloo", init_method(), rank=launch.rank, world_size=launch.world_size, timeout=PATIENCE
            )
        return ProcessGroup(launch.rank, launch.world_size, launch.local_rank)

    @property
    def scope(self) -> str:
        """For messages: a count is that of the first process alone; empty if there is only one process."""
        return f", by the first of {self.world_size} processes" if self.world_size > 1 else ""

    def shard(self, items: Sequence[T]) -> Sequence[T]:
        """Every `world_size`-th item, beginning with item `rank`; the shards of all ranks contain each item once."""
        return items[self.rank :: self.world_size]

    def device(self, name: str) -> str:
        """The torch device of this process; auto gives each of several processes its own GPU."""
        if name == "auto" and self.world_size > 1 and torch.cuda.is_available():
            return f"cuda:{self.local_rank % torch.cuda.device_count()}"
        return name

    def all_reduce(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """The sum over all ranks, element by element; every rank gets it."""
        total = torch.from_numpy(values.copy())
        if self.world_size > 1:
            distributed.all_reduce(total)
        added: NDArray[np.int64] = total.numpy()
        return added

    def barrier(self) -> None:
        """Wait until all ranks have reached this call."""
        if self.world_size > 1:
            distributed.barrier()

    def close(self) -> None:
        """Leave the process group."""
        if self.world_size > 1:
            distributed.destroy_process_group()
