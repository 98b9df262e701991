"""The benchmark compares implementations of the same thing, and its table is complete."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import random_scan

from rangeseg.benchmark.baselines import argsort_projection
from rangeseg.benchmark.geometry import HDL64
from rangeseg.benchmark.run import run
from rangeseg.benchmark.timing import Timing, compare
from rangeseg.benchmark.training import benchmark_configs, benchmark_mix
from rangeseg.resources import resource


def test_candidates_take_turns() -> None:
    calls: list[str] = []
    compared = compare({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3, warm_up=1)
    assert "".join(calls) == "abababab"
    assert compared.ratio("a") == 1
    assert [row.name for row in compared.rows("stage")] == ["a", "b"]


def test_a_ratio_needs_both_median_and_minimum() -> None:
    compared = compare({"a": lambda: None, "b": lambda: None}, 1)
    timings = {"a": Timing(10, 20, 0), "b": Timing(1, 10, 0)}
    assert type(compared)("a", timings).ratio("b") == 2


@pytest.mark.parametrize(("candidates", "repeats"), [({}, 3), ({"a": lambda: None}, 0)])
def test_nothing_to_time_is_refused(candidates: dict[str, object], repeats: int) -> None:
    with pytest.raises(ValueError, match="give at least one of each"):
        compare(candidates, repeats)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:.*rangeseg fit-sensor")  # made-up points fit no sensor
def test_the_plain_projection_draws_nearly_the_same_image(rng: np.random.Generator) -> None:
    """It computes angles in float32, so a few points may fall to the neighbouring pixel."""
    scan = random_scan(rng, 20000)
    plain = argsort_projection(
        scan.xyz, scan.remission, HDL64.height, HDL64.width, HDL64.fov_up_deg, HDL64.fov_down_deg
    )
    ours = HDL64(scan)
    assert (plain.point_index != ours.point_index).mean() < 1e-3


@pytest.mark.slow
def test_the_command_times_every_stage(kitti_root: Path, tmp_path: Path) -> None:
    rows = run(kitti_root, json_path=tmp_path / "b.json", repeats=2)
    written = json.loads((tmp_path / "b.json").read_text())
    assert len(written["rows"]) == len(rows)
    assert all(row.min_ms > 0 and row.ratio > 0 for row in rows)
    for stage in ("projection", "KNN", "NLA", "sample", "mix", "CutMix step"):
        assert any(stage.lower() in f"{row.stage} {row.name}".lower() for row in rows), stage


def test_steps_of_configs_are_timed_in_turns(kitti_root: Path) -> None:
    folder = resource("configs", "mini_kitti", "perturbations")
    small = ["network.width=8", "network.blocks=[1,1]", "network.stem=[8]", "data.projection.width=64"]
    paths = [folder / f"{name}.yaml" for name in ("supervised", "cutmix", "cutmix_labelled", "cps")]
    rows = benchmark_configs(kitti_root, paths, overrides=small, repeats=1)
    assert [row.name for row in rows] == ["supervised", "cutmix", "cutmix_labelled", "cps"]
    assert all(row.min_ms > 0 for row in rows)


def test_mixes_are_compared_with_the_full_blend_and_with_copying() -> None:
    rows = benchmark_mix(shape=(1, 2, 4, 8), classes=3, repeats=1)
    assert {row.stage for row in rows} == {"mix images 1x2x4x8", "mix targets 1x3x4x8"}
    assert rows[0].ratio == 1
    assert sum("copy_" in row.name for row in rows) == 2
