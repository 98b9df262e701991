"""Scores of a trained run on a split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, cast

import numpy as np

from rangeseg.data.range_views import RangeViews
from rangeseg.evaluation.evaluate import DISTANCE_EDGES_M, SampleCounts, Scores, Segmented, count_sample, sum_counts
from rangeseg.evaluation.metrics import ConfusionMatrix
from rangeseg.evaluation.reliability import Reliability
from rangeseg.inference.distributed import ProcessGroup
from rangeseg.inference.domain_check import DomainCheck
from rangeseg.inference.run import Run
from rangeseg.inference.segmenter import AnySample, Segmenter
from rangeseg.parallel import Progress, no_progress
from rangeseg.projection.checks import disable_first_scan_check
from rangeseg.types import Sample


def open_views(run: Run, split: str | None = None) -> Any:
    """The complete views of a split, with the preprocessing of the run.

    Args:
        run: a loaded run.
        split: train, val or test; None: the split of the config.

    Raises:
        ConfigError: the split does not exist.
    """
    source = run.experiment.open(split or run.config.evaluation.split)
    return run.experiment.views(source, stride=run.network.stride)


def score_run(
    run: Run,
    views: Any,
    *,
    group: ProcessGroup | None = None,
    by_sample: bool = False,
    pixels: bool = False,
    progress: Progress = no_progress,
    segmenter: Segmenter | None = None,
) -> Scores:
    """Score the predictions of the run's teacher for every element. Threads read, project and vote.

    The confidences of the predictions are also counted, but not with `pixels`.

    Args:
        run: a loaded run.
        views: from `open_views`.
        group: the processes that share the work; the scores cover all of them.
        by_sample: also keep the counts of each sample; requires a single process.
        pixels: also score every pixel of the range images, sample by sample, without threads.
        progress: shows the progress in the first process.
        segmenter: the run's segmenter, whose `domain_check` checks every scan of this process; None: make one.

    Raises:
        ValueError: a sample has no labels, there are no samples, or `pixels` is set for photographs.
    """
    if pixels and run.experiment.dataset.element == "pixel":
        raise ValueError("Photographs are already scored at their original pixels. Remove --level.")
    if len(views) == 0:
        raise ValueError("Nothing to score: the split has no samples.")
    group, classes = group or ProcessGroup(), run.label_map.num_classes
    mine = group.shard(range(len(views)))

    def write(index: int, sample: AnySample, found: Any) -> SampleCounts:
        return count_sample(cast(Sample, sample), found.labels, classes, distances=True, confidence=found.confidence)

    indices = mine if group.rank else progress(mine, "evaluating", len(mine))
    segmenter = segmenter or Segmenter(run)
    if isinstance(views, RangeViews):
        disable_first_scan_check(views.projection)
    counted: Iterable[SampleCounts]
    if pixels:
        segmented = _checked(run.experiment.segment(run.network, views, indices, run.device), segmenter.domain_check)
        counted = (count_sample(o.sample, o.elements, classes, distances=True, pixels=o.pixels) for o in segmented)
    else:
        batch = run.config.evaluation.batch
        counted = segmenter.stream(indices, views.sample, write, batch=batch, confidence=True, entropy=False)
    scores = sum_counts(counted, classes, by_sample=by_sample)
    return scores if group.world_size == 1 else _sum(scores, group)


def _checked(segmented: Iterable[Segmented], domain_check: DomainCheck) -> Iterator[Segmented]:
    """The same samples, each of them compared with the run."""
    for one in segmented:
        domain_check.check(one.sample.raster)
        yield one


def _sum(scores: Scores, group: ProcessGroup) -> Scores:
    """The scores summed over all processes; some processes may have no samples."""
    bins = list(pairwise(DISTANCE_EDGES_M))
    none = np.zeros_like(scores.overall.state)
    mine = [scores.overall.state, none if scores.pixels is None else scores.pixels.state]
    sure = scores.reliability or Reliability(scores.overall.num_classes)
    sure = Reliability(sure.num_classes, group.all_reduce(sure.state))
    mine += [scores.by_distance[edges].state if edges in scores.by_distance else none for edges in bins]
    total = group.all_reduce(np.stack(mine))
    overall, pixels, *each = (ConfusionMatrix(scores.overall.num_classes, state) for state in total)
    by_distance = dict(zip(bins, each, strict=True)) if total[2:].any() else {}
    return Scores(
        overall, by_distance, pixels=pixels if total[1].any() else None, reliability=sure if sure.count else None
    )
