"""A run folder made from published weights.

It holds what a trained run's has that does not tell of the training: last.pt (the teacher alone), config.yaml and
versions.json. Everything but `--resume` takes it; `runtime.initialise_from` trains on from it.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from rangeseg.config import Config, write_config
from rangeseg.engine.checkpoint import write_checkpoint
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.run_logger import versions
from rangeseg.files import write_atomically
from rangeseg.networks.published import PARTS, import_state_dict
from rangeseg.registry import ConfigError

FOREIGN = re.compile(r"GLOBAL ([\w.]+) was not an allowed global")
MOST_FOREIGN = 100


class IgnoredObject:
    """Stands for an object of a foreign class in a checkpoint: accepts everything and does nothing."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def import_weights(files: Sequence[Path], config: Config, *, new_classifier: bool = False) -> int:
    """Write the run folder `runtime.out` of published weights.

    Args:
        files: a checkpoint, or lidar-bonnetal's three parts, or the folder that holds them.
        config: its network is filled; its channels, means and projection are those the weights were trained with.
        new_classifier: leave the classifier as the config's seed initialises it.

    Returns:
        How many parameters the network has.

    Raises:
        ValueError: a file cannot be read, or its weights are not those of the network.
        ConfigError: the config does not fit together, or the folder already holds a run.
    """
    folder = Path(config.runtime.out)
    if (folder / "last.pt").exists():
        raise ConfigError(f"{folder} already holds a run. Choose another folder.")
    network = Experiment(config).make_network(weights=False)  # all of them come from the files
    state = read_published(files)
    try:
        import_state_dict(network, state, classifier="new" if new_classifier else "import")
    except ValueError as error:
        raise ValueError(f"{', '.join(map(str, files))}: {error}") from error
    write_atomically(folder / "config.yaml", write_config(config).encode())
    write_atomically(folder / "versions.json", json.dumps(versions(), indent=2).encode())
    write_checkpoint(folder / "last.pt", {"teacher": network.state_dict()}, config)
    return sum(parameter.numel() for parameter in network.parameters())


def read_published(files: Sequence[Path]) -> Mapping[str, Any]:
    """The content of a checkpoint, or of lidar-bonnetal's three files, as `import_state_dict` takes it.

    Args:
        files: one; or several, or a folder of such, whose names begin with `PARTS`.

    Raises:
        ValueError: a file cannot be read, or it is not clear which part it is.
    """
    if len(files) == 1 and files[0].is_dir():
        folder = files[0]
        files = [folder / part for part in PARTS if (folder / part).is_file()]
        if not files:
            raise ValueError(f"{folder}: has no files {', '.join(PARTS)}. Give the checkpoint file.")
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


def read_tensors(path: Path) -> Mapping[str, Any]:
    """Read a checkpoint onto the CPU; runs no code of the file, and makes nothing of objects that are no tensors.

    Training code saves schedulers and the like beside the weights; each class of theirs becomes `IgnoredObject`.

    Raises:
        ValueError: missing, damaged, or no checkpoint of torch.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file. Give a published checkpoint.")
    foreign: list[Any] = []
    while True:
        try:
            with torch.serialization.safe_globals(foreign):
                content = torch.load(path, map_location="cpu", weights_only=True)
            break
        except pickle.UnpicklingError as error:
            found = FOREIGN.search(str(error))
            if found is None or len(foreign) == MOST_FOREIGN:
                raise _unreadable(path, error) from error
            foreign.append((IgnoredObject, found[1] if "." in found[1] else f"builtins.{found[1]}"))
        except Exception as error:  # whatever a damaged or foreign file makes torch raise
            raise _unreadable(path, error) from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{path}: holds a {type(content).__name__}, not named weights. Save network.state_dict().")
    return content


def _unreadable(path: Path, error: Exception) -> ValueError:
    first = error.__context__ or error  # torch hides it behind advice to run the file's code
    cause = next(iter(str(first).strip().splitlines()), type(first).__name__).rstrip(".")
    return ValueError(
        f"{path}: cannot be read as a checkpoint of torch ({cause}). Fetch it again; or save the network's "
        "state_dict() alone with the code that it comes from."
    )
