"""From a config to objects, and the three things one does with them: train, load, score.

Only this file and the command line know that YAML exists.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, nn

from rangeseg.backprojection import BACK_PROJECTIONS
from rangeseg.components import ConfigError, build, lookup
from rangeseg.config import Config, config_from
from rangeseg.data import DATASETS
from rangeseg.data.augment import Augmentation
from rangeseg.data.loading import Stream
from rangeseg.data.range_views import RangeViews
from rangeseg.data.source import ScanSource
from rangeseg.data.sparse import SparseLabels
from rangeseg.engine.checkpoint import read_checkpoint
from rangeseg.engine.evaluate import BackProjection, Segmented, report, score, segment
from rangeseg.engine.journal import Journal
from rangeseg.engine.mean_teacher import Batches, Evaluated, MeanTeacher
from rangeseg.engine.precision import usable_precision
from rangeseg.labels import LabelMap
from rangeseg.networks import NETWORKS
from rangeseg.perturbations import PERTURBATIONS, Perturbation
from rangeseg.projection import PROJECTIONS, RangeImage
from rangeseg.resources import resource
from rangeseg.types import IGNORE, Sample
from rangeseg.vis.panels import panels

LABELLED, UNLABELLED_A, UNLABELLED_B = 0, 1, 2  # stream ids: which shuffling each loader draws


def open_source(config: Config, split: str, frames: str | None = None, *, labels: bool = True) -> ScanSource:
    """The scans of a split, or of a list among them.

    Args:
        config: `data.dataset` and `data.root` are read.
        split: train, val or test.
        frames: a list file, or the name of a list shipped for the dataset; None for the whole split.
        labels: read labels; False leaves label files alone.

    Raises:
        ConfigError: unknown dataset, split, list or folder.
    """
    listed = None if frames is None else str(_list_file(frames, str(config.data.dataset.get("name"))))
    return build(
        DATASETS, config.data.dataset, "data.dataset", root=config.data.root, split=split, frames=listed, labels=labels
    )


def _list_file(name: str, dataset: str) -> Path:
    if Path(name).is_file():
        return Path(name)
    folder = resource("datasets", dataset, "splits")
    if (folder / f"{name}.txt").is_file():
        return folder / f"{name}.txt"
    shipped = sorted(path.stem for path in folder.glob("*.txt"))
    raise ConfigError(f"{name!r} is neither a file nor a list shipped for {dataset}: {', '.join(shipped)}.")


def make_projection(config: Config) -> Any:
    """`data.projection`: a scan -> its range image."""
    return build(PROJECTIONS, config.data.projection, "data.projection")


def make_views(config: Config, source: ScanSource, *, labelled: bool = True, augment: bool = False) -> RangeViews:
    """A source seen through the config's projection, channels and, if asked, augmentation."""
    data = config.data
    augmentation = (
        build({"augmentation": Augmentation}, {"name": "augmentation"} | data.augmentation, "data.augmentation")
        if augment
        else None
    )
    try:
        return RangeViews(
            source, make_projection(config), channels=tuple(data.channels), mean=tuple(data.mean), std=tuple(data.std),
            augmentation=augmentation, labelled=labelled,
        )  # fmt: skip
    except ValueError as error:
        raise ConfigError(f"data: {error}") from error


def make_network(config: Config, num_classes: int) -> nn.Module:
    """`network`, with initial weights that `runtime.seed` decides."""
    torch.manual_seed(config.runtime.seed)
    network: nn.Module = build(
        NETWORKS, config.network, "network", in_channels=len(config.data.channels), num_classes=num_classes, wrap=True
    )
    return network


def make_back_projection(config: Config) -> BackProjection:
    """`evaluation.back_projection`: pixels -> points."""
    return build(BACK_PROJECTIONS, config.evaluation.back_projection, "evaluation.back_projection")


def make_perturbation(config: Config) -> Perturbation:
    """`perturbation`; asks it for logits where the consistency loss is on logits."""
    logits = config.consistency.kind.startswith("logits")
    return build(PERTURBATIONS, config.perturbation, "perturbation", wrap=True, logits=logits)


