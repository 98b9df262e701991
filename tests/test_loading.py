"""Streams: every batch a function of its number alone, whoever makes it and whenever."""

from __future__ import annotations

import threading
import time
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch

from rangeseg.data.loading import Batch, LoadingError, Stream
from rangeseg.types import IGNORE, View


class Numbers:
    """View `i` holds i and one draw from the generator it is given; some take longer, so that threads overtake."""

    def __init__(self, count: int, broken: int | None = None) -> None:
        self.count = count
        self.broken = broken

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return f"scan {index}"

    def view(self, index: int, rng: np.random.Generator) -> View:
        if index == self.broken:
            raise ValueError("cut off")
        time.sleep(0.002 * (index % 3 == 0))
        image = torch.full((2, 3, 4), float(index))
        image[1] = rng.random()
        return View(image, torch.ones(3, 4, dtype=torch.bool), torch.full((3, 4), index))


def stream(views: Numbers | None = None, **options: object) -> Stream:
    given = {"batch": 3, "seed": 7, "stream": 0, "workers": 0} | options
    return Stream(Numbers(10) if views is None else views, **given)  # type: ignore[arg-type]


def take(batches: Stream, count: int) -> list[Batch]:
    with batches:
        return list(islice(batches, count))


def assert_equal(a: list[Batch], b: list[Batch]) -> None:
    assert [batch.names for batch in a] == [batch.names for batch in b]
    for one, other in zip(a, b, strict=True):
        for name in ("image", "valid", "label"):
            assert torch.equal(getattr(one.view, name), getattr(other.view, name))


def names(batches: list[Batch]) -> list[str]:
    return [name for batch in batches for name in batch.names]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_number_of_workers_changes_nothing(workers: int) -> None:
    assert_equal(take(stream(workers=workers), 12), take(stream(), 12))


@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_is_starting_at_the_position(workers: int) -> None:
    whole = take(stream(), 12)
    assert_equal(take(stream(workers=workers, position=5), 7), whole[5:])


def test_every_view_comes_once_in_each_permutation_and_no_remainder_is_dropped() -> None:
    drawn = names(take(stream(), 20))  # 60 samples of 10 views
    epochs = [drawn[start : start + 10] for start in range(0, 60, 10)]
    assert all(sorted(epoch) == sorted(drawn[:10]) for epoch in epochs)
    assert len(set(drawn[:10])) == 10
    assert len({tuple(epoch) for epoch in epochs}) == 6


def test_fewer_views_than_a_batch_repeat() -> None:
    batch = take(stream(Numbers(2), batch=5), 1)[0]
    assert Counter(batch.names).most_common() in ([("scan 0", 3), ("scan 1", 2)], [("scan 1", 3), ("scan 0", 2)])
    draws = batch.view.image[:, 1, 0, 0]
    assert len(draws.unique()) == 5  # the same scan, augmented anew


def test_a_batch_is_its_views_stacked() -> None:
    batch = take(stream(), 1)[0]
    indices = [int(name.removeprefix("scan ")) for name in batch.names]
    assert batch.view.image.shape == (3, 2, 3, 4)
    assert batch.view.valid.all()
    assert batch.view.label[:, 0, 0].tolist() == indices
    assert batch.view.image[:, 0, 2, 3].tolist() == indices


@pytest.mark.parametrize("change", [{"seed": 8}, {"stream": 1}])
def test_seed_and_stream_change_order_and_augmentation(change: dict) -> None:
    one, other = take(stream(batch=10), 3), take(stream(batch=10, **change), 3)
    assert names(one) != names(other)
    drawn = [{float(value) for batch in batches for value in batch.view.image[:, 1, 0, 0]} for batches in (one, other)]
    assert not drawn[0] & drawn[1]


def test_ranks_read_together_what_one_process_would() -> None:
    alone = take(stream(batch=6), 4)
    ranks = [take(stream(batch=3, rank=rank, world=2), 4) for rank in range(2)]
    for whole, *parts in zip(alone, *ranks, strict=True):
        assert whole.names == parts[0].names + parts[1].names
        assert torch.equal(whole.view.image, torch.cat([part.view.image for part in parts]))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_names_the_scan_the_batch_and_the_cause_and_comes_again(workers: int) -> None:
    read: list[Batch] = []
    with stream(Numbers(10, broken=4), workers=workers) as batches:
        for _ in range(2):
            with pytest.raises(LoadingError, match=r"scan 4 \(batch \d\): cut off") as caught:
                read.extend(batches)
            assert isinstance(caught.value.__cause__, ValueError)
            assert f"(batch {len(read)})" in str(caught.value)


def test_no_thread_is_left_and_the_stream_goes_on_without() -> None:
    before = set(threading.enumerate())
    batches = stream(workers=3)
    first = list(islice(batches, 2))
    assert len(set(threading.enumerate()) - before) == 3
    batches.close()
    batches.close()
    assert set(threading.enumerate()) == before
    assert_equal(first + list(islice(batches, 2)), take(stream(), 4))


def test_batches_are_made_ahead() -> None:
    class Noted(Numbers):
        made = 0

        def view(self, index: int, rng: np.random.Generator) -> View:
            self.made += 1
            return super().view(index, rng)

    views = Noted(10)
    with stream(views, workers=2) as batches:
        next(batches)
        for _ in range(100):
            if views.made >= 9:
                break
            time.sleep(0.01)
        assert views.made == 9  # the one given and two ahead, 3 views each


@pytest.mark.skipif(not torch.cuda.is_available(), reason="pinned memory needs a GPU")
def test_pinned_batches() -> None:
    view = take(stream(pin=True), 1)[0].view
    assert view.image.is_pinned()
    assert view.label.is_pinned()
    assert (view.label != IGNORE).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"views": Numbers(0)}, "no views; give at least one"),
        ({"rank": 2, "world": 2}, "rank 2 of a world of 2"),
        ({"batch": 0}, "batch 0; give at least 1"),
        ({"workers": -1}, "workers -1; give at least 0"),
        ({"position": -1}, "position -1; give at least 0"),
        ({"seed": -1}, "seed -1; give at least 0"),
    ],
)
def test_wrong_arguments_say_what_to_give(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stream(**wrong)
