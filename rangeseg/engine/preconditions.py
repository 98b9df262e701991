"""Checks before training, for problems that would appear only during it."""

from __future__ import annotations

from rangeseg.config import Config
from rangeseg.engine.trainer import Trainer
from rangeseg.launch import find_launch
from rangeseg.networks.base import Network
from rangeseg.perturbations.bases import NO_EFFECT
from rangeseg.registry import ConfigError


def check_launch(config: Config) -> None:
    """Check the number of processes that torchrun or srun started; without them, Fabric starts the processes itself.

    Raises:
        ConfigError: the number is not that of the config: each process would train alone, all in the same folder.
    """
    launch, wanted = find_launch(), config.runtime.devices * config.runtime.num_nodes
    if launch is not None and launch.world_size != wanted:
        raise ConfigError(
            f"runtime.devices: {launch.by} started {launch.world_size} processes, but runtime.devices x "
            f"runtime.num_nodes is {wanted}. Set runtime.devices to the processes of a machine, runtime.num_nodes to "
            "the machines."
        )


def check_batches(config: Config, network: Network) -> None:
    """Check that each forward pass of a process has as many views as the network's BatchNorm needs.

    Raises:
        ConfigError: there are fewer: BatchNorm normalises means over a whole image, and one view has no variance.
    """
    least = network.least_views
    keys = ["batch_labelled"] + (["batch_unlabelled"] if config.consistency.weight else [])
    for key in keys:
        views = getattr(config.data, key) // config.optim.accumulate
        if views < least:
            raise ConfigError(
                f"data.{key}: each forward pass of a process has {max(views, 1)} view(s), but the BatchNorm of "
                f"{type(network).__name__} normalises means over the whole image and needs {least}. Set data.{key} to "
                f"{least * config.optim.accumulate} or more, or network.freeze_batchnorm to all."
            )


def check_effect(trainer: Trainer) -> None:
    """Check that the perturbation and the method use what the config gives them.

    Raises:
        ConfigError: the unlabelled views would be read but not learnt, the perturbation cannot change them, or no
            forward pass would update the BatchNorm statistics of the evaluated network.
    """
    config, mix = trainer.config, trainer.labelled_mix
    mixes = trainer.perturbation.uses_b or (mix is not None and mix.unlabelled)
    if config.consistency.weight and config.consistency.pair == "labelled" and not mixes:
        raise ConfigError(
            "consistency.pair: labelled gives the unlabelled views to the perturbation only to be mixed in, but "
            f"{config.perturbation['name']} does not mix views, so they would not be learnt. Choose a perturbation "
            "that mixes two views, for example cutmix or lasermix, or consistency.pair=unlabelled."
        )
    if config.consistency.weight and not trainer.perturbation.has_effect:
        raise ConfigError(
            f"perturbation.name: {config.perturbation['name']}, or a part of it, {NO_EFFECT}. Choose another one."
        )
    if config.teacher.buffers == "own" and not config.teacher.update_bn and trainer.teacher not in trainer.teachers:
        raise ConfigError(
            f"teacher.buffers: own takes the BatchNorm statistics from the teacher's forward passes, but the method "
            f"{config.method['name']} does not predict with the average of the student, so they would keep their "
            "initial values. Use ema or copy."
        )
