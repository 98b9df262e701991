"""A trained run, read back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from rangeseg.config import Config, config_from_yaml
from rangeseg.engine.checkpoint import read_checkpoint
from rangeseg.engine.experiment import lookup_label_map, make_network
from rangeseg.labels import LabelMap
from rangeseg.networks.exported import EXPORTED, read_exported
from rangeseg.resources import resource

FIRST_ANSWER = ("datasets", "semantic_kitti", "first_answer.pt")
"""The trained network that ships with rangeseg; `first_answer.md` beside it tells of what, and how good it is."""


@dataclass(frozen=True)
class Run:
    """A trained run: its config and its teacher, which is what is evaluated, exported and shown."""

    config: Config
    label_map: LabelMap
    network: nn.Module
    device: torch.device

    @staticmethod
    def load(path: str | Path | None = None, *, device: str = "auto", overrides: Sequence[str] = ()) -> Run:
        """Read a run folder (its last checkpoint), a checkpoint, or an exported file.

        Args:
            path: folder or file; None: the network that ships with rangeseg.
            device: a torch device, or auto; of an exported file also tensorrt.
            overrides: `key.path=value`, for instance another `data.root`.

        Raises:
            ValueError: no whole checkpoint or exported file there.
        """
        path = resource(*FIRST_ANSWER) if path is None else Path(path)
        if path.suffix in EXPORTED:
            exported = read_exported(path, device=device)
            config = config_from_yaml(exported.description["config"], overrides)
            return Run(config, lookup_label_map(config), exported, exported.device)
        state = read_checkpoint(path / "last.pt" if path.is_dir() else path)
        config = config_from_yaml(state["config"], overrides)
        label_map = lookup_label_map(config)
        start = {key: value for key, value in config.network.items() if key != "weights"}  # the run has its own
        network = make_network(replace(config, network=start), label_map.num_classes)
        network.load_state_dict(state["teacher"])
        chosen = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        return Run.of(config, label_map, network, chosen)

    @staticmethod
    def of(config: Config, label_map: LabelMap, network: nn.Module, device: torch.device) -> Run:
        """A network made ready to label, and to learn no more."""
        network = network.to(device).eval()
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # faster forwards
        return Run(config, label_map, network, device)
