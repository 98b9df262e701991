"""Scores of a trained run on a split."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rangeseg.evaluation.evaluate import Scores, score
from rangeseg.inference.run import Run

Watch = Callable[[Iterable[int], str, int], Iterable[int]]
"""(indices, word for what is done, how many) -> the same indices, perhaps with a bar."""


def open_views(run: Run, split: str | None = None) -> Any:
    """The whole views of a split, as the run's network reads them.

    Args:
        run: loaded.
        split: train, val or test; None for the config's.

    Raises:
        ConfigError: no such split.
    """
    source = run.experiment.open(split or run.config.evaluation.split)
    return run.experiment.views(source, stride=run.network.stride)


def score_run(run: Run, views: Any, *, watch: Watch = lambda indices, word, total: indices) -> Scores:
    """Score the predictions of the run's teacher for every element.

    Args:
        run: loaded.
        views: of `open_views`.
        watch: shows the progress.

    Raises:
        ValueError: a sample has no labels, or there are none.
    """
    indices = watch(range(len(views)), "evaluating", len(views))
    segmented = run.experiment.segment(run.network, views, indices, run.device)
    return score(segmented, run.label_map.num_classes, distances=True)
