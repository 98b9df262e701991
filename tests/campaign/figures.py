"""What a campaign counted, as JSON and as the tables of results/reliability.md."""

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
        """Write all counts, the machine and the versions as JSON, and the tables beside it as Markdown.

        Other rows of an earlier file stay.
        """
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
        path.with_suffix(".md").write_text(tables(parts))


NO_FAULTS = ("refused", "warned", "same", "plausible", "whole", "ended before")
"""Verdicts in the order of the columns; all others are faults."""


def tables(parts: dict[str, dict[str, dict[str, int]]]) -> str:
    """A table for each part of a campaign: what was damaged or killed, and how many cases had each verdict."""
    text = ""
    for part, rows in parts.items():
        if part == "kinds of damage":
            rows = _by_kind(rows)
        found = {verdict for row in rows.values() for verdict in row}
        columns = [*(verdict for verdict in NO_FAULTS if verdict in found), *sorted(found - {*NO_FAULTS})]
        lines = {name: [sum(row.values()), *(row.get(column, 0) for column in columns)] for name, row in rows.items()}
        lines["all"] = [sum(column) for column in zip(*lines.values(), strict=True)]
        text += f"\n## {part.capitalize()}\n\n| | cases | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 2)}\n"
        text += "".join(f"| {name} | {' | '.join(f'{n:,}' for n in row)} |\n" for name, row in lines.items())
    return text


def _by_kind(rows: dict[str, dict[str, int]]) -> dict[str, Counter[str]]:
    """The rows ``KIND: FILE`` of all files together."""
    summed: dict[str, Counter[str]] = {}
    for name, row in rows.items():
        summed.setdefault(name.partition(": ")[0], Counter()).update(row)
    return summed


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
