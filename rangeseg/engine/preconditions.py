"""Checks before training, for problems that would appear only during it."""

from __future__ import annotations

from rangeseg.config import Config
from rangeseg.launch import find_launch
from rangeseg.networks.base import Network
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
                f"data.{key}: {max(views, 1)} view a process and forward pass is too few for {type(network).__name__}: "
                f"its BatchNorm of means over the whole image needs {least}. Set data.{key} to "
                f"{least * config.optim.accumulate} or more, or network.freeze_batchnorm to all."
            )
