"""Damaged files in a process of their own: it may hang or die, and the campaign goes on behind the case."""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Sequence
from functools import cache, partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from campaign import hostile
from campaign.damage import damaged
from campaign.judge import Verdict, digest, judge, notices
from campaign.routes import ROUTES, Route, words_of
from campaign.warm import context, limit_memory, run_command
from campaign.whole import check_whole
from campaign.workspace import fresh, link_tree

MEMORY = next((place for place in ("/dev/shm",) if os.access(place, os.W_OK)), None)
"""Where cases are: a disk that is waited for at every file would be all that the campaign does."""
SECONDS = 60
"""A case that takes longer hangs; the slowest take two on an idle machine."""
ADDRESS_MB, RESIDENT_MB = 4000, 600
"""So much a damaged file may make a command map, and use."""


def keep_runs_loaded(root: Path) -> None:
    """Load and fuse the undamaged runs once, and make the parser once: a case is then a hundredth of a second."""
    from rangeseg import cli
    from rangeseg.engine.experiment import Experiment
    from rangeseg.inference.run import Run

    load, loaded, fuse, fused = Run.load, {}, Experiment.inference_model, {}

    def load_once(path: Any = None, **options: Any) -> Run:
        if path is None or Path(path).parent != root:
            return load(path, **options)
        key = (str(path), repr(options))
        if key not in loaded:
            loaded[key] = load(path, **options)
        return loaded[key]

    def fuse_once(self: Experiment, network: Any, **options: Any) -> Any:
        known = any(run.network is network for run in loaded.values())
        if not known or id(network) not in fused:
            made = fuse(self, network, **options)
            return fused.setdefault(id(network), made) if known else made
        return fused[id(network)]

    Run.load = staticmethod(load_once)  # type: ignore[method-assign, assignment]
    Experiment.inference_model = fuse_once  # type: ignore[method-assign]
    cli.make_parser = cache(cli.make_parser)


def broken(out: Path) -> str:
    """The first file below a folder that is not whole, and why; empty where all are."""
    for path in (path for path in out.rglob("*") if path.is_file()):
        try:
            check_whole(path)
        except Exception as error:
            return f"{path.name}: {error}"
    return ""


class Bench:
    """Runs the cases of a route.

    Args:
        root: the workspace.
        route: whose file is damaged.
        place: folder of the cases.
    """

    def __init__(self, root: Path, route: Route, place: Path) -> None:
        self.root, self.route, self.place, self.number, self.broken = root, route, place, 0, ""
        self.name = route.called or Path(route.file).name
        self.content = (root / route.tree / route.file).read_bytes()
        self.whole = self.run(self.content)[1:]
        again = self.run(self.content)
        if again[0].code != 0 or again[1:] != self.whole or not self.whole[0]:
            raise RuntimeError(f"{route.name}: the undamaged file is no baseline: {again} {self.whole}")

    def run(self, content: bytes | str) -> tuple[Any, dict[str, str], set[str]]:
        """Run the command on a file with other content, or one of `hostile`, in folders that no other case had.

        The scores of a split are the exception: the run is loaded once for its one `data.root`.
        """
        self.number += 1
        case = self.place / ("same" if "data.root={tree}" in self.route.words else f"{self.number:06d}")
        tree, out = case / "tree", fresh(case) / "out"
        out.mkdir()
        link_tree(self.root / self.route.tree, tree, self.root / self.route.tree / self.route.file)
        make = hostile.MAKE[content] if isinstance(content, str) else partial(Path.write_bytes, data=content)
        make(tree / self.route.file)
        outcome = run_command(words_of(self.route, self.root, tree, out))
        self.broken = broken(out)
        found = outcome, digest(out, case), notices(outcome.err, case)
        fresh(case)
        return found

    def case(self, seed: int | str) -> tuple[str, Verdict]:
        """One damaged file, or what is no file: the kind of damage, and what came of it."""
        kind, strict = str(seed), True
        content: bytes | str = str(seed)
        if isinstance(seed, int):
            kind, content = damaged(self.content, np.random.default_rng([seed, *self.route.name.encode()]))
            strict = self.route.must_notice(kind, self.content, content)
        outcome, wrote, told = self.run(content)
        options: dict[str, Any] = {"name": self.name, "also": self.route.also, "strict": strict}
        return kind, judge(outcome, wrote, told, self.whole, **options, broken=self.broken)


def work(root: str, name: str, seeds: Sequence[int | str], pipe: Connection) -> None:
    """The body of the process: sends a seed before each case and (kind, verdict, words) behind it.

    Args:
        root: the workspace.
        name: of the route.
        seeds: of `Bench.case`.
        pipe: where to.
    """
    folder = Path(root)
    errors = os.open(os.environ.get("CAMPAIGN_ERRORS", os.devnull), os.O_WRONLY | os.O_APPEND)
    os.dup2(errors, 2)  # libraries that are not Python
    keep_runs_loaded(folder)
    with tempfile.TemporaryDirectory(prefix="campaign", dir=MEMORY) as place:
        bench = Bench(folder, ROUTES[name], Path(place))
        limit_memory(ADDRESS_MB)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for seed in seeds:
            pipe.send((seed,))
            kind, verdict = bench.case(seed)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            if grown > RESIDENT_MB:
                verdict = Verdict("memory", f"{grown:.0f} MB")
                before += int(grown * 1024)
            pipe.send((kind, verdict.kind, verdict.words))
    pipe.send(None)


def run_route(root: Path, name: str, seeds: Sequence[int | str]) -> list[tuple[int | str, str, Verdict]]:
    """All cases of a route: (seed, kind, verdict). A case in which the process hangs or dies is a fault."""
    done: list[tuple[int | str, str, Verdict]] = []
    while seeds:
        here, there = context().Pipe(duplex=False)
        process = context().Process(target=work, args=(str(root), name, seeds, there))
        process.start()
        there.close()
        current: int | str | None = None
        fault = ""
        try:
            while (said := here.recv() if here.poll(SECONDS) else "hang") is not None:
                if isinstance(said, str):
                    fault = "hang"
                    break
                if len(said) == 1:
                    (current,) = said
                else:
                    done.append((seeds[0], said[0], Verdict(*said[1:])))
                    seeds = seeds[1:]
            else:
                seeds = []
        except EOFError:
            fault = "crash"
        if fault:
            process.kill()
        process.join()
        if fault and current is None:
            raise RuntimeError(f"{name}: the process did not begin; exit code {process.exitcode}")
        if fault:
            done.append(
                (
                    seeds[0],
                    str(seeds[0]) if isinstance(seeds[0], str) else "unknown",
                    Verdict(fault, f"exit code {process.exitcode}"),
                )
            )
            seeds = seeds[1:]
    return done
