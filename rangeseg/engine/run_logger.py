"""The output of a run: its folder, metrics, pictures and a progress line.

config.yaml     every key, resolved         versions.json   versions of libraries, and the machine
metrics.csv     step, name, value           metrics.json    the last value of each name
last.pt         newest checkpoint           best.pt         checkpoint with the best score
events.*        TensorBoard                 time.json       seconds of all sessions that ended
samples.json    names of the samples, from `rangeseg.engine.samples`
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from rangeseg.config import Config, write_config
from rangeseg.engine.loggers import Logger
from rangeseg.files import write_atomically
from rangeseg.terminal import PlainConsole

LIBRARIES = ("rangeseg", "torch", "numpy", "numba", "lightning-fabric", "omegaconf")
MOST_POINTS = 30_000
"""Most points of a scan in TensorBoard."""

ProgressStep = Callable[[int, dict[str, Tensor]], None]


EVALUATED = re.compile(r"(mean_iou|accuracy)$|iou/")
"""Names that an evaluation logs."""


class RunLogger:
    """Writes the run folder; of several processes, only the first one writes (`enabled`).

    Args:
        folder: made if absent.
        enabled: False writes nothing.
        step: number of steps done; values logged for later steps are dropped.
        others: loggers that get the same values except points; only used if `enabled`.
        again: the evaluation of `step` will be repeated; the values that it logged are dropped.
    """

    def __init__(
        self, folder: Path, *, enabled: bool = True, step: int = 0, others: Sequence[Logger] = (),
        again: bool = False,
    ) -> None:  # fmt: skip
        self._step, self._others = step, list(others) if enabled else []
        self.folder, self.enabled = folder, enabled
        self.last, self.best = folder / "last.pt", folder / "best.pt"
        self._console = PlainConsole(stderr=True)
        self._latest: dict[str, float] = {}
        self._began, self._before = time.monotonic(), (read_seconds(folder) or 0.0) if step else 0.0
        if enabled:
            folder.mkdir(parents=True, exist_ok=True)
            kept = [row for row in read_metrics(folder / "metrics.csv") if row[0] <= step] if step else []
            kept = [row for row in kept if not (again and row[0] == step and EVALUATED.match(row[1]))]
            self._latest = {name: value for _, name, value in kept}
            write_atomically(folder / "metrics.csv", "".join(["step,name,value\n", *map(_line, kept)]).encode())
            self._csv = (folder / "metrics.csv").open("a")
            self._events = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def start(self, config: Config) -> None:
        """Write the config and the library versions to the run folder, and remove the report of an earlier config."""
        if self.enabled:
            (self.folder / "evaluation.json").unlink(missing_ok=True)
            write_atomically(self.folder / "config.yaml", write_config(config).encode())
            write_atomically(self.folder / "versions.json", json.dumps(versions(), indent=2).encode())
        for other in self._others:
            other.start(self.folder, flatten(asdict(config)), self._step)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Log numbers of one step to TensorBoard and metrics.csv."""
        if not self.enabled:
            return
        for name, value in values.items():
            self._events.add_scalar(name, value, step)
            self._csv.write(_line((step, name, value)))
        self._csv.flush()
        self._latest |= values
        self._tell("scalars", step, values)

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        """Log an (H, W, 3) uint8 picture."""
        if self.enabled:
            self._events.add_image(name, image, step, dataformats="HWC")
        self._tell("image", step, name, image)

    def points(self, step: int, name: str, xyz: np.ndarray, colors: np.ndarray) -> None:
        """Log points that can be rotated, (N, 3) metres and (N, 3) uint8 RGB; at most `MOST_POINTS`, evenly chosen."""
        if self.enabled:
            index = np.flatnonzero(np.isfinite(xyz).all(axis=1))
            index = index[:: max(1, -(-len(index) // MOST_POINTS))]
            vertices, shades = (torch.from_numpy(np.ascontiguousarray(part[index]))[None] for part in (xyz, colors))
            self._events.add_mesh(name, vertices, shades, global_step=step)

    def hyperparameters(self, values: dict[str, Any], metrics: dict[str, float]) -> None:
        """Log every key of the config and the scores, as a row of TensorBoard's table of runs."""
        if self.enabled:
            flat = flatten(values)
            for part in hparams(flat, {name: value for name, value in metrics.items() if not np.isnan(value)}):
                self._events._get_file_writer().add_summary(part)

    def close(self) -> None:
        """Finish the event file; write metrics.json and time.json."""
        if self.enabled:
            self._csv.close()
            self._events.close()  # raises if the disk is full
            latest = {name: (None if np.isnan(value) else value) for name, value in self._latest.items()}
            write_atomically(self.folder / "metrics.json", json.dumps(latest, indent=2).encode())
            seconds = self._before + time.monotonic() - self._began
            write_atomically(self.folder / "time.json", json.dumps({"seconds": round(seconds, 1)}).encode())
        self._tell("close")

    def _tell(self, method: str, *what: Any) -> None:
        """Call a method of all other loggers; one that fails is removed, so that a missing server ends no training."""
        for other in list(self._others):
            try:
                getattr(other, method)(*what)
            except Exception as error:
                self._others.remove(other)
                message = f"The logger {type(other).__name__} failed and is no longer used: {error}"
                warnings.warn(message, stacklevel=3)

    @contextmanager
    def progress(self, step: int, steps: int) -> Iterator[ProgressStep]:
        """On a terminal, a bar with rate and remaining time; elsewhere, a line after every twentieth of the steps."""
        columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
        clocks = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        with Progress(*columns, *clocks, console=self._console, disable=not self.enabled) as bar:
            task = bar.add_task("training", total=steps, completed=step, note="")

            def advance(now: int, losses: dict[str, Tensor]) -> None:
                plain = not self._console.is_terminal
                if not self.enabled or now % (max(1, steps // 20) if plain else 10):
                    bar.update(task, completed=now)
                    return
                rate = bar.tasks[0].speed
                note = " ".join(f"{name} {float(value):.3f}" for name, value in losses.items())
                note += f" {rate:.2f} steps/s" if rate else ""
                bar.update(task, completed=now, note=note)
                if plain:
                    left = bar.tasks[0].time_remaining
                    note += "" if left is None else f" {timedelta(seconds=round(left))} left"
                    self._console.print(f"step {now}/{steps} {note}")

            yield advance


@contextmanager
def no_traceback_of_writers() -> Iterator[None]:
    """Print no traceback of TensorBoard's writer thread; if the disk is full, the main thread raises the error, too."""
    before = threading.excepthook

    def hook(failed: threading.ExceptHookArgs) -> None:
        if type(failed.thread).__name__ != "_AsyncWriterThread":
            before(failed)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def read_metrics(path: Path) -> list[tuple[int, str, float]]:
    """The rows of a metrics.csv without an incomplete last line; empty if the file does not exist."""
    if not path.is_file():
        return []
    lines = path.read_text().splitlines(keepends=True)[1:]
    rows = (line.rstrip("\n").split(",") for line in lines if line.endswith("\n"))
    return [(int(step), name, float(value)) for step, name, value in rows]


def read_seconds(folder: Path) -> float | None:
    """Training time of a run, seconds; None if its folder has no time.json."""
    path = folder / "time.json"
    return float(json.loads(path.read_text())["seconds"]) if path.is_file() else None


def _line(row: tuple[int, str, float]) -> str:
    return f"{row[0]},{row[1]},{row[2]!r}\n"


def flatten(values: Mapping[str, Any], above: str = "") -> dict[str, str | int | float | bool]:
    """Full path of each key of a config -> its value; values other than numbers and booleans become text."""
    found: dict[str, str | int | float | bool] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flatten(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = value if isinstance(value, bool | int | float) else str(value)
    return found


def versions() -> dict[str, str]:
    """Library versions, Python, platform and accelerator."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed as a package"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    machine = {"device": device, "processor": _processor(), "cores": str(os.cpu_count())}
    return found | {"python": platform.python_version(), "platform": platform.platform()} | machine


def _processor() -> str:
    """The name of the processor, from /proc/cpuinfo because Python returns none on Linux."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
