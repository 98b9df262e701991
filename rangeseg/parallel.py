"""One function over many things in threads: kernels, file reads and NumPy's large operations release the GIL."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 2
"""Results made or in the making for each thread, so that the slowest item does not make the others wait."""


def in_order(function: Callable[[T], R], items: Iterable[T], *, workers: int) -> Iterator[R]:
    """The results of all items, in the order of the items, whatever the number of threads.

    Only a few items are worked on ahead, so any number of them fits the memory.

    Args:
        function: what is done with each.
        items: in any number.
        workers: threads; 0 works on each item when its result is asked for.

    Raises:
        ValueError: fewer than no workers; and whatever `function` raises, in its item's turn.
    """
    if workers < 0:
        raise ValueError(f"There are {workers} workers; give 0 or more.")
    if workers == 0:
        yield from map(function, items)
        return
    coming: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="rangeseg-worker") as executor:
        try:
            for item in items:
                coming.append(executor.submit(function, item))
                if len(coming) > AHEAD * workers:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for future in coming:
                future.cancel()
