"""Record of the network, and of the config keys that affect its labels, for the labels in an output folder.

OUT/.predicted_by.json is written before the first label. `rangeseg.inference.records` records the input of each label.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rangeseg.files import plain_file, read_whole, write_atomically
from rangeseg.inference.run import Run, checkpoint_of

FILE = ".predicted_by.json"

KEYS = (
    *("network", "data.dataset", "data.projection", "data.channels", "data.mean", "data.std"),
    *("evaluation.back_projection", "evaluation.scale", "evaluation.window", "runtime.precision"),
)
"""Config keys that change labels; paths and performance settings do not."""

DRIVES, OF_DRIVE = "drives", "drive."
"""Key of the record for what the labels of each drive depend on; and the prefix of the keys of these values."""

INITIAL = "weights"
"""Key of a network's initial weights, which a trained network does not use."""


def origin_of(path: Path | None, run: Run, unsure: Sequence[str] = ()) -> dict[str, Any]:
    """The values that `claim` compares: digests of the checkpoint and of the files that the config names, and `KEYS`.

    Args:
        path: argument of `Run.load`.
        run: the run, with the user's overrides.
        unsure: minimum confidences of labels, as in `rangeseg.inference.labelled_files.least_sure`.
    """
    file = checkpoint_of(path)
    parts = (file, file.with_suffix(".bin")) if file.suffix == ".xml" else (file,)  # OpenVINO: graph and weights
    origin: dict[str, Any] = {"checkpoint": str(file), "sha256": _digest(*parts)}
    whole = asdict(run.config)
    for key in KEYS:
        value: Any = whole
        for part in key.split("."):
            value = value[part]
        origin[key] = value
        origin |= {f"contents of {place}": _digest(named) for place, named in _files_in(key, value)}
    origin["temperature"] = None if run.temperature == 1 else run.temperature  # weights have it in another file
    origin["unsure"] = sorted(unsure) or None
    plain: dict[str, Any] = json.loads(json.dumps(origin))  # with lists for tuples, as in the file
    return plain


def _files_in(key: str, value: Any) -> Iterator[tuple[str, Path]]:
    """The files that a value of the config names, with their keys: of data, and of the user's own code."""
    if isinstance(value, dict | list):
        for name, within in value.items() if isinstance(value, dict) else enumerate(value):
            if name != INITIAL:
                yield from _files_in(f"{key}.{name}", within)
    elif isinstance(value, str) and key.endswith(".name"):
        module = sys.modules.get(value.partition(":")[0]) if ":" in value else None
        if module is not None and (source := inspect.getsourcefile(module)):
            yield key, Path(source)
    elif isinstance(value, str) and Path(value).is_file():
        yield key, Path(value)


def _digest(*files: Path) -> str:
    """SHA-256 of the contents of files."""
    found = hashlib.sha256()
    for file in files:
        with plain_file(file).open("rb") as content:
            while block := content.read(2**20):
                found.update(block)
    return found.hexdigest()


def claim(
    out: Path, origin: dict[str, Any], targets: Iterable[Path], of_drive: Mapping[str, Any] = MappingProxyType({}), *,
    overwrite: bool = False, write: bool = True,
) -> None:  # fmt: skip
    """Record the network of a folder's labels, or reject a folder with labels of another network.

    A folder may hold the labels of several drives. Each drive has its own poses and carried labels.

    Args:
        out: the output folder.
        origin: result of `origin_of`.
        targets: paths of the label files, relative to `out`.
        of_drive: for the labels of a drive, what else they depend on. The record stores it under `DRIVES`, with the
            first of `targets` as the key.
        overwrite: all labels will be written again, so accept labels of any network.
        write: write the record; False in all processes except the first.

    Raises:
        ValueError: there are labels of another or of an unknown network, or of the same scans with another `of_drive`.
    """
    path, ours, names = out / FILE, origin | dict(of_drive), sorted(target.as_posix() for target in targets)
    there = any((out / name).exists() for name in names)
    try:
        other: Any = json.loads(read_whole(path))
    except (OSError, ValueError):
        other = None
    drives: dict[str, Any] = {}
    if isinstance(other, dict):
        given = other.pop(DRIVES, None)
        drives = {k: v for k, v in given.items() if isinstance(v, dict)} if isinstance(given, dict) else {}
        made = [drives[name] for name in names if name in drives] or ([] if there else [of_drive])
        theirs = {key: value for part in (other, *made) for key, value in part.items()}
        keys = [key for key in {**ours, **theirs} if key != "checkpoint"]
        differing = [key for key in keys if theirs.get(key) != ours.get(key)]
        whose = f"labels of another {'network' if 'sha256' in differing else 'config'} ({other.get('checkpoint')}; "
        whose += f"{', '.join(differing)} differ)"
    else:
        differing = [FILE] if there else []
        whose = "labels of an unknown network"
    if differing and not overwrite:
        raise ValueError(f"{out}: contains {whose}. Replace them with --overwrite, or choose another --out.")
    if write and (differing or not path.is_file() or (of_drive and names[0] not in drives)):
        same = all(key.startswith(OF_DRIVE) for key in differing)
        kept = {name: values for name, values in drives.items() if same and name not in names}
        kept |= {names[0]: dict(of_drive)} if of_drive else {}
        write_atomically(path, json.dumps(origin | ({DRIVES: kept} if kept else {}), indent=2).encode())
