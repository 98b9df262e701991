"""Finds configs: the user's files, and shipped configs by name from any folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rangeseg.catalog import METHODS, NETWORKS, PERTURBATIONS
from rangeseg.registry import ConfigError, did_you_mean
from rangeseg.resources import resource


def shipped_configs() -> dict[str, Path]:
    """Every shipped config by name: its path in `configs/` without the suffix, e.g. ``methods/cutmix``."""
    folder = resource("configs")
    paths = sorted(folder.rglob("*.yaml"))
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}


def find_config(word: str) -> Path:
    """Find the file of a config.

    Args:
        word: a path, or the name of a shipped config or its end: ``cutmix``, ``methods/cutmix``,
            ``configs/methods/cutmix.yaml``.

    Raises:
        ConfigError: no file and no shipped config matches, or several shipped configs match.
    """
    if Path(word).is_file():
        return Path(word)
    name = word.removeprefix("configs/").removesuffix(".yaml")
    configs = shipped_configs()
    if name in configs:
        return configs[name]
    found = [full for full in configs if full.endswith(f"/{name}")]
    if len(found) == 1:
        return configs[found[0]]
    if found:
        raise ConfigError(f"{word!r} matches several configs: {', '.join(found)}. Give one of these names.")
    if word.endswith((".yaml", ".yml")) and not word.startswith("configs/"):
        raise ConfigError(f"{word}: no such config file.")
    known = sorted({*(full.rpartition("/")[2] for full in configs), *METHODS, *NETWORKS, *PERTURBATIONS})
    hint = did_you_mean(name.rpartition("/")[2], known)
    hint = f"{hint} " if hint.startswith("Did") else ""
    raise ConfigError(f"{word}: no such file, and no shipped config has this name. {hint}rangeseg configs lists them.")


def find_layers(words: str | Path) -> list[Path | dict[str, Any]]:
    """The layers of an experiment, lowest first: files, and components as sections of a config.

    Args:
        words: a file; or configs joined by ``+``, each as `find_config` takes it, or the name of a method, a network
            or a perturbation: ``semantic_kitti+cutmix``, ``mini_kitti+fixmatch+classmix``.

    Raises:
        ConfigError: as `find_config`.
    """
    if Path(words).is_file():
        return [Path(words)]
    return [_component(word) or find_config(word) for word in str(words).split("+")]


def _component(word: str) -> dict[str, Any] | None:
    """The config section of a component; None if a file or a config has this name, or if there is no such component."""
    if Path(word).is_file() or any(name == word or name.endswith(f"/{word}") for name in shipped_configs()):
        return None
    tables = {"method": METHODS, "network": NETWORKS, "perturbation": PERTURBATIONS}
    return next(({section: {"name": word}} for section, table in tables.items() if word in table), None)


def experiment_name(words: str | Path) -> str:
    """The name of an experiment in tables and folders: ``semantic_kitti+cutmix``, or a file's name."""
    return "+".join(_name(Path(word)) for word in str(words).split("+"))


def place_of(words: str | Path) -> str:
    """The parent folder of an experiment's run folders: the name of its first config, ``nuscenes/ring``.

    Components are no configs; if there is nothing else, it is the name of the first one.
    """
    parts = [str(words)] if Path(words).is_file() else str(words).split("+")
    first = next((part for part in parts if _component(part) is None), None)
    if first is None:
        return parts[0]
    path = find_config(first)
    return next((name for name, shipped in shipped_configs().items() if shipped == path), _name(path))


def _name(path: Path) -> str:
    """The name of a file without its suffix, if it has the suffix of a YAML: a dot may belong to a number."""
    return re.sub(r"\.ya?ml$", "", path.name)
