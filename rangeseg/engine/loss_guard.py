"""Detection of a non-finite loss without a device synchronisation at each step."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor


class NotFiniteError(RuntimeError):
    """A loss is NaN or infinite; the message names the step, its scans and the last good checkpoint."""


class LossGuard:
    """Stores the first step with a non-finite loss on the device; `check` reads it when a run synchronises anyway.

    Args:
        fabric: gives the device of the losses and the processes.
        steps: number of steps whose names are kept; at least the number of steps between two calls of `check`.
    """

    def __init__(self, fabric: Fabric, steps: int) -> None:
        self._first_bad = torch.full((), -1, device=fabric.device)
        self._names: deque[tuple[int, list[str]]] = deque(maxlen=steps)
        self._fabric = fabric

    def reading(self, step: int, names: Iterable[str]) -> None:
        """Store the names of the scans that a step reads."""
        self._names.append((step, list(names)))

    def note(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """Test the losses of a step, on the device."""
        bad = ~torch.isfinite(torch.stack(list(losses.values())).sum())
        self._first_bad = torch.where(bad & (self._first_bad < 0), step, self._first_bad)

    def check(self, last: Path) -> None:
        """Raise an error if a loss was not finite.

        Args:
            last: path of the newest checkpoint, which need not exist.

        Raises:
            NotFiniteError: in all processes, if a loss was not finite in one.
        """
        bad = mine = int(self._first_bad)
        if self._fabric.world_size > 1:
            first = torch.where(self._first_bad < 0, torch.iinfo(torch.int64).max, self._first_bad)
            bad = int(cast(Tensor, self._fabric.all_reduce(first, reduce_op="min")))
            bad = -1 if bad == torch.iinfo(torch.int64).max else bad
        if bad < 0:
            return
        names = next((names for step, names in self._names if step == bad), [])
        read = ", ".join(names) if mine == bad else "another process read them, and its error names them"
        raise NotFiniteError(
            f"Step {bad}: a loss is not finite. Scans of the step: {read}. Last good checkpoint: "
            f"{last if last.is_file() else 'none yet'}. Lower optim.lr or consistency.weight, or set optim.clip, and "
            "continue with --resume."
        )
