"""Record of the network, and of the config keys that affect its labels, for the labels in an output folder.

OUT/.predicted_by.json is written before the first label. Labels that are older belong to another network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rangeseg.config import Config
from rangeseg.files import plain_file, read_whole, write_atomically
from rangeseg.inference.run import checkpoint_of

FILE = ".predicted_by.json"

KEYS = (
    *("network", "data.dataset", "data.projection", "data.channels", "data.mean", "data.std"),
    *("evaluation.back_projection", "evaluation.scale", "evaluation.window", "runtime.precision"),
)
"""Config keys that change labels; paths and performance settings do not."""


def origin_of(path: Path | None, config: Config, unsure: Sequence[str] = ()) -> dict[str, Any]:
    """The values that `claim` compares: the digest of the checkpoint, and `KEYS`.

    Args:
        path: argument of `Run.load`.
        config: config of the run, with the user's overrides.
        unsure: minimum confidences of labels, as in `rangeseg.inference.labelled_files.least_sure`.
    """
    file = checkpoint_of(path)
    with plain_file(file).open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    origin: dict[str, Any] = {"checkpoint": str(file), "sha256": digest}
    whole = asdict(config)
    for key in KEYS:
        value: Any = whole
        for part in key.split("."):
            value = value[part]
        origin[key] = value
    origin["unsure"] = sorted(unsure) or None
    plain: dict[str, Any] = json.loads(json.dumps(origin))  # with lists for tuples, as in the file
    return plain


def claim(
    out: Path, origin: dict[str, Any], targets: Iterable[Path], *, overwrite: bool = False, write: bool = True
) -> int:
    """Record the network of a folder's labels, or reject a folder with labels of another network.

    Args:
        out: the output folder.
        origin: result of `origin_of`.
        targets: paths of the label files, relative to `out`.
        overwrite: all labels will be written again, so accept labels of any network.
        write: write the record; False in all processes except the first.

    Returns:
        Time in nanoseconds. Older label files belong to another network.

    Raises:
        ValueError: there are labels of another or of an unknown network.
    """
    path = out / FILE
    try:
        other: Any = json.loads(read_whole(path))
    except (OSError, ValueError):
        other = None
    if isinstance(other, dict):
        keys = [key for key in {**origin, **other} if key != "checkpoint"]
        differing = [key for key in keys if other.get(key) != origin.get(key)]
        whose = f"labels of another {'network' if 'sha256' in differing else 'config'} ({other.get('checkpoint')}; "
        whose += f"{', '.join(differing)} differ)"
    else:
        differing = [FILE] if any((out / target).exists() for target in targets) else []
        whose = "labels of an unknown network"
    if differing and not overwrite:
        raise ValueError(f"{out}: contains {whose}. Replace them with --overwrite, or choose another --out.")
    if write and (differing or not path.is_file()):
        write_atomically(path, json.dumps(origin, indent=2).encode())
    return path.stat().st_mtime_ns if path.is_file() else 0
