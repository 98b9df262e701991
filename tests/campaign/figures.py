"""What a campaign counted."""

from __future__ import annotations

import json
import platform
import time
from collections import Counter
from pathlib import Path
from typing import Any


class Figures:
    """Counts of verdicts, by part of the campaign and by what was damaged or killed.

    Args:
        seed: of the campaign.
    """

    def __init__(self, seed: int) -> None:
        self.began, self.parts = time.time(), {}  # type: tuple[float, dict[str, dict[str, Counter[str]]]]
        self.facts: dict[str, Any] = {"seed": seed}

    def count(self, part: str, row: str, verdict: str, number: int = 1) -> None:
        """Add a case."""
        self.parts.setdefault(part, {}).setdefault(row, Counter())[verdict] += number

    def write(self, path: Path) -> None:
        """Write all counts, the machine and the versions as JSON; other rows of an earlier file stay."""
        from importlib.metadata import version

        old = json.loads(path.read_text()) if path.is_file() else {}
        told = {name: version(name) for name in ("torch", "numpy", "numba", "pillow", "rosbags", "laspy")}
        machine = {"python": platform.python_version(), "system": platform.platform(), "processor": _processor()}
        self.facts |= machine | {"versions": told}
        timed = old.get("minutes", {}) | {part: round((time.time() - self.began) / 60, 1) for part in self.parts}
        parts = old.get("parts", {})
        for part, rows in self.parts.items():
            parts[part] = parts.get(part, {}) | rows
        path.write_text(json.dumps({"facts": self.facts, "minutes": timed, "parts": parts}, indent=1) + "\n")


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
