"""Count what a reader must follow: `python tests/structure.py`.

Prints the project's own functions and files that run before the first training step and inside one step (besides the
network's), lines and files per folder, and the CPU seconds of `rangeseg --help`.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from conftest import make_tiny_config, write_tiny_kitti

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "rangeseg"
STEP = "train_step"


class Calls:
    """Which of the package's functions are called, and how often."""

    def __init__(self) -> None:
        self.counts: dict[CodeType, int] = {}

    def trace(self, frame: FrameType, event: str, argument: Any) -> None:
        """For `sys.setprofile`."""
        code = frame.f_code
        inside = event == "call" and code.co_filename.startswith(str(PACKAGE))
        body = code.co_name == "<module>" or "__qualname__" in code.co_names  # of a module or class, run by an import
        if inside and not body:
            self.counts[code] = self.counts.get(code, 0) + 1

    def summary(self, without: tuple[str, ...] = ()) -> dict[str, int]:
        """Functions, files and calls; comprehensions and lambdas belong to the function they are in."""
        codes = [
            code
            for code in self.counts
            if not code.co_name.startswith("<") and not any(part in code.co_filename for part in without)
        ]
        return {
            "functions": len(codes),
            "files": len({code.co_filename for code in codes}),
            "calls": sum(self.counts[code] for code in codes),
        }


@contextmanager
def profiled() -> Iterator[Calls]:
    """Count the calls of a block."""
    calls = Calls()
    sys.setprofile(calls.trace)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def training() -> dict[str, dict[str, int]]:
    """Calls before the first step of a small CutMix training, and inside that step."""
    from rangeseg import train

    trainer: Any = __import__("rangeseg.engine.trainer", fromlist=["Trainer"]).Trainer
    found: dict[str, dict[str, int]] = {}
    step = getattr(trainer, STEP)

    def watched(self: Any, *arguments: Any) -> Any:
        sys.setprofile(None)
        if "before the first step" not in found:
            found["before the first step"] = before.summary()
            with profiled() as inside:
                result = step(self, *arguments)
            found["inside a step"] = inside.summary(without=("/networks/",))
            return result
        return step(self, *arguments)

    setattr(trainer, STEP, watched)
    with tempfile.TemporaryDirectory() as folder:
        config = make_tiny_config(write_tiny_kitti(Path(folder, "kitti")), Path(folder))
        with profiled() as before:
            train(config)
    setattr(trainer, STEP, step)
    return found


def lines() -> dict[str, dict[str, int]]:
    """Files and lines of each folder of the package, and of the configs."""
    found: dict[str, dict[str, int]] = {}
    for path in sorted([*PACKAGE.rglob("*.py"), *(ROOT / "configs").rglob("*.yaml")]):
        parts = path.relative_to(ROOT).parts
        for name in {parts[0], "/".join(parts[:2]) if len(parts) > 2 else f"{parts[0]}/*"}:
            entry = found.setdefault(name, {"files": 0, "lines": 0})
            entry["files"] += 1
            entry["lines"] += len(path.read_text().splitlines())
    return dict(sorted(found.items()))


def help_seconds() -> float:
    """CPU seconds, user and system, of `rangeseg --help`, of three the least."""
    seconds = []
    for _ in range(3):
        start = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "rangeseg.cli", "--help"], check=True, stdout=subprocess.DEVNULL)
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime)
    return round(min(seconds), 2)


if __name__ == "__main__":
    sys.stdout.write(
        json.dumps({"training": training(), "lines": lines(), "help_cpu_seconds": help_seconds()}, indent=1) + "\n"
    )
