"""`rangeseg suggest`: select the scans of a drive to label next, and write their initial labels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.evidence import confidence_of
from rangeseg.drive.carry import rules_for
from rangeseg.drive.labelled_points import has_label
from rangeseg.drive.prelabels import Start, write_prelabels
from rangeseg.drive.propagate import Task
from rangeseg.drive.request import Request, make_task
from rangeseg.drive.suggest import (
    Chosen,
    PointSample,
    choose,
    coverage,
    labelled_in_whole,
    reached_already,
    reached_by,
    sample_drive,
    weights_of,
)
from rangeseg.files import write_atomically
from rangeseg.inference.drive import read_as
from rangeseg.inference.segmentation import Segmentation
from rangeseg.inference.segmenter import Segmenter
from rangeseg.inference.uncertainty import predict_along
from rangeseg.labels import RARE
from rangeseg.parallel import Progress, in_order, no_progress
from rangeseg.paths import absolute
from rangeseg.types import IGNORE

NOTABLE = 0.2
"""A scan is reported to cover a rare class if it covers this share of the points of the class or more."""

Prediction = tuple[NDArray[np.floating], NDArray[np.integer]]
"""Entropy (nats) and label of each sampled point of a scan."""


@dataclass(frozen=True)
class Suggestion:
    """A selected scan.

    Args:
        scan: its name.
        gain: number of points that its labels cover, without those covered by earlier selections or existing labels.
        coverage: share of the drive's returns that are covered by it, by earlier selections and by existing labels.
        entropy: mean entropy of its points, nats; None without a network.
        rare: rare classes (less than 1 % of the drive in the network's predictions) of which the scan newly covers a
            fifth of the points or more, the rarest first.
    """

    scan: str
    gain: int
    coverage: float
    entropy: float | None
    rare: tuple[str, ...]


@dataclass(frozen=True)
class Suggested:
    """The result of `suggest`.

    Args:
        task: the drive.
        before: share of the returns that existing labels cover.
        scans: the selected scans, the best first.
        numbers: indices of these scans in the drive.
        points: number of returns of the drive.
    """

    task: Task
    before: float
    scans: tuple[Suggestion, ...]
    numbers: tuple[int, ...]
    points: int


def suggest(
    request: Request, count: int, *, segmenter: Segmenter | None = None, workers: int = 2,
    progress: Progress = no_progress,
) -> Suggested:  # fmt: skip
    """Select the scans to label next.

    Args:
        request: the drive, its poses and labels; `out` is not used.
        count: number of scans to select.
        segmenter: a run that gives uncertain points and rare classes a larger weight, and that determines how the
            scans are read; None: coverage alone.
        workers: number of threads.
        progress: shows the progress.

    Raises:
        ValueError: a file cannot be read, or an argument is invalid.
    """
    if count < 1:
        raise ValueError(f"--count is {count}. Give 1 or more.")
    read = None if segmenter is None else partial(read_as, segmenter.run.experiment)
    task = make_task(request, needs_labels=False, read_as=read)
    rules, total = rules_for(True, **(request.rules or {})), len(task.drive.scans)
    samples = sample_drive(task, workers)
    covered = reached_already(task, samples, workers)
    search = in_order(partial(_reach, task, samples, rules), range(total), workers=workers)
    reach = list(progress(search, "computing coverage", total))
    predictions, weights = None, None
    if segmenter is not None:
        answers = predict_along(segmenter, task.drive, range(total), partial(_of_samples, samples))
        predictions = list(progress(answers, "predicting", total))
        weights = weights_of(
            [one[0] for one in predictions], [one[1] for one in predictions], segmenter.label_map.num_classes
        )
    chosen = list(
        choose(reach, samples, count, covered=covered, weights=weights, leave_out=labelled_in_whole(task, samples))
    )
    names = segmenter.label_map.names if segmenter is not None else ()
    shares = _shares(predictions, samples, len(names)) if predictions is not None else np.empty(0)
    rows = tuple(_row(task, one, samples, predictions, (names, shares)) for one in chosen)
    points = round(sum(one.stands_for * len(one.index) for one in samples))
    return Suggested(task, coverage(covered, samples), rows, tuple(one.number for one in chosen), points)


def _reach(task: Task, samples: Sequence[PointSample], rules: Any, number: int) -> dict[int, NDArray[np.bool_]]:
    return reached_by(task, number, samples, rules)


def _of_samples(samples: Sequence[PointSample], number: int, segmentation: Segmentation) -> Prediction:
    assert segmentation.entropy is not None
    index = samples[number].index
    return segmentation.entropy[index], segmentation.labels[index]


def _shares(predictions: Sequence[Prediction], samples: Sequence[PointSample], classes: int) -> NDArray[np.float64]:
    """(K,) share of each class among the drive's points, from the network's predictions."""
    counts = np.zeros(classes)
    for (_, label), one in zip(predictions, samples, strict=True):
        counts += one.stands_for * np.bincount(label[label != IGNORE], minlength=classes)
    return counts / max(1.0, counts.sum())


def _row(
    task: Task, one: Chosen, samples: Sequence[PointSample], predictions: Sequence[Prediction] | None,
    classes: tuple[Sequence[str], NDArray[np.float64]],
) -> Suggestion:  # fmt: skip
    name = task.drive.names[one.number]
    if predictions is None:
        return Suggestion(name, round(one.gain), one.coverage, None, ())
    names, shares = classes
    counts = np.zeros(len(names))
    for at, mask in one.new.items():
        label = predictions[at][1][mask]
        counts += samples[at].stands_for * np.bincount(label[label != IGNORE], minlength=len(names))
    whole = shares * sum(one.stands_for * len(one.index) for one in samples)
    rare = [k for k in np.argsort(shares) if 0 < shares[k] < RARE and counts[k] >= NOTABLE * whole[k]]
    return Suggestion(name, round(one.gain), one.coverage, float(predictions[one.number][0].mean()),
                      tuple(names[k] for k in rare))  # fmt: skip


def write_report(path: Path, found: Suggested) -> None:
    """Write the selected scans as JSON."""
    record = {"drive": found.task.drive.name, "scans": len(found.task.drive.scans), "points": found.points,
              "covered_before": found.before, "suggestions": [asdict(one) for one in found.scans]}  # fmt: skip
    write_atomically(path, (json.dumps(record, indent=1) + "\n").encode())


def prelabel(
    request: Request, found: Suggested, folder: Path, form: str, *, segmenter: Segmenter | None = None,
    carried: Path | None = None, progress: Progress = no_progress,
) -> Iterator[str]:  # fmt: skip
    """Write initial labels for people: existing labels first, then carried labels, then a network's predictions.

    Args:
        request: the arguments of `suggest`.
        found: the selected scans.
        folder: a new folder.
        form: one of `rangeseg.drive.prelabels.FORMS`.
        segmenter: run whose predictions are initial labels; None: no predictions.
        carried: folder that `rangeseg propagate` wrote.
        progress: shows the progress.

    Yields:
        One message per scan, then the next step.

    Raises:
        ValueError: the network has other classes than the drive, the folder is in use, or `carried` has no labels of
            the drive.
    """
    task, numbers = found.task, sorted(found.numbers)
    if carried is not None and not any((carried / entry.label_path).is_file() for entry in task.drive.scans):
        raise ValueError(
            f"{carried}: has no labels of the {len(task.drive.scans)} scans; looked for "
            f"{task.drive.scans[0].label_path} and the like. Write them with rangeseg propagate --out."
        )
    if segmenter is not None and segmenter.label_map.names != task.drive.label_map.names:
        raise ValueError(
            f"The network has the classes of {segmenter.label_map.dataset}, but the drive has those of "
            f"{task.drive.label_map.dataset}. Give the network's classes with --dataset, or another run."
        )
    own = str(absolute(request.dataset)) if request.dataset and Path(request.dataset).is_file() else request.dataset
    place = str(absolute(request.drive))
    origin = {"drive": place, "scene": request.scene, "dataset": own}
    starts = ((number, _start(task, number, segmenter, carried)) for number in numbers)
    written = write_prelabels(folder, form, task.drive, task.poses, starts, origin)
    for entry in progress(written, "writing pre-labels", len(numbers)):
        yield f"pre-labels of {entry.name}"
    yield f"Correct the labels in {folder}. Add the names of completely checked scans to {folder / 'done.txt'}."


def _start(task: Task, number: int, segmenter: Segmenter | None, carried: Path | None) -> Start:
    entry, label_map = task.drive.scans[number], task.drive.label_map
    known: list[Start] = []
    mine = task.raw(number)
    if mine is not None:
        labelled = has_label(mine, label_map)
        known.append(Start(mine, labelled.astype(np.float32), labelled))
    place = None if carried is None else carried / entry.label_path
    if place is not None and place.is_file():
        raw = task.drive.read_raw(place, entry.file)
        known.append(Start(raw, *confidence_of(place, has_label(raw, label_map))))
    if segmenter is not None:
        segmentation = segmenter(task.drive.read(entry.file))
        assert segmentation.confidence is not None
        raw = label_map.to_raw(segmentation.labels)  # of the drive's classes, whose raw ids may be others
        known.append(Start(raw, segmentation.confidence, np.zeros(len(segmentation), np.bool_)))
    count = len(task.drive.read(entry.file))
    start = Start(np.full(count, label_map.ignore_raw, np.uint32), np.zeros(count, np.float32), np.zeros(count, bool))
    for one in known:
        if len(one.label) != count:
            raise ValueError(f"{entry.label_path}: {len(one.label)} labels for {count} points of {entry.file}.")
        free = ~has_label(start.label, label_map)
        start = Start(
            np.where(free, one.label, start.label).astype(np.uint32),
            np.where(free, one.confidence, start.confidence), np.where(free, one.own, start.own),
        )  # fmt: skip
    return start
