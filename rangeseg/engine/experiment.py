"""From a config to objects: the only place where a config's sections meet the tables of components."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from numpy.typing import NDArray
from torch import Tensor, nn

from rangeseg.catalog import BACK_PROJECTIONS, DATASETS, METHODS, PERTURBATIONS
from rangeseg.config import Config
from rangeseg.data.source import Source
from rangeseg.engine.methods import Method
from rangeseg.engine.modality import Modality, Photos, Scans, Stride, WholeViews, dataset_method
from rangeseg.engine.precision import in_precision, usable_precision
from rangeseg.engine.supervision import prepare_heads
from rangeseg.evaluation.evaluate import BackProjection, Segmented, segment
from rangeseg.labels import LabelMap
from rangeseg.networks import NETWORKS
from rangeseg.networks.fusion import fuse_conv_bn
from rangeseg.networks.sliding import SlidingWindow
from rangeseg.perturbations import Channels, Perturbation
from rangeseg.registry import ConfigError, build, lookup
from rangeseg.resources import resource
from rangeseg.types import Sample

Network = Callable[[Tensor], Tensor]
"""(B, C, H, W) -> (B, K, H, W) logits."""

ALL = "all"
"""The whole split, where a list may be named."""

SMALL = 16
"""Rows and columns, or a network's stride, of the image with which a copy of it is compared."""


def is_photo_dataset(dataset: Any) -> bool:
    """The one decision between scans and photographs: a dataset whose class has `photo` is of photographs.

    Args:
        dataset: its name in a config.

    Raises:
        ConfigError: unknown dataset.
    """
    return hasattr(lookup(DATASETS, dataset, "data.dataset"), "photo")


def modality(config: Config) -> Modality:
    """What is peculiar to the config's kind of data."""
    return Photos(config) if is_photo_dataset(config.data.dataset.get("name")) else Scans(config)


def open_source(config: Config, split: str, frames: str | None = None, *, labels: bool = True) -> Source:
    """The scans or photographs of a split, or of a list among them.

    Args:
        config: `data.dataset` and `data.root` are read.
        split: train, val or test.
        frames: a list file, or the name of a list shipped for the dataset; None or "all" for the whole split.
        labels: read labels; False leaves label files alone.

    Raises:
        ConfigError: unknown dataset, split, list or folder.
    """
    listed = None if frames in (None, ALL) else str(_list_file(frames, str(config.data.dataset.get("name"))))
    return build(
        DATASETS, config.data.dataset, "data.dataset", root=config.data.root, split=split, frames=listed, labels=labels
    )


def _list_file(name: str, dataset: str) -> Path:
    if Path(name).is_file():
        return Path(name)
    kind = lookup(DATASETS, dataset, "data.dataset")
    folder = resource("datasets") / getattr(kind, "folder", dataset) / "splits"
    if (folder / f"{name}.txt").is_file():
        return folder / f"{name}.txt"
    shipped = ", ".join(sorted(path.stem for path in folder.glob("*.txt"))) or "there are none; see rangeseg split"
    raise ConfigError(
        f"{name!r} is neither a file nor a list shipped for {dataset}: {shipped}. How lists are drawn is told in "
        f"datasets/{dataset}/README.md."
    )


def make_projection(config: Config, stride: Stride = (1, 1)) -> Any:
    """A scan -> its range image, by `data.projection`; or a photograph -> its padded image, by a network's stride."""
    return modality(config).projection(stride)


def make_views(
    config: Config, source: Source, *, labelled: bool = True, augment: bool = False, stride: Stride = (1, 1)
) -> WholeViews:
    """A source seen as the config says.

    Args:
        config: `data` is read.
        source: scans or photographs.
        labelled: False hides the labels of training views.
        augment: training views are augmented, as `data.augmentation` says.
        stride: of the network, by which whole photographs are padded.

    Raises:
        ConfigError: the config's values do not fit each other, or the dataset.
    """
    kind = modality(config)
    try:
        return kind.views(source, stride=stride, labelled=labelled, augment=augment)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"data: {error}") from error


def make_network(config: Config, num_classes: int) -> nn.Module:
    """`network`, with initial weights that `runtime.seed` decides; two of them where the `method` asks for a pair.

    Raises:
        ConfigError: the section does not fit the network, or `supervised.auxiliary` a network without heads.
    """

    def make(number: int) -> nn.Module:
        torch.manual_seed(config.runtime.seed + number)
        network: nn.Module = build(
            NETWORKS, config.network, "network", in_channels=len(config.data.channels), num_classes=num_classes,
            wrap=modality(config).wrap,
        )  # fmt: skip
        return network

    network = make_method(config).make_network(make)
    prepare_heads(network, config.supervised.auxiliary)
    return network


def make_method(config: Config) -> Method:
    """`method`: who answers for unlabelled views, and who learns from it."""
    method: Method = build(METHODS, config.method, "method")
    return method


def stride_of(network: nn.Module) -> Stride:
    """What the height and width of a network's images must be divisible by; one that does not tell takes any."""
    return cast(Stride, getattr(network, "stride", (1, 1)))


def make_back_projection(config: Config) -> BackProjection:
    """`evaluation.back_projection`: pixels -> elements."""
    return build(BACK_PROJECTIONS, config.evaluation.back_projection, "evaluation.back_projection")


