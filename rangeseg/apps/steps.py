"""Commands of rangeseg that make up a longer work: each in its own process, each done once, all resumable."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO, Any

from rangeseg.engine.stopping import SIGNALS, Stopped
from rangeseg.files import write_atomically

ELSEWHERE = ("data.root=", "--root=")
"""Words that may change between two calls: the data moved."""


@dataclass(frozen=True)
class Step:
    """One command.

    Args:
        name: for messages.
        words: what follows ``rangeseg``.
        done: the file that is there when it is through.
        log: what the command prints is added to this file.
        marked: the runner writes `done` itself, with the words; else the command leaves it.
    """

    name: str
    words: tuple[str, ...]
    done: Path
    log: Path
    marked: bool = True

    @property
    def command(self) -> str:
        """As one types it."""
        return shlex.join(("rangeseg", *self.words))

    def is_done(self) -> bool:
        """Whether it is through.

        Raises:
            ValueError: it is, but with other words.
        """
        if not self.done.is_file() or not self.marked:
            return self.done.is_file()
        before, now = json.loads(self.done.read_text()), self._lasting()
        if before != now:
            changed = sorted(set(before) ^ set(now))
            raise ValueError(
                f"{self.done}: {self.name} is done, but with other words ({', '.join(changed[:4])}). Give the same "
                "words, choose another --out, or remove this file to do it again."
            )
        return True

    def mark(self) -> None:
        """Say that it is through."""
        if self.marked:
            write_atomically(self.done, json.dumps(self._lasting(), indent=1).encode())

    def _lasting(self) -> list[str]:
        """The words that make the result what it is, wherever the folder of the work and the data are."""
        out = str(self.done.parent.parent)
        return [word.replace(out, "OUT") for word in self.words if not word.startswith(ELSEWHERE)]


class ChildProcesses:
    """Processes that are started here, and that SIGINT and SIGTERM to this process reach within a `with` block."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen] = set()
        self._before: dict[int, Any] = {}
        self._number = 0

    def __enter__(self) -> ChildProcesses:
        if threading.current_thread() is threading.main_thread():  # signals reach no other
            self._before = {number: signal.signal(number, self._pass_on) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def run(self, command: Sequence[str], log: IO[str]) -> int:
        """Run a command to its end, on any thread; its exit code. After a signal none is started."""
        if self._number:
            return 128 + self._number
        with subprocess.Popen(command, stdout=log, stderr=log, env=os.environ) as child:
            self._running.add(child)
            if self._number:  # it came in between
                child.send_signal(self._number)
            code = child.wait()
            self._running.discard(child)
        return code

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._number = number
        for child in [*self._running]:
            child.send_signal(number)
        raise Stopped("stopped; what is trained stays, and the same command goes on", number)


def run_chains(
    chains: Sequence[Sequence[Step]], *, parallel: int = 1, children: ChildProcesses | None = None
) -> Iterator[Step]:
    """Do the steps that are not done: of a chain one after another, chains beside each other.

    Args:
        chains: of steps.
        parallel: chains at a time.
        children: entered in the main thread, where this runs in another.

    Yields:
        The last step of each chain when it is through.

    Raises:
        RuntimeError: a step failed; its log is named, and what is done stays.
        ValueError: a step is done with other words.
        Stopped: by a signal, once all trainings have written their checkpoints.
    """
    with ExitStack() as stack:
        if children is None:
            children = stack.enter_context(ChildProcesses())
        pool = ThreadPoolExecutor(parallel)
        stack.callback(pool.shutdown, cancel_futures=True)
        for chain, failed in zip(chains, pool.map(partial(_do, children), chains), strict=True):
            if failed:
                said = failed.log.read_text(errors="replace").strip().splitlines()[-1:]
                raise RuntimeError(f"{failed.name} failed; see {failed.log}{''.join(f': {line}' for line in said)}")
            yield chain[-1]


def _do(children: ChildProcesses, chain: Sequence[Step]) -> Step | None:
    """The step that failed, if one did."""
    for step in chain:
        if step.is_done():
            continue
        step.log.parent.mkdir(parents=True, exist_ok=True)
        with step.log.open("a") as log:
            if children.run([sys.executable, "-m", "rangeseg.cli", *step.words], log):
                return step
        step.mark()
    return None
