"""The time of a training step of a config on this machine, with its data: loading, student, teacher, optimiser."""

from __future__ import annotations

import time
from contextlib import ExitStack

import torch

from rangeseg.config import Config
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.fabric import make_fabric
from rangeseg.engine.trainer import Trainer
from rangeseg.engine.training import read_batches
from rangeseg.engine.training_data import TrainingData

CHECKPOINTS = 2
"""A run folder holds last.pt and best.pt."""


def seconds_per_step(config: Config) -> float:
    """The mean time of some steps, seconds. Nothing is written, and the network starts from random weights.

    Args:
        config: config of a training; its data must exist.

    Raises:
        ConfigError: the config does not fit the data.
    """
    warm_up, timed = 2, 4  # steps
    experiment, fabric = Experiment(config), make_fabric(config.runtime)
    trainer = Trainer(
        fabric, experiment.make_network(weights=False), experiment.perturbation, config, experiment.class_weights,
        experiment.method, experiment.labelled_mix,
    )  # fmt: skip
    with ExitStack() as stack:
        batches = read_batches(stack, config, fabric, TrainingData.open(experiment), 0)
        started = 0.0
        for number in range(warm_up + timed):
            if number == warm_up:
                _wait(fabric.device)
                started = time.perf_counter()
            labelled, *pair = (None if one is None else one.view.to(fabric.device) for one in next(batches))
            assert labelled is not None
            a, b = pair
            trainer.train_step(labelled, (a, b) if a is not None and b is not None else None)
        _wait(fabric.device)
    return (time.perf_counter() - started) / timed


def run_folder_bytes(config: Config) -> int:
    """The approximate size of the checkpoints in a finished run folder, bytes.

    Args:
        config: config of the training; its data need not exist.
    """
    with torch.device("meta"):
        network = Experiment(config).make_network(weights=False)
    whole = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    trained = sum(value.numel() for value in network.parameters() if value.requires_grad)
    moments = 1 if config.optim.name == "sgd" else 2
    return CHECKPOINTS * (2 * whole + 4 * moments * trained)  # student, teacher, optimiser


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
