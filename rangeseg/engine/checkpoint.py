"""Checkpoints of tensors and plain values, written atomically."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rangeseg.config import Config, write_config
from rangeseg.config.resuming import check_resumed, read_stored
from rangeseg.files import load_tensors, write_atomically
from rangeseg.labels import LabelMap
from rangeseg.notices import notify
from rangeseg.registry import ConfigError
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


def stored_classes(label_map: LabelMap) -> dict[str, Any]:
    """The entries of checkpoints and exported files that tell the classes: names and raw ids, by train id."""
    return {"classes": list(label_map.names), "raw_ids": [int(raw) for raw in label_map.raw_ids]}


def check_classes(stored: Mapping[str, Any], now: Mapping[str, Any], path: Path, *, raw_ids: bool = True) -> None:
    """Refuse weights whose classes are not those of the dataset.

    Args:
        stored: content of a checkpoint, card or exported file; old ones lack entries of `stored_classes`, which are
            then not compared.
        now: `stored_classes` of the dataset.
        path: the file, for the error.
        raw_ids: also compare the raw ids; False if the user chose another dataset, whose files have other raw ids.

    Raises:
        ConfigError: a name, the order or a raw id differs.
    """
    for key, what in (("classes", "class"), ("raw_ids", "raw id of class"))[: 2 if raw_ids else 1]:
        if not (before := stored.get(key)) or not (after := now.get(key)) or list(before) == list(after):
            continue
        pairs = enumerate(zip_longest(before, after, fillvalue="none"))
        train, old, new = next((train, old, new) for train, (old, new) in pairs if old != new)
        raise ConfigError(
            f"{path}: its classes are not those of the dataset: {what} {train} was {old} in the training and is {new} "
            "in the file of the classes (data.dataset). Restore that file, or name the one of the training in "
            "data.dataset.classes."
        )


def check_finite(network: nn.Module, path: Path) -> None:
    """Refuse weights that contain nan or infinite numbers.

    Raises:
        ValueError: a weight or buffer is not finite.
    """
    if broken := [name for name, weight in network.state_dict().items() if not weight.isfinite().all()]:
        raise ValueError(
            f"{path}: {len(broken)} weights contain nan or infinity, the first is {broken[0]}. Training diverged: use "
            "an earlier checkpoint of the run, such as best.pt, or train with a lower optim.lr."
        )


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


def read_training(path: Path, config: Config) -> dict[str, Any]:
    """Read the checkpoint of a training that a config continues; settings that may differ are named in a notice.

    Raises:
        ConfigError: the training has other settings, see `check_resumed`.
        ValueError: see `read_checkpoint`; or the checkpoint holds only a network, as `import-weights` writes it.
    """
    state = read_checkpoint(path)
    if "step" not in state:
        raise ValueError(
            f"{path}: holds a network without a training, so there is nothing to resume. To start from it, choose "
            "another runtime.out and name this file in runtime.initialise_from."
        )
    complete = state["step"] >= config.optim.steps
    for notice in check_resumed(read_stored(state["config"], path), config, complete=complete):
        notify(notice)
    return state


def load_weights(network: nn.Module, state: dict[str, Any], path: Path) -> None:
    """Load the weights of a checkpoint.

    Raises:
        ValueError: the network is another one.
    """
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path}: the checkpoint has another network than this config: {error}") from error
