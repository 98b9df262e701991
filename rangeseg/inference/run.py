"""Loading a trained run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from rangeseg.config import Config, config_from_yaml
from rangeseg.engine.checkpoint import read_checkpoint
from rangeseg.engine.experiment import Experiment
from rangeseg.labels import LabelMap
from rangeseg.networks.base import Network
from rangeseg.networks.exported import EXPORTED, read_exported
from rangeseg.resources import resource

FIRST_ANSWER = ("datasets", "semantic_kitti", "first_answer.pt")
"""The trained network that ships with rangeseg; `first_answer.md` beside it tells of what, and how good it is."""


@dataclass(frozen=True)
class Run:
    """A trained run: its config and its teacher, which is evaluated, exported and shown."""

    experiment: Experiment
    network: Network
    device: torch.device

    @property
    def config(self) -> Config:
        """Of the training, with the overrides."""
        return self.experiment.config

    @property
    def label_map(self) -> LabelMap:
        """The classes."""
        return self.experiment.label_map

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
            return Run(
                Experiment(config_from_yaml(exported.description["config"], overrides)), exported, exported.device
            )
        state = read_checkpoint(path / "last.pt" if path.is_dir() else path)
        experiment = Experiment(config_from_yaml(state["config"], overrides))
        network = experiment.make_network(weights=False)
        network.load_state_dict(state["teacher"])
        chosen = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        return Run.of(experiment, network, chosen)

    @staticmethod
    def of(experiment: Experiment, network: Network, device: torch.device) -> Run:
        """A network made ready for inference."""
        network = network.to(device).eval()
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # faster forwards
        return Run(experiment, network, device)
