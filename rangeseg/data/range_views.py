"""Network views of scans: read, augment, project, normalise, and map the labels.

Shapes: N points, C channels, H rows (beams), W columns (azimuth).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, Protocol

import numpy as np
import torch

from rangeseg.data.augment import Augmentation
from rangeseg.data.carried_weights import weigh_edges
from rangeseg.data.dataset import ScanSource
from rangeseg.projection.beam import BeamProjection
from rangeseg.projection.range_image import CHANNELS, RangeImage, normalisation
from rangeseg.scan_formats.checks import guarded
from rangeseg.types import Sample, Scan, View

Edges = Literal["same", "less", "more"]


class Projection(Protocol):
    """A projection from scans to range images of one size."""

    @property
    def height(self) -> int:
        """H, rows."""
        ...

    @property
    def width(self) -> int:
        """W, columns."""
        ...

    @property
    def wrap(self) -> bool:
        """Column 0 touches column W-1."""
        ...

    def __call__(self, scan: Scan) -> RangeImage:
        """The range image of one scan."""
        ...


class RangeViews:
    """Views of a source of scans through one projection.

    Args:
        source: source of the scans.
        projection: scan -> range image.
        channels: names of the image's channels, in order.
        mean: (C,) subtracted from each channel.
        std: (C,) divisors of the channels.
        augmentation: changes that `view` makes to a scan before it is projected; None: no changes.
        labelled: False: all labels of `view` are IGNORE. `sample` keeps the labels, for evaluation.
        edges: give carried labels at edges the same, less or more weight than others, see `weigh_edges`.

    Raises:
        ValueError: an unknown channel, `mean` or `std` does not fit `channels`, a std is not positive and finite, or
            the augmentation has more columns than the range image.
    """

    def __init__(
        self,
        source: ScanSource,
        projection: Projection,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        channels: Sequence[str] = CHANNELS,
        augmentation: Augmentation | None = None,
        labelled: bool = True,
        edges: Edges = "same",
    ) -> None:
        normalisation(CHANNELS, channels, mean, std)
        self.source = source
        self.projection = projection
        self.channels = tuple(channels)
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.augmentation = augmentation
        self.labelled = labelled
        self.columns = (augmentation and augmentation.columns) or projection.width  # of the views for training
        self.edges = edges
        if self.columns > projection.width:
            raise ValueError(
                f"Augmentation.columns is {self.columns}, wider than the range image's {projection.width} columns."
            )

    def __len__(self) -> int:
        return len(self.source)

    def name(self, index: int) -> str:
        """The name of scan `index` in reports."""
        return self.source.name(index)

    def view(self, index: int, rng: np.random.Generator) -> View:
        """Scan `index` for training: augmented, and without labels unless `labelled`.

        Args:
            index: index of the scan in the source.
            rng: the only source of randomness.

        Returns:
            A view without a batch axis.
        """
        scan = guarded(self.source.scan(index))
        if not self.labelled:
            scan = replace(scan, label=None, carried=None)
        projection = self.projection
        if self.augmentation is not None:
            if isinstance(projection, BeamProjection):  # rotations and flips are about the sensor, in any frame
                scan, projection = projection.level(scan), projection.centred
            scan = self.augmentation(scan, rng)
        view = self._weighed(projection(scan))
        if self.columns == projection.width:
            return view
        return view.part(
            int(rng.integers(projection.width - (0 if projection.wrap else self.columns - 1))), self.columns
        )

    def _weighed(self, image: RangeImage) -> View:
        """The view of a range image, with the weights of carried labels changed according to `edges`."""
        view = image.view(self.channels, self.mean, self.std)
        if view.carried is None or self.edges == "same":
            return view
        weight, label, metres = view.carried.numpy(), view.label.numpy(), image.gather(image.range)
        weight = weigh_edges(weight, label, metres, more=self.edges == "more", wrap=self.projection.wrap)
        return replace(view, carried=torch.from_numpy(weight))

    def sample(self, index: int) -> Sample:
        """Scan `index` for evaluation: not augmented, with its raster, the labels of its points and their ranges."""
        image = self.projection(guarded(self.source.scan(index)))
        view = image.view(self.channels, self.mean, self.std)
        return Sample(self.name(index), view, image, image.scan.label, image.range)
