"""The benchmark compares implementations of the same thing, and its table is complete."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import random_scan

import rangeseg.benchmark.run as benchmark
from rangeseg.benchmark.baselines import argsort_projection
from rangeseg.benchmark.geometry import HDL64
from rangeseg.benchmark.inference import Inference, draw
from rangeseg.benchmark.photos import numpy_view
from rangeseg.benchmark.run import run
from rangeseg.benchmark.timing import Timing, compare
from rangeseg.benchmark.training import benchmark_configs, benchmark_mix
from rangeseg.cli import main
from rangeseg.commands.console import console
from rangeseg.config import Config, write_config
from rangeseg.engine.experiment import Experiment
from rangeseg.photos.pairs import PhotoPairs


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


def test_photographs_are_loaded_beside_pillow_and_numpy(photo_config: Config, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(write_config(photo_config))
    arguments = ["benchmark", "--photos", str(tmp_path / "config.yaml"), "--repeats", "2"]
    assert main([*arguments, "--json", str(tmp_path / "b.json"), "data.augmentation.scales=[1.0]"]) == 0
    rows = json.loads((tmp_path / "b.json").read_text())["rows"]
    assert [row["name"].split(",")[0] for row in rows] == ["Pillow and NumPy", "Pillow alone", "rangeseg", "rangeseg"]
    assert all(row["min_ms"] > 0 for row in rows)


def test_the_plain_loader_shows_the_same(photo_config: Config) -> None:
    photo_config.data.augmentation = {"crop": [30, 44], "scales": [1.0], "flip_x": 0.0}  # whole photographs
    source = Experiment(photo_config).open("train")
    assert isinstance(source, PhotoPairs)
    views: Any = Experiment(photo_config).views(source, augment=True)
    table = np.full(256, 255, np.int64)
    table[list(source.label_map.learning_map)] = list(source.label_map.learning_map.values())
    line = np.float32(photo_config.data.mean), np.float32(photo_config.data.std)
    view = views.view(0, np.random.default_rng(0))
    image, valid, label = numpy_view(source, 0, views.augmentation, table, line, np.random.default_rng(0))
    np.testing.assert_allclose(image, view.image.numpy(), atol=1e-5)
    np.testing.assert_array_equal(valid, view.valid.numpy())
    np.testing.assert_array_equal(label, view.label.numpy())


def test_a_benchmark_of_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark"]) == 1
    assert "Give the folder of SemanticKITTI, or --photos CONFIG" in capsys.readouterr().err


def test_the_command_times_every_stage(kitti_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "FULL_FIDNET", ())  # its steps take a minute
    rows = run(kitti_root, json_path=tmp_path / "b.json", repeats=1)
    written = json.loads((tmp_path / "b.json").read_text())
    assert len(written["rows"]) == len(rows)
    assert all(row.min_ms > 0 and row.ratio > 0 for row in rows)
    for stage in ("projection", "KNN", "NLA", "sample", "mix", "CutMix step"):
        assert any(stage.lower() in f"{row.stage} {row.name}".lower() for row in rows), stage


def test_steps_of_configs_are_timed_in_turns(kitti_root: Path) -> None:
    small = ["network.width=8", "network.blocks=[1,1]", "network.stem=[8]", "data.projection.width=64"]
    names = ["mini_kitti+supervised", "mini_kitti+cutmix", "mini_kitti+labelled_pairs+cutmix", "mini_kitti+cps"]
    rows = benchmark_configs(kitti_root, names, overrides=small, repeats=1)
    assert [row.name for row in rows] == names
    assert all(row.min_ms > 0 for row in rows)


def test_mixes_are_compared_with_the_full_blend_and_with_copying() -> None:
    rows = benchmark_mix(shape=(1, 2, 4, 8), classes=3, repeats=1)
    assert {row.stage for row in rows} == {"mix images 1x2x4x8", "mix targets 1x3x4x8"}
    assert rows[0].ratio == 1
    assert sum("copy_" in row.name for row in rows) == 2


def test_networks_at_work_are_timed_and_scored(
    tiny_kitti: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ["network.width=8", "data.projection.width=64", "data.labelled=all", "optim.steps=1"]
    run = tmp_path / "run_seed0"
    config = "mini_kitti/quick"
    assert main(["train", config, f"data.root={tiny_kitti}", f"runtime.out={run}", *small]) == 0
    subjects = [str(run), str(run), "mini_kitti/networks+foldnet"]
    table, picture = tmp_path / "table.json", tmp_path / "plot.png"
    reduced = ["network.widths=[8,8]", "network.blocks=[1,1]", "network.hidden=[8,8]", "data.projection.width=64"]
    words = ["benchmark", str(tiny_kitti), "--repeats", "1", "--json", str(table), "--plot", str(picture)]
    with monkeypatch.context() as once:
        once.setattr("rangeseg.benchmark.run.runs_onnx", lambda device: False)  # an export takes ten seconds
        assert main([*words, "--inference", *subjects[:2]]) == 0
    (line,) = json.loads(table.read_text())["networks"]
    assert line["name"] == "run"
    assert len(line["scores"]) == 2
    assert picture.exists()
    picture.unlink()
    (tmp_path / "repeated" / "networks+foldnet_seed7").mkdir(parents=True)
    (tmp_path / "repeated" / "networks+foldnet_seed7" / "evaluation.json").write_text('{"mean_iou": 0.125}')
    others = ["--scores", str(tmp_path / "repeated")]
    assert main([*words[:-2], "--inference", subjects[2], *others, *reduced]) == 0
    (line,) = json.loads(table.read_text())["networks"]
    assert line["scores"] == [0.125]
    assert line["name"] == "networks+foldnet"
    assert all(
        line[key] > 0 for key in ("gflop", "forward_ms", "onnx_ms", "gemm_share", "latency_ms", "per_s", "share")
    )
    assert line["latency_99_ms"] >= line["latency_ms"]


def test_accuracy_is_drawn_against_time_for_networks_with_a_score() -> None:
    line = Inference("a", 1, 1.0, 1.0, 1.0, 1.0, 30.0, 31.0, 30.0, 1.0, (0.2, 0.3))
    assert line.score == "25.0 ± 7.1"
    picture = draw([line, Inference("b", 1, 1.0, 1.0, 1.0, 1.0, 3000.0, 31.0, 30.0, 1.0)])
    assert picture.shape[-1] == 3
    with pytest.raises(ValueError, match="no finite values"):
        draw([Inference("b", 1, 1.0, 1.0, 1.0, 1.0, 3000.0, 31.0, 30.0, 1.0)])


@pytest.mark.slow
def test_engines_heed_what_is_asked_and_name_what_is_missing(
    tiny_kitti: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("rangeseg.commands.console.console", cache(console.__wrapped__))  # it keeps its first width
    words = ["benchmark", str(tiny_kitti), "--repeats", "1", "--only", "torch float32", "torch bfloat16", "no engine"]
    for asked in (["kitti", "data.projection.width=256"], ["mini_kitti+networks/foldnet", "data.projection.width=128"]):
        assert main([*words, "--engines", *asked, "--json", str(tiny_kitti / "engines.json")]) == 0
        written = json.loads((tiny_kitti / "engines.json").read_text())["engines"]
        assert [engine["name"] for engine in written] == ["torch float32", "torch bfloat16", "no engine"]
        assert (written[0]["equal"], written[2]["equal"]) == (1.0, None)
        lines = capsys.readouterr().out.splitlines()
        rows = {
            line.split("│")[1].strip(): [cell.strip() for cell in line.split("│")[2:-1]]
            for line in lines
            if "│" in line
        }
        assert rows["torch float32"][-1] == "100.00"
        assert 50 < float(rows["torch bfloat16"][-1]) <= 100
        assert "Unknown engine 'no engine'" in rows["no engine"][0]
        least, middle = (float(rows["torch float32"][place]) for place in (2, 3))
        assert 0 < least <= middle


def test_overrides_of_what_has_no_config_are_refused(tiny_kitti: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", str(tiny_kitti), "data.projection.width=128"]) == 1
    assert "data.projection.width=128: an override needs a config" in capsys.readouterr().err
