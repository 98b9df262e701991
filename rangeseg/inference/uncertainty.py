"""What a network says of the scans of a drive, point by point: labels, confidence, entropy.

Shapes: N points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rangeseg.drive.layouts import Drive
from rangeseg.inference.segmentation import Segmentation
from rangeseg.inference.segmenter import Segmenter

T = TypeVar("T")


def ask_along(
    segmenter: Segmenter, drive: Drive, numbers: Iterable[int], take: Callable[[int, Segmentation], T]
) -> Iterator[T]:
    """Ask a network about scans of a drive.

    Args:
        segmenter: a run on scans.
        drive: the scans.
        numbers: of those that are asked about.
        take: (number, what the network says) -> what is kept of it.

    Yields:
        What `take` gives, in the order of the numbers.

    Raises:
        ValueError: a scan cannot be read, or the run is of photographs.
    """
    if segmenter.run.experiment.dataset.kind != "scan":
        raise ValueError(f"The run labels {segmenter.run.experiment.dataset.kind}s; a drive is made of scans.")
    yield from segmenter.stream(
        numbers,
        lambda number: drive.read(drive.scans[number].file),
        lambda number, thing, said: take(number, said),
        confidence=True,
    )
