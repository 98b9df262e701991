"""Inference speed: time of a forward pass, time from points to labels, and scans per second.

A network is given by the config of an experiment or by a trained run, whose score is reported, too. The network of a
config is untrained: its forward pass takes the same time, but its labels are noise, which slows down back-projection.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from rangeseg.benchmark.timing import compare
from rangeseg.config import read_config
from rangeseg.data.range_views import RangeViews
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.precision import in_precision
from rangeseg.inference.export import to_onnx
from rangeseg.inference.run import Run
from rangeseg.inference.scoring import open_views, score_run
from rangeseg.inference.segmenter import AnySample, Segmenter
from rangeseg.networks.exported import onnx_network
from rangeseg.projection.checks import disable_first_scan_check
from rangeseg.types import Sample
from rangeseg.vis.panels import Picture
from rangeseg.vis.plots import Axes, plot
from rangeseg.weights import find_weights

SGEMM = 2048
"""Side of the square matrices whose product is timed in the same run, as a measure of the machine's speed."""

ENOUGH_MS = 10_000.0
"""Largest total time of the forward passes behind each figure from points to labels; at least three are timed."""


PAUSE_S = 0.1
"""Pause before each call, seconds, because the calls use different threads."""


@dataclass(frozen=True)
class Inference:
    """The results of one network.

    Args:
        name: name of the file or folder.
        parameters: number of weights.
        gflop: 10^9 operations of one forward pass; multiplication plus addition are two. CPU: attention is not counted.
        forward_ms: median time of a forward pass.
        onnx_ms: median time in ONNX Runtime; nan if it is not timed.
        gemm_share: operations per second of the faster of the two, divided by those of a product of large matrices in
            the same run and precision.
        latency_ms: median time from points to labels, one scan after the other.
        latency_99_ms: 99th percentile of the time from points to labels.
        per_s: scans per second in a stream.
        share: `per_s`, divided by the scans per second of the forward passes alone.
        scores: mean IoU of the runs, in [0, 1]; empty for configs.
        evaluated: scans per second of `rangeseg evaluate`, which reads, projects, labels and counts them, divided by
            those of the forward passes alone; nan if the split has no labels.
    """

    name: str
    parameters: int
    gflop: float
    forward_ms: float
    onnx_ms: float
    gemm_share: float
    latency_ms: float
    latency_99_ms: float
    per_s: float
    share: float
    scores: tuple[float, ...] = ()
    evaluated: float = np.nan

    @property
    def score(self) -> str:
        """Mean and standard deviation of the scores in percent; "" without scores."""
        if not self.scores:
            return ""
        spread = f" ± {100 * stdev(self.scores):.1f}" if len(self.scores) > 1 else ""
        return f"{100 * mean(self.scores):.1f}{spread}"


def benchmark_inference(
    root: Path,
    subjects: Sequence[Path],
    *,
    overrides: Sequence[str] = (),
    device: str = "cpu",
    onnx: bool = True,
    repeats: int = 20,
    scores: Path | None = None,
    trust: bool = False,
) -> Iterator[Inference]:
    """Time networks on real scans.

    Args:
        root: the folder of the dataset; the scans of its validation split are predicted repeatedly.
        subjects: configs and runs. Runs of one network give one result: the first is timed, all are scored.
        overrides: `key.path=value` for each config.
        device: a torch device.
        onnx: time the exported network, too.
        repeats: number of forward passes; from points to labels four times as many, or as many as `ENOUGH_MS` allows.
        scores: a folder of `rangeseg repeat` whose scores are reported instead of those of the subjects.
        trust: see `Run.load`.

    Yields:
        The results of each network, as soon as it is timed.

    Raises:
        ValueError: a file cannot be read, or there are no scans.
    """
    groups: dict[str, list[Path]] = {}
    for path in subjects:
        config = load_run(path, root, overrides, device, trust).config
        groups.setdefault(json.dumps([config.network, config.data.projection], sort_keys=True), []).append(path)
    for paths in groups.values():
        run = load_run(paths[0], root, overrides, device, trust)
        source = run.experiment.open("val", labels=False)
        samples: list[AnySample] = [source.item(index) for index in range(len(source))]
        if not samples:
            raise ValueError(f"{root}: the validation split is empty; give a folder with scans.")
        name = _name(paths[0])
        found = _scores(sorted(scores.glob(f"{name}_seed*")) if scores else paths)
        yield replace(_time(run, samples, onnx, repeats), name=name, scores=found)


def draw(lines: Sequence[Inference]) -> Picture:
    """Plot of mean IoU against the time from points to labels, one mark per score; networks without are left out."""
    marks = {
        line.name: ([line.latency_ms] * len(line.scores), [100 * score for score in line.scores]) for line in lines
    }
    return plot(
        marks,
        Axes("Accuracy against time", "milliseconds from points to labels", "mIoU %", legend="left", log_x=True),
    )


def _name(path: Path) -> str:
    return path.stem if path.suffix else path.name.removesuffix("_seed0")


def load_run(path: Path, root: Path, overrides: Sequence[str], device: str, trust: bool) -> Run:
    """A run, or the untrained network of a config.

    Args:
        path: run folder, checkpoint, exported file, weights, or a config as in `read_config`.
        root: the dataset's folder.
        overrides: `key.path=value` for the config.
        device: a torch device.
        trust: see `Run.load`.

    Raises:
        ConfigError: there is neither a run nor a config of that name.
    """
    overrides = [*overrides, f"data.root={root}"]
    if (path.exists() or find_weights(path)) and path.suffix not in (".yaml", ".yml"):
        return Run.load(path, device=device, overrides=overrides, trust=trust)
    config = read_config(path, overrides)
    experiment = Experiment(config)
    return Run.of(experiment, experiment.make_network(), torch.device(device))


