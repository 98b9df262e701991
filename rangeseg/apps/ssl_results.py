"""The results of `rangeseg benchmark-ssl`: one JSON file that many calls, sessions and machines add cells to.

The file holds what all cells share (version of the streets, settings) and a line for each cell of the plan, null where
it is missing. Lines are apart, so that git merges files to which two branches added different cells.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from rangeseg.config import Config
from rangeseg.engine.run_logger import flatten, read_metrics
from rangeseg.files import try_lock, write_atomically

SHARED = ("data", "network", "optim", "evaluation")
"""Sections that are the same in all cells; the others are the methods'."""

FREE = ("data.root", "data.labelled", "evaluation.every", "evaluation.batch")
"""Keys of these that a cell may have otherwise."""


@dataclass
class Results:
    """What is known.

    Args:
        version: of the streets.
        settings: key -> value that all cells share, see `settings_of`.
        cells: ``METHOD:SHARE:SEED`` -> its numbers, see `numbers_of`.
    """

    version: int
    settings: dict[str, Any]
    cells: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, other: Results, source: str | Path) -> int:
        """Take what is missing here; a cell that is here stays as it is.

        Args:
            other: of the same streets and settings.
            source: where the others are from, for errors.

        Returns:
            How many cells came.

        Raises:
            ValueError: they are of other streets or settings.
        """
        self.check(other.version, other.settings, source)
        new = {key: numbers for key, numbers in other.cells.items() if key not in self.cells}
        self.cells |= new
        return len(new)

    def check(self, version: int, settings: Mapping[str, Any], source: str | Path) -> None:
        """Refuse numbers that cannot stand in the same table.

        Raises:
            ValueError: they are of other streets or settings.
        """
        if version != self.version:
            raise ValueError(f"{source}: of streets of version {version}; the others are of version {self.version}.")
        for key in self.settings.keys() & settings.keys():  # a key that only one knows came with a later rangeseg
            if settings[key] != self.settings[key]:
                raise ValueError(
                    f"{source}: has {key}={settings[key]}; the others have {key}={self.settings[key]}. One table holds "
                    "one setting: give the same keys, or keep these results in another --out or --results."
                )

    def write(self, path: Path, plan: Sequence[str]) -> None:
        """Write the file.

        Args:
            path: of it.
            plan: keys of all cells that there should be, in order.
        """
        order = dict.fromkeys([*plan, *sorted(self.cells)])
        lines = [f"  {json.dumps(key)}: {json.dumps(self.cells.get(key))}" for key in order]
        settings = json.dumps(self.settings, indent=1, sort_keys=True)
        head = f'{{\n"version": {self.version},\n"settings": {settings},\n"cells": {{\n\n'
        write_atomically(path, (head + ",\n\n".join(lines) + "\n\n}\n}\n").encode())


def read_results(path: Path) -> Results:
    """Results from a file that `Results.write` wrote.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is no such file.
    """
    try:
        read = json.loads(path.read_text())
        cells = {key: numbers for key, numbers in read["cells"].items() if numbers is not None}
        if not all(isinstance(numbers["mean_iou"], int | float) for numbers in cells.values()):
            raise TypeError
        return Results(int(read["version"]), dict(read["settings"]), cells)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{path}: no results of rangeseg benchmark-ssl. Name another file; where git left conflict marks, take one "
            "side and give the other to --merge."
        ) from error


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Keep other processes of this machine from the file meanwhile."""
    mark = sha256(str(path.resolve()).encode()).hexdigest()[:16]
    with Path(tempfile.gettempdir(), f"rangeseg-results-{mark}.lock").open("a") as file:
        while not try_lock(file):
            time.sleep(0.05)
        yield


def settings_of(config: Config) -> dict[str, Any]:
    """What all cells share, of the config of one."""
    whole = flatten({section: asdict(config)[section] for section in SHARED})
    return {key: value for key, value in whole.items() if key not in FREE}


def numbers_of(folder: Path) -> dict[str, Any]:
    """What the results keep of a finished run.

    Args:
        folder: of the run.

    Returns:
        The last evaluation's scores in 0 to 1, the mIoU at each evaluated step, precision, and libraries.
    """
    report = json.loads((folder / "evaluation.json").read_text())
    rows = [(step, value) for step, name, value in read_metrics(folder / "metrics.csv") if name == "mean_iou"]
    versions = json.loads(path.read_text()) if (path := folder / "versions.json").is_file() else {}
    return {
        "mean_iou": round(report["mean_iou"], 5),
        "accuracy": round(report.get("accuracy") or 0.0, 5),
        "iou": {name: None if one is None else round(one, 4) for name, one in report.get("iou", {}).items()},
        "steps": [step for step, _ in rows],
        "curve": [round(value, 4) for _, value in rows],
        "device": versions.get("device"),
        "torch": versions.get("torch"),
    }
