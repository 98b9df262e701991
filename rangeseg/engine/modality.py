"""What scans and photographs have different: everything left of `View`, and how a result is drawn and spoken of.

`experiment.modality` makes the decision between the two, by the config's dataset. Nothing else asks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, cast

import numpy as np

from rangeseg.catalog import DATASETS, PROJECTIONS
from rangeseg.config import Config
from rangeseg.data.augment import Augmentation
from rangeseg.data.loading import Views
from rangeseg.data.prediction_files import PredictionFiles, ScanFiles
from rangeseg.data.range_views import RangeViews
from rangeseg.data.scan_pairs import ScanPairs
from rangeseg.data.source import PhotoSource, ScanSource, Source
from rangeseg.evaluation.backprojection import NEED_RANGES
from rangeseg.evaluation.evaluate import Segmented
from rangeseg.labels import LabelMap
from rangeseg.photos.augment import PhotoAugmentation
from rangeseg.photos.padded_image import PaddedImage, PhotoPadding
from rangeseg.photos.pairs import PhotoPairs
from rangeseg.photos.panels import photo_panels
from rangeseg.photos.prediction_files import PhotoFiles
from rangeseg.photos.views import PhotoViews
from rangeseg.photos.window import COLORS
from rangeseg.projection.range_image import RangeImage
from rangeseg.registry import ConfigError, accepted_kwargs, build, lookup
from rangeseg.types import IGNORE, Sample
from rangeseg.vis.panels import Picture, colorise, panels

Stride = tuple[int, int]


class WholeViews(Views, Protocol):
    """Views that also show each thing whole, for evaluation: `RangeViews`, `PhotoViews`."""

    @property
    def source(self) -> Source:
        """Where they come from."""
        ...

    def sample(self, index: int) -> Sample:
        """Thing `index` for evaluation."""
        ...


class Modality(Protocol):
    """One of the two kinds of data."""

    things: str
    """What there are many of in a dataset, and what their `elements` are called, in reports."""
    elements: str

    @property
    def wrap(self) -> bool:
        """Column 0 of a view touches its last column."""
        ...

    def projection(self, stride: Stride) -> Any:
        """The map from a scan or a photograph to its raster, of a size that a network of this stride reads."""
        ...

    def views(self, source: Any, *, stride: Stride, labelled: bool, augment: bool) -> WholeViews:
        """A source seen as the config says."""
        ...

    def draw(self, one: Segmented, label_map: LabelMap) -> Picture:
        """What was seen, its label, the prediction and the errors, on one sheet."""
        ...

    def points(self, one: Segmented, label_map: LabelMap) -> dict[str, tuple[np.ndarray, Picture]]:
        """What can be turned: name -> (N, 3) metres and (N, 3) uint8 colours."""
        ...

    def files(self, label_map: LabelMap) -> PredictionFiles:
        """How predictions are written."""
        ...


class Scans:
    """Range images, by `data.projection`.

    Raises:
        ConfigError: the config asks for something that only photographs have.
    """

    things, elements = "scans", "points"

    def __init__(self, config: Config) -> None:
        if (scale := config.evaluation.scale) != 1:
            raise ConfigError(
                f"evaluation.scale: {scale} makes photographs smaller or larger; the size of range images is in "
                "data.projection. Leave it out."
            )
        self._config, self._data = config, config.data

    @property
    def wrap(self) -> bool:
        """As the projection has it: a full turn, or a part of one. A network that learns from parts sees no seam."""
        return bool(self.projection((1, 1)).wrap) and not self._data.augmentation.get("columns")

    def projection(self, stride: Stride) -> Any:
        """`data.projection`: a scan -> its range image, whose size the config gives."""
        return build(PROJECTIONS, self._data.projection, "data.projection")

    def views(self, source: ScanSource, *, stride: Stride, labelled: bool, augment: bool) -> RangeViews:
        """Scans seen through the config's projection, channels and, if asked, augmentation."""
        data = self._data
        augmentation = _augmentation(Augmentation, data.augmentation) if augment else None
        return RangeViews(
            source, self.projection(stride), channels=tuple(data.channels), mean=tuple(data.mean), std=tuple(data.std),
            augmentation=augmentation, labelled=labelled,
        )  # fmt: skip

    def draw(self, one: Segmented, label_map: LabelMap) -> Picture:
        """Range, label, prediction and error, pixel by pixel."""
        image = cast(RangeImage, one.sample.raster)
        label = image.gather(one.sample.label, IGNORE) if one.sample.label is not None else None
        return panels(image.gather(image.range), label, one.pixels, label_map=label_map)

    def points(self, one: Segmented, label_map: LabelMap) -> dict[str, tuple[np.ndarray, Picture]]:
        """The scan's points, by their label and by the prediction."""
        xyz = cast(RangeImage, one.sample.raster).scan.xyz
        ids = {"prediction": one.elements} | ({} if one.sample.label is None else {"label": one.sample.label})
        return {name: (xyz, colorise(each, label_map)) for name, each in ids.items()}

    def files(self, label_map: LabelMap) -> PredictionFiles:
        """``.label`` files, unless the dataset's class brings its own `predictions`."""
        dataset = lookup(DATASETS, self._data.dataset.get("name"), "data.dataset")
        make: Callable[..., PredictionFiles] = getattr(dataset, "predictions", ScanFiles)
        suffixes = getattr(dataset, "suffixes", ScanPairs.suffixes)
        return make(label_map, dataset_method(self._config, "read"), suffixes)


