"""`rangeseg fit-head`: fits a point head for a trained run to the labelled points of its training scans.

The network is not changed. Only points with more than one predicted class in their window are used; see `HeadLabels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F

from rangeseg.engine.inputs import ScanInput
from rangeseg.engine.training_data import open_views, parts_of
from rangeseg.evaluation.point_head import PointHead, neighbours, undecided, write_head
from rangeseg.inference.run import Run
from rangeseg.inference.segmenter import Segmenter
from rangeseg.parallel import Progress, no_progress
from rangeseg.projection.range_image import RangeImage
from rangeseg.scan_formats.checks import guarded
from rangeseg.types import IGNORE

POINTS = 4000
"""Maximum number of points, all of one scan, in a training step."""


@dataclass(frozen=True)
class TrainingExample:
    """The training data of a point head from one scan.

    Args:
        image: the range image of the scan.
        probabilities: (H * W, K) float16, predicted by the network.
        points: (N,) indices of the labelled points that are undecided, see `undecided`.
        label: (N,) train ids of these points.
    """

    image: RangeImage
    probabilities: torch.Tensor
    points: np.ndarray
    label: np.ndarray


def fit_head(
    run: Run,
    out: Path,
    *,
    steps: int = 600,
    scans: int = 100,
    window: int = 5,
    seed: int = 0,
    progress: Progress = no_progress,
) -> PointHead:
    """Fit a point head and write it.

    Args:
        run: a loaded run. The labels are those that its training read: see `data.labelled`, `labelled_from`,
            `label_fraction` and `carried`.
        out: the file of the head.
        steps: number of steps of Adam, each on up to `POINTS` points of one scan.
        scans: maximum number of labelled scans to use, evenly spread.
        window: side of the window, S, pixels; odd.
        seed: seed of the initial weights and of the scan and points of each step.
        progress: shows the progress.

    Returns:
        The head, in eval mode.

    Raises:
        ConfigError: the labelled data of the run are missing.
        ValueError: the run labels photographs, or no labelled point of its training scans is undecided.
    """
    if not isinstance(run.experiment.input, ScanInput):
        raise ValueError("A point head labels hidden points, and photographs have none. Use back_projection nearest.")
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    wrap = run.experiment.input.full_turn
    examples = _training_examples(run, scans, window, wrap, progress)
    if not examples:
        raise ValueError(
            "No labelled point of the training scans has two predicted classes in its window; train the run first."
        )
    head = PointHead(run.label_map.num_classes, window=window, wrap=wrap)
    optimizer = torch.optim.Adam(head.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    for _ in progress(range(steps), "fitting", steps):
        example = examples[rng.integers(len(examples))]
        chosen = rng.integers(len(example.points), size=min(POINTS, len(example.points)))
        around = neighbours(example.image, example.points[chosen], window, wrap=wrap)
        logits = head(example.probabilities.float(), around)
        loss = F.cross_entropy(logits, torch.from_numpy(example.label[chosen].astype(np.int64)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    write_head(out, head)
    return head.eval()


def _training_examples(run: Run, most: int, window: int, wrap: bool, progress: Progress) -> list[TrainingExample]:
    segmenter = Segmenter(run)
    parts: Sequence[Any] = parts_of(open_views(run.experiment, "labelled"))
    scans = [(part, index) for part in parts for index in range(len(part))]
    chosen = np.unique(np.linspace(0, len(scans) - 1, min(most, len(scans))).round().astype(int)).tolist()
    examples = []
    for part, index in progress([scans[k] for k in chosen], "reading", len(chosen)):
        scan = guarded(part.source.scan(index))
        image: RangeImage = part.projection(scan)
        logits = segmenter.logits(image).float().cpu()
        points = undecided(image, logits.argmax(0).numpy(), window, wrap=wrap)
        label = cast(np.ndarray, scan.label)
        points = points[label[points] != IGNORE]
        if len(points):
            probabilities = logits.flatten(1).softmax(0).T.contiguous().half()
            examples.append(TrainingExample(image, probabilities, points, label[points]))
    return examples
