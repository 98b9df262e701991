"""Gain of `rangeseg suggest` over scans chosen at random or evenly: `python -m` this module.

On labelled drives, every choice of one and of two scans gets the true labels; these are carried to the other scans and
compared with the truth. On unlabelled drives, the share of points that labels would reach is measured. No network is
trained.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.drive.carry import carry, rules_for
from rangeseg.drive.layouts import Drive
from rangeseg.drive.propagate import Task, blocks
from rangeseg.drive.request import Request, make_task
from rangeseg.drive.suggest import PointSample, choose, coverage, reached_by, sample_drive, together, weights_of
from rangeseg.inference.segmentation import Segmentation
from rangeseg.inference.segmenter import Segmenter
from rangeseg.inference.uncertainty import predict_along
from rangeseg.labels import RARE
from rangeseg.types import IGNORE

DRAWS = 1000
"""Number of random choices of scans on an unlabelled drive."""

Truth = list[NDArray[np.uint8]]
Predictions = list[tuple[NDArray[np.floating], NDArray[np.integer]]]


def evenly(scans: int, count: int) -> tuple[int, ...]:
    """The middle scans of `count` equal parts of a drive of `scans` scans."""
    return tuple(int((part + 0.5) * scans / count) for part in range(count))


def prepared(home: Path, poses: Path | None) -> tuple[Task, list[PointSample], list[dict[int, NDArray[np.bool_]]]]:
    """A drive without labels, the sampled points of its scans, and the points that each scan's labels would reach."""
    task = replace(make_task(Request(home, Path(), poses=poses), needs_labels=False), labelled=())
    samples, rules = sample_drive(task), rules_for(True)
    return task, samples, [reached_by(task, number, samples, rules) for number in range(len(samples))]


def answers(segmenter: Segmenter, drive: Drive, samples: Sequence[PointSample]) -> Predictions:
    """Entropy and predicted label of the sampled points, (M,) each, for each scan."""

    def take(number: int, segmentation: Segmentation) -> tuple[NDArray[np.floating], NDArray[np.integer]]:
        assert segmentation.entropy is not None
        index = samples[number].index
        return segmentation.entropy[index], segmentation.labels[index]

    return list(predict_along(segmenter, drive, range(len(samples)), take))


def ways(
    reach: list[Any], samples: list[PointSample], predictions: Predictions | None, classes: int
) -> dict[str, Callable[[int], tuple[int, ...]]]:
    """Ways to choose scans, name -> (count -> indices): by coverage, plain or weighted by predictions, and evenly."""
    weights: dict[str, Any] = {"coverage": None}
    if predictions is not None:
        entropy, label = [one[0] for one in predictions], [one[1] for one in predictions]
        full = weights_of(entropy, label, classes)
        weights |= {"coverage x entropy": [one + 1e-6 for one in entropy], "coverage x entropy x rarity": full}

    def greedy(name: str, count: int) -> tuple[int, ...]:
        return tuple(one.number for one in choose(reach, samples, count, weights=weights[name]))

    found: dict[str, Callable[[int], tuple[int, ...]]] = {name: partial(greedy, name) for name in weights}
    return found | {"evenly": partial(evenly, len(samples))}


def score(
    task: Task, labelled: Sequence[int], samples: Sequence[PointSample], truth: Truth, wrong: Truth
) -> dict[str, int]:
    """Label scans with the truth, carry the labels, and count the sampled points of a known class.

    Args:
        task: the drive.
        labelled: indices of the scans that are labelled.
        samples: the sampled points of each scan.
        truth: (M,) train ids of each scan's sampled points.
        wrong: (M,) 1 if the network's label is wrong, for each scan.

    Returns:
        right: points with the right label, given or carried; points: all points. wrong_right and wrong: the same among
        points that the network labels wrong; rare_right and rare: among points of rare classes (below 1 % of all).
    """
    labelled_task = replace(task, labelled=tuple(sorted(labelled)))
    given = {number: np.full(len(one), IGNORE, np.uint8) for number, one in enumerate(truth)}
    for block, point_map in blocks(labelled_task):
        if point_map is None:
            continue
        for number, sources in block.items():
            pose, allowed = task.poses.poses[number], np.isin(point_map.scans, sources)
            given[number] = carry(samples[number].scan, number, pose, point_map, allowed, labelled_task.rules).label
    frequencies = task.drive.label_map.frequencies
    rare = np.flatnonzero(frequencies < RARE) if frequencies is not None else np.empty(0)
    counts = dict.fromkeys(("right", "points", "wrong_right", "wrong", "rare_right", "rare"), 0)
    for number, true in enumerate(truth):
        known = true != IGNORE
        right = known & ((given[number] == true) | (number in labelled))
        groups = {"": known, "wrong_": known & (wrong[number] == 1), "rare_": known & np.isin(true, rare)}
        for name, group in groups.items():
            counts[f"{name}right"] += int(np.count_nonzero(right & group))
            counts[name.removesuffix("_") or "points"] += int(np.count_nonzero(group))
    return counts