class Photos:
    """Photographs: crops to train on, whole ones to evaluate.

    Raises:
        ConfigError: the config asks for something that only scans have.
    """

    wrap = False
    things, elements = "photographs", "pixels"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._data = data = config.data
        if foreign := [name for name in data.channels if name not in COLORS]:
            raise ConfigError(
                f"data.channels: photographs have no {', '.join(foreign)}. Write channels: [red, green, blue] with "
                "their mean and std, ImageNet's are [0.485, 0.456, 0.406] and [0.229, 0.224, 0.225]."
            )
        if data.label_fraction < 1:
            raise ConfigError(
                f"data.label_fraction: {data.label_fraction} keeps single pixels of scans; write 1.0 for photographs, "
                "and a list of the labelled ones in data.labelled."
            )
        if data.projection not in ({}, type(data)().projection):
            raise ConfigError("data.projection: photographs are not projected. Leave it out.")
        if (name := config.evaluation.back_projection.get("name")) in NEED_RANGES:
            raise ConfigError(
                f"evaluation.back_projection.name: {name!r} compares ranges, which photographs do not have. Write "
                "back_projection: {name: nearest}."
            )

    def projection(self, stride: Stride) -> PhotoPadding:
        """A photograph -> its padded image, of a size that the stride divides."""
        return PhotoPadding(self._config.evaluation.scale, stride)

    def views(self, source: PhotoSource, *, stride: Stride, labelled: bool, augment: bool) -> PhotoViews:
        """Photographs whole or, if augmented, in crops."""
        data = self._data
        augmentation = _augmentation(PhotoAugmentation, data.augmentation) if augment else None
        return PhotoViews(
            source, self.projection(stride), channels=tuple(data.channels), mean=tuple(data.mean), std=tuple(data.std),
            augmentation=augmentation, labelled=labelled, memory_mb=data.memory_mb,
        )  # fmt: skip

    def draw(self, one: Segmented, label_map: LabelMap) -> Picture:
        """Photograph, label, prediction and error, at the photograph's own resolution."""
        photo = cast(PaddedImage, one.sample.raster).photo
        prediction = one.elements.reshape(photo.image.shape[:2])
        return photo_panels(photo, prediction, label_map=label_map)

    def points(self, one: Segmented, label_map: LabelMap) -> dict[str, tuple[np.ndarray, Picture]]:
        """None."""
        return {}

    def files(self, label_map: LabelMap) -> PhotoFiles:
        """PNGs in the dataset's own form."""
        name, read = (dataset_method(self._config, method) for method in ("prediction_name", "read"))
        palette = getattr(lookup(DATASETS, self._data.dataset.get("name"), "data.dataset"), "palette", False)
        return PhotoFiles(label_map, name, read, palette=palette)


def dataset_method(config: Config, method: str) -> Callable[..., Any]:
    """A method of the dataset's class, with those keys of `data.dataset` that it takes.

    Args:
        config: `data.dataset` is read.
        method: one that needs no opened dataset. One's own dataset without it does as `PhotoPairs` or `ScanPairs`.

    Raises:
        ConfigError: unknown dataset.
    """
    section = config.data.dataset
    dataset = lookup(DATASETS, section.get("name"), "data.dataset")
    function = getattr(dataset, method, None) or getattr(PhotoPairs if hasattr(dataset, "photo") else ScanPairs, method)
    return partial(function, **accepted_kwargs(function, section))


def _augmentation(kind: Any, section: dict[str, Any]) -> Any:
    return build({"augmentation": kind}, {"name": "augmentation"} | section, "data.augmentation")
