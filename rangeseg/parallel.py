"""Map a function over items in threads: kernels, file reads and large NumPy operations release the GIL."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 2
"""Results made or in the making for each thread, so that the slowest item does not make the others wait."""

Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]
"""(items, word for what is done, how many) -> the same items; a progress bar moves as they are consumed."""


def no_progress(items: Iterable[Any], word: str, total: int) -> Iterable[Any]:
    """The items, without a progress bar.

    Args:
        items: in any number.
        word: what is done.
        total: how many items there are.
    """
    return items


def in_order(
    function: Callable[[T], R], items: Iterable[T], *, workers: int, start: Callable[[], None] | None = None
) -> Iterator[R]:
    """The results of all items, in the order of the items, whatever the number of threads.

    Only a few items are worked on ahead, so any number of them fits the memory.

    Args:
        function: what is done with each.
        items: in any number.
        workers: threads; 0 works on each item when its result is asked for.
        start: what each thread does first.

    Raises:
        ValueError: fewer than no workers; and whatever `function` or the items themselves raise, in its turn.
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
                if len(coming) > AHEAD * workers:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for future in coming:
                future.cancel()


def _started(function: Callable[[T], R], items: Iterable[T], executor: ThreadPoolExecutor) -> Iterator[Future[R]]:
    """The work on each item; an item that cannot be had is work that fails, after what came before it."""
    supply = iter(items)
    while True:
        try:
            yield executor.submit(function, next(supply))
        except StopIteration:
            return
        except Exception as error:  # whatever it is, it is raised where the result is asked for
            failed: Future[R] = Future()
            failed.set_exception(error)
            yield failed
            return


def in_groups(items: Iterable[T], limit: int, key: Callable[[T], object]) -> Iterator[list[T]]:
    """Items in their order, up to `limit` together, of one key each; a full group does not wait for the next item."""
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
    except Exception:  # an item that cannot be had: those before it come first
        if group:
            yield group
        raise
    if group:
        yield group
