"""Endless batches of views, identical for any number of workers. A stream can start at any batch.

Batch k of rank r holds the global samples ``(k * world + r) * batch + [0, batch)``. Global sample g is element
``g mod n`` of permutation ``g div n`` of the n views. Permutations and augmentations depend only on
``(seed, stream)`` and their own number, so a stream is resumed by starting at another position.

Shapes: B views in a batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray

from rangeseg.types import View, fields_of

_ORDER, _AUGMENT = 0, 1  # purpose of a generator; separates the two kinds of draws


class Views(Protocol):
    """Training views by index: `RangeViews`, `PhotoViews`."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """The name of view `index` in reports."""
        ...

    def view(self, index: int, rng: np.random.Generator) -> View:
        """View `index`, augmented from `rng`."""
        ...


@dataclass(frozen=True)
class Batch:
    """The part of one stream that one training step reads.

    Args:
        view: B views, with a leading B on every field.
        names: B names, for messages.
    """

    view: View
    names: tuple[str, ...]

    def join(self, other: Batch) -> Batch:
        """Both batches as one, in page-locked memory if this batch is."""
        view = View.join((self.view, other.view))
        pinned = view.map(torch.Tensor.pin_memory) if self.view.image.is_pinned() else view
        return Batch(pinned, self.names + other.names)


class LoadingError(ValueError):
    """A view could not be made; the message names the sample and the cause."""


class Stream:
    """An endless iterator over shuffled batches, prepared in threads: kernels and file reads release the GIL.

    Every view occurs once in each permutation. A batch that reaches the end of a permutation continues in the next, so
    no view is dropped. If there are fewer than B views, a view can occur several times in a batch.

    Args:
        views: makes the n views.
        batch: B, of this rank.
        seed: seed of the run.
        stream: number of the stream; different for the streams of one run (labelled, unlabelled a, unlabelled b).
        rank: rank of this process.
        world: number of processes; together they read the same batches as one process with `world` * B.
        workers: number of threads; 0: each batch is made when it is requested.
        position: number of the first batch.
        pin: put batches into page-locked memory, so that copies to a GPU do not block.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        views: Views,
        *,
        batch: int,
        seed: int,
        stream: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 2,
        position: int = 0,
        pin: bool = False,
    ) -> None:
        if len(views) == 0:
            raise ValueError("Stream got no views; give at least one.")
        if not 0 <= rank < world:
            raise ValueError(f"Stream got rank {rank} of a world of {world}; give 0 <= rank < world.")
        for name, value, least in (
            ("batch", batch, 1),
            ("workers", workers, 0),
            ("position", position, 0),
            ("seed", seed, 0),
            ("stream", stream, 0),
        ):
            if value < least:
                raise ValueError(f"Stream got {name} {value}; give at least {least}.")
        self._views = views
        self._batch = batch
        self._key = (seed, stream)
        self._rank = rank
        self._world = world
        self._pin = pin
        self._position = position
        self._ahead = workers + 1
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="rangeseg-stream") if workers else None
        self._coming: deque[Future[Batch]] = deque()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        if self._executor is None:
            made = self._make(self._position)
        else:
            while len(self._coming) < self._ahead:
                self._coming.append(self._executor.submit(self._make, self._position + len(self._coming)))
            made = self._coming[0].result()  # stays in the queue if it raises, so the next call raises again
            self._coming.popleft()
        self._position += 1
        return made

    def close(self) -> None:
        """Drop the batches made ahead and end the threads; the stream continues at its position without threads."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None
            self._coming.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _make(self, position: int) -> Batch:
        """Make batch number `position`; the result does not depend on the thread."""
        first = (position * self._world + self._rank) * self._batch
        views, names = [], []
        for number in range(first, first + self._batch):
            epoch, place = divmod(number, len(self._views))
            index = int(_permutation(*self._key, epoch, len(self._views))[place])
            names.append(self._views.name(index))
            try:
                views.append(self._views.view(index, np.random.default_rng((*self._key, _AUGMENT, number))))
            except Exception as error:
                raise LoadingError(f"{names[-1]} (batch {position}): {error}") from error
        return Batch(_stack(views, self._pin), tuple(names))


@lru_cache(maxsize=16)
def _permutation(seed: int, stream: int, epoch: int, size: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, stream, _ORDER, epoch)).permutation(size)


def _stack(views: Sequence[View], pin: bool) -> View:
    """`View.stack` in the calling thread only, directly into page-locked memory if `pin`.

    Torch's own copies start OpenMP threads in every worker, which then compete for the cores.
    """
    fields = [field for field in fields_of(views) if field]
    made = [torch.empty((len(views), *field[0].shape), dtype=field[0].dtype, pin_memory=pin) for field in fields]
    for batch, field in zip(made, fields, strict=True):
        for row, one in enumerate(field):
            np.copyto(batch.numpy()[row], one.numpy())
    return View(*made)
