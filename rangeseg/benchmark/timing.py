"""Interleaved timing for shared machines: candidates take turns, so a slow second affects all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Timing:
    """One candidate's times.

    Args:
        min_ms: the least wall time, what the machine can do.
        median_ms: the median wall time, what it does while others use it too.
        cpu_ms: the median processor time of this process, all threads together.
    """

    min_ms: float
    median_ms: float
    cpu_ms: float


@dataclass(frozen=True)
class Row:
    """A line of a benchmark's table.

    Args:
        stage: what is computed, e.g. ``projection 64x2048``.
        name: who computes it.
        median_ms: median wall time.
        min_ms: least wall time.
        ratio: how many times faster than the stage's baseline; the baseline's own is 1.
    """

    stage: str
    name: str
    median_ms: float
    min_ms: float
    ratio: float


@dataclass(frozen=True)
class Comparison:
    """Times of candidates that took turns.

    Args:
        baseline: the name of the candidate that the others are compared with.
        timings: each candidate's times.
    """

    baseline: str
    timings: Mapping[str, Timing]

    def ratio(self, name: str) -> float:
        """How many times faster than the baseline: the smaller of the medians' and the minima's ratio."""
        ours, theirs = self.timings[name], self.timings[self.baseline]
        return min(theirs.median_ms / ours.median_ms, theirs.min_ms / ours.min_ms)

    def rows(self, stage: str) -> list[Row]:
        """The table's lines."""
        return [Row(stage, name, t.median_ms, t.min_ms, self.ratio(name)) for name, t in self.timings.items()]


def compare(
    candidates: Mapping[str, Callable[[], object]],
    repeats: int,
    *,
    warm_up: int = 2,
    inner: Mapping[str, int] | None = None,
    pause_s: float = 0.0,
) -> Comparison:
    """Time candidates round-robin.

    Args:
        candidates: what to call, by name; the first is the baseline.
        repeats: rounds that are timed.
        warm_up: rounds before them that are not (compiling, filling caches).
        inner: calls of a candidate in one round, for those much shorter than the others; each is timed alone.
        pause_s: seconds before each call, in which the threads of the one before fall asleep: those of ONNX Runtime and
            of OpenMP go on spinning for a while, on cores that the next one needs.

    Returns:
        The times.

    Raises:
        ValueError: no candidates, or no repeats.
    """
    if not candidates or repeats < 1:
        raise ValueError(f"compare got {len(candidates)} candidates and {repeats} repeats; give at least one of each.")
    calls = dict.fromkeys(candidates, 1) | dict(inner or {})
    wall: dict[str, list[float]] = {name: [] for name in candidates}
    cpu: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(-warm_up, repeats):
        for name, call in candidates.items():
            for _ in range(calls[name]):
                time.sleep(pause_s)
                cpu_start, start = time.process_time(), time.perf_counter()
                call()
                stop, cpu_stop = time.perf_counter(), time.process_time()
                if turn >= 0:
                    wall[name].append(1e3 * (stop - start))
                    cpu[name].append(1e3 * (cpu_stop - cpu_start))
    timings = {name: Timing(min(wall[name]), median(wall[name]), median(cpu[name])) for name in candidates}
    return Comparison(next(iter(candidates)), timings)
