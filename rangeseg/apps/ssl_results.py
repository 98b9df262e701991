"""The results of `rangeseg benchmark-ssl`: one JSON file to which many calls, sessions and machines add cells.

The file holds what all cells share (version of the streets, settings) and one line for each planned cell, null if it
is missing. Blank lines separate the cells, so that git merges files to which two branches added different cells.
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
"""Sections of the config that are the same in all cells; the methods differ in the others."""

FREE = ("data.root", "data.labelled", "evaluation.every", "evaluation.batch")
"""Keys in these sections that may differ between cells."""


@dataclass
class Results:
    """The results of all finished cells.

    Args:
        version: version of the streets.
        settings: key -> value that all cells share, see `settings_of`.
        cells: ``METHOD:SHARE:SEED`` -> numbers of the cell, see `numbers_of`.
    """

    version: int
    settings: dict[str, Any]
    cells: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, other: Results, source: str | Path) -> int:
        """Add the cells that are missing here; existing cells do not change.

        Args:
            other: results with the same streets and settings.
            source: file of these results, for errors.

        Returns:
            Number of added cells.

        Raises:
            ValueError: they have another version of the streets or other settings.
        """
        self.check(other.version, other.settings, source)
        new = {key: numbers for key, numbers in other.cells.items() if key not in self.cells}
        self.cells |= new
        return len(new)

    def check(self, version: int, settings: Mapping[str, Any], source: str | Path) -> None:
        """Raise an error if results cannot stand in the same table.

        Raises:
            ValueError: they have another version of the streets or other settings.
        """
        if version != self.version:
            raise ValueError(f"{source}: of streets of version {version}; the others are of version {self.version}.")
        for key in self.settings.keys() & settings.keys():  # keys of only one come from a later rangeseg
            if settings[key] != self.settings[key]:
                raise ValueError(
                    f"{source}: has {key}={settings[key]}; the others have {key}={self.settings[key]}. One table holds "
                    "one setting: give the same keys, or keep these results in another --out or --results."
                )

    def write(self, path: Path, plan: Sequence[str]) -> None:
        """Write the file.

        Args:
            path: path of the file.
            plan: keys of all planned cells, in order.
        """
        order = dict.fromkeys([*plan, *sorted(self.cells)])
        lines = [f"  {json.dumps(key)}: {json.dumps(self.cells.get(key))}" for key in order]
        settings = json.dumps(self.settings, indent=1, sort_keys=True)
        head = f'{{\n"version": {self.version},\n"settings": {settings},\n"cells": {{\n\n'
        write_atomically(path, (head + ",\n\n".join(lines) + "\n\n}\n}\n").encode())


def read_results(path: Path) -> Results:
    """Results from a file that `Results.write` wrote.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file does not contain results.
    """
    try:
        read = json.loads(path.read_text())
        cells = {key: numbers for key, numbers in read["cells"].items() if numbers is not None}
        if not all(isinstance(numbers["mean_iou"], int | float) for numbers in cells.values()):
            raise TypeError
        return Results(int(read["version"]), dict(read["settings"]), cells)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{path}: is not a results file of rangeseg benchmark-ssl. Give another file. If git left conflict "
            "markers, keep one side and add the other with --merge."
        ) from error


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Lock the file against other processes of this machine within the `with` block."""
    mark = sha256(str(path.resolve()).encode()).hexdigest()[:16]
    with Path(tempfile.gettempdir(), f"rangeseg-results-{mark}.lock").open("a") as file:
        while not try_lock(file):
            time.sleep(0.05)
        yield


def settings_of(config: Config) -> dict[str, Any]:
    """The settings that all cells share, from the config of one cell."""
    whole = flatten({section: asdict(config)[section] for section in SHARED})
    return {key: value for key, value in whole.items() if key not in FREE}


def numbers_of(folder: Path) -> dict[str, Any]:
    """The numbers of a finished run that the results hold.

    Args:
        folder: the run folder.

    Returns:
        The last evaluation's scores in 0 to 1, the mIoU at each evaluated step, the device, and the version of torch.
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
