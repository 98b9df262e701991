"""`train`: train a config and write its run folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric

from rangeseg.catalog import LOGGERS
from rangeseg.config import Config
from rangeseg.data.loading import Batch, Stream, Views
from rangeseg.engine.checkpoint import stored_classes
from rangeseg.engine.drawing import colored_points, draw
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.fabric import from_first, make_fabric
from rangeseg.engine.folder import own_folder
from rangeseg.engine.initialise import initialise
from rangeseg.engine.loggers import Logger
from rangeseg.engine.preconditions import check_batches, check_effect, check_launch
from rangeseg.engine.run_logger import RunLogger, no_traceback_of_writers
from rangeseg.engine.samples import check_samples, names_of, write_samples
from rangeseg.engine.stopping import StopRequest
from rangeseg.engine.trainer import Batches, Evaluation, Trainer
from rangeseg.engine.training_data import TrainingData
from rangeseg.evaluation.evaluate import Scores, Segmented, report, score
from rangeseg.evaluation.metrics import ConfusionMatrix
from rangeseg.files import write_atomically
from rangeseg.networks.modes import evaluating
from rangeseg.registry import ConfigError, build
from rangeseg.vis.confusion import confusion_picture

LABELLED, UNLABELLED_A, UNLABELLED_B, CARRIED = 0, 1, 2, 3  # stream ids: each loader has its own shuffling


@dataclass(frozen=True)
class Validation:
    """An evaluation during training."""

    report: dict[str, Any]
    scores: Scores
    drawn: list[Segmented]
    """The first few samples of this process."""


def train(config: Config, *, resume: bool | Literal["auto"] = False) -> dict[str, Any] | None:
    """Train a config and write its run folder.

    After SIGINT or SIGTERM, the step is finished and `last.pt` is written. A single process also writes it before the
    error of a sample that cannot be read.

    Args:
        config: complete.
        resume: continue from the run folder's `last.pt`; "auto": only if it exists.

    Returns:
        The last evaluation's report, which is also written to the run folder; None in all processes but the first.

    Raises:
        ConfigError: the config does not fit the data, or the run folder is in use or holds a run that is not resumed.
        ConfigError, ValueError: `last.pt` cannot be resumed, see `Trainer.resume`; or the run was trained on other
            samples, see `check_samples`.
        NotFiniteError: a loss is NaN or infinite.
        Stopped: a signal stopped the training; `--resume` continues it.
    """
    check_launch(config)
    fabric = make_fabric(config.runtime)
    folder, loggers = Path(config.runtime.out), make_loggers(config)
    with own_folder(folder, fabric), no_traceback_of_writers():
        exists = fabric.broadcast((folder / "last.pt").exists())  # the folder may be on the first machine only
        if exists and not resume:
            raise ConfigError(f"runtime.out: {folder} already holds a run. Use --resume, or choose another folder.")
        experiment = Experiment(config)
        data = TrainingData.open(experiment)
        resume = exists if resume == "auto" else resume
        trainer = _make_trainer(experiment, fabric, resume=resume)
        names, keep = names_of(data, config), check_samples if resume else write_samples
        from_first(fabric, lambda: keep(folder, names))
        trainer.statistics = data.statistics
        result = _train(experiment, trainer, data, loggers)
    if not fabric.is_global_zero:
        return None
    write_atomically(folder / "evaluation.json", json.dumps(result, indent=2).encode())
    return result


def _make_trainer(experiment: Experiment, fabric: Fabric, *, resume: bool) -> Trainer:
    """The trainer, at its first step or, with `resume`, at the step of `last.pt`."""
    network, config = experiment.make_network(), experiment.config
    check_batches(config, network)
    if not resume:
        initialise(network, experiment)
    trainer = Trainer(
        fabric, network, experiment.perturbation, config, experiment.class_weights, experiment.method,
        experiment.labelled_mix,
    )  # fmt: skip
    trainer.classes = stored_classes(experiment.label_map)
    check_effect(trainer)
    if resume:
        trainer.resume(Path(config.runtime.out) / "last.pt")
    return trainer


def _train(experiment: Experiment, trainer: Trainer, data: TrainingData, loggers: Sequence[Logger]) -> dict[str, Any]:
    """Train to the end and return the last evaluation's report."""
    config, fabric = experiment.config, trainer.fabric
    logger = RunLogger(
        Path(config.runtime.out), enabled=fabric.is_global_zero, step=trainer.step, others=loggers,
        again=trainer.evaluation_pending,
    )  # fmt: skip
    logger.start(config)
    reports: list[dict[str, Any]] = []

    def evaluate() -> Evaluation:
        validation = _validate(experiment, trainer, data)
        reports.append(validation.report)
        return _log_validation(logger, trainer, experiment, validation)

    with ExitStack() as stack:
        stack.callback(logger.close)
        batches = _saving(read_batches(stack, config, fabric, data, trainer.step), trainer, logger.last)
        trainer.fit(batches, logger, evaluate, stack.enter_context(StopRequest()))
    return reports[-1] if reports else _validate(experiment, trainer, data).report


