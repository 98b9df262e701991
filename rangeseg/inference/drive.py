"""Votes along a drive: the poses transfer the probabilities of the scans before and after to each scan.

The visible point of a pixel takes the mean of its own probabilities and of those of the nearest visible point of each
other scan that has one nearby. Only the scans of the window are in memory.

Shapes: M visible points of a scan, K classes, H rows, W columns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

from rangeseg.drive.labelled_points import moved
from rangeseg.drive.layouts import Drive
from rangeseg.drive.trajectory import Trajectory
from rangeseg.engine.experiment import Experiment
from rangeseg.inference.segmentation import Segmentation
from rangeseg.inference.segmenter import Segmenter
from rangeseg.kernels.neighbours import nearest, point_map_of
from rangeseg.parallel import in_order
from rangeseg.projection.range_image import RangeImage
from rangeseg.types import Scan

T = TypeVar("T")

LEAST = np.finfo(np.float32).tiny
"""Probabilities of 0 count as this, so that they have a logarithm."""


@dataclass(frozen=True, eq=False)
class ScanProbabilities:
    """A scan with the probabilities of its visible points.

    Args:
        number: index of the scan in the drive.
        image: its range image.
        pixels: (M,) indices of the pixels that show a point, row by row.
        probability: (M, K) float32.
        edge_m: edge of the voxels for the search of its points, metres.
    """

    number: int
    image: RangeImage
    pixels: NDArray[np.intp]
    probability: NDArray[np.float32]
    edge_m: float

    @cached_property
    def xyz(self) -> NDArray[np.float32]:
        """(M, 3) visible points in the frame of the file, to which the poses refer."""
        return np.ascontiguousarray(self.image.given.xyz[self.image.point_index.ravel()[self.pixels]], np.float32)

    @cached_property
    def point_map(self) -> tuple[NDArray, tuple]:
        """(M,) order of the points by voxel, and the argument `point_map` of `nearest`."""
        return point_map_of(self.xyz, self.edge_m)

    def nearest(self, xyz: NDArray[np.float32], max_distance_m: float) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
        """Find the nearest visible points of this scan.

        Args:
            xyz: (P, 3) points in the frame of this scan's file.
            max_distance_m: only points nearer than this count, metres.

        Returns:
            (P,) bool, True if a visible point is near; and, for these only, the index of the nearest visible point.
        """
        order, point_map = self.point_map
        distance, index = np.empty((len(xyz), 1), np.float32), np.empty((len(xyz), 1), np.int32)
        nearest(xyz, np.full(len(xyz), max_distance_m, np.float32), point_map, np.ones(1, np.bool_), (distance, index))
        near = index[:, 0] >= 0
        return near, order[index[near, 0]]


def read_as(experiment: Experiment, drive: Drive) -> Drive:
    """A drive whose scans are read as `predict` reads files: by the run's dataset, with the columns of its config.

    Scans of nuScenes, whose columns are fixed, and of a format that the dataset does not read, are read as usual.

    Args:
        experiment: the experiment of the run.
        drive: the scans.
    """
    readable = drive.scans[0].file.name.endswith(tuple(experiment.dataset.suffixes))
    return replace(drive, read=experiment.read) if readable and not drive.shares_folder else drive


def probabilities_of(segmenter: Segmenter, scan: Scan, number: int, edge_m: float) -> ScanProbabilities:
    """The network's probabilities of one scan.

    Args:
        segmenter: a run on scans.
        scan: the points.
        number: index of the scan in the drive.
        edge_m: see `ScanProbabilities`.
    """
    image = cast(RangeImage, segmenter.project(scan))
    probability = segmenter.logits(image).float().softmax(0).flatten(1)
    pixels = np.flatnonzero(image.valid)
    of_pixels = probability[:, torch.from_numpy(pixels).to(probability.device)].T
    return ScanProbabilities(number, image, pixels, of_pixels.cpu().numpy(), edge_m)


def pooled(
    scan: ScanProbabilities, others: Sequence[ScanProbabilities], poses: NDArray[np.float64], max_distance_m: float
) -> NDArray:
    """Mean probabilities of a scan's visible points.

    Args:
        scan: the scan that gets the labels.
        others: the scans whose probabilities also count.
        poses: (N, 4, 4) sensor -> world, for the scans of the drive.
        max_distance_m: a point of another scan counts if it is nearer than this, metres.

    Returns:
        (M, K) float32.
    """
    total, count = scan.probability.copy(), np.ones((len(scan.pixels), 1), np.float32)
    for other in others:
        if other.number != scan.number:
            points = moved(scan.xyz, np.linalg.inv(poses[other.number]) @ poses[scan.number])
            near, index = other.nearest(points, max_distance_m)
            total[near] += other.probability[index]
            count[near] += 1
    return np.asarray(total / count)


def label_drive(
    segmenter: Segmenter, drive: Drive, poses: Trajectory, *, votes: int, max_distance_m: float = 0.3, workers: int = 2,
    numbers: Sequence[int] | None = None,
) -> Iterator[tuple[int, Scan, Segmentation]]:  # fmt: skip
    """Label the scans of a drive, each with the help of those around it.

    Args:
        segmenter: a run on scans.
        drive: the scans.
        poses: the poses of all scans.
        votes: number of scans before, and of scans after, that contribute; 0: each scan is labelled alone.
        max_distance_m: see `pooled`.
        workers: number of threads that average probabilities while the network runs.
        numbers: ascending numbers of the scans to label; their labels do not depend on this choice. None: all scans.

    Yields:
        The number of each scan, its points and their labels, in the order of the drive.

    Raises:
        ValueError: a scan cannot be read.
    """

    def label(scan: ScanProbabilities, probability: NDArray) -> tuple[int, Scan, Segmentation]:
        return scan.number, scan.image.given, label_pooled(segmenter, scan, probability)

    numbers = range(len(drive.scans)) if numbers is None else numbers
    yield from pool_drive(
        segmenter, drive, poses, numbers, label, votes, max_distance_m=max_distance_m, workers=workers
    )


def pool_drive(
    segmenter: Segmenter, drive: Drive, poses: Trajectory, numbers: Sequence[int],
    use: Callable[[ScanProbabilities, NDArray], T], votes: int, *, max_distance_m: float = 0.3, workers: int = 2,
) -> Iterator[T]:  # fmt: skip
    """Apply a function to scans of a drive with the mean probabilities of their visible points.

    Only the scans of a window are in memory. Each scan within reach is read and predicted once.

    Args:
        segmenter: a run on scans.
        drive: the scans.
        poses: the poses of all scans.
        numbers: increasing indices of the scans to use.
        use: (scan, (M, K) mean probabilities) -> result; runs in threads.
        votes: number of scans before, and of scans after, that contribute.
        max_distance_m: see `pooled`.
        workers: number of threads.

    Yields:
        The result of `use` for each scan, in the order of `numbers`.

    Raises:
        ValueError: a scan cannot be read.
    """
    edge_m = max(0.25, max_distance_m)

    def windows() -> Iterator[tuple[ScanProbabilities, tuple[ScanProbabilities, ...]]]:
        held: deque[ScanProbabilities] = deque()
        for number in numbers:
            while held and held[0].number < number - votes:
                held.popleft()
            start = held[-1].number + 1 if held else max(0, number - votes)
            for coming in range(start, min(number + votes + 1, len(drive.scans))):
                held.append(probabilities_of(segmenter, drive.read(drive.scans[coming].file), coming, edge_m))
            yield next(one for one in held if one.number == number), tuple(held)

    def work(window: tuple[ScanProbabilities, tuple[ScanProbabilities, ...]]) -> T:
        scan, others = window
        return use(scan, pooled(scan, others, poses.poses, max_distance_m))

    yield from in_order(work, windows(), workers=workers)


def label_pooled(segmenter: Segmenter, scan: ScanProbabilities, probability: NDArray) -> Segmentation:
    """(M, K) probabilities of visible points -> the labels of all points, by the run's own back-projection.

    The run's temperature is applied to the mean probabilities: it changes the confidence, but no label.
    """
    return segmenter.segmentation(scan.image, torch.from_numpy(on_pixels(scan, np.log(np.maximum(probability, LEAST)))))


def on_pixels(scan: ScanProbabilities, values: NDArray) -> NDArray[np.float32]:
    """(M, K) values of visible points -> (K, H, W), 0 at empty pixels."""
    height, width = scan.image.point_index.shape
    image = np.zeros((values.shape[1], height * width), np.float32)
    image[:, scan.pixels] = values.T
    return image.reshape(-1, height, width)
