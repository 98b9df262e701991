"""Network views of photographs: read, crop a window, normalise, and map the labels.

Shapes: H0, W0 rows and columns of a photograph, N = H0 * W0 its pixels row by row; H, W of a view; C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rangeseg.photos.augment import PhotoAugmentation
from rangeseg.photos.cache import PhotoCache
from rangeseg.photos.dataset import PhotoDataset
from rangeseg.photos.padded_image import PhotoPadding
from rangeseg.photos.window import COLORS
from rangeseg.projection.range_image import normalisation
from rangeseg.types import Sample, View

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class PhotoViews:
    """Views of a source of photographs: random windows, or whole photographs.

    Args:
        source: the photographs.
        padding: photograph -> padded image, for whole photographs; default: `PhotoPadding()`.
        mean: (C,) subtracted from each channel in [0, 1]; default: ImageNet's.
        std: (C,) by which each channel is then divided.
        channels: names of the image's channels, in order.
        augmentation: draws the windows of `view`; None: whole photographs.
        labelled: False hides the labels: every label of every `view` is IGNORE. `sample` keeps them, for evaluation.
        memory_mb: megabytes of decoded photographs that `view` caches; views are the same, but faster.

    Raises:
        ValueError: `memory_mb` is negative, `mean` or `std` does not fit `channels`, or a channel is no colour.
    """

    def __init__(
        self,
        source: PhotoDataset,
        padding: PhotoPadding | None = None,
        *,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        channels: Sequence[str] = COLORS,
        augmentation: PhotoAugmentation | None = None,
        labelled: bool = True,
        memory_mb: int = 0,
    ) -> None:
        normalisation(COLORS, channels, mean, std)
        self.source = source
        self.padding = padding or PhotoPadding()
        self.channels = tuple(channels)
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.augmentation = augmentation
        self.labelled = labelled
        self._cache = PhotoCache(memory_mb)

    def __len__(self) -> int:
        return len(self.source)

    def name(self, index: int) -> str:
        """The name of photograph `index` in reports."""
        return self.source.name(index)

    def view(self, index: int, rng: np.random.Generator) -> View:
        """Photograph `index` for training: augmented, and without labels unless `labelled`.

        Args:
            index: number of the photograph in the source.
            rng: the only source of randomness.

        Returns:
            A view without a batch axis.
        """
        photo = self._cache(index, self.source.photo)
        if not self.labelled:
            photo = replace(photo, label=None)
        if self.augmentation is None:
            return self.padding(photo).view(self.channels, self.mean, self.std)
        window = self.augmentation.draw(photo.image.shape[0], photo.image.shape[1], rng)
        return window.view(photo, self.channels, self.mean, self.std)

    def sample(self, index: int) -> Sample:
        """Photograph `index` for evaluation: the whole photograph, the mapping back to its pixels, and their labels."""
        photo = self.source.photo(index)
        image = self.padding(photo)
        label = None if photo.label is None else photo.label.reshape(-1)
        return Sample(self.name(index), image.view(self.channels, self.mean, self.std), image, label)
