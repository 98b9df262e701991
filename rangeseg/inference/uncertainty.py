"""Predictions for the scans of a drive: label, confidence and entropy of each point.

Shapes: N points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rangeseg.drive.layouts import Drive
from rangeseg.inference.segmentation import Segmentation
from rangeseg.inference.segmenter import Segmenter

T = TypeVar("T")


def predict_along(
    segmenter: Segmenter, drive: Drive, numbers: Iterable[int], take: Callable[[int, Segmentation], T]
) -> Iterator[T]:
    """Predict scans of a drive.

    Args:
        segmenter: a run on scans.
        drive: the scans.
        numbers: indices of the scans to predict.
        take: (index, prediction) -> result.

    Yields:
        The result of `take` for each scan, in the order of `numbers`.

    Raises:
        ValueError: a scan cannot be read, or the run labels photographs.
    """
    if segmenter.run.experiment.dataset.kind != "scan":
        raise ValueError(
            f"The run labels {segmenter.run.experiment.dataset.kind}s, but a drive has scans. Use another run."
        )
    yield from segmenter.stream(
        numbers,
        lambda number: drive.read(drive.scans[number].file),
        lambda number, sample, segmentation: take(number, segmentation),
        confidence=True,
    )
