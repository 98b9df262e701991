"""What would go wrong in training, found before it begins."""

from __future__ import annotations

from rangeseg.config import Config
from rangeseg.launch import find_launch
from rangeseg.networks.base import Network
from rangeseg.registry import ConfigError


def check_launch(config: Config) -> None:
    """Return if as many processes were started as are to train together; a process alone starts the others.

    Raises:
        ConfigError: torchrun or srun started another number: each would train by itself, into one folder.
    """
    launch, wanted = find_launch(), config.runtime.devices * config.runtime.num_nodes
    if launch is not None and launch.world_size != wanted:
        raise ConfigError(
            f"runtime.devices: {launch.by} started {launch.world_size} processes, but runtime.devices x "
            f"runtime.num_nodes is {wanted}. Set runtime.devices to the processes of a machine, runtime.num_nodes to "
            "the machines."
        )


def check_batches(config: Config, network: Network) -> None:
    """Return if each forward pass of a process has as many views as the network's BatchNorm needs.

    Raises:
        ConfigError: it has one, and the network normalises means over a whole image, of which one has no variance.
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
