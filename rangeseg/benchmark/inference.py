"""Inference speed: time of a forward pass, time from points to labels, and scans per second.

A network is named by the config of an experiment (its weights are then as initialised, which costs the same time; its
labels are noise, which back-projection likes least) or by a trained run, whose score is then told too.
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
"""Side of the matrices whose product tells what the machine can do, in the same run."""

ENOUGH_MS = 10_000.0
"""Of forward passes behind each figure of whole paths; slow networks are not asked for more than three."""


PAUSE_S = 0.1
"""Between calls that share no threads."""


@dataclass(frozen=True)
class Inference:
    """The row of one network.

    Args:
        name: the file's or the folder's.
        parameters: how many weights.
        gflop: of one forward pass, a multiplication and an addition counted as two; without attention's on a CPU.
        forward_ms: median.
        onnx_ms: median in ONNX Runtime; nan where it was not asked for.
        gemm_share: of the rate of multiplying large matrices in the same run and precision, by the faster of the two.
        latency_ms: median from points to labels, one scan after the other.
        latency_99_ms: the 99th percentile of it.
        per_s: scans a second in a stream.
        share: of the network's own scans a second, that of the same forward passes and nothing else.
        scores: mean IoU of the runs, in [0, 1]; empty for configs.
        evaluated: of the network's own scans a second, that of `rangeseg evaluate`, which reads, projects, labels and
            counts them; nan where the split has no labels.
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
        """Mean and spread in percent."""
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
        root: the folder of the dataset; the scans of its validation split are labelled, again and again.
        subjects: configs and runs. Runs of one network are one line: the first is timed, all are scored.
        overrides: `key.path=value` above each config.
        device: a torch device.
        onnx: time the exported network, too.
        repeats: forward passes; of whole paths four times as many, or what takes `ENOUGH_MS`.
        scores: a folder of `rangeseg repeat` with the scores that are told instead of the subjects' own.
        trust: of the runs, see `Run.load`.

    Yields:
        A line for each network, when it has been timed.

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
    """Mean IoU against the time from points to labels, a mark for each seed, joined; only of networks with a score."""
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
        path: run folder, checkpoint, exported file, weights, or a config as `read_config` takes it.
        root: the dataset's folder.
        overrides: `key.path=value` above the config.
        device: a torch device.
        trust: of the run, see `Run.load`.

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
    count += -count % segmenter.workers  # a folder's last scans, for which a thread has no other, are not its rate
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
    """A GPU's work is only ordered when a call returns; wait until it is done."""
    if result.is_cuda:
        torch.cuda.synchronize(result.device)
    return result


def _latencies(segmenter: Segmenter, samples: Sequence[AnySample], count: int) -> list[float]:
    """Milliseconds of each, one after the other."""
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
    """Scans a second: of a stream, of the network alone, and of an evaluation; all `evaluation.batch` at once.

    They take turns; of each the best of three.
    """
    batch = segmenter.run.config.evaluation.batch
    together = cycle([torch.cat(list(islice(views, batch)))])
    scored = _Repeated.of(segmenter.run, count)

    def stream() -> int:
        return sum(1 for _ in segmenter.stream(islice(cycle(samples), count), batch=batch))

    def own() -> int:
        for _ in range(count // batch):
            _waiting(_forward(network, next(together)))
        return count // batch * batch

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
    """The labelled samples of the validation split, again and again.

    Args:
        views: of the split.
        count: how many.
    """

    def __init__(self, views: Any, count: int) -> None:
        self._views, self._count = views, count

    @staticmethod
    def of(run: Run, count: int) -> _Repeated | None:
        """None where the split has no labels."""
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
        """The next of them."""
        sample: Sample = self._views.sample(index % len(self._views))
        return sample
