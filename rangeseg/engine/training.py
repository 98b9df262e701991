"""Training what a config describes, in its run folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from rangeseg.config import Config
from rangeseg.data.loading import Stream, Views
from rangeseg.engine.experiment import (
    class_weights,
    make_fabric,
    make_method,
    make_network,
    make_perturbation,
    make_views,
    modality,
    segment_views,
    stride_of,
)
from rangeseg.engine.initialise import initialise
from rangeseg.engine.run_logger import RunLogger
from rangeseg.engine.trainer import Batches, Evaluated, Trainer
from rangeseg.engine.training_data import TrainingData
from rangeseg.evaluation.evaluate import Scores, Segmented, report, score
from rangeseg.evaluation.metrics import ConfusionMatrix
from rangeseg.files import write_atomically
from rangeseg.networks.modes import evaluating
from rangeseg.registry import ConfigError
from rangeseg.vis.confusion import confusion_picture

LABELLED, UNLABELLED_A, UNLABELLED_B = 0, 1, 2  # stream ids: which shuffling each loader draws


def train(config: Config, *, resume: bool = False) -> dict[str, Any] | None:
    """Train what the config describes, in its run folder.

    Args:
        config: complete.
        resume: go on from the run folder's `last.pt`.

    Returns:
        The last evaluation's report, which is also written to the run folder; None in all processes but the first.

    Raises:
        ConfigError: the config does not fit the data, or the run folder is in use.
    """
    fabric = make_fabric(config)
    folder = Path(config.runtime.out)
    if not resume and (folder / "last.pt").exists():
        raise ConfigError(f"runtime.out: {folder} already holds a run. Go on with --resume, or choose another folder.")
    data = TrainingData.open(config)
    network = make_network(config, data.label_map.num_classes)
    if not resume:
        initialise(network, config)
    trainer = Trainer(
        fabric,
        network,
        make_perturbation(config),
        config,
        class_weights(config, data.label_map),
        make_method(config),
    )
    if resume:
        trainer.resume(folder / "last.pt")
    logger = RunLogger(folder, enabled=fabric.is_global_zero, step=trainer.step)
    logger.start(config)
    reports: list[dict[str, Any]] = []
    kind = modality(config)

    def evaluate() -> Evaluated:
        result, scores, drawn = _validate(config, trainer, data)
        step, last = trainer.step, trainer.step == config.optim.steps
        for one in drawn:
            logger.picture(step, f"validation/{one.sample.name}", kind.draw(one, data.label_map))
            for what, (xyz, colors) in kind.points(one, data.label_map).items() if last else ():
                logger.points(step, f"{one.sample.name}/{what}", xyz, colors)
        if fabric.is_global_zero:
            logger.picture(step, "confusion", confusion_picture(scores.overall.state, data.label_map.names))
        reports.append(result)
        per_class = {f"iou/{name}": value for name, value in result["iou"].items() if value is not None}
        metrics = {"mean_iou": result["mean_iou"], "accuracy": result["accuracy"]} | per_class
        if last:
            logger.hyperparameters(asdict(config), {"mean_iou": result["mean_iou"], "accuracy": result["accuracy"]})
        return Evaluated(result["mean_iou"], metrics)

    with ExitStack() as stack:
        stack.callback(logger.close)
        trainer.fit(_batches(stack, config, fabric, data, trainer.step), logger, evaluate)
    result = reports[-1] if reports else _validate(config, trainer, data)[0]
    if not fabric.is_global_zero:
        return None
    write_atomically(folder / "evaluation.json", json.dumps(result, indent=2).encode())
    return result


def _batches(stack: ExitStack, config: Config, fabric: Fabric, data: TrainingData, position: int) -> Iterator[Batches]:
    def stream(views: Views, batch: int, number: int) -> Stream:
        pin = fabric.device.type == "cuda"
        made = Stream(
            views, range(len(views)), batch=batch, seed=config.runtime.seed, stream=number, rank=fabric.global_rank,
            world=fabric.world_size, workers=config.runtime.workers, position=position, pin=pin,
        )  # fmt: skip
        return stack.enter_context(made)

    labelled = stream(data.labelled, config.data.batch_labelled, LABELLED)
    if config.consistency.weight == 0:
        return ((batch, None, None) for batch in labelled)
    b = stream(data.unlabelled, config.data.batch_unlabelled, UNLABELLED_B)
    if config.consistency.pair == "labelled":
        return ((batch, batch, other) for batch, other in zip(labelled, b, strict=True))
    a = stream(data.unlabelled, config.data.batch_unlabelled, UNLABELLED_A)
    return zip(labelled, a, b, strict=True)


def _validate(config: Config, trainer: Trainer, data: TrainingData) -> tuple[dict[str, Any], Scores, list[Segmented]]:
    """Score the teacher on this process's share of the samples, add up over processes, keep the first few to draw."""
    fabric, label_map = trainer.fabric, data.label_map
    views = make_views(config, data.validation, stride=stride_of(trainer.network))
    drawn: list[Segmented] = []
    mine = range(fabric.global_rank, len(views), fabric.world_size)
    teacher = trainer.teacher.network

    def watched() -> Iterator[Segmented]:
        for one in segment_views(config, teacher, views, mine, fabric.device):
            if len(drawn) < config.runtime.log_images and fabric.is_global_zero:
                drawn.append(one)
            yield one

    scores = Scores(ConfusionMatrix(label_map.num_classes), {})  # of a process without a share of few samples
    with evaluating(teacher):
        if mine:
            scores = score(watched(), label_map.num_classes)
    if fabric.world_size > 1:
        counts = torch.as_tensor(scores.overall.state, device=fabric.device)
        scores.overall.state[...] = torch.as_tensor(fabric.all_reduce(counts, reduce_op="sum")).cpu().numpy()
    return report(scores, label_map.names), scores, drawn
