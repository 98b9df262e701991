"""Processes of `torchrun` that share one task, on one machine or several."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed

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
        """This process from torchrun's environment, once all others have joined; a single process without torchrun.

        Raises:
            ValueError: the environment names a rank but not all that belongs to it.
        """
        world = int(os.environ.get("WORLD_SIZE", 1))
        if world == 1:
            return Rank()
        if missing := [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
            raise ValueError(
                f"WORLD_SIZE is {world}, but {', '.join(missing)} are not set; start the command with torchrun."
            )
        number = int(os.environ["RANK"])
        if not distributed.is_initialized():
            distributed.init_process_group("gloo", rank=number, world_size=world, timeout=PATIENCE)
        return Rank(number, world, int(os.environ.get("LOCAL_RANK", number)))

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Every world-th item, from this rank's on: together the ranks have each item once."""
        return items[self.number :: self.world]

    def device(self, name: str) -> str:
        """A torch device; auto gives each of several processes a GPU of its own."""
        if name == "auto" and self.world > 1 and torch.cuda.is_available():
            return f"cuda:{self.local % torch.cuda.device_count()}"
        return name

    def wait(self) -> None:
        """Return when all ranks have come here."""
        if self.world > 1:
            distributed.barrier()

    def leave(self) -> None:
        """Let the others go."""
        if self.world > 1:
            distributed.destroy_process_group()
