"""Kills: a command is stopped at any moment, and what it left must be whole files or none."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from campaign.judge import LIBRARY, content_of
from campaign.kill_routes import Killed
from campaign.warm import command_to_files, context
from campaign.whole import check_whole
from campaign.workspace import fresh

STUCK_S = 120
TEMPORARY = ".rangeseg-"
LOGS = re.compile(r"events\.out\.tfevents|\.training$|\.log$|time\.json$")
"""Files that grow line by line, are a lock, or say how long it took."""


def files_of(out: Path) -> list[Path]:
    """The files below a folder that are no logs."""
    return sorted(path for path in out.rglob("*") if path.is_file() and not LOGS.search(path.name))


def contents(out: Path, case: Path) -> dict[str, str]:
    """File -> `content_of`, without temporary files."""
    named = [path for path in files_of(out) if not path.name.startswith(TEMPORARY)]
    return {path.relative_to(out).as_posix(): content_of(path, case) for path in named}


class Victim:
    """A command, what it writes when it is left alone, and how long that takes.

    Args:
        root: the workspace.
        killed: the command.
        place: folder of the cases.
    """

    def __init__(self, root: Path, killed: Killed, place: Path) -> None:
        self.root, self.killed, self.place, self.number = root, killed, place, 0
        first, second = self.alone(), self.alone()
        self.code, self.seconds = first[0], second[1]  # the first may have started the server
        if first[0] != second[0] or first[0] not in (0, 1) or not first[2]:
            raise RuntimeError(f"{killed.name}: no baseline: {first}, {second}")
        self.same = {name: content for name, content in first[2].items() if second[2].get(name) == content}
        self.names = first[2].keys() | second[2].keys()

    def begin(self) -> tuple[Path, Path]:
        """The folder of a case, and its output folder as the command finds it."""
        self.number += 1
        case = fresh(self.place / f"{self.number:06d}")
        if self.killed.before is None:
            (case / "out").mkdir()
        else:
            shutil.copytree(self.root / self.killed.before, case / "out")
        return case, case / "out"

    def start(self, words: tuple[str, ...], case: Path) -> Any:
        """A process that runs the command."""
        told = [word.format(root=self.root, out=case / "out") for word in words]
        process = context().Process(target=command_to_files, args=(told, str(case / "log")))
        process.start()
        return process

    def finish(self, process: Any) -> int | None:
        """Wait for the end; None for one that hangs."""
        process.join(STUCK_S)
        if process.exitcode is None:
            process.kill()
            process.join()
            return None
        return int(process.exitcode)

    def alone(self) -> tuple[int | None, float, dict[str, str], str]:
        """Run the command to its end: exit code, seconds, files, what it printed."""
        case, out = self.begin()
        began = time.monotonic()
        code = self.finish(self.start(self.killed.words, case))
        return code, time.monotonic() - began, contents(out, case), (case / "log").read_text()[-900:]

    def strike(self, rng: np.random.Generator, go_on: bool) -> tuple[str, str, str]:
        """Stop it at a random moment: the signal, the verdict and what there was to see."""
        case, out = self.begin()
        kind = signal.SIGKILL if rng.random() < 0.84 else signal.SIGINT if rng.random() < 0.6 else signal.SIGTERM
        process = self.start(self.killed.words, case)
        process.join(float(rng.uniform(0, 1.02 * self.seconds)))
        struck = process.exitcode is None
        if struck:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(process.pid, kind)
        code = self.finish(process)
        verdict = self.verdict(kind, struck, code, case, out)
        if verdict is None and go_on:
            verdict = self.resumed(case, out)
        shutil.rmtree(case)
        return kind.name, *(verdict or ("whole" if struck else "ended before", ""))

    def verdict(self, kind: signal.Signals, struck: bool, code: int | None, case: Path, out: Path
                ) -> tuple[str, str] | None:  # fmt: skip
        """A fault, or None."""
        log = (case / "log").read_text() if (case / "log").is_file() else ""
        expected = {0, 1, self.code} | ({-kind} if kind != signal.SIGINT else set())
        expected |= {130} if kind == signal.SIGINT else {143} if kind == signal.SIGTERM else set()
        if kind == signal.SIGINT and code == 1 and not log:
            return "ended before", "the process had not begun the command"
        if code is None:
            return "hang", f"{kind.name} {log[-500:]}"
        if code not in expected or (code == 1 and self.code == 0):
            return "exit code", f"{kind.name}: {code} {log[-900:]}"
        if found := LIBRARY.search(log):
            return "traceback", f"{kind.name} {log[found.start() :][-900:]}"
        for path in files_of(out):
            if path.name.startswith(TEMPORARY):
                continue
            name = path.relative_to(out).as_posix()
            try:
                check_whole(path)
            except Exception as error:
                return "half file", f"{name}: {type(error).__name__} {error}"
            if not self.killed.evolving and name in self.same and content_of(path, case) != self.same[name]:
                return "half file", f"{name}: another content than without the kill"
        return None

    def on_disk(self, disk: Path, free_kb: int) -> tuple[str, str]:
        """Write to a disk with so much room: the verdict, and what there was to see."""
        case, log_place = disk / "case", fresh(self.place / "log")
        for path in disk.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        case.mkdir()
        if self.killed.before is None:
            (case / "out").mkdir()
        else:
            shutil.copytree(self.root / self.killed.before, case / "out")
        room = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        (disk / "full").write_bytes(bytes(max(0, room - free_kb * 1024)))
        told = [word.format(root=self.root, out=case / "out") for word in self.killed.words]
        process = context().Process(target=command_to_files, args=(told, str(log_place / "log")))
        process.start()
        code = self.finish(process)
        log = (log_place / "log").read_text()
        if fault := self.verdict(signal.SIGKILL, False, None if code is None else 0, case, disk / "case" / "out"):
            return fault
        if code not in (0, 1, self.code) or LIBRARY.search(log):
            return "traceback", log[-900:]
        if left := [path.name for path in case.rglob(f"{TEMPORARY}*")]:
            return "left behind", str(left)
        if code == self.code == 0 and (missing := self.names - contents(case / "out", case).keys()):
            return "silent", f"missing: {missing}: {log[-500:]}"
        if code == 1 and self.code == 0 and "No space left" not in log:
            return "unnamed", log[-900:]
        return ("refused" if code else "whole"), ""

    def resumed(self, case: Path, out: Path) -> tuple[str, str] | None:
        """The same command again, to its end: the files of one that was never stopped, and no other ones."""
        code = self.finish(self.start(self.killed.again or self.killed.words, case))
        log = (case / "log").read_text()
        found = contents(out, case)
        done = self.names == found.keys() and all(found[name] == content for name, content in self.same.items())
        if code != self.code and done and "already" in log:
            return None  # the kill came behind the last file; the command says that all is there
        if code != self.code:
            return "does not go on", f"exit code {code}: {log[-900:]}"
        if missing := self.names - found.keys():
            return "does not go on", f"missing: {missing}"
        if differing := [name for name, content in self.same.items() if found[name] != content]:
            return "differs", f"{differing}"
        if left := [path.name for path in out.rglob(f"{TEMPORARY}*")]:
            return "left behind", f"{left}"
        return None
