"""Devices and processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import nn

from rangeseg.config import RuntimeConfig
from rangeseg.engine.precision import usable_precision

Result = TypeVar("Result")


def make_fabric(runtime: RuntimeConfig) -> Fabric:
    """Launch Fabric with the settings of `runtime`; an unsupported precision becomes 32-true, with a notice."""
    if runtime.threads:
        torch.set_num_threads(runtime.threads)
    torch.backends.cudnn.benchmark = not runtime.deterministic  # sizes do not change, so trying kernels pays
    if runtime.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
    precision: Any = usable_precision(runtime.precision, runtime.accelerator)
    several = runtime.devices * runtime.num_nodes > 1
    # average_buffers replaces DDP's broadcast of the buffers
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


def from_first(fabric: Fabric, read: Callable[[], Result]) -> Result:
    """The result of `read` in the first process, given to all processes; the others need no access to its files.

    Args:
        fabric: launched.
        read: called in the first process only. Its result must be picklable.

    Raises:
        OSError, ValueError: raised by `read`, in all processes.
    """
    result, failure = None, None
    if fabric.is_global_zero:
        try:
            result = read()
        except (OSError, ValueError) as error:
            failure = error
    result, failure = fabric.broadcast((result, failure))
    if failure is not None:
        raise failure
    return cast(Result, result)


def average_buffers(fabric: Fabric, network: nn.Module) -> None:
    """Give all processes the mean of their BatchNorm statistics, so that their teachers stay equal."""
    buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
    if buffers:
        flat = torch.cat([buffer.flatten() for buffer in buffers])
        mean = torch.as_tensor(fabric.all_reduce(flat, reduce_op="mean"))
        for buffer, part in zip(buffers, mean.split([buffer.numel() for buffer in buffers]), strict=True):
            buffer.copy_(part.view_as(buffer))
