"""Checkpoints of tensors and plain values, written atomically."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rangeseg.config import Config, write_config
from rangeseg.files import load_tensors, write_atomically
from rangeseg.version import __version__

FORMAT = 1


def write_checkpoint(path: Path, state: dict[str, Any], config: Config) -> None:
    """Write `state`, its config and the versions of rangeseg and torch, atomically."""
    whole = state | {
        "format": FORMAT,
        "config": write_config(config),
        "rangeseg": __version__,
        "torch": str(torch.__version__),
    }
    write_atomically(path, lambda file: torch.save(whole, file))


def amend_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Add `state` to a checkpoint, atomically; its other entries stay.

    Raises:
        ValueError: see `read_checkpoint`.
    """
    whole = read_checkpoint(path) | state
    write_atomically(path, lambda file: torch.save(whole, file))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, without running code from the file.

    Raises:
        ValueError: the file is missing, truncated, or not a checkpoint of rangeseg.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such checkpoint. Give a run folder or one of its checkpoints.")
    try:
        state = load_tensors(path)
    except ValueError as error:
        raise ValueError(f"{path}: not a complete checkpoint ({error}). Use another checkpoint of the run.") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT or not isinstance(state.get("config"), str):
        raise ValueError(f"{path}: not a rangeseg checkpoint of format {FORMAT}.")
    return state
