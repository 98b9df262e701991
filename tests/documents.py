"""Markdown pages as tests read them: their code blocks, and the commands in these."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rangeseg.cli import main

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "results/*.md", "datasets/*/README.md", "rangeseg/DESIGN.md")
    for path in ROOT.glob(pattern)
)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        language: the word behind the fence; "" where there is none.
        text: all of its lines.
    """

    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file it is, where its first line says so: ``# my_network.py``."""
        named = re.fullmatch(r"# ([\w/.]+\.(?:py|yaml))", self.text.splitlines()[0])
        return named[1] if named else None

    @property
    def commands(self) -> list[str]:
        """Its lines, those that end in a backslash joined with the next, without comments and prompts."""
        joined = re.sub(r"\\\n\s*", " ", self.text)
        return [line.strip() for line in joined.splitlines() if line.strip() and not line.strip().startswith("#")]


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    return [Block(*match) for match in re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)]


def rangeseg_words(command: str) -> list[str] | None:
    """What follows `rangeseg` in a command of the shell, wherever in it that stands; None where it does not."""
    words = shlex.split(command.removesuffix(" &"), comments=True)
    for start in ("rangeseg", "rangeseg.cli"):
        if start in words:
            return words[words.index(start) + 1 :]
    return None


@dataclass(frozen=True)
class Reader:
    """Somebody who does what a page says, in the current folder.

    Args:
        replaced: text of the page -> what it is here (folders of data).
        further: command of rangeseg -> what is given besides: a smaller network, fewer steps.
        skipped: first line of a block, or beginning of a command -> why it cannot be run here.
        in_process: commands of rangeseg run in this process; False leaves all to the shell.
    """

    replaced: Mapping[str, str]
    further: Mapping[str, Sequence[str]]
    skipped: Mapping[str, str] = field(default_factory=dict)
    in_process: bool = True

    def follow(self, page: Path) -> dict[str, Any]:
        """Do what each block says: files are written, commands and Python run; what Python leaves is returned."""
        names: dict[str, Any] = {"__name__": "page"}
        for block in blocks(page):
            if block.text.splitlines()[0] in self.skipped or block.language not in ("bash", "python", "yaml"):
                continue
            text = block.text
            for old, new in self.replaced.items():
                text = text.replace(old, new)
            here = Block(block.language, text)
            if here.file:
                Path(here.file).parent.mkdir(parents=True, exist_ok=True)
                Path(here.file).write_text(text)
            elif here.language == "python":
                exec(compile(text, str(page), "exec"), names)
            elif here.language == "bash":
                self._run([command for command in here.commands if not self._skips(command)])
        return names

    def _skips(self, command: str) -> bool:
        return any(command.startswith(start) for start in self.skipped)

    def _run(self, commands: Sequence[str]) -> None:
        script = []
        for command in commands:
            words = rangeseg_words(command)
            more = [] if words is None or "--drive" in words else self.further.get(words[0], ())
            if words is not None and self.in_process and command.startswith("rangeseg "):
                assert main([*words, *more]) == 0, command
            else:
                behind = " &" if command.endswith(" &") else ""
                script.append(f"{command.removesuffix(behind)} {shlex.join(more)}{behind}")
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }
        if script:
            subprocess.run(["bash", "-ec", "\n".join(script)], check=True, env=environment, timeout=240)
