"""Benchmarks of all stages on one real scan, of networks and of photographs, as tables and as JSON."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from rangeseg.benchmark.geometry import benchmark_back_projection, benchmark_projection
from rangeseg.benchmark.inference import Inference, benchmark_inference, draw
from rangeseg.benchmark.photos import benchmark_photos
from rangeseg.benchmark.sample import OneScan, benchmark_sample
from rangeseg.benchmark.timing import Row
from rangeseg.benchmark.training import benchmark_configs, benchmark_mix, benchmark_step
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.files import write_atomically
from rangeseg.networks.exported import runs_onnx
from rangeseg.terminal import PlainConsole
from rangeseg.vis.png import write_png

FULL_FIDNET = (
    "network.width=128",
    "network.blocks=[3,4,6,3]",
    "network.stem=[64,128,256,512]",
    "network.azimuth_stride=1",
    "data.projection.width=256",
    "data.batch_labelled=1",
    "data.batch_unlabelled=1",
)


def run_photos(config: Path, overrides: list[str], *, json_path: Path | None = None, repeats: int = 20) -> list[Row]:
    """Time the loading of a config's photographs against Pillow and NumPy; see `benchmark_photos`."""
    torch.set_num_threads(1)
    rows = benchmark_photos(config, overrides, repeats=repeats)
    PlainConsole().print(_table(rows))
    if json_path is not None:
        _write(json_path, {"config": str(config)}, rows)
    return rows


def run_inference(
    root: Path,
    subjects: Sequence[Path],
    overrides: Sequence[str] = (),
    *,
    device: str = "cpu",
    json_path: Path | None = None,
    picture: Path | None = None,
    repeats: int = 20,
    scores: Path | None = None,
    trust: bool = False,
) -> list[Inference]:
    """Time networks on all of torch's threads, and also in ONNX Runtime if it supports the device."""
    onnx = find_spec("onnxscript") is not None and runs_onnx(device)
    lines = []
    options: dict[str, Any] = {"overrides": overrides, "device": device, "onnx": onnx, "repeats": repeats}
    options |= {"scores": scores, "trust": trust}
    for line in benchmark_inference(root, subjects, **options):
        lines.append(line)
        PlainConsole().print(_table_of_networks([line]))
    PlainConsole().print(_table_of_networks(lines))
    if json_path is not None:
        write_lines(json_path, device, {"networks": lines})
    if picture is not None:
        write_png(picture, draw(lines))
    return lines


def _table_of_networks(lines: Sequence[Inference]) -> Table:
    """A column for each network, so that a terminal of 80 columns shows four of them."""
    rows = (
        "weights M", "GFLOP", "forward ms", "ONNX ms", "speed / matrix product", "points to labels ms", "99 %",
        "scans/s", "scans/s / network alone", "evaluation / network alone", "mIoU %",
    )  # fmt: skip
    columns = []
    for line in lines:
        numbers = (line.parameters / 1e6, line.gflop, line.forward_ms, line.onnx_ms, line.gemm_share)
        more = (line.latency_ms, line.latency_99_ms, line.per_s, line.share, line.evaluated)
        columns.append([*(f"{number:.4g}" for number in numbers + more), line.score])
    table = Table("", *(line.name for line in lines))
    for name, *values in zip(rows, *columns, strict=True):
        table.add_row(name, *values)
    return table


def run(
    root: Path,
    *,
    configs: Sequence[str] = (),
    overrides: Sequence[str] = (),
    json_path: Path | None = None,
    repeats: int = 20,
) -> list[Row]:
    """Time each stage against a plain implementation, interleaved, in this process, on one thread.

    Args:
        root: SemanticKITTI's folder; its first training scan is used.
        configs: if given, only a training step of each of these experiments is timed.
        overrides: `key.path=value` for each of them.
        json_path: also write the rows here.
        repeats: rounds of each stage.

    Returns:
        The rows; a ratio is the smaller of that of the medians and that of the minima.
    """
    torch.set_num_threads(1)
    source = SemanticKitti(root)
    scan = source.scan(0)
    console = PlainConsole()
    rows: list[Row] = []
    stages = (
        iter([benchmark_configs(root, configs, overrides=overrides, repeats=repeats)])
        if configs
        else _stages(root, source, repeats)
    )
    for new in stages:
        rows += new
        console.print(_table(new))
    if json_path is not None:
        _write(json_path, {"scan": source.name(0), "points": len(scan)}, rows)
    return rows


def _stages(root: Path, source: SemanticKitti, repeats: int) -> Iterator[list[Row]]:
    scan = source.scan(0)
    yield benchmark_projection(scan, repeats=repeats)
    yield benchmark_back_projection(scan, repeats=repeats)
    yield benchmark_sample(OneScan(source.scan_path(0), source.label_path(0), source.label_map), repeats=repeats)
    yield benchmark_mix(repeats=repeats)
    yield benchmark_step(root, repeats=repeats)
    yield benchmark_step(root, overrides=FULL_FIDNET, repeats=2, warm_up=1)


def write_lines(path: Path, device: str, lines: dict[str, Sequence[Any]]) -> None:
    """Write results as JSON, with the machine, the device and the number of threads.

    Args:
        path: path of the file.
        device: a torch device.
        lines: name -> dataclasses with the results.
    """
    head = _machine() | {"threads": torch.get_num_threads(), "device": device}
    rows = {name: [{key: _plain(value) for key, value in asdict(one).items()} for one in lines[name]] for name in lines}
    write_atomically(path, json.dumps(head | rows, indent=2).encode())


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _write(path: Path, head: dict[str, Any], rows: list[Row]) -> None:
    result = head | _machine() | {"rows": [asdict(row) for row in rows]}
    write_atomically(path, json.dumps(result, indent=2).encode())


def _machine() -> dict[str, str]:
    return {"machine": platform.processor() or platform.machine()}


def _table(rows: list[Row]) -> Table:
    table = Table("stage", "implementation", "median ms", "min ms", "times the baseline")
    for row in rows:
        table.add_row(row.stage, row.name, f"{row.median_ms:.2f}", f"{row.min_ms:.2f}", f"{row.ratio:.2f}")
    return table