def make_channels(config: Config) -> Channels:
    """What the channels of the config's views are, and how they were normalised."""
    return Channels(tuple(config.data.channels), tuple(config.data.mean), tuple(config.data.std))


def make_perturbation(config: Config) -> Perturbation:
    """`perturbation`, told what the views are and what it owes to a preset.

    Raises:
        ConfigError: the section does not fit the perturbation, or its class is not a `Perturbation`.
    """
    reference = {"sampler": "reference", "xi": 1e-6} if config.preset == "reference" else {}
    perturbation = build(
        PERTURBATIONS,
        config.perturbation,
        "perturbation",
        wrap=modality(config).wrap,
        channels=make_channels(config),
        things=lookup_label_map(config).things,
        **reference,
    )
    if not isinstance(perturbation, Perturbation):
        raise ConfigError(
            f"perturbation.name: {config.perturbation.get('name')!r} makes a {type(perturbation).__name__}; a class of "
            "your own derives from rangeseg.perturbations.Perturbation."
        )
    return perturbation


def class_weights(config: Config, label_map: LabelMap) -> Tensor | None:
    """(K,) float32 weights of the cross-entropy, or None.

    Raises:
        ConfigError: weights are asked for, and the dataset's frequencies are not known or not those of its classes.
    """
    if config.supervised.class_weights == "none":
        return None
    if shares := config.supervised.frequencies:
        if odd := sorted(set(shares) ^ set(label_map.names)):
            raise ConfigError(
                f"supervised.frequencies: {', '.join(odd)}: each class of {label_map.dataset} needs one, and nothing "
                "else has one. Count them with rangeseg stats."
            )
        if wrong := [name for name, share in shares.items() if not 0 <= share <= 1]:
            raise ConfigError(f"supervised.frequencies: {', '.join(wrong)}: no shares of a whole; give 0 to 1.")
        label_map = replace(label_map, frequencies=np.array([shares[name] for name in label_map.names]))
    try:
        weights = loss_weights(label_map, config.supervised.class_weights)
    except ValueError as error:
        raise ConfigError(f"supervised.class_weights: {error}") from error
    return torch.as_tensor(weights, dtype=torch.float32)


def loss_weights(label_map: LabelMap, kind: str) -> NDArray[np.float64]:
    """(K,) weights of a dataset's classes.

    Args:
        label_map: its frequencies are read.
        kind: inverse, root or log, as `supervised.class_weights` has it.

    Raises:
        ValueError: the dataset's frequencies are not known.
    """
    weights = label_map.class_weights()
    if kind == "root":
        weights = np.sqrt(weights)
        weights = weights / weights.mean()
    if kind == "log":
        weights = np.log1p(weights)
        weights = weights / weights.max()
    return weights


def make_fabric(config: Config) -> Fabric:
    """Devices, processes and precision, launched; precision falls back, with a warning, to what the hardware has."""
    runtime = config.runtime
    if runtime.threads:
        torch.set_num_threads(runtime.threads)
    torch.backends.cudnn.benchmark = not runtime.deterministic  # sizes do not change, so trying kernels pays
    if runtime.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
    precision: Any = usable_precision(runtime.precision, runtime.accelerator)
    several = runtime.devices * runtime.num_nodes > 1
    # our own mean of the buffers replaces DDP's broadcast: see Trainer._average_buffers
    strategy = DDPStrategy(broadcast_buffers=False) if several else "auto"
    fabric = Fabric(
        accelerator=runtime.accelerator,
        devices=runtime.devices,
        num_nodes=runtime.num_nodes,
        precision=precision,
        strategy=strategy,
    )
    fabric.launch()
    return fabric


def inference_model(config: Config, network: Network, *, compile: bool = False) -> Network:
    """A network's logits as the config evaluates them, in `runtime.precision` where the device has it.

    A module's BatchNorm is fused into its convolutions, in a copy: what is learnt later is not seen through it.
    `evaluation.window` cuts the image into overlapping parts.

    Args:
        config: of the experiment.
        network: (B, C, H, W) -> (B, K, H, W) logits, in eval mode.
        compile: by torch.compile, anew for each size of image.

    Raises:
        ConfigError: the window is no size, or a cylinder would be cut.
    """
    if isinstance(network, nn.Module):
        rows, columns = (-(-SMALL // step) * step for step in stride_of(network))
        network = fuse_conv_bn(network, (len(config.data.channels), rows, columns))
    if compile:
        network = cast(Network, torch.compile(network, dynamic=False))
    window, network = config.evaluation.window, in_precision(network, config.runtime.precision)
    if not window:
        return network
    if modality(config).wrap:
        raise ConfigError("evaluation.window: a window would cut the cylinder of a range image. Leave it out.")
    section = {"name": "window"} | window
    return cast(Network, build({"window": SlidingWindow}, section, "evaluation.window", network=network))


def segment_views(
    config: Config, network: Network, views: WholeViews, indices: Iterable[int], device: torch.device | str
) -> Iterator[Segmented]:
    """Label the elements of some of the views, as the config evaluates."""
    samples: Iterator[Sample] = (views.sample(index) for index in indices)
    return segment(
        inference_model(config, network),
        samples,
        make_back_projection(config),
        views.source.label_map.num_classes,
        device=device,
        batch=config.evaluation.batch,
    )


def lookup_label_map(config: Config) -> LabelMap:
    """The classes of the config's dataset, without opening its files."""
    label_map: LabelMap = dataset_method(config, "read_label_map")()
    return label_map
