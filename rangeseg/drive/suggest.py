"""Selection of the scans of a drive to label next, by the points that `propagate` would carry their labels to.

    gain(c) = sum of weight(p) over the points p that labels of scan c would reach and labels of selected scans do not

The scan with the largest gain is selected first, then the next. The gain of a scan only decreases when others are
selected. This greedy selection therefore reaches at least 63 % of the total weight that the best selection of the same
number of scans reaches.

The computation uses a random sample of the points of each scan. Shapes: N scans, M sampled points of a scan.

Source: Nemhauser, Wolsey, Fisher, Mathematical Programming 1978 (greedy choice); Minoux 1978 (lazy evaluation).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rangeseg.drive.carry import Rules, carry
from rangeseg.drive.labelled_points import WHOLE, as_if_labelled, classes_of, is_return, make_point_map
from rangeseg.drive.propagate import Task, blocks
from rangeseg.parallel import in_order
from rangeseg.types import IGNORE, Scan

SAMPLED = 4000
"""Number of sampled points per scan; the coverage is exact to about 1 % for a scan, and better for a drive."""

Reached = Mapping[int, NDArray[np.bool_]]
"""Scan -> (M,) bool, True for sampled points that are reached; scans without reached points may be missing."""


@dataclass(frozen=True)
class PointSample:
    """The sampled points of a scan.

    Args:
        index: (M,) their indices in the scan, drawn among the returns.
        scan: a scan of only these points.
        stands_for: number of returns of the scan per sampled point.
    """

    index: NDArray[np.intp]
    scan: Scan
    stands_for: float


@dataclass(frozen=True)
class Chosen:
    """A selected scan.

    Args:
        number: its index in the drive.
        gain: number of points of the drive that it covers and that earlier scans do not cover.
        coverage: share of the drive's returns that it and all earlier scans cover.
        new: scan -> (M,) bool, True for newly covered sampled points.
    """

    number: int
    gain: float
    coverage: float
    new: Reached


def sample_points(scan: Scan, number: int) -> PointSample:
    """Sample up to `SAMPLED` points of a scan. The sample is the same in every run.

    Args:
        scan: N points.
        number: index of the scan in the drive.
    """
    returns = np.flatnonzero(is_return(scan))
    index = np.sort(np.random.default_rng([number, len(returns)]).permutation(returns)[:SAMPLED])
    points = Scan(np.ascontiguousarray(scan.xyz[index]), scan.remission[index])
    return PointSample(index, points, len(returns) / max(1, len(index)))


def sample_drive(task: Task, workers: int = 2) -> list[PointSample]:
    """The sampled points of all scans of a drive.

    Raises:
        ValueError: a scan cannot be read.
    """

    def sample(number: int) -> PointSample:
        return sample_points(task.drive.read(task.drive.scans[number].file), number)

    return list(in_order(sample, range(len(task.drive.scans)), workers=workers))


def reached_by(task: Task, number: int, samples: Sequence[PointSample], rules: Rules) -> dict[int, NDArray[np.bool_]]:
    """The points that the labels of a scan would reach if only this scan were labelled, at every point.

    Args:
        task: the drive and its poses.
        number: index of the scan.
        samples: the sampled points of all N scans.
        rules: conditions under which a label is carried.
    """
    poses = task.poses.poses
    part = as_if_labelled(task.drive.read(task.drive.scans[number].file))
    point_map = make_point_map({number: part}, poses, poses[number], rules.edge_m)
    found = {number: np.ones(len(samples[number].index), np.bool_)}
    for other in replace(task, labelled=tuple(range(len(samples))), rules=rules).reach(number):
        if other != number:
            carried = carry(samples[other].scan, other, poses[other], point_map, np.ones(1, np.bool_), rules)
            if (carried.label != IGNORE).any():
                found[other] = carried.label != IGNORE
    return found


def reached_already(task: Task, samples: Sequence[PointSample], workers: int = 2) -> dict[int, NDArray[np.bool_]]:
    """The points that the existing labels reach, and the labelled points themselves.

    Raises:
        ValueError: a file cannot be read.
    """
    found: dict[int, NDArray[np.bool_]] = {}
    for block, point_map in blocks(task, workers=workers) if task.labelled else ():
        if point_map is None:
            continue
        for number, sources in block.items():
            pose, allowed = task.poses.poses[number], np.isin(point_map.scans, sources)
            found[number] = carry(samples[number].scan, number, pose, point_map, allowed, task.rules).label != IGNORE
    for number in task.labelled:
        found[number] = found[number] | labels_there(task, samples[number], number)
    return found


def labels_there(task: Task, sample: PointSample, number: int) -> NDArray[np.bool_]:
    """(M,) bool, True for sampled points of a scan that are labelled; all False if the scan has no labels."""
    raw = task.raw(number)
    if raw is None:
        return np.zeros(len(sample.index), np.bool_)
    return np.asarray(classes_of(raw[sample.index], task.drive.label_map) != IGNORE)


def labelled_in_whole(task: Task, samples: Sequence[PointSample]) -> list[int]:
    """The labelled scans of which most points have labels. Scans with clicks may still be selected."""
    return [number for number in task.labelled if np.mean(labels_there(task, samples[number], number)) > WHOLE]


def choose(
    reach: Sequence[Reached],
    samples: Sequence[PointSample],
    count: int,
    *,
    covered: Reached | None = None,
    weights: Sequence[NDArray[np.floating]] | None = None,
    leave_out: Sequence[int] = (),
) -> Iterator[Chosen]:
    """Select the scans with the largest gain, the best first.

    Args:
        reach: the points that the labels of each scan would reach.
        samples: the sampled points of all scans.
        count: maximum number of selected scans; the selection ends earlier if no scan has a gain.
        covered: the points that existing labels reach.
        weights: for each scan, (M,) weights of its sampled points; None: all points have the same weight.
        leave_out: scans that are not selected.
    """
    held = {number: mask.copy() for number, mask in (covered or {}).items()}
    worth = [np.full(len(one.index), one.stands_for) for one in samples]
    if weights is not None:
        worth = [points * weight for points, weight in zip(worth, weights, strict=True)]

    def new(number: int) -> dict[int, NDArray[np.bool_]]:
        return {at: mask & ~held[at] if at in held else mask for at, mask in reach[number].items()}

    def gain(number: int) -> float:
        return float(sum(worth[at][mask].sum() for at, mask in new(number).items()))

    heap = [(-gain(number), number) for number in range(len(reach)) if number not in set(leave_out)]
    heapq.heapify(heap)
    while heap and count > 0:
        _, number = heapq.heappop(heap)
        now = gain(number)
        if heap and now < -heap[0][0]:
            heapq.heappush(heap, (-now, number))
            continue
        if now <= 0:
            return
        fresh = new(number)
        for at, mask in fresh.items():
            held[at] = held[at] | mask if at in held else mask
        points = sum(samples[at].stands_for * np.count_nonzero(mask) for at, mask in fresh.items())
        yield Chosen(number, float(points), coverage(held, samples), fresh)
        count -= 1


def coverage(reached: Reached, samples: Sequence[PointSample]) -> float:
    """Share of the drive's returns that are reached."""
    points = sum(samples[at].stands_for * np.count_nonzero(mask) for at, mask in reached.items())
    return float(points / max(1.0, sum(one.stands_for * len(one.index) for one in samples)))


def together(reach: Sequence[Reached], numbers: Sequence[int]) -> Reached:
    """The points that some scans reach together."""
    held: dict[int, NDArray[np.bool_]] = {}
    for number in numbers:
        for at, mask in reach[number].items():
            held[at] = held[at] | mask if at in held else mask
    return held


def weights_of(
    entropy: Sequence[NDArray[np.floating]], label: Sequence[NDArray[np.integer]], classes: int
) -> list[NDArray[np.floating]]:
    """Weights of the sampled points of each scan: uncertainty times class rarity.

        weight = entropy / ln K  *  sqrt(largest share of a class / share of the point's class)

    Args:
        entropy: (M,) nats, for each scan.
        label: (M,) predicted train ids or IGNORE, for each scan.
        classes: K.
    """
    counts = sum((np.bincount(one[one != IGNORE], minlength=classes) for one in label), np.zeros(classes))
    rare = np.sqrt(counts.max() / np.maximum(counts, 1))
    return [nats / np.log(classes) * np.where(one == IGNORE, 1.0, rare[np.minimum(one, classes - 1)])
            for nats, one in zip(entropy, label, strict=True)]  # fmt: skip
