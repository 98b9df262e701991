"""The semi-supervised benchmark: its streets, its lists, its plan, its table; and one cell end to end."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ImageDraw

from rangeseg.apps import benchmark_ssl
from rangeseg.apps.benchmark_ssl import (
    METHODS,
    SEEDS,
    cells,
    collect,
    parse_cells,
    shared_settings,
    table,
    write_pages,
)
from rangeseg.apps.split import draw_nested_lists
from rangeseg.apps.ssl_results import Results, read_results
from rangeseg.apps.ssl_streets import (
    RECORD,
    SHARES,
    TINY,
    Streets,
    count,
    digests,
    make_streets,
    verdict,
)  # fmt: skip
from rangeseg.cli import main
from rangeseg.config import read_config, write_config
from rangeseg.data.synthesise import write_scan
from rangeseg.engine.experiment import Experiment
from rangeseg.resources import resource

SCANS, SCORED = 1200, 200


def test_the_plan_is_the_papers_table() -> None:
    assert count(Streets()) == SCANS + SCORED
    plan = cells()
    assert len(set(plan)) == len(plan) == len(METHODS) * sum(map(len, SEEDS.values()))
    assert [cell.seed for cell in plan] == sorted(cell.seed for cell in plan)
    one = cells(["cutmix"], ["1%"], [5])
    assert [(cell.method, cell.share, cell.seed) for cell in one] == [("cutmix", "1%", 5)]
    job = one[0].job(Path("out"), Path("data"))
    assert job.folder == Path("out/cutmix_1pct_seed5")
    assert job.overrides == ("data.root=data", "data.labelled=data/labelled_1pct.txt")


@pytest.mark.parametrize(("asked", "message"), [((["cutmic"],), "'cutmix'"), (((), ["5%"]), "share of labels")])
def test_unknown_cells_are_refused(asked: tuple[list[str], ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cells(*asked)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_builds_on_the_same_data_network_and_schedule(method: str) -> None:
    config = read_config(f"benchmark_ssl+{METHODS[method]}", ["data.root=x"])
    assert (config.data, config.network, config.optim) == (
        (base := read_config("benchmark_ssl", ["data.root=x"])).data, base.network, base.optim,
    )  # fmt: skip
    experiment = Experiment(config)
    experiment.make_network()
    assert experiment.perturbation
    assert (experiment.labelled_mix is not None) == (method in ("recipe", "lasermix_loop"))
    assert (config.consistency.weight == 0) == (method == "supervised")


def fake_run(out: Path, method: str, share: str, seed: int, score: float, *keys: str) -> None:
    job = cells([method], [share], [seed])[0].job(out, out)
    job.folder.mkdir(parents=True)
    job.report.write_text(json.dumps({"mean_iou": score, "accuracy": 0.5, "iou": {"car": 0.2, "person": None}}))
    (job.folder / "config.yaml").write_text(
        write_config(read_config(str(job.config), [*job.overrides, f"runtime.seed={seed}", *keys]))
    )
    lines = [f"{step},mean_iou,{score * step / 100}" for step in (50, 100)]
    (job.folder / "metrics.csv").write_text("\n".join(["step,name,value", *lines]) + "\n")


def nothing(*keys: str) -> Results:
    return Results(1, shared_settings(keys))


def test_the_table_has_mean_and_sample_spread_of_all_that_is_done_and_names_what_is_missing(tmp_path: Path) -> None:
    scores = {0: 0.31, 1: 0.35, 7: 0.36}
    for seed, score in scores.items():
        fake_run(tmp_path, "cutmix", "1%", seed, score)
    fake_run(tmp_path, "supervised", "10%", 0, 0.401)
    fake_run(tmp_path, "lasermix_loop", "20%", 0, 0.222)
    (tmp_path / "cutmix_1pct_seed9").mkdir()  # not done
    results = collect(tmp_path, tmp_path / "r" / "results.json", nothing())
    assert results == read_results(tmp_path / "r" / "results.json")
    made = table(results)
    values = 100 * np.array([*scores.values()])
    spread = f"{values.mean():.1f} ± {values.std(ddof=1):.1f} (3)"
    assert f"| cutmix (`cutmix`) | {spread} | missing | missing | missing |" in made
    assert "| supervised (`supervised`) | missing | 40.1 (1 of 3) | missing | missing |" in made
    assert "| lasermix_loop (`lasermix_loop`) | missing | missing | 22.2 | missing |" in made
    assert "1%: 12 scans" in made
    missing = parse_cells([made.split("--cells ")[1].split("`")[0]])
    assert {cell.key for cell in missing} == {cell.key for cell in cells()} - set(results.cells)
    assert len(missing) == len(cells()) - 4
    names = [path.name for path in write_pages(results, tmp_path)]
    assert names == ["table.md", "curves_1pct.png", "curves_10pct.png", "curves_20pct.png"]


def test_the_gains_are_of_the_seeds_that_both_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(
        benchmark_ssl, "plot", lambda lines, axes: drawn.update({axes.up: lines}) or np.zeros((4, 4, 3), np.uint8)
    )
    for method, scores in {"supervised": {0: 0.30, 1: 0.34}, "cutmix": {0: 0.33, 2: 0.5}, "fixmatch": {2: 0.5}}.items():
        for seed, score in scores.items():
            fake_run(tmp_path, method, "1%", seed, score)
    write_pages(collect(tmp_path, tmp_path / "results.json", nothing()), tmp_path)
    lines = drawn["mIoU above supervised, points"]
    steps, gains = lines["cutmix"]
    assert steps == lines["supervised"][0]
    np.testing.assert_allclose(gains[-1], 3.0)
    assert lines["supervised"][1] == [0] * len(steps)
    assert lines["fixmatch"] == ([], [])
    assert (tmp_path / "gains_1pct.png").is_file()


def test_the_curves_say_which_methods_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    text = ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "text",
        lambda draw, at, words, *more, **how: written.append(words) or text(draw, at, words, *more, **how),
    )
    fake_run(tmp_path, "cutmix", "1%", 0, 0.3)
    write_pages(collect(tmp_path, tmp_path / "results.json", nothing()), tmp_path)
    assert "cutmix" in written
    assert {f"{method}: missing" for method in METHODS} - set(written) == {"cutmix: missing"}


def test_cells_are_chosen_by_their_keys() -> None:
    chosen = parse_cells(["supervised:1:0,cutmix:10%:2", "cutmix:1:5", "supervised:1:0"])
    assert [cell.key for cell in chosen] == ["supervised:1:0", "cutmix:10:2", "cutmix:1:5"]
    for word, message in (("cutmix:1", "METHOD:SHARE:SEED"), ("cutmic:1:0", "'cutmix'"), ("cutmix:2:0", "share"),
                          ("cutmix:1:x", "METHOD:SHARE:SEED"), ("a:1:0:0", "METHOD:SHARE:SEED")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            parse_cells([word])


def test_machines_add_their_cells_to_one_file_and_none_is_lost_or_changed(tmp_path: Path) -> None:
    first, second, path = tmp_path / "a", tmp_path / "b", tmp_path / "cells.json"
    fake_run(first, "cutmix", "1%", 0, 0.3)
    fake_run(second, "cutmix", "1%", 0, 0.4)  # again, on another machine: the first stays
    fake_run(second, "supervised", "50%", 0, 0.5)
    collect(first, path, nothing())
    collect(second, second / "results.json", nothing())
    assert (
        main(["benchmark-ssl", "--out", str(first), "--results", str(path), "--merge", str(second / "results.json")])
        == 0
    )
    cells_now = read_results(path).cells
    assert {key: one["mean_iou"] for key, one in cells_now.items()} == {"cutmix:1:0": 0.3, "supervised:50:0": 0.5}
    assert cells_now["cutmix:1:0"]["curve"] == [0.15, 0.3]
    assert cells_now["cutmix:1:0"]["steps"] == [50, 100]
    assert "| supervised (`supervised`) | missing | missing | missing | 50.0 |" in (tmp_path / "table.md").read_text()


def test_git_merges_the_cells_of_two_branches(tmp_path: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("git is not here")
    files = [tmp_path / name for name in ("ours", "base", "theirs")]
    plan = [cell.key for cell in cells()]
    for number, path in enumerate(files):
        keys = {plan[3]} | ({plan[5 + number]} if number != 1 else set())
        Results(1, {"optim.steps": 3}, {key: {"mean_iou": 0.1} for key in keys}).write(path, plan)
    assert json.loads(files[0].read_text())["cells"][plan[0]] is None
    command = ["git", "merge-file", "-p", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.returncode == 0
    files[0].write_text(done.stdout)
    assert set(read_results(files[0]).cells) == {plan[3], plan[5], plan[7]}


def test_results_of_other_settings_or_streets_are_not_mixed(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    fake_run(tmp_path, "cutmix", "1%", 0, 0.3, "optim.steps=4000", "evaluation.every=500", "runtime.workers=3")
    with pytest.raises(ValueError, match=r"cutmix_1pct_seed0: has optim.steps=4000; the others have optim.steps=2000"):
        collect(tmp_path, path, nothing())
    collect(tmp_path, path, nothing("optim.steps=4000"))
    with pytest.raises(ValueError, match=r"have optim\.steps=4000"):
        collect(tmp_path, path, nothing())
    with pytest.raises(ValueError, match="streets of version 0"):
        collect(tmp_path, path, Results(0, shared_settings(["optim.steps=4000"])))
    with pytest.raises(ValueError, match="compares the methods as shipped"):
        shared_settings(["consistency.weight=2"])


def test_runs_on_other_streets_or_of_another_seed_do_not_count(tmp_path: Path) -> None:
    """A run on the tiny streets of a quick trial, and a folder with another number than its run's seed."""
    streets = tmp_path / "streets"
    streets.mkdir()
    (streets / "streets.json").write_text('{"version": 0}')
    fake_run(tmp_path / "a", "cutmix", "1%", 0, 0.99, f"data.root={streets}")
    with pytest.raises(ValueError, match=r"cutmix_1pct_seed0: of streets of version 0; the others are of version 1"):
        collect(tmp_path / "a", tmp_path / "results.json", nothing())
    fake_run(tmp_path / "b", "cutmix", "1%", 0, 0.99, "runtime.seed=7")
    with pytest.raises(ValueError, match=r"cutmix_1pct_seed0: was trained with seed 7"):
        collect(tmp_path / "b", tmp_path / "results.json", nothing())
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"version": 1, "settings": {}, "cells": {"a": {}}}', "<<<<<<< ours"]
)
def test_a_file_that_is_no_results_is_refused_and_left(text: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="is not a results file of rangeseg benchmark-ssl"):
        collect(tmp_path, path, nothing())
    assert path.read_text() == text