def _scores(paths: Sequence[Path]) -> tuple[float, ...]:
    found = []
    for path in paths:
        with suppress(OSError, KeyError, ValueError):
            found.append(float(json.loads((path / "evaluation.json").read_text("utf-8"))["mean_iou"]))
    return tuple(found)


def _time(run: Run, samples: Sequence[AnySample], onnx: bool, repeats: int) -> Inference:
    segmenter = Segmenter(run)
    views = cycle([segmenter.view(segmenter.project(sample))[None].to(run.device) for sample in samples])
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        run.network(next(views))
    network = run.experiment.inference_model(run.network)
    product = in_precision(lambda pair: pair[0] @ pair[1], run.config.runtime.precision)
    gemm = torch.randn(2, SGEMM, SGEMM, device=run.device)
    candidates: dict[str, Callable[[], object]] = {
        "gemm": lambda: _waiting(product(gemm)),
        "forward": lambda: _waiting(_forward(network, next(views))),
    }
    if onnx:
        exported = onnx_network(to_onnx(run), "benchmark", device="cpu" if run.device.type == "cpu" else "cuda")
        candidates["onnx"] = lambda: exported(next(views))
    timings = {name: timing.median_ms for name, timing in compare(candidates, repeats, pause_s=PAUSE_S).timings.items()}
    gflop = counter.get_total_flops() / 1e9
    best = min(timings["forward"], timings.get("onnx", np.inf))
    count = max(3, min(4 * repeats, int(ENOUGH_MS / timings["forward"])))
    latencies = _latencies(segmenter, samples, count)
    count += -count % segmenter.workers  # otherwise threads without work at the end would lower the rate
    per_s, own, evaluated = _throughput(segmenter, network, samples, count, views)
    return Inference(
        "", sum(weight.numel() for weight in run.network.parameters()), gflop, timings["forward"],
        timings.get("onnx", np.nan), (gflop / best) / (2e-9 * SGEMM**3 / timings["gemm"]), median(latencies),
        float(np.percentile(latencies, 99)), per_s, per_s / own,
        evaluated=evaluated / own,
    )  # fmt: skip


def _forward(network: Callable[[Tensor], Tensor], view: Tensor) -> Tensor:
    with torch.inference_mode():
        logits: Tensor = network(view)
    return logits


def _waiting(result: Tensor) -> Tensor:
    """Wait until a GPU's work is done; when a call returns, the work is only queued."""
    if result.is_cuda:
        torch.cuda.synchronize(result.device)
    return result


def _latencies(segmenter: Segmenter, samples: Sequence[AnySample], count: int) -> list[float]:
    """Milliseconds from points to labels of `count` scans, one scan after the other."""
    times = []
    for sample in islice(cycle(samples), count):
        start = time.perf_counter()
        segmenter(sample, confidence=False)
        times.append(1e3 * (time.perf_counter() - start))
    return times


def _throughput(
    segmenter: Segmenter,
    network: Callable[[Tensor], Tensor],
    samples: Sequence[AnySample],
    count: int,
    views: Iterator[Tensor],
) -> tuple[float, float, float]:
    """Scans per second of a stream, of the network alone, and of an evaluation; all in batches of `evaluation.batch`.

    They take turns; the best of three rounds is returned. The evaluation's is nan if the split has no labels.
    """
    batch = segmenter.run.config.evaluation.batch
    together = cycle([torch.cat(list(islice(views, batch)))])
    scored = _Repeated.of(segmenter.run, count)

    def stream() -> int:
        return sum(1 for _ in segmenter.stream(islice(cycle(samples), count), batch=batch))

    def own() -> int:
        for _ in range(passes := max(1, count // batch)):
            _waiting(_forward(network, next(together)))
        return passes * batch

    def evaluation() -> int:
        return 0 if scored is None else len(scored) * bool(score_run(segmenter.run, scored, segmenter=segmenter))

    rates: dict[Callable[[], int], list[float]] = {stream: [], own: [], evaluation: []}
    for _ in range(3):
        for work, found in rates.items():
            start = time.perf_counter()
            done = work()
            found.append(done / (time.perf_counter() - start))
    return max(rates[stream]), max(rates[own]), np.nan if scored is None else max(rates[evaluation])


class _Repeated:
    """The labelled samples of the validation split, repeated until there are `count`.

    Args:
        views: the views of the split.
        count: number of samples.
    """

    def __init__(self, views: Any, count: int) -> None:
        self._views, self._count = views, count

    @staticmethod
    def of(run: Run, count: int) -> _Repeated | None:
        """The samples of a run's validation split; None if the split has no labels."""
        try:
            views = open_views(run, "val")
            views.sample(0)
        except ValueError:
            return None
        if isinstance(views, RangeViews):
            disable_first_scan_check(views.projection)
        return _Repeated(views, count)

    def __len__(self) -> int:
        return self._count

    def sample(self, index: int) -> Sample:
        """Sample `index`, modulo the number of views."""
        sample: Sample = self._views.sample(index % len(self._views))
        return sample
