"""Whether a config may continue a run: comparison with the config that the run stored."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rangeseg.config.reading import config_from_yaml
from rangeseg.config.schema import Config
from rangeseg.registry import ConfigError

FIXED = ("runtime.seed", "runtime.initialise_from", "optim.name")
"""Exceptions from the sections below: keys that determine the start, or the form of the optimiser's state."""

PROCESSES = ("runtime.precision", "runtime.sync_batchnorm", "runtime.devices", "runtime.num_nodes")

CHANGEABLE = ("optim", "consistency", *PROCESSES)
"""Sections and keys that may change while there are steps left to train."""

FREE = ("runtime", "evaluation", "data.memory_mb")
"""Sections and keys that do not change the trained weights, or only their rounding."""

ABSENT = "not set"


def changes(stored: Config, config: Config) -> dict[str, str]:
    """The differences between two configs: full path of the key -> both values, ``0.1 there, 0.5 here``.

    A path in another spelling is no difference. Neither is a file with the same contents, nor a file or folder that was
    moved together with the run folder.

    Args:
        stored: config of the run, complete.
        config: the new config, complete.
    """
    there, here = (dict(_leaves(asdict(one))) for one in (stored, config))
    outs = (stored.runtime.out, config.runtime.out)
    return {
        key: f"{there.get(key, ABSENT)} there, {here.get(key, ABSENT)} here"
        for key in {**there, **here}
        if not _equal(there.get(key, ABSENT), here.get(key, ABSENT), *outs)
    }


def read_stored(text: str, source: str | Path) -> Config:
    """The config that a run stored, for comparisons only; it may name any code, because nothing is built from it.

    Raises:
        ConfigError: this version cannot read it.
    """
    try:
        return config_from_yaml(text, trust=True, source=str(source))
    except ConfigError as error:
        raise ConfigError(
            f"{source}: this version of rangeseg cannot read the config of the run, so it cannot tell whether the "
            f"settings are the same ({error}) Choose another run folder."
        ) from error


def check_resumed(
    stored: Config, config: Config, *, complete: bool, cure: str = "Choose another runtime.out"
) -> list[str]:
    """Check that a run has the settings of a config that continues it.

    Args:
        stored: config of the run, from `read_stored`.
        config: the new config, complete.
        complete: the run has no step left to train.
        cure: beginning of the advice in the error.

    Returns:
        Notices about settings that differ and are allowed to.

    Raises:
        ConfigError: a setting differs that changes the trained weights. `optim`, `consistency`, precision and processes
            may differ while the run is not complete, except `optim.name`. `runtime` without the seed and the initial
            weights, `evaluation` and the folders of the data may always differ.
    """
    found, out = changes(stored, config), config.runtime.out
    moved = {key for key in found if key.startswith("data.") and key.endswith(".root")}
    later = {key for key in found if _within(key, CHANGEABLE) and key not in FIXED}
    free = {key for key in found if _within(key, FREE) and key not in FIXED} - later
    wrong = found.keys() - moved - free - (set() if complete else later)
    if wrong:
        what = "a complete run, so nothing would be trained with" if complete else "a run with"
        raise ConfigError(
            f"{out}: holds {what} other settings: {_spell(found, wrong)}. {cure}, or restore these values."
        )
    notices = []
    if later:
        notices.append(f"{out}: the remaining steps are trained with other settings: {_spell(found, later)}.")
    if moved:
        notices.append(f"{out}: the data must be the same, but is in another folder: {_spell(found, moved)}.")
    return notices


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the full path and value of every key, also of those in lists of sections."""
    if isinstance(value, Mapping) and value:
        for key, within in value.items():
            yield from _leaves(within, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple) and any(isinstance(part, Mapping) for part in value):
        for number, within in enumerate(value):
            yield from _leaves(within, f"{path}[{number}]")
    else:
        yield path, list(value) if isinstance(value, tuple) else value


def _equal(there: Any, here: Any, out_there: str, out_here: str) -> bool:
    """Whether two values are equal, or name the same file or folder."""
    if there == here or not (isinstance(there, str) and isinstance(here, str)):
        return bool(there == here)
    old, new = Path(there), Path(here)
    try:
        if old.exists():
            both = old.is_file() and new.is_file()
            return new.exists() and (old.samefile(new) or (both and filecmp.cmp(old, new, shallow=False)))
    except OSError:  # too long for a path, or not readable
        return False
    return old.name == new.name and _from(old, out_there) == _from(new, out_here)


def _from(path: Path, folder: str) -> str:
    """The path relative to a folder."""
    try:
        return os.path.relpath(path, folder)
    except ValueError:  # on another drive of Windows
        return str(path)


def _within(key: str, sections: tuple[str, ...]) -> bool:
    return any(f"{key}.".startswith(f"{section}.") for section in sections)


def _spell(found: Mapping[str, str], keys: set[str]) -> str:
    return "; ".join(f"{key}: {found[key]}" for key in found if key in keys)
