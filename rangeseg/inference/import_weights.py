"""Makes a run folder from published weights.

The folder contains last.pt (the teacher alone), config.yaml and versions.json, but no files about a training. Every
command except `--resume` accepts it; `runtime.initialise_from` continues training from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rangeseg.config import Config, write_config
from rangeseg.engine.checkpoint import stored_classes, write_checkpoint
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.run_logger import versions
from rangeseg.files import write_atomically
from rangeseg.networks.checkpoint_files import read_tensors
from rangeseg.networks.published import PARTS, import_state_dict
from rangeseg.registry import ConfigError

BEST = ("", "_valid_best")
"""Accepted suffixes of the files of a log folder, best first."""


def import_weights(files: Sequence[Path], config: Config, *, new_classifier: bool = False) -> int:
    """Write the run folder `runtime.out` from published weights.

    Args:
        files: a checkpoint, or the three parts of lidar-bonnetal, or the folder that contains them.
        config: config with the network, and with the channels, means and projection of the weights' training.
        new_classifier: keep the classifier as initialised from the seed of the config.

    Returns:
        Number of parameters of the network.

    Raises:
        ValueError: a file cannot be read, or its weights do not fit the network.
        ConfigError: the config is invalid, or the folder already contains a run.
    """
    folder = Path(config.runtime.out)
    if (folder / "last.pt").exists():
        raise ConfigError(f"{folder} already contains a run. Choose another folder.")
    experiment = Experiment(config)
    network = experiment.make_network(weights=False)  # the weights come from the files
    state = read_published(files)
    try:
        import_state_dict(network, state, classifier="new" if new_classifier else "import")
    except ValueError as error:
        raise ValueError(f"{', '.join(map(str, files))}: {error}") from error
    write_atomically(folder / "config.yaml", write_config(config).encode())
    write_atomically(folder / "versions.json", json.dumps(versions(), indent=2).encode())
    state = {"teacher": network.state_dict()} | stored_classes(experiment.label_map)
    write_checkpoint(folder / "last.pt", state, config)
    return sum(parameter.numel() for parameter in network.parameters())


def read_published(files: Sequence[Path]) -> Mapping[str, Any]:
    """The content of a checkpoint, or of the three files of lidar-bonnetal, as the argument of `import_state_dict`.

    Args:
        files: one file; or several files, or a folder of files, whose names begin with `PARTS`. The names in a folder
            may all end in the same suffix, such as ``_valid_best``.

    Raises:
        ValueError: a file cannot be read, or its part is not clear.
    """
    if len(files) == 1 and files[0].is_dir():
        files = _parts_in(files[0])
    elif len(files) == 1:
        return read_tensors(files[0])
    parts: dict[str, Any] = {}
    for file in files:
        part = next((part for part in PARTS if file.name.startswith(part)), None)
        if part is None or part in parts:
            raise ValueError(
                f"{file}: with several files, give one of each part of lidar-bonnetal; their names begin with "
                f"{', '.join(PARTS)}. Give these, or a single checkpoint."
            )
        parts[part] = read_tensors(file)
    return parts


def _parts_in(folder: Path) -> list[Path]:
    """The files of a folder that are `PARTS`, all with the same suffix."""
    names = sorted(file.name for file in folder.iterdir() if file.is_file())
    suffixes = {name.removeprefix(part) for name in names for part in PARTS if name.startswith(part)}
    if not suffixes:
        shown = f"; it has {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}" if names else ""
        raise ValueError(f"{folder}: has no files {', '.join(PARTS)}{shown}. Give the checkpoint file.")
    suffix = next((best for best in BEST if best in suffixes), min(suffixes))
    if suffix not in BEST and len(suffixes) > 1:
        raise ValueError(
            f"{folder}: has parts with the endings {', '.join(sorted(suffixes))}. Give three files with the same "
            "ending."
        )
    return [folder / f"{part}{suffix}" for part in PARTS if f"{part}{suffix}" in names]