def labelled_drive(home: Path, counts: Sequence[int], segmenter: Segmenter) -> dict[str, Any]:
    """For each count, the scores of every choice of that many scans of a labelled drive, and the choice of each way."""
    task, samples, reach = prepared(home, None)
    predictions = answers(segmenter, task.drive, samples)
    raw = [task.drive.labels_of(entry) for entry in task.drive.scans]
    truth = [task.drive.label_map.to_train(one[sample.index] & 0xFFFF)  # type: ignore[index] # every scan has labels
             for one, sample in zip(raw, samples, strict=True)]  # fmt: skip
    wrong = [(answer[1] != true).astype(np.uint8) for answer, true in zip(predictions, truth, strict=True)]
    result: dict[str, Any] = {}
    chosen = ways(reach, samples, predictions, segmenter.label_map.num_classes)
    for count in counts:
        scores = {",".join(map(str, pick)): score(task, pick, samples, truth, wrong)
                  | {"coverage": coverage(together(reach, pick), samples)}
                  for pick in combinations(range(len(samples)), count)}  # fmt: skip
        picks = {name: ",".join(map(str, sorted(way(count)))) for name, way in chosen.items()}
        result[str(count)] = {"choices": scores, "picks": picks}
    return result


def unlabelled_drive(home: Path, poses: Path | None, counts: Sequence[int], segmenter: Segmenter) -> dict[str, Any]:
    """For each count, the coverage by labels of that many scans, chosen in each way and at random."""
    task, samples, reach = prepared(home, poses)
    predictions = answers(segmenter, task.drive, samples)
    chosen, rng = ways(reach, samples, predictions, segmenter.label_map.num_classes), np.random.default_rng(0)
    result: dict[str, Any] = {}
    for count in counts:
        if count < len(samples):
            drawn = [
                coverage(together(reach, rng.permutation(len(samples))[:count].tolist()), samples) for _ in range(DRAWS)
            ]
            result[str(count)] = {
                "chance": {"mean": np.mean(drawn), "sd": np.std(drawn), "least": min(drawn), "most": max(drawn)}
            } | {name: coverage(together(reach, way(count)), samples) for name, way in chosen.items()}
    return result


def main() -> None:
    """Measure, and write JSON to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("drives", nargs="+", type=Path, help="folders of drives")
    parser.add_argument("--poses", type=Path, help="folder with the poses of unlabelled drives, NAME/poses.txt")
    parser.add_argument("--run", type=Path, default=Path("first-answer"), help="run whose uncertainty is used")
    parser.add_argument("--counts", nargs="+", type=int, default=[1, 2], help="how many scans are chosen")
    arguments = parser.parse_args()
    segmenter = Segmenter.load(arguments.run, device="cpu")

    def measure() -> Iterator[tuple[str, dict[str, Any]]]:
        for home in arguments.drives:
            if (home / "labels").is_dir():
                yield home.name, labelled_drive(home, arguments.counts, segmenter)
            else:
                poses = arguments.poses / home.name if arguments.poses else None
                yield home.name, unlabelled_drive(home, poses, arguments.counts, segmenter)

    json.dump(dict(measure()), sys.stdout, indent=1)


if __name__ == "__main__":
    main()
