"""Scans with labels for a few pixels only, as if an annotator clicked on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.dataset import ScanDataset, ScanSource
from rangeseg.labels import LabelMap
from rangeseg.types import IGNORE, Scan

if TYPE_CHECKING:
    from rangeseg.projection.range_image import RangeImage

SPREADS = ("pixels", "classes")
"""How the labelled pixels of a scan are drawn."""


class SparseLabels:
    """A source that keeps the labels of a few pixels of each scan; all other points become IGNORE.

    The choice of pixels depends only on the seed and the scan's name, not on the order of access or the process.

    Args:
        source: scans with labels.
        projection: scan -> range image whose pixels are drawn. All points in a drawn pixel keep their labels, also
            those hidden by a nearer point.
        fraction: labelled share of a scan's valid pixels, in (0, 1]; at least one pixel per scan.
        seed: another seed draws other pixels.
        spread: pixels: every valid pixel is equally likely. classes: one pixel of each class in turn, beginning with
            the rarest class of the scan; a class without further pixels is skipped.

    Raises:
        ValueError: `fraction` is outside (0, 1], or `spread` is unknown.
    """

    def __init__(
        self,
        source: ScanSource,
        projection: Callable[[Scan], RangeImage],
        fraction: float,
        seed: int,
        spread: str = "pixels",
    ) -> None:
        if not 0 < fraction <= 1:
            raise ValueError(f"The labelled fraction is {fraction}; give a share in (0, 1], for example 0.002.")
        if spread not in SPREADS:
            raise ValueError(f"Unknown spread of labels: {spread!r}; give {' or '.join(SPREADS)}.")
        self._source = source
        self._projection = projection
        self._fraction = fraction
        self._seed = seed
        self._spread = spread
        self._points: dict[int, NDArray[np.intp]] = {}

    @property
    def label_map(self) -> LabelMap:
        """The classes."""
        return self._source.label_map

    def __len__(self) -> int:
        return len(self._source)

    def name(self, index: int) -> str:
        """The name of scan `index`."""
        return self._source.name(index)

    def scan_path(self, index: int) -> Path:
        """The file of scan `index`.

        Raises:
            ValueError: the scans of the source are not files.
        """
        return cast(ScanDataset, self._source).scan_path(index)

    def scan(self, index: int) -> Scan:
        """Scan `index`, with labels only for the sampled pixels.

        Raises:
            ValueError: the scan has no labels.
        """
        scan = self._source.scan(index)
        if scan.label is None:
            raise ValueError(f"{self.name(index)}: has no labels to draw from; give a labelled split.")
        if index not in self._points:
            self._points[index] = self._draw(scan, self.name(index))
        points = self._points[index]
        label = np.full_like(scan.label, IGNORE)
        label[points] = scan.label[points]
        return replace(scan, label=label)

    def _draw(self, scan: Scan, name: str) -> NDArray[np.intp]:
        """The points that lie in the drawn pixels."""
        image = self._projection(scan)
        pixels = np.flatnonzero(image.valid)
        generator = np.random.default_rng([self._seed, crc32(name.encode())])
        count = max(1, round(self._fraction * len(pixels)))
        drawn = np.zeros(image.valid.shape, bool)
        if self._spread == "classes":
            labels = cast(NDArray, scan.label)[image.point_index.flat[pixels]]
            chosen = _in_turns(labels, count, generator)
            drawn.flat[pixels[chosen]] = True
        else:
            drawn.flat[generator.choice(pixels, count, replace=False)] = True
        return np.flatnonzero((image.row >= 0) & drawn[image.row, image.col])


def _in_turns(labels: NDArray, count: int, generator: np.random.Generator) -> NDArray[np.intp]:
    """Indices of `count` elements with a class, or of all if there are fewer; the classes take turns, rarest first."""
    order = generator.permutation(len(labels))
    order = order[labels[order] != IGNORE]
    found = labels[order]
    classes, sizes = np.unique(found, return_counts=True)
    turns = np.empty(len(order), np.intp)
    for place, kind in enumerate(classes[np.argsort(sizes, kind="stable")]):
        mine = np.flatnonzero(found == kind)
        turns[mine] = np.arange(len(mine)) * len(classes) + place
    return order[np.argsort(turns, kind="stable")[:count]]
