"""Loading a trained run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rangeseg.config import Config, config_from_yaml
from rangeseg.engine.checkpoint import check_classes, check_finite, read_checkpoint, stored_classes
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.inputs import ScanInput
from rangeseg.labels import LabelMap
from rangeseg.networks.base import Network
from rangeseg.networks.exported import EXPORTED, read_exported
from rangeseg.registry import ConfigError, Trust
from rangeseg.weights import DEFAULT, find_weights, no_such


def checkpoint_of(path: str | Path | None) -> Path:
    """The file from which a run is read.

    Args:
        path: argument of `Run.load`: for a run folder, its last checkpoint; None: the default network.
    """
    if weights := find_weights(DEFAULT if path is None else path):
        return weights.folder / weights.card.weights
    path = Path(path or "")
    return path / "last.pt" if path.is_dir() else path


@dataclass(frozen=True)
class Run:
    """A trained run: its config and its teacher."""

    experiment: Experiment
    network: Network
    device: torch.device
    statistics: Mapping[str, Any] | None = None
    """Statistics of the training scans, see `rangeseg.data.scan_statistics`; None for photographs or if unknown."""
    temperature: float = 1.0
    """Divisor of the logits before the softmax; labels do not depend on it."""

    @property
    def config(self) -> Config:
        """The config of the training, with the overrides."""
        return self.experiment.config

    @property
    def label_map(self) -> LabelMap:
        """The classes."""
        return self.experiment.label_map

    @staticmethod
    def load(
        path: str | Path | None = None, *, device: str = "auto", overrides: Sequence[str] = (), trust: Trust = False
    ) -> Run:
        """Read a run folder (its last checkpoint), a checkpoint, an exported file, or weights.

        Args:
            path: folder or file, or an argument of `find_weights`; None: the default network, `any-lidar`.
            device: a torch device, or auto; for an exported file also tensorrt.
            overrides: `key.path=value`, for example another `data.root`.
            trust: True, or names of code outside rangeseg that the file's config may name; True also allows packages
                to run. Such code is not restricted in any way. Use it only for files that you trust.

        Raises:
            ConfigError: the file names code outside rangeseg and is not trusted, or the dataset has other classes than
                the training.
            ValueError: there is no complete checkpoint or exported file, or the device is not available.
        """
        weights = find_weights(DEFAULT if path is None else path)
        if weights is None and not Path(path or "").exists() and not Path(path or "").suffix:
            raise ValueError(no_such(Path(path or "")))
        path = checkpoint_of(path)
        if path.suffix in EXPORTED:
            exported = read_exported(path, device=device, trust=trust is True)
            known = exported.description
            with naming(path, overrides):
                config = config_from_yaml(known["config"], overrides, trust=trust, source=str(path))
                experiment = Experiment(config)
            check_classes(known, stored_classes(experiment.label_map), path, raw_ids=not _another(overrides))
            if overrides:
                _check_images(experiment, known, path, trust)
            return Run(experiment, exported, exported.device, known.get("statistics"), known.get("temperature", 1.0))
        chosen = choose_device(device)
        state = read_checkpoint(path) if weights is None else weights.checkpoint()
        with naming(path, overrides):
            experiment = Experiment(config_from_yaml(state["config"], overrides, trust=trust, source=str(path)))
            now = stored_classes(experiment.label_map)
        check_classes(state, now, path, raw_ids=not _another(overrides))
        with naming(path, overrides):
            network = experiment.make_network(weights=False)
        fill(network, state["teacher"], path)
        ready = Run.of(experiment, network, chosen)
        return replace(ready, statistics=state.get("statistics"), temperature=state.get("temperature", 1.0))

    @staticmethod
    def of(experiment: Experiment, network: Network, device: torch.device) -> Run:
        """A network prepared for inference."""
        network = network.to(device).eval()
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # faster forwards
        return Run(experiment, network, device)


def _check_images(experiment: Experiment, known: dict[str, Any], path: Path, trust: Trust) -> None:
    """Refuse overrides that give an exported network images with other rows or channels.

    Raises:
        ConfigError: the rows or the channels differ from those of the export.
    """
    own, now = config_from_yaml(known["config"], trust=trust, source=str(path)).data, experiment.config.data
    if own.channels != now.channels:
        raise ConfigError(
            f"{path}: was exported for data.channels {', '.join(own.channels)}, not {', '.join(now.channels)}. Export "
            "the run with these channels."
        )
    if own.projection != now.projection and isinstance(experiment.input, ScanInput):
        stored = Experiment(replace(experiment.config, data=replace(now, projection=own.projection)))
        rows = [one.input.size[0] for one in (stored, experiment) if isinstance(one.input, ScanInput)]
        if rows[0] != rows[1]:
            raise ConfigError(
                f"{path}: was exported for range images of {rows[0]} rows, but data.projection gives {rows[1]}. Export "
                "the run with this projection."
            )


def _another(overrides: Sequence[str]) -> bool:
    """Whether the user chooses the dataset or its classes."""
    chosen = ("data", "data.dataset", "data.dataset.name", "data.dataset.classes")
    return any(pair.partition("=")[0] in chosen for pair in overrides)


@contextmanager
def naming(path: Path, overrides: Sequence[str]) -> Iterator[None]:
    """Add the file's path to errors of its stored config, but not to errors of the user's overrides.

    Raises:
        ConfigError: the config, or a component of it, is invalid.
    """
    try:
        yield
    except ConfigError as error:
        key, given = str(error).partition(":")[0], [pair.partition("=")[0] for pair in overrides]
        own = any(pair in str(error) for pair in overrides)
        own = own or any(f"{key}.".startswith(f"{one}.") or f"{one}.".startswith(f"{key}.") for one in given)
        if own or str(path) in str(error):
            raise
        raise ConfigError(f"{path}: its config is damaged, or of another version: {error}") from error


def fill(network: Network, state: Mapping[str, Tensor], path: Path) -> None:
    """Load trained weights into a network.

    Raises:
        ValueError: the weights belong to another network, or contain nan or infinity.
    """
    try:
        network.load_state_dict(state)
    except (RuntimeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: the weights do not fit the network in the config. Use another checkpoint."
        ) from error
    check_finite(network, path)


def choose_device(name: str) -> torch.device:
    """The torch device with a name; auto is a GPU if there is one.

    Raises:
        ValueError: the name is unknown, or the device is not available.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:  # backends differ
        cause = next(iter(str(error).splitlines()), type(error).__name__).split(". ")[0].rstrip(".")
        raise ValueError(f"device {name}: not available ({cause}). Choose cpu or auto.") from error
    return device
