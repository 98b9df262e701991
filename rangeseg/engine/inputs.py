"""From a scan or a photograph to the views that a network reads, with the settings of `data`.

`ScanInput` and `PhotoInput` have the same methods; `Experiment.input` selects one by the dataset's class.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol, cast

from rangeseg.catalog import PROJECTIONS
from rangeseg.config import Config
from rangeseg.data.augment import Augmentation
from rangeseg.data.dataset import ScanSource
from rangeseg.data.loading import Views
from rangeseg.data.range_views import Edges, Projection, RangeViews
from rangeseg.evaluation.backprojection import NEED_RANGES
from rangeseg.photos.augment import PhotoAugmentation
from rangeseg.photos.dataset import PhotoDataset
from rangeseg.photos.padded_image import PaddedImage, PhotoPadding
from rangeseg.photos.views import PhotoViews
from rangeseg.photos.window import COLORS
from rangeseg.registry import ConfigError, build
from rangeseg.types import Sample

Stride = tuple[int, int]
"""The height and width of a network's images must be divisible by these."""


class WholeViews(Views, Protocol):
    """Views that also return whole samples for evaluation: `RangeViews`, `PhotoViews`."""

    @property
    def source(self) -> Any:
        """The scans or photographs."""
        ...

    def sample(self, index: int) -> Sample:
        """Sample `index`, whole."""
        ...


class ScanInput:
    """Range images.

    Args:
        config: `data` and `evaluation` are read.

    Raises:
        ConfigError: the config sets a key that only applies to photographs.
    """

    def __init__(self, config: Config) -> None:
        if (scale := config.evaluation.scale) != 1:
            raise ConfigError(
                f"evaluation.scale: {scale} resizes photographs; the size of range images is in "
                "data.projection. Leave it out."
            )
        self._data = config.data

    @cached_property
    def projection(self) -> Projection:
        """`data.projection`."""
        made: Projection = build(PROJECTIONS, self._data.projection, "data.projection")
        return made

    @property
    def wrap(self) -> bool:
        """Column 0 of a training view touches its last column: the image is a full turn and is not cropped."""
        return self.full_turn and not self._data.augmentation.get("columns")

    @property
    def full_turn(self) -> bool:
        """Column 0 of a range image touches its last column."""
        return bool(self.projection.wrap)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the range images."""
        return self.projection.height, self.projection.width

    def rasteriser(self, stride: Stride) -> Projection:
        """A scan -> its range image. Its size is that of `data.projection`, for any stride."""
        return self.projection

    def views(self, source: ScanSource, *, stride: Stride, labelled: bool, augment: bool) -> RangeViews:
        """Range views of scans, with the config's channels and, with `augment`, its augmentation."""
        data = self._data
        return RangeViews(
            source, self.projection, channels=tuple(data.channels), mean=tuple(data.mean), std=tuple(data.std),
            augmentation=_augmentation(Augmentation, data.augmentation) if augment else None, labelled=labelled,
            edges=cast(Edges, data.carried_edges),
        )  # fmt: skip


class PhotoInput:
    """Photographs: crops for training, whole photographs for evaluation.

    Args:
        config: `data` and `evaluation` are read.

    Raises:
        ConfigError: the config sets a key that only applies to scans.
    """

    wrap = False

    def __init__(self, config: Config) -> None:
        self._scale, self._data = config.evaluation.scale, config.data
        data = config.data
        if foreign := [name for name in data.channels if name not in COLORS]:
            raise ConfigError(
                f"data.channels: photographs have no channel {', '.join(foreign)}. Write channels: [red, green, "
                "blue] with their mean and std (ImageNet: [0.485, 0.456, 0.406] and [0.229, 0.224, 0.225])."
            )
        if data.label_fraction < 1:
            raise ConfigError(
                f"data.label_fraction: {data.label_fraction} is only possible for scans. For photographs, write 1.0 "
                "and name a list of labelled photographs in data.labelled."
            )
        if data.projection not in ({}, type(data)().projection):
            raise ConfigError("data.projection: photographs have no projection. Leave it out.")
        if (name := config.evaluation.back_projection.get("name")) in NEED_RANGES:
            raise ConfigError(
                f"evaluation.back_projection.name: {name!r} needs ranges, which photographs do not have. Write "
                "back_projection: {name: nearest}."
            )

    def rasteriser(self, stride: Stride) -> Callable[..., PaddedImage]:
        """A photograph -> its padded image, whose size is a multiple of the stride."""
        return PhotoPadding(self._scale, stride)

    def views(self, source: PhotoDataset, *, stride: Stride, labelled: bool, augment: bool) -> PhotoViews:
        """Whole photographs; with `augment`, augmented crops."""
        data = self._data
        return PhotoViews(
            source, PhotoPadding(self._scale, stride), channels=tuple(data.channels), mean=tuple(data.mean),
            std=tuple(data.std), augmentation=_augmentation(PhotoAugmentation, data.augmentation) if augment else None,
            labelled=labelled, memory_mb=data.memory_mb,
        )  # fmt: skip


def _augmentation(kind: Any, section: dict[str, Any]) -> Any:
    return build({"augmentation": kind}, {"name": "augmentation"} | section, "data.augmentation")
