"""One run in every installed engine: its time, its score, and the share of labels that equal torch float32's."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from rangeseg.engine.experiment import Experiment
from rangeseg.evaluation.metrics import ConfusionMatrix
from rangeseg.inference.export import convert
from rangeseg.inference.run import Run
from rangeseg.inference.segmenter import AnySample, Segmenter

WARM_UP = 3

ENGINES = {
    "torch float32": None, "torch bfloat16": None, "torch compiled": None,
    "ONNX Runtime": ".onnx", "OpenVINO": ".xml", "OpenVINO int8": ".xml",
}  # fmt: skip
"""Name of the engine -> ending of its exported file; None if nothing is exported for it."""


@dataclass(frozen=True)
class Engine:
    """The results of one engine.

    Args:
        name: torch float32, torch bfloat16, torch compiled, ONNX Runtime, OpenVINO, OpenVINO int8.
        cpu_ms: processor time of the network alone, of all threads, the least of all calls; other work on the machine
            does not count.
        forward_ms: median time of the network alone.
        latency_least_ms: least time from points to labels, of all timed calls.
        latency_ms: median time from points to labels.
        latency_99_ms: 99th percentile of the time from points to labels.
        mean_iou: in [0, 1]; nan if the scans have no labels.
        equal: share of points whose label equals torch float32's.
        problem: reason why there are no figures; "" if there are.
    """

    name: str
    cpu_ms: float = np.nan
    forward_ms: float = np.nan
    latency_least_ms: float = np.nan
    latency_ms: float = np.nan
    latency_99_ms: float = np.nan
    mean_iou: float = np.nan
    equal: float = np.nan
    problem: str = ""


def benchmark_engines(
    run: Run, scans: Sequence[AnySample], calibration: Sequence[AnySample], repeats: int, only: Sequence[str] = ()
) -> Iterator[Engine]:
    """Time a run in each engine, with as many threads as torch has.

    Args:
        run: a run on the CPU.
        scans: scans that are predicted repeatedly; the predictions are scored if the scans have labels.
        calibration: other scans, for the quantisation to int8.
        repeats: number of timed calls.
        only: names of `ENGINES`; empty for all.

    Yields:
        The results of each engine, as soon as it is timed.
    """
    run = _in_precision(run, "32-true")
    own = [Segmenter(run)(scan, confidence=False).labels for scan in scans]
    with tempfile.TemporaryDirectory() as folder:
        for name in only or ENGINES:
            try:
                segmenter = _segmenter(run, name, Path(folder), calibration)
                yield _timed(name, segmenter, scans, own, repeats)
            except (ValueError, RuntimeError) as error:
                yield Engine(name, problem=next(iter(str(error).splitlines()), type(error).__name__))


def _segmenter(run: Run, name: str, folder: Path, calibration: Sequence[AnySample]) -> Segmenter:
    """The run in an engine. Whether its labels equal those of the run is not checked.

    Raises:
        ValueError: the engine is unknown or not installed.
    """
    if name not in ENGINES:
        raise ValueError(f"Unknown engine {name!r}; choose from {', '.join(ENGINES)}.")
    if (ending := ENGINES[name]) is None:
        precise = _in_precision(run, "bf16-mixed") if name == "torch bfloat16" else run
        return Segmenter(precise, compile=name == "torch compiled")
    path = folder / f"{name.replace(' ', '_')}{ending}"
    convert(run, path, calibration=calibration if name.endswith("int8") else None)
    return Segmenter.load(path, device="cpu")


def _in_precision(run: Run, precision: str) -> Run:
    runtime = replace(run.config.runtime, precision=precision)
    return replace(run, experiment=Experiment(replace(run.config, runtime=runtime)))


def _timed(
    name: str, segmenter: Segmenter, scans: Sequence[AnySample], own: Sequence[np.ndarray], repeats: int
) -> Engine:
    matrix, same, count = ConfusionMatrix(segmenter.label_map.num_classes), 0, 0
    for scan, labels in zip(scans, own, strict=True):
        found = segmenter(scan, confidence=False).labels
        same, count = same + int((found == labels).sum()), count + len(labels)
        if scan.label is not None:
            matrix.update(found, scan.label.reshape(-1))
    busy, forward, whole = [], [], []
    image = segmenter.project(scans[0])
    for number in range(WARM_UP + repeats):
        start, began = time.perf_counter(), time.process_time()
        segmenter.logits(image)
        busy.append(1e3 * (time.process_time() - began))
        middle = time.perf_counter()
        segmenter(scans[number % len(scans)], confidence=False)
        forward.append(1e3 * (middle - start))
        whole.append(1e3 * (time.perf_counter() - middle))
    forward, whole = forward[WARM_UP:], whole[WARM_UP:]
    slow = float(np.percentile(whole, 99))
    return Engine(
        name, min(busy), median(forward), min(whole), median(whole), slow, matrix.mean_iou(), same / max(1, count)
    )