def _saving(batches: Iterator[Batches], trainer: Trainer, last: Path) -> Iterator[Batches]:
    """The batches. Before the error of a sample that cannot be read, a single process saves the steps done."""
    try:
        yield from batches
    except ValueError as error:
        if trainer.step in (0, trainer.config.optim.steps) or trainer.fabric.world_size > 1:
            raise
        trainer.save(last)
        raise ValueError(f"{error} Stopped at step {trainer.step}; use --resume to continue.") from error


def _known(values: dict[str, float | None]) -> dict[str, float]:
    """The scores without those that are None because no labelled element has the class."""
    return {name: value for name, value in values.items() if value is not None}


def read_batches(
    stack: ExitStack, config: Config, fabric: Fabric, data: TrainingData, position: int
) -> Iterator[Batches]:
    """The batches of each step, from a position on.

    Args:
        stack: closes the loaders.
        config: config of the training.
        fabric: gives rank and device.
        data: labelled and unlabelled views.
        position: number of steps done.
    """

    def stream(views: Views, batch: int, number: int) -> Stream:
        pin = fabric.device.type == "cuda"
        made = Stream(
            views, batch=batch, seed=config.runtime.seed, stream=number, rank=fabric.global_rank,
            world=fabric.world_size, workers=config.runtime.workers, position=position, pin=pin,
        )  # fmt: skip
        return stack.enter_context(made)

    labelled = stream(data.labelled, config.data.batch_labelled, LABELLED)
    carried: Iterator[Batch | None] = repeat(None)
    if data.carried is not None:
        carried = stream(data.carried, config.data.batch_carried, CARRIED)

    def learnt(batch: Batch, other: Batch | None) -> Batch:
        return batch if other is None else batch.join(other)

    if config.consistency.weight == 0:
        return ((learnt(x, c), None, None) for x, c in zip(labelled, carried, strict=True))
    b = stream(data.unlabelled, config.data.batch_unlabelled, UNLABELLED_B)
    if config.consistency.pair == "labelled":
        return ((learnt(x, c), x, other) for x, c, other in zip(labelled, carried, b, strict=True))
    a = stream(data.unlabelled, config.data.batch_unlabelled, UNLABELLED_A)
    return ((learnt(x, c), one, other) for x, c, one, other in zip(labelled, carried, a, b, strict=True))


def _validate(experiment: Experiment, trainer: Trainer, data: TrainingData) -> Validation:
    """Score the teacher on this process's share of the samples, sum over processes, and keep the first few to draw."""
    fabric, label_map = trainer.fabric, experiment.label_map
    views = experiment.views(data.validation, stride=trainer.network.stride)
    drawn: list[Segmented] = []
    mine = range(fabric.global_rank, len(views), fabric.world_size)
    teacher = trainer.teacher.network

    def segmented() -> Iterator[Segmented]:
        for one in experiment.segment(teacher, views, mine, fabric.device):
            if len(drawn) < experiment.config.runtime.log_images and fabric.is_global_zero:
                drawn.append(one)
            yield one

    scores = Scores(ConfusionMatrix(label_map.num_classes), {})  # for a process without samples
    with evaluating(teacher):
        if mine:
            scores = score(segmented(), label_map.num_classes)
    if fabric.world_size > 1:
        counts = torch.as_tensor(scores.overall.state, device=fabric.device)
        scores.overall.state[...] = torch.as_tensor(fabric.all_reduce(counts, reduce_op="sum")).cpu().numpy()
    return Validation(report(scores, label_map.names), scores, drawn)


def _log_validation(
    logger: RunLogger, trainer: Trainer, experiment: Experiment, validation: Validation
) -> Evaluation:  # fmt: skip
    """Log pictures, numbers and, at the last step, points and hyperparameters."""
    step, last, label_map = trainer.step, trainer.step == trainer.config.optim.steps, experiment.label_map
    for one in validation.drawn:
        logger.picture(step, f"validation/{one.sample.name}", draw(one, label_map))
        for what, (xyz, colors) in colored_points(one, label_map).items() if last else ():
            logger.points(step, f"{one.sample.name}/{what}", xyz, colors)
    if trainer.fabric.is_global_zero:
        logger.picture(step, "confusion", confusion_picture(validation.scores.overall.state, label_map.names))
    result = validation.report
    overall = _known({"mean_iou": result["mean_iou"], "accuracy": result["accuracy"]})
    if last:
        logger.hyperparameters(asdict(experiment.config), overall)
    per_class = _known({f"iou/{name}": value for name, value in result["iou"].items()})
    return Evaluation(overall.get("mean_iou", 0.0), overall | per_class)


def make_loggers(config: Config) -> list[Logger]:
    """The loggers of `runtime.loggers`.

    Raises:
        ConfigError: a logger is unknown, has a wrong key, or needs a package that is not installed.
    """
    sections = config.runtime.loggers
    return [build(LOGGERS, section, f"runtime.loggers[{number}]") for number, section in enumerate(sections)]