def test_the_lists_are_nested_and_always_the_same() -> None:
    names = [f"{sequence}/{frame:06d}" for sequence in Streets().sequences for frame in range(120)]
    lists = draw_nested_lists(names, tuple(SHARES.values()))
    assert [len(listed) for listed in lists.values()] == [12, 120, 240, 600]
    for small, large in zip(list(lists.values())[:-1], list(lists.values())[1:], strict=True):
        assert set(small) < set(large)
    assert lists[0.01][:3] == ("01/000056", "01/000090", "01/000095")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first scan of each split of version 1."""
    pytest.importorskip("open3d", reason="streets are cast with Open3D (extra view)")
    folder = tmp_path_factory.mktemp("streets")
    for split in ("train", "val"):
        write_scan(folder, Streets().source(split), 0)
    return folder


@pytest.mark.slow
def test_version_1_is_what_was_recorded(recorded: Path) -> None:
    """To the bit on the kind of processor it was recorded on, but for rounding elsewhere; else give a new version."""
    said = verdict(Streets(), recorded)
    assert said.startswith("version 1")
    record = json.loads(resource(*RECORD).read_text())["1"]
    assert ("identical to the record" in said) == (digests(recorded) == record)


@pytest.mark.slow
def test_another_street_is_told_from_rounding(recorded: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(recorded, other)
    path = other / "sequences" / "00" / "labels" / "000000.label"
    label = np.fromfile(path, np.uint32)
    label[:20] = 99
    label.tofile(path)
    assert "equal to the record except for rounding" in verdict(Streets(), other)
    label[:2000] = 99
    label.tofile(path)
    with pytest.raises(ValueError, match="00/000000 is not that of version 1"):
        verdict(Streets(), other)


@pytest.mark.slow
def test_a_cell_from_nothing_and_again_from_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("open3d", reason="streets are cast with Open3D (extra view)")
    out = tmp_path / "ssl"
    words = ["benchmark-ssl", "--tiny", "--out", str(out), "--cells", "recipe:50:0"]
    words += ["optim.steps=2", "data.projection.width=128", "network.widths=[8,8]", "network.blocks=[1,1]"]
    words += ["evaluation.every=1", "runtime.accelerator=cpu"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "24 scans below" in said
    assert "has no record" in said
    assert "| recipe (`warm_teacher+cutmix+rangeformer`) |" in said
    assert len((out / "streets" / "labelled_50pct.txt").read_text().split()) == 10
    report = out / "recipe_50pct_seed0" / "evaluation.json"
    scan = out / "streets" / "sequences" / "00" / "velodyne" / "000003.bin"
    before = report.stat().st_mtime_ns, scan.stat().st_mtime_ns
    assert main(words) == 0
    assert before == (report.stat().st_mtime_ns, scan.stat().st_mtime_ns)
    assert (out / "curves_50pct.png").is_file()
    shutil.rmtree(out / "recipe_50pct_seed0")  # as on another machine, which has the results alone
    assert main(words) == 0
    assert not report.exists()
    assert "holds 1 cells; to train: 0" in capsys.readouterr().out
    assert read_results(out / "results.json").cells["recipe:50:0"]["steps"] == [1, 2]
    with pytest.raises(ValueError, match="holds streets of version 0"):
        next(make_streets(replace(TINY, version=7), out / "streets"))
