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
        min_ms: the least wall time; the machine is then least disturbed.
        median_ms: the median wall time, which includes disturbance by other users of the machine.
        cpu_ms: the median processor time of this process, all threads together.
    """

    min_ms: float
    median_ms: float
    cpu_ms: float


@dataclass(frozen=True)
class Row:
    """A line of a benchmark's table.

    Args:
        stage: name of the task, e.g. ``projection 64x2048``.
        name: name of the implementation.
        median_ms: median wall time.
        min_ms: least wall time.
        ratio: how many times faster than the stage's baseline it is; 1 for the baseline.
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
        candidates: functions to call, by name; the first is the baseline.
        repeats: number of timed rounds.
        warm_up: number of untimed rounds before them (compiling, filling caches).
        inner: number of calls in one round, for candidates much faster than the others; each call is timed.
        pause_s: pause before each call, seconds. The threads of ONNX Runtime and OpenMP keep spinning for a while after
            a call, on cores that the next call needs; they go to sleep in the pause.

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