def class_weights(config: Config, label_map: LabelMap) -> Tensor | None:
    """(K,) float32 weights of the cross-entropy, or None."""
    if config.supervised.class_weights == "none":
        return None
    weights = label_map.class_weights()
    if config.supervised.class_weights == "root":
        weights = np.sqrt(weights)
        weights = weights / weights.mean()
    return torch.as_tensor(weights, dtype=torch.float32)


@dataclass(frozen=True)
class TrainingData:
    """What `train` reads, opened and checked before anything is trained."""

    label_map: LabelMap
    labelled: RangeViews
    unlabelled: RangeViews
    validation: RangeViews

    @staticmethod
    def open(config: Config) -> TrainingData:
        """Open the labelled, unlabelled and validation scans of a config."""
        data = config.data
        source = open_source(config, "train", data.labelled)
        if data.label_fraction < 1:
            source = SparseLabels(source, make_projection(config), data.label_fraction, data.label_seed)
        unlabelled = open_source(config, "train", data.unlabelled, labels=False)
        return TrainingData(
            source.label_map,
            make_views(config, source, augment=True),
            make_views(config, unlabelled, labelled=False, augment=True),
            make_views(config, open_source(config, config.evaluation.split)),
        )


def train(config: Config, *, resume: bool = False) -> dict[str, Any]:
    """Train what the config describes, in its run folder.

    Args:
        config: complete.
        resume: go on from the run folder's `last.pt`.

    Returns:
        The last evaluation's report.

    Raises:
        ConfigError: the config does not fit the data, or the run folder is in use.
    """
    fabric = make_fabric(config)
    folder = Path(config.runtime.out)
    if not resume and (folder / "last.pt").exists():
        raise ConfigError(f"runtime.out: {folder} already holds a run. Go on with --resume, or choose another folder.")
    data = TrainingData.open(config)
    network = make_network(config, data.label_map.num_classes)
    trainer = MeanTeacher(fabric, network, make_perturbation(config), config, class_weights(config, data.label_map))
    if resume:
        trainer.resume(folder / "last.pt")
    journal = Journal(folder, enabled=fabric.is_global_zero, step=trainer.step)
    journal.start(config)
    reports: list[dict[str, Any]] = []

    def evaluate() -> Evaluated:
        result, pictures = _validate(config, trainer, data)
        for name, picture in pictures:
            journal.picture(trainer.step, f"validation/{name}", picture)
        reports.append(result)
        per_class = {f"iou/{name}": value for name, value in result["iou"].items() if value is not None}
        metrics = {"mean_iou": result["mean_iou"], "accuracy": result["accuracy"]} | per_class
        return Evaluated(result["mean_iou"], metrics)

    with ExitStack() as stack:
        stack.callback(journal.close)
        trainer.fit(_batches(stack, config, fabric, data, trainer.step), journal, evaluate)
    return reports[-1] if reports else _validate(config, trainer, data)[0]


def make_fabric(config: Config) -> Fabric:
    """Devices, processes and precision, launched; precision falls back, with a warning, to what the hardware has."""
    runtime = config.runtime
    if runtime.threads:
        torch.set_num_threads(runtime.threads)
    if runtime.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
    precision: Any = usable_precision(runtime.precision, runtime.accelerator)
    several = runtime.devices * runtime.num_nodes > 1
    # our own mean of the buffers replaces DDP's broadcast: see MeanTeacher._average_buffers
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


def _batches(stack: ExitStack, config: Config, fabric: Fabric, data: TrainingData, position: int) -> Iterator[Batches]:
    def stream(views: RangeViews, batch: int, number: int) -> Stream:
        pin = fabric.device.type == "cuda"
        made = Stream(
            views, range(len(views)), batch=batch, seed=config.runtime.seed, stream=number, rank=fabric.global_rank,
            world=fabric.world_size, workers=config.runtime.workers, position=position, pin=pin,
        )  # fmt: skip
        return stack.enter_context(made)

    labelled = stream(data.labelled, config.data.batch_labelled, LABELLED)
    if config.consistency.weight == 0:
        return ((batch, None, None) for batch in labelled)
    a, b = (stream(data.unlabelled, config.data.batch_unlabelled, number) for number in (UNLABELLED_A, UNLABELLED_B))
    return zip(labelled, a, b, strict=True)


