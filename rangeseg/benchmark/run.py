"""All stages on one real scan, as a table and as JSON."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from rangeseg.benchmark.geometry import benchmark_back_projection, benchmark_projection
from rangeseg.benchmark.photos import benchmark_photos
from rangeseg.benchmark.sample import OneScan, benchmark_sample
from rangeseg.benchmark.timing import Row
from rangeseg.benchmark.training import benchmark_configs, benchmark_mix, benchmark_step
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.files import write_atomically

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
    """Time the loading of a config's photographs beside Pillow and NumPy; see `benchmark_photos`."""
    torch.set_num_threads(1)
    rows = benchmark_photos(config, overrides, repeats=repeats)
    Console().print(_table(rows))
    if json_path is not None:
        _write(json_path, {"config": str(config)}, rows)
    return rows


def run(root: Path, *, configs: Sequence[Path] = (), json_path: Path | None = None, repeats: int = 20) -> list[Row]:
    """Time each stage beside a plain implementation of it, in turns, in this process, on one thread.

    Args:
        root: SemanticKITTI's folder; its first training scan is used.
        configs: time a training step of each of these experiments instead.
        json_path: also write the rows here.
        repeats: rounds of each stage.

    Returns:
        The rows; a ratio is the smaller of that of the medians and that of the minima.
    """
    torch.set_num_threads(1)
    source = SemanticKitti(root)
    scan = source.scan(0)
    console = Console()
    rows: list[Row] = []
    stages = iter([benchmark_configs(root, configs, repeats=repeats)]) if configs else _stages(root, source, repeats)
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


def _write(path: Path, head: dict[str, Any], rows: list[Row]) -> None:
    result = head | {"machine": platform.processor() or platform.machine(), "rows": [asdict(row) for row in rows]}
    write_atomically(path, json.dumps(result, indent=2).encode())


def _table(rows: list[Row]) -> Table:
    table = Table("stage", "implementation", "median ms", "min ms", "times the baseline")
    for row in rows:
        table.add_row(row.stage, row.name, f"{row.median_ms:.2f}", f"{row.min_ms:.2f}", f"{row.ratio:.2f}")
    return table
