"""Map a function over items in threads: kernels, file reads and large NumPy operations release the GIL."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 2
"""Number of started items per thread, so that a slow item does not make the other threads wait."""

Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]
"""(items, activity, number of items) -> the same items; a progress bar moves as they are consumed."""


def no_progress(items: Iterable[Any], word: str, total: int) -> Iterable[Any]:
    """The items, without a progress bar.

    Args:
        items: any number of items.
        word: the activity; unused.
        total: number of items; unused.
    """
    return items


def in_order(
    function: Callable[[T], R], items: Iterable[T], *, workers: int, start: Callable[[], None] | None = None
) -> Iterator[R]:
    """Yield the results of all items in the order of the items, for any number of threads.

    Only a few items are processed ahead, so that memory does not depend on the number of items.

    Args:
        function: is called with each item.
        items: any number of items.
        workers: number of threads; 0: each item is processed when its result is requested.
        start: called first in each thread.

    Raises:
        ValueError: `workers` is negative. An error of `function` or of the items is raised in place of its result.
    """
    if workers < 0:
        raise ValueError(f"Got {workers} workers; give 0 or more.")
    if workers == 0:
        yield from map(function, items)
        return
    coming: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="rangeseg-worker", initializer=start) as executor:
        try:
            for future in _started(function, items, executor):
                coming.append(future)
                if len(coming) > AHEAD * workers or coming[0].done():  # one for one, so that the threads stay busy
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for future in coming:
                future.cancel()


def _started(function: Callable[[T], R], items: Iterable[T], executor: ThreadPoolExecutor) -> Iterator[Future[R]]:
    """Submit each item and yield its future. If getting an item fails, the last future has the error."""
    supply = iter(items)
    while True:
        try:
            yield executor.submit(function, next(supply))
        except StopIteration:
            return
        except Exception as error:  # raised when the result is requested
            failed: Future[R] = Future()
            failed.set_exception(error)
            yield failed
            return


def in_groups(items: Iterable[T], limit: int, key: Callable[[T], object]) -> Iterator[list[T]]:
    """Group consecutive items with equal keys, up to `limit`; a full group is yielded before the next item is read.

    Raises:
        ValueError: `limit` is below 1.
    """
    if limit < 1:
        raise ValueError(f"Got a batch of {limit}; give 1 or more.")
    group: list[T] = []
    try:
        for item in items:
            if group and key(item) != key(group[0]):
                yield group
                group = []
            group.append(item)
            if len(group) == limit:
                yield group
                group = []
    except Exception:  # reading an item failed: the items before it are yielded first
        if group:
            yield group
        raise
    if group:
        yield group
