"""Whose labels lie in an output folder: the network, and the keys of its config that decide what it says.

OUT/.predicted_by.json is written before the first label. Labels older than it are of another network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rangeseg.config import Config
from rangeseg.files import write_atomically
from rangeseg.inference.run import checkpoint_of

FILE = ".predicted_by.json"

KEYS = (
    *("network", "data.dataset", "data.projection", "data.channels", "data.mean", "data.std"),
    *("evaluation.back_projection", "evaluation.scale", "evaluation.window", "runtime.precision"),
)
"""Of a config: what changes labels. Where files are, and how fast, does not."""


def origin_of(path: Path | None, config: Config, unsure: Sequence[str] = ()) -> dict[str, Any]:
    """What `claim` compares: the checkpoint's digest, and `KEYS`.

    Args:
        path: as `Run.load` takes it.
        config: of the run, with the user's overrides.
        unsure: what leaves labels out, see `rangeseg.inference.labelled_files.least_sure`.
    """
    file = checkpoint_of(path)
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    told: dict[str, Any] = {"checkpoint": str(file), "sha256": digest}
    for key in KEYS:
        value: Any = asdict(config)
        for part in key.split("."):
            value = value[part]
        told[key] = value
    told["unsure"] = sorted(unsure) or None
    plain: dict[str, Any] = json.loads(json.dumps(told))  # as it is read back
    return plain


def claim(
    out: Path, origin: dict[str, Any], targets: Iterable[Path], *, overwrite: bool = False, write: bool = True
) -> int:
    """Write down whose labels the folder holds, or refuse one with labels of another network.

    Args:
        out: the output folder.
        origin: of `origin_of`.
        targets: of the labels that are to be there, relative to it.
        overwrite: they are written anew, whosever they are.
        write: False in all processes but the first.

    Returns:
        The time in nanoseconds before which a label file is of another network.

    Raises:
        ValueError: there are labels of another network, or of nobody knows which.
    """
    path = out / FILE
    try:
        other: Any = json.loads(path.read_bytes())
    except (OSError, ValueError):
        other = None
    if isinstance(other, dict):
        differing = [key for key in origin if key != "checkpoint" and other.get(key) != origin[key]]
        whose = f"labels of another {'network' if 'sha256' in differing else 'config'} ({other.get('checkpoint')}; "
        whose += f"{', '.join(differing)} differ)"
    else:
        differing = [FILE] if any((out / target).exists() for target in targets) else []
        whose = "labels, and nothing tells of which network"
    if differing and not overwrite:
        raise ValueError(f"{out}: holds {whose}. Write them anew with --overwrite, or choose another --out.")
    if write and (differing or not path.is_file()):
        write_atomically(path, json.dumps(origin, indent=2).encode())
    return path.stat().st_mtime_ns if path.is_file() else 0
