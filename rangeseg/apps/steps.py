"""Runs a series of rangeseg commands. Each command has its own process, runs once, and can be resumed."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO, Any

from rangeseg.config import Config, read_config
from rangeseg.config.overrides import read_options
from rangeseg.engine.samples import check_finished
from rangeseg.engine.stopping import SIGNALS, Stopped
from rangeseg.files import write_atomically
from rangeseg.registry import named_code

ELSEWHERE = ("data.root=", "--root=")
"""Words that begin so may change between two calls, because the data may move."""


@dataclass(frozen=True)
class Step:
    """One command.

    Args:
        name: the name in messages.
        words: the words after ``rangeseg``; those of a training end with ``--resume auto``.
        done: the file that exists when the command is done. The runner writes the words to it.
        log: the file that gets the output of the command at its end.
    """

    name: str
    words: tuple[str, ...]
    done: Path
    log: Path

    @property
    def command(self) -> str:
        """The command line."""
        return shlex.join(("rangeseg", *self.words))

    def is_done(self) -> bool:
        """Whether the command is done.

        Raises:
            ValueError: it is done, but with other words; or it is a training on other samples, see `check_samples`.
        """
        if not self.done.is_file():
            return False
        before, now = json.loads(self.done.read_text()), self._lasting()
        if before != now:
            changed = sorted(set(before) ^ set(now))
            raise ValueError(
                f"{self.done}: {self.name} is done, but with other words ({', '.join(changed[:4])}). Give the same "
                "words, choose another --out, or remove this file and the results of the step to repeat it."
            )
        if self.words[0] == "train":  # the words name a list, whose contents may have changed
            config = read_config(self.words[1], self.words[2:-2])
            check_finished(Path(config.runtime.out), config)
        return True

    def mark(self) -> None:
        """Record that the command is done."""
        write_atomically(self.done, json.dumps(self._lasting(), indent=1).encode())

    def _lasting(self) -> list[str]:
        """The words that determine the result. They do not depend on the places of the results and of the data."""
        out = str(self.done.parent.parent)
        return [word.replace(out, "OUT") for word in self.words if not word.startswith(ELSEWHERE)]


class ChildProcesses:
    """Runs commands as processes. Within a `with` block, it passes SIGINT and SIGTERM on to them."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen] = set()
        self._before: dict[int, Any] = {}
        self._number = 0

    def __enter__(self) -> ChildProcesses:
        if threading.current_thread() is threading.main_thread():  # only this thread can handle signals
            self._before = {number: signal.signal(number, self._pass_on) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def run(self, command: Sequence[str], log: IO[str]) -> int:
        """Run a command to its end, in any thread, and return its exit code. After a signal, no command is started."""
        if self._number:
            return 128 + self._number
        with subprocess.Popen(command, stdout=log, stderr=log, env=os.environ) as child:
            self._running.add(child)
            if self._number:  # the signal came in between
                child.send_signal(self._number)
            code = child.wait()
            self._running.discard(child)
        return code

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._number = number
        for child in [*self._running]:
            child.send_signal(number)
        raise Stopped(
            "stopped; checkpoints and finished steps are kept; run the same command again to continue", number
        )


def trust_of(config: Config) -> tuple[str, ...]:
    """The option with which a later step loads a run of this config: ``--trust`` if the user's config names code."""
    return ("--trust",) if any(named_code(asdict(config))) else ()


def refuse_own_keys(overrides: Sequence[str], own: Mapping[str, str]) -> None:
    """Refuse overrides of keys that a command sets in each of its trainings.

    Args:
        overrides: `key.path=value` for all trainings; the value may be a whole section: ``runtime={seed: 5}``.
        own: key -> what to use in place of the override.

    Raises:
        ValueError: there is one; all trainings would be the same one. Or an override cannot be read.
    """
    for word in overrides:
        content = read_options([word])
        for key, cure in own.items():
            if _sets(content, key):
                raise ValueError(f"{word}: the command sets {key} in each training. Use {cure}.")


def _sets(content: Any, key: str) -> bool:
    """Whether sections of a config set a key."""
    for part in key.split("."):
        if not isinstance(content, Mapping) or part not in content:
            return False
        content = content[part]
    return True


def run_chains(
    chains: Sequence[Sequence[Step]], *, parallel: int = 1, children: ChildProcesses | None = None
) -> Iterator[Step]:
    """Run the steps that are not done. The steps of a chain run in order, several chains run in parallel.

    Args:
        chains: sequences of steps.
        parallel: number of chains that run at the same time.
        children: the processes, entered in the main thread. Needed if this runs in another thread.

    Yields:
        The last step of each chain when the chain is done.

    Raises:
        RuntimeError: a step failed. The message names its log. Finished steps stay.
        ValueError: a step is done with other words.
        Stopped: a signal came, and all trainings have written their checkpoints.
    """
    with ExitStack() as stack:
        if children is None:
            children = stack.enter_context(ChildProcesses())
        pool = ThreadPoolExecutor(parallel)
        stack.callback(pool.shutdown, cancel_futures=True)
        for chain, failed in zip(chains, pool.map(partial(_do, children), chains), strict=True):
            if failed:
                lines = failed.log.read_text(errors="replace").strip().splitlines()[-1:]
                raise RuntimeError(f"{failed.name} failed; see {failed.log}{''.join(f': {line}' for line in lines)}")
            yield chain[-1]


def _do(children: ChildProcesses, chain: Sequence[Step]) -> Step | None:
    """Run a chain, and return the step that failed, if any."""
    for step in chain:
        if step.is_done():
            continue
        step.log.parent.mkdir(parents=True, exist_ok=True)
        with step.log.open("a") as log:
            if children.run([sys.executable, "-m", "rangeseg.cli", *step.words], log):
                return step
        step.mark()
    return None
