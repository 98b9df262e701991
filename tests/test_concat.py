"""Several sources of views as one, and the share of each."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from rangeseg.config import Config
from rangeseg.data.concat import ConcatViews, times_for_shares
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.training_data import TrainingData
from rangeseg.registry import ConfigError


class Named:
    """Views that are their own names."""

    def __init__(self, letter: str, size: int) -> None:
        self.letter, self.size = letter, size

    def __len__(self) -> int:
        return self.size

    def name(self, index: int) -> str:
        return f"{self.letter}{index}"

    def view(self, index: int, rng: np.random.Generator) -> Any:
        return self.name(index)


def test_every_view_of_a_part_occurs_as_often_as_its_part() -> None:
    joined = ConcatViews([Named("a", 2), Named("b", 3)], [3, 1])  # type: ignore[list-item]
    assert [joined.name(index) for index in range(9)] == ["a0", "a1", "a0", "a1", "a0", "a1", "b0", "b1", "b2"]
    assert Counter(joined.view(i, np.random.default_rng(0)) for i in range(9)) == dict(a0=3, a1=3, b0=1, b1=1, b2=1)  # type: ignore[comparison-overlap]
    with pytest.raises(ValueError, match="give a number >= 1 for each"):
        ConcatViews([Named("a", 2)], [0])  # type: ignore[list-item]


@pytest.mark.parametrize("sizes", [(35, 1000), (1000, 35), (35, 35), (7, 1200, 52)])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.75, 0.9])
def test_shares_are_met_and_the_rest_is_in_proportion(sizes: tuple[int, ...], share: float) -> None:
    shares = [None] * (len(sizes) - 1) + [share]
    times = times_for_shares(sizes, shares)
    views = np.array(times) * sizes
    assert views[-1] / views.sum() == pytest.approx(share, rel=0.35)  # whole numbers of times
    assert len(set(times[:-1])) == 1
    assert min(times) == 1


def test_without_shares_every_view_occurs_once() -> None:
    assert times_for_shares([35, 1000, 8], [None] * 3) == [1, 1, 1]


@pytest.mark.parametrize("shares", [(0.5, 0.5, None), (0.3, 0.3, 0.3), (0.7, 0.7, None)])
def test_shares_that_cannot_be_are_refused(shares: tuple[float | None, ...]) -> None:
    with pytest.raises(ValueError, match="they must add up to"):
        times_for_shares([3, 4, 5], shares)


def test_a_config_gives_a_share(tiny_config: Config) -> None:
    other = {"root": tiny_config.data.root, "dataset": {"name": "semantic_kitti"}, "split": "val"}
    tiny_config.data.labelled_from = [other | {"share": 0.8}]
    labelled = TrainingData.open(Experiment(tiny_config)).labelled
    names = Counter(labelled.name(index) for index in range(len(labelled)))
    assert names == {"00/000000": 1, "00/000001": 1, "00/000002": 1, "08/000000": 6, "08/000001": 6}
    for share, said in (
        (1.5, "share: 1.5 is not"),
        ("half", "share: 'half' is not a valid share"),
        (True, "True is not"),
    ):
        tiny_config.data.labelled_from = [other | {"share": share}]
        with pytest.raises(ConfigError, match=said):
            TrainingData.open(Experiment(tiny_config))
    tiny_config.data.labelled = "none"
    tiny_config.data.labelled_from = [other | {"share": 0.5}]
    with pytest.raises(ConfigError, match=r"data\.labelled_from: The shares add up to 0.5; they must add up to 1"):
        TrainingData.open(Experiment(tiny_config))
    tiny_config.data.labelled = "all"
    tiny_config.data.labelled_from = [other | {"share": 0.5}, other | {"share": 0.5}]
    with pytest.raises(ConfigError, match=r"data\.labelled_from: The shares add up to 1; they must"):
        TrainingData.open(Experiment(tiny_config))
