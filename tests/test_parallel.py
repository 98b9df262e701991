"""Threads change the time that work takes, and nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from rangeseg.parallel import AHEAD, in_groups, in_order


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.01 if number % 4 == 0 else 0)
        return number * number

    assert list(in_order(slow_first, range(20), workers=workers)) == [n * n for n in range(20)]
    assert list(in_order(slow_first, [], workers=workers)) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_only_a_few_items_are_taken_ahead(workers: int) -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = in_order(str, items(), workers=workers)
    assert [next(results), next(results)] == ["0", "1"]
    assert len(taken) <= 2 + AHEAD * workers


def test_a_slow_source_waits_for_one_more_item_at_most() -> None:
    """As of a live sensor: 1 comes out when 2 has come in."""
    came, results = [], in_order(str, iter(lambda: (came.append(1), time.sleep(0.02), len(came))[-1], 9), workers=3)
    for number in range(1, 6):
        assert next(results) == str(number)
        assert len(came) <= number + 1


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_in_its_turn_and_ends_the_work(workers: int) -> None:
    started = []

    def fail_at_three(number: int) -> int:
        started.append(number)
        if number == 3:
            raise ValueError("three")
        return number

    results = in_order(fail_at_three, range(100), workers=workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert len(started) < 20


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_an_item_that_cannot_be_had_fails_after_those_before_it(workers: int) -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise ValueError("no more")

    results = in_order(str, items(), workers=workers)
    assert [next(results) for _ in range(3)] == ["0", "1", "2"]
    with pytest.raises(ValueError, match="no more"):
        next(results)


def test_groups_are_of_one_key_and_no_larger_than_allowed() -> None:
    assert list(in_groups([1, 1, 1, 2, 1], 2, lambda n: n)) == [[1, 1], [1], [2], [1]]
    assert list(in_groups([], 2, lambda n: n)) == []


def test_a_full_group_comes_at_once_and_one_before_an_error_too() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise ValueError("no more")

    groups = in_groups(items(), 2, lambda n: 0)
    assert [next(groups), next(groups)] == [[0, 1], [2]]
    with pytest.raises(ValueError, match="no more"):
        next(groups)


def test_several_items_are_worked_on_at_once() -> None:
    """Each waits for the other: one after the other they would wait for ever."""
    together = threading.Barrier(2, timeout=5)
    assert len(list(in_order(lambda _: together.wait(), range(2), workers=2))) == 2


def test_a_negative_number_of_workers_is_refused() -> None:
    with pytest.raises(ValueError, match="give 0 or more"):
        list(in_order(str, [1], workers=-1))
