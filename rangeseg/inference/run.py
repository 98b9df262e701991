"""Loading a trained run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from rangeseg.config import Config, config_from_yaml
from rangeseg.engine.checkpoint import read_checkpoint
from rangeseg.engine.experiment import Experiment
from rangeseg.labels import LabelMap
from rangeseg.networks.base import Network
from rangeseg.networks.exported import EXPORTED, read_exported
from rangeseg.registry import Trust
from rangeseg.resources import resource

FIRST_ANSWER = ("datasets", "semantic_kitti", "first_answer.pt")
"""The trained network that ships with rangeseg; `first_answer.md` beside it tells of what, and how good it is."""


def checkpoint_of(path: str | Path | None) -> Path:
    """The file that a run is read from.

    Args:
        path: as `Run.load` takes it: a run folder stands for its last checkpoint, None for the shipped network.
    """
    path = resource(*FIRST_ANSWER) if path is None else Path(path)
    return path / "last.pt" if path.is_dir() else path


@dataclass(frozen=True)
class Run:
    """A trained run: its config and its teacher, which is evaluated, exported and shown."""

    experiment: Experiment
    network: Network
    device: torch.device
    statistics: Mapping[str, Any] | None = None
    """Of the training scans, see `rangeseg.data.scan_statistics`; None of photographs, and where nobody measured them.
    """

    @property
    def config(self) -> Config:
        """Of the training, with the overrides."""
        return self.experiment.config

    @property
    def label_map(self) -> LabelMap:
        """The classes."""
        return self.experiment.label_map

    @staticmethod
    def load(
        path: str | Path | None = None, *, device: str = "auto", overrides: Sequence[str] = (), trust: Trust = False
    ) -> Run:
        """Read a run folder (its last checkpoint), a checkpoint, or an exported file.

        Args:
            path: folder or file; None: the network that ships with rangeseg.
            device: a torch device, or auto; of an exported file also tensorrt.
            overrides: `key.path=value`, for instance another `data.root`.
            trust: the file's config may name code outside of rangeseg (any, or these names), and a package (True) may
                run. Such code does what it wants: trust only what you or people you know made.

        Raises:
            ConfigError: the file names code outside of rangeseg, and is not trusted.
            ValueError: no whole checkpoint or exported file there, or the device is not available.
        """
        path = checkpoint_of(path)
        if path.suffix in EXPORTED:
            exported = read_exported(path, device=device, trust=trust is True)
            config = config_from_yaml(exported.description["config"], overrides, trust=trust, source=str(path))
            return Run(Experiment(config), exported, exported.device, exported.description.get("statistics"))
        chosen = choose_device(device)
        state = read_checkpoint(path)
        experiment = Experiment(config_from_yaml(state["config"], overrides, trust=trust, source=str(path)))
        network = experiment.make_network(weights=False)
        try:
            network.load_state_dict(state["teacher"])
        except (RuntimeError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: its weights are not those of the network that its config describes.") from error
        if broken := [name for name, weight in network.state_dict().items() if weight.isnan().any()]:
            raise ValueError(
                f"{path}: {len(broken)} weights hold nan, the first {broken[0]}. Training diverged: take an "
                "earlier checkpoint of the run, such as best.pt, or train with a lower optim.lr."
            )
        return replace(Run.of(experiment, network, chosen), statistics=state.get("statistics"))

    @staticmethod
    def of(experiment: Experiment, network: Network, device: torch.device) -> Run:
        """A network made ready for inference."""
        network = network.to(device).eval()
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # faster forwards
        return Run(experiment, network, device)


def choose_device(name: str) -> torch.device:
    """The torch device of a name; auto is a GPU if there is one.

    Raises:
        ValueError: the name is unknown, or the device is not available.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:  # each backend has its own
        cause = next(iter(str(error).splitlines()), type(error).__name__).split(". ")[0].rstrip(".")
        raise ValueError(f"device {name}: not available ({cause}). Choose cpu or auto.") from error
    return device
