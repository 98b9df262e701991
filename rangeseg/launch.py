"""Detects from the environment whether torchrun or srun started this process, and how many processes there are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Launch:
    """This process among the processes that were started together.

    Args:
        rank: the number of this process, from 0.
        world_size: the number of processes.
        local_rank: the number of this process on its machine.
        by: torchrun or srun.
    """

    rank: int
    world_size: int
    local_rank: int
    by: str


def find_launch(environment: Mapping[str, str] | None = None) -> Launch | None:
    """The launch of this process; None for a process that was started alone, or by the first process of a training.

    Args:
        environment: environment variables; None: those of this process.

    Raises:
        ValueError: WORLD_SIZE is above 1, but RANK, MASTER_ADDR or MASTER_PORT is missing.
    """
    env = os.environ if environment is None else environment
    started_by_us = "RANK" not in env and "NODE_RANK" in env and "LOCAL_RANK" in env  # a child that Fabric started
    if int(env.get("WORLD_SIZE", 1)) > 1 and not started_by_us:
        if missing := [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in env]:
            raise ValueError(
                f"WORLD_SIZE is {env['WORLD_SIZE']}, but {', '.join(missing)} are not set; start the command "
                "with torchrun."
            )
        return Launch(int(env["RANK"]), int(env["WORLD_SIZE"]), int(env.get("LOCAL_RANK", env["RANK"])), "torchrun")
    if int(env.get("SLURM_STEP_NUM_TASKS", 1)) > 1 and "SLURM_PROCID" in env:
        rank = int(env["SLURM_PROCID"])
        return Launch(rank, int(env["SLURM_STEP_NUM_TASKS"]), int(env.get("SLURM_LOCALID", rank)), "srun")
    return None


def init_method(environment: Mapping[str, str] | None = None) -> str:
    """The URL at which the processes of a launch connect, as `init_method` of torch.distributed.

    Args:
        environment: environment variables; None: those of this process.

    Raises:
        ValueError: SLURM started several machines, but MASTER_ADDR or MASTER_PORT is missing.
    """
    env = os.environ if environment is None else environment
    if "MASTER_ADDR" in env and "MASTER_PORT" in env:
        return f"tcp://{env['MASTER_ADDR']}:{env['MASTER_PORT']}" if "TORCHELASTIC_RUN_ID" not in env else "env://"
    if int(env.get("SLURM_STEP_NUM_NODES", 1)) > 1:
        raise ValueError(
            "srun started this on several machines. Set MASTER_ADDR to the name of the first machine, and MASTER_PORT "
            "to a free port."
        )
    return f"tcp://127.0.0.1:{20000 + int(env.get('SLURM_JOB_ID', 0)) % 20000}"