def _validate(
    config: Config, trainer: MeanTeacher, data: TrainingData
) -> tuple[dict[str, Any], list[tuple[str, np.ndarray]]]:
    """Score the teacher on this process's share of the samples, add up over processes, draw the first few."""
    fabric, views, label_map = trainer.fabric, data.validation, data.label_map
    pictures: list[tuple[str, np.ndarray]] = []
    mine = range(fabric.global_rank, len(views), fabric.world_size)
    segmented = segment_views(config, trainer.teacher, views, mine, fabric.device)

    def drawn() -> Iterator[Segmented]:
        for one in segmented:
            if len(pictures) < config.runtime.pictures and fabric.is_global_zero:
                pictures.append((one.sample.name, _draw(one, label_map)))
            yield one

    with fabric.autocast():
        scores = score(drawn(), label_map.num_classes)
    if fabric.world_size > 1:
        counts = torch.as_tensor(scores.overall.state, device=fabric.device)
        scores.overall.state[...] = torch.as_tensor(fabric.all_reduce(counts, reduce_op="sum")).cpu().numpy()
    return report(scores, label_map.names), pictures


def _draw(one: Segmented, label_map: LabelMap) -> np.ndarray:
    image = cast(RangeImage, one.sample.raster)
    label = image.gather(one.sample.label, IGNORE) if one.sample.label is not None else None
    return panels(image.gather(image.range), label, one.pixels, label_map=label_map)


def segment_views(
    config: Config, network: Any, views: RangeViews, indices: Iterable[int], device: torch.device | str
) -> Iterator[Segmented]:
    """Label the points of some of the views, as the config evaluates."""
    samples: Iterator[Sample] = (views.sample(index) for index in indices)
    return segment(
        network,
        samples,
        make_back_projection(config),
        views.source.label_map.num_classes,
        device=device,
        batch=config.evaluation.batch,
    )


@dataclass(frozen=True)
class Run:
    """A trained run: its config and its teacher, which is what is evaluated, exported and shown."""

    config: Config
    label_map: LabelMap
    network: nn.Module
    device: torch.device

    @staticmethod
    def load(path: str | Path, *, device: str = "auto", overrides: Sequence[str] = ()) -> Run:
        """Read a run folder (its best checkpoint, else its last) or a checkpoint.

        Args:
            path: folder or file.
            device: a torch device, or auto.
            overrides: `key.path=value`, for instance another `data.root`.

        Raises:
            ValueError: no whole checkpoint there.
        """
        state = read_checkpoint(_checkpoint_of(Path(path)))
        config = config_from_yaml(state["config"], overrides)
        label_map = lookup_label_map(config)
        network = make_network(config, label_map.num_classes)
        network.load_state_dict(state["teacher"])
        chosen = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        return Run(config, label_map, network.to(chosen).eval(), chosen)


def _checkpoint_of(path: Path) -> Path:
    if not path.is_dir():
        return path
    return path / ("best.pt" if (path / "best.pt").is_file() else "last.pt")


def config_from_yaml(text: str, overrides: Sequence[str] = ()) -> Config:
    """A config from the text of a run's config.yaml."""
    from omegaconf import OmegaConf

    return config_from([OmegaConf.create(text), OmegaConf.from_dotlist(list(overrides))])  # type: ignore[list-item]


def lookup_label_map(config: Config) -> LabelMap:
    """The classes of the config's dataset, without opening its files."""
    dataset: Any = lookup(DATASETS, config.data.dataset.get("name"), "data.dataset")
    return dataset.read_label_map()
