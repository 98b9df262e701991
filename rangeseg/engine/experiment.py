"""The objects that a config describes, built from its sections and the tables of components in `rangeseg.catalog`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rangeseg.catalog import BACK_PROJECTIONS, DATASETS, METHODS, NETWORKS, PERTURBATIONS
from rangeseg.config import Config, check_dataset
from rangeseg.data.dataset import Dataset
from rangeseg.data.prediction_files import PredictionFiles
from rangeseg.engine import class_weights
from rangeseg.engine.inputs import PhotoInput, ScanInput, Stride, WholeViews
from rangeseg.engine.labelled_mix import LabelledMix, make_labelled_mix
from rangeseg.engine.methods import Method
from rangeseg.engine.precision import in_precision
from rangeseg.engine.supervision import prepare_heads
from rangeseg.evaluation.backprojection import BackProjection
from rangeseg.evaluation.evaluate import Segmented, segment
from rangeseg.labels import LabelMap
from rangeseg.networks.base import Network
from rangeseg.networks.exported import compiled
from rangeseg.networks.fusion import fuse_conv_bn
from rangeseg.networks.sliding import SlidingWindow
from rangeseg.perturbations import Channels, Perturbation
from rangeseg.photos.dataset import PhotoDataset
from rangeseg.registry import ConfigError, accepted_kwargs, build, lookup
from rangeseg.resources import resource
from rangeseg.types import Sample

ALL = "all"
"""In place of a list: the whole split."""

WITH_LABELS = "with_labels"
"""In place of a list: the scans or photographs of the split that have a label file."""

SMALL = 16
"""Rows and columns, rounded up to the stride, of the image on which a network and its fused copy are compared."""


class Experiment:
    """The objects that a config describes. Each one is made at its first use, and only once.

    Args:
        config: complete. It must not be changed afterwards.
    """

    def __init__(self, config: Config) -> None:
        self.config = config

    @cached_property
    def dataset(self) -> type[Dataset]:
        """The class of `data.dataset`.

        Raises:
            ConfigError: there is no such dataset, or its class is not a `Dataset`.
        """
        return dataset_class(self.config.data.dataset.get("name"))

    @cached_property
    def label_map(self) -> LabelMap:
        """The dataset's classes, without opening its files."""
        return self.dataset.classes(self.config.data.dataset)

    @cached_property
    def input(self) -> ScanInput | PhotoInput:
        """Makes views of scans or of photographs.

        Raises:
            ConfigError: the config sets a key that does not apply to its kind of data.
        """
        return PhotoInput(self.config) if issubclass(self.dataset, PhotoDataset) else ScanInput(self.config)

    @cached_property
    def channels(self) -> Channels:
        """The channels of the views, and their normalisation."""
        data = self.config.data
        return Channels(tuple(data.channels), tuple(data.mean), tuple(data.std))

    @cached_property
    def method(self) -> Method:
        """`method`: selects the network that gives the targets and the network that learns."""
        made: Method = build(METHODS, self.config.method, "method")
        return made

    @cached_property
    def perturbation(self) -> Perturbation:
        """`perturbation`, built with facts about the views and classes and with the settings of `preset`.

        Raises:
            ConfigError: the section does not fit the perturbation, or its class is not a `Perturbation`.
        """
        return self._perturbation(self.config.perturbation, "perturbation")

    @cached_property
    def labelled_mix(self) -> LabelledMix | None:
        """`supervised.mix`: strong augmentation of labelled views; None if the config has none.

        Raises:
            ConfigError: a section does not fit its perturbation.
        """
        return make_labelled_mix(self.config.supervised, self.label_map.num_classes, self._perturbation)

    @cached_property
    def class_weights(self) -> Tensor | None:
        """(K,) float32 weights of the cross-entropy, None for 1; see `rangeseg.engine.class_weights`."""
        return class_weights.class_weights(self.config.supervised, self.label_map)

    @cached_property
    def back_projection(self) -> BackProjection:
        """`evaluation.back_projection`: pixels -> elements."""
        section, path = self.config.evaluation.back_projection, "evaluation.back_projection"
        made: BackProjection = build(BACK_PROJECTIONS, section, path)
        _check(made, BackProjection, path, section)
        return made

    @cached_property
    def read(self) -> Callable[..., Any]:
        """(file, label file or None, label_map=None) -> a scan or photograph, read in the format of the dataset."""
        return self.dataset.reader(self.config.data.dataset)

    @cached_property
    def prediction_files(self) -> PredictionFiles:
        """The dataset's format of prediction files."""
        return self.dataset.prediction_files(self.label_map, self.config.data.dataset)

    def open(self, split: str, subset: str | None = None, *, labels: bool = True) -> Dataset:
        """The scans or photographs of a split, or of a list of them.

        Args:
            split: train, val or test.
            subset: a list file, or the name of a list shipped for the dataset; None or "all" for the whole split;
                "with_labels" for those that have a label file.
            labels: read labels; False does not open label files.

        Raises:
            ConfigError: unknown split, list or folder; the dataset takes no list; or `data.dataset` sets one of these.
            ValueError: `subset` is "with_labels", and nothing has a label file.
        """
        data = self.config.data
        check_dataset(data.dataset)
        listed = None if subset in (None, ALL, WITH_LABELS) else str(self._list_file(subset))
        if listed and not accepted_kwargs(self.dataset, {"subset": listed}):
            raise ConfigError(
                f"data.dataset.name: {data.dataset['name']} cannot open the list {subset}; its constructor needs the "
                "argument subset (before version 0.2: frames)."
            )
        made: Dataset = build(
            DATASETS, data.dataset, "data.dataset",
            root=data.root, split=split, subset=listed, labels=labels, label_map=self.label_map,
        )  # fmt: skip
        return made.with_labels() if subset == WITH_LABELS else made

    def views(
        self, source: Any, *, labelled: bool = True, augment: bool = False, stride: Stride = (1, 1)
    ) -> WholeViews:
        """Views of scans or photographs, with the settings of `data`.

        Args:
            source: scans or photographs.
            labelled: False hides the labels of training views.
            augment: augment training views with `data.augmentation`.
            stride: stride of the network; whole photographs are padded to a multiple of it.

        Raises:
            ConfigError: values of the config contradict each other or the dataset.
        """
        try:
            return self.input.views(source, stride=stride, labelled=labelled, augment=augment)
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(f"data: {error}") from error

    def make_network(self, num_classes: int | None = None, *, weights: bool = True) -> Network:
        """`network` with initial weights from `runtime.seed`; two networks if `method` trains a pair.

        Args:
            num_classes: K; None: that of the dataset.
            weights: read the file of `network.weights`; False if other weights will replace them.

        Raises:
            ConfigError: the section does not fit the network, its class is not a `Network`, or `supervised.auxiliary`
                is set and the network has no auxiliary heads.
        """
        config, section = self.config, dict(self.config.network)
        if not weights:
            section.pop("weights", None)
        known = {
            "in_channels": len(config.data.channels),
            "num_classes": num_classes or self.label_map.num_classes,
            "wrap": self.input.wrap,
        }

        def make(number: int) -> Network:
            torch.manual_seed(config.runtime.seed + number)
            made: Network = build(NETWORKS, section, "network", **known)
            _check(made, Network, "network", section)
            return made

        network = self.method.make_network(make)
        prepare_heads(network, config.supervised.auxiliary)
        return network

    def inference_model(self, network: Callable[[Tensor], Tensor], *, compile: bool = False) -> Any:
        """A copy of the network for inference, in `runtime.precision` if the device supports it.

        In the copy, BatchNorm is fused into the convolutions; later changes of the network's weights do not change it.
        With `evaluation.window`, the image is cut into overlapping parts.

        Args:
            network: (B, C, H, W) -> (B, K, H, W) logits, in eval mode.
            compile: compile the network with torch.compile, once for each size of image.

        Raises:
            ConfigError: the window has no usable size, or would cut the cylinder of a range image.
            ValueError: an exported network would be compiled.
        """
        if isinstance(network, Network):
            rows, columns = (-(-SMALL // step) * step for step in network.stride)
            network = fuse_conv_bn(network, (len(self.config.data.channels), rows, columns))
        if compile:
            network = compiled(network)
        network = in_precision(network, self.config.runtime.precision)
        window = self.config.evaluation.window
        if not window:
            return network
        if self.input.wrap:
            raise ConfigError("evaluation.window: sliding windows do not support range images with wrap. Leave it out.")
        section = {"name": "window"} | window
        return build({"window": SlidingWindow}, section, "evaluation.window", network=network)

    def segment(
        self, network: Callable[[Tensor], Tensor], views: WholeViews, indices: Iterable[int], device: torch.device | str
    ) -> Iterator[Segmented]:
        """Label the elements of some of the views, with the settings of `evaluation`."""
        samples: Iterator[Sample] = (views.sample(index) for index in indices)
        return segment(
            self.inference_model(network),
            samples,
            self.back_projection,
            views.source.label_map.num_classes,
            device=device,
            batch=self.config.evaluation.batch,
        )

    def _perturbation(self, section: dict[str, Any], path: str) -> Perturbation:
        reference = {"sampler": "reference", "xi": 1e-6} if self.config.preset == "reference" else {}
        views, label_map = {"wrap": self.input.wrap, "channels": self.channels}, self.label_map
        known = views | {"things": label_map.things, "tails": label_map.tails} | reference
        made: Perturbation = build(PERTURBATIONS, section, path, **known)
        _check(made, Perturbation, path, section)
        return made

    def _list_file(self, name: str | None) -> Path:
        if name and Path(name).is_file():
            return Path(name)
        folder = resource("datasets") / self.dataset.folder / "splits"
        if (folder / f"{name}.txt").is_file():
            return folder / f"{name}.txt"
        shipped = ", ".join(sorted(path.stem for path in folder.glob("*.txt"))) or "there are none; see rangeseg split"
        dataset = self.config.data.dataset.get("name")
        raise ConfigError(
            f"{name!r} is neither a file nor a list shipped for {dataset}: {shipped}. For how to draw "
            f"lists, see datasets/{dataset}/README.md."
        )


def dataset_class(name: Any) -> type[Dataset]:
    """The class of a dataset.

    Args:
        name: a key of `DATASETS`, or ``module:Class``.

    Raises:
        ConfigError: there is no such dataset, or its class is not a `Dataset`.
    """
    found = lookup(DATASETS, name, "data.dataset")
    if not (isinstance(found, type) and issubclass(found, Dataset)):
        raise ConfigError(
            f"data.dataset.name: {name!r} is not a Dataset; a user's class must derive from "
            "rangeseg.data.dataset.ScanDataset or rangeseg.photos.dataset.PhotoDataset."
        )
    return found


def _check(made: object, base: type, path: str, section: dict[str, Any]) -> None:
    """Refuse a component whose class does not derive from the base class that declares the interface rangeseg uses."""
    if not isinstance(made, base):
        raise ConfigError(
            f"{path}.name: {section.get('name')!r} makes a {type(made).__name__}; a user's class must derive from "
            f"{base.__module__}.{base.__name__}."
        )
