"""Recipes: their stages, budgets, and a whole one that is killed and goes on."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_trajectory import curve

from rangeseg.apps import recipe as recipes
from rangeseg.apps.gathered import gather, sequences
from rangeseg.apps.recipe import STEPS, TRAINING_SHARE, Recipe, choose, lengths_within
from rangeseg.apps.steps import Step
from rangeseg.cli import main
from rangeseg.config import Config, read_config, write_config
from rangeseg.data.semantic_kitti import SemanticKitti, read_list
from rangeseg.drive.kitti_poses import write_kitti_poses
from rangeseg.drive.layouts import open_drive
from rangeseg.drive.trajectory import Trajectory
from rangeseg.engine.run_logger import read_metrics
from rangeseg.engine.trainer import Trainer
from rangeseg.engine.training import train
from rangeseg.scan_io import read_scan


def trained(recipe: Recipe, lengths: dict[str, int] = STEPS) -> dict[str, Config]:
    return {
        step.name: read_config(step.words[1], step.words[2:-2])
        for step in recipe.steps(lengths)
        if step.words[0] == "train"
    }


def test_each_stage_starts_from_the_last_and_rounds_from_the_first(tmp_path: Path) -> None:
    kitti = Recipe("kitti", tmp_path, Path("/real"), "train_10pct_uniform", (Path("/more"),), rounds=2)
    names = [step.name for step in kitti.steps()]
    assert names == [
        "streets", "pretrain", "labelled", "teacher", "pseudo1_real", "pseudo1_gathered", "round1",
        "pseudo2_real", "pseudo2_gathered", "round2",
    ]  # fmt: skip
    configs = trained(kitti)
    starts = {name: config.runtime.initialise_from for name, config in configs.items()}
    first = str(tmp_path / "pretrain")
    assert starts == {
        "pretrain": None, "labelled": first, "teacher": str(tmp_path / "labelled"), "round1": first, "round2": first
    }  # fmt: skip
    for name, config in configs.items():
        assert config.network == {"name": "foldnet"}
        assert (config.data.projection["height"], config.data.projection["width"]) == (64, 1024)
        assert (config.runtime.precision, config.runtime.channels_last) == ("bf16-mixed", True)
        assert (config.consistency.weight == 0) == (name != "teacher")
        assert config.evaluation.every == 0
    assert (configs["labelled"].optim.lr, configs["labelled"].optim.steps) == (2e-3, 1800)
    teacher = configs["teacher"]
    assert (teacher.teacher.decay, teacher.teacher.warmup, teacher.consistency.threshold) == (0.996, True, 0.95)
    assert teacher.consistency.rampup_share == 0.3
    assert teacher.data.unlabelled == "all"
    streets = {"root": str(tmp_path / "streets"), "dataset": {"name": "semantic_kitti"}, "share": 0.5}
    first, *sources = configs["round2"].data.labelled_from
    assert [configs["labelled"].data.labelled_from, teacher.data.labelled_from, [first]] == [[streets]] * 3
    assert [source["dataset"]["labels_from"] for source in sources] == [
        str(tmp_path / "pseudo2" / place) for place in ("real", "gathered")
    ]
    pseudo = {step.name: step.words for step in kitti.steps() if step.words[0] == "pseudo-label"}
    assert pseudo["pseudo1_real"][1] == str(tmp_path / "teacher")
    assert pseudo["pseudo2_real"][1] == str(tmp_path / "round1")
    left = Path(pseudo["pseudo1_real"][pseudo["pseudo1_real"].index("--leave-out") + 1])
    assert len(read_list(left)) == 1913
    whole = pseudo["pseudo1_gathered"]  # its scans have the same names, but nobody labelled them
    assert whole[whole.index("--leave-out") + 1] == "none"


def test_a_network_of_the_users_own_makes_pseudo_labels(tmp_path: Path) -> None:
    recipe = Recipe("any-lidar", tmp_path, unlabelled=(Path("/a"),), rounds=1)
    own = replace(recipe, overrides=("network={name: 'my_net:Net'}",))
    for one, options in ((recipe, 0), (replace(recipe, overrides=("network.name=cenet",)), 0), (own, 1)):
        words = {step.name: step.words for step in one.steps()}
        assert words["pseudo1_gathered"].count("--trust") == options


def test_any_lidar_has_no_real_label(tmp_path: Path) -> None:
    configs = trained(Recipe("any-lidar", tmp_path, unlabelled=(Path("/a"),), rounds=1))
    assert list(configs) == ["pretrain", "teacher", "round1"]
    for config in configs.values():
        assert config.data.root == str(tmp_path / "streets")
        assert config.data.projection["name"] == "fitted"
    assert configs["teacher"].data.unlabelled == "none"
    assert configs["teacher"].runtime.initialise_from == str(tmp_path / "pretrain")
    step = Recipe("any-lidar", tmp_path, unlabelled=(Path("/a"),)).steps()[0]
    assert step.words[step.words.index("--sensor") + 1] == "random"


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--real"):
        Recipe("kitti", tmp_path)
    with pytest.raises(ValueError, match="--unlabelled"):
        Recipe("any-lidar", tmp_path)
    whole = Recipe("kitti", tmp_path, Path("/real"), rounds=1)  # every scan has a label: nothing is left for rounds
    assert [step.name for step in whole.steps()] == ["streets", "pretrain", "labelled", "teacher"]
    with pytest.raises(ValueError, match=r"has no stage 'round1' with these scans. Its stages are"):
        choose(whole.steps(), ["round1"])
    assert [step.name for step in choose(whole.steps(), ["teacher", "streets"])] == ["streets", "teacher"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: holds no scans"):
        list(gather([tmp_path / "empty"], tmp_path / "gathered"))
    with pytest.raises(ValueError, match="--unlabelled got 11 folders and takes up to 10"):
        list(gather([tmp_path] * 11, tmp_path / "gathered"))
    with pytest.raises(ValueError, match=r"--votes is -1. Give 0 or more"):
        Recipe("any-lidar", tmp_path, unlabelled=(tmp_path,), votes=-1)
    with pytest.raises(ValueError, match=r"--labelled is train_1pct_uniform, but any-lidar uses no real labels"):
        Recipe("any-lidar", tmp_path, unlabelled=(tmp_path,), labelled="train_1pct_uniform")
    for name in ("train_1pct", str(tmp_path / "few.txt")):  # before hours of training
        with pytest.raises(ValueError, match=rf"--labelled: '{name}' is no file and no shipped list"):
            Recipe("kitti", tmp_path, Path("/real"), name)


def test_scans_of_any_format_are_gathered_once(tmp_path: Path, rng: np.random.Generator) -> None:
    a, b = tmp_path / "a" / "deep", tmp_path / "b"
    a.mkdir(parents=True)
    b.mkdir()
    clouds = [rng.normal(size=(20, 4)).astype(np.float32) for _ in range(3)]
    for cloud, path in zip(clouds, (a / "x.bin", a / "y.npy", b / "z.bin"), strict=True):
        cloud.tofile(path) if path.suffix == ".bin" else np.save(path, cloud)
    folders, root = (tmp_path / "a", b), tmp_path / "gathered"
    written = list(gather(folders, root))
    assert SemanticKitti(root, labels=False).names == ("00/000000", "00/000001", "01/000000")
    for path, cloud in zip(written, clouds, strict=True):
        assert (read_scan(path).xyz == cloud[:, :3]).all()
    before = [path.stat().st_mtime_ns for path in written]
    assert [path.stat().st_mtime_ns for path in gather(folders, root)] == before


def test_a_budget_scales_all_steps_by_the_measured_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe("kitti", tmp_path, Path("/real"), "train_10pct_uniform", rounds=2)
    asked: list[float] = []
    seconds = {20000: 0.1, 1800: 0.2, 6000: 0.5}

    def measured(config: Config) -> float:
        assert config.runtime.initialise_from is None
        asked.append(config.optim.steps)
        return seconds[config.optim.steps]

    monkeypatch.setattr(recipes, "seconds_per_step", measured)
    hours = 2.0
    lengths = lengths_within(recipe, hours)
    assert asked == [20000, 1800, 6000]
    rounds = 2 * lengths["round"] * 0.2
    spent = lengths["pretrain"] * 0.1 + lengths["labelled"] * 0.2 + lengths["teacher"] * 0.5 + rounds
    assert spent == pytest.approx(TRAINING_SHARE * hours * 3600, rel=1e-3)
    assert lengths["pretrain"] / lengths["teacher"] == pytest.approx(STEPS["pretrain"] / STEPS["teacher"], rel=1e-2)
    assert lengths_within(recipe, hours) == lengths
    assert len(asked) == 3  # kept
    assert json.loads((tmp_path / "budget.json").read_text())["seconds_per_step"]["teacher"] == 0.5
    with_more = lengths_within(replace(recipe, rounds=3), hours)  # the same hours for more stages
    assert len(asked) == 6
    assert with_more["pretrain"] < lengths["pretrain"]
    assert lengths_within(recipe, hours) == lengths
    assert len(asked) == 9
    lengths_within(replace(recipe, overrides=("data.batch_labelled=8",)), hours)  # a step takes another time
    assert len(asked) == 12
    with pytest.raises(ValueError, match=r"optim\.steps=5: the command sets optim\.steps in each training"):
        lengths_within(replace(recipe, overrides=("optim.steps=5",)), hours)
    for wrong in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="hours above 0"):
            lengths_within(recipe, wrong)
    assert trained(recipe, lengths)["teacher"].optim.steps == lengths["teacher"]


def test_a_dry_run_lists_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["recipe", "kitti", "--real", "/real", "--labelled", "train_1pct_uniform", "--out", str(tmp_path / "out")]
    assert main([*words, "--dry-run", "--stages", "teacher"]) == 0
    said = capsys.readouterr().out
    assert said.count("rangeseg train ") == 3
    assert said.count("# not chosen") == len(said.splitlines()) - 1
    assert "optim.steps=1800" in said
    assert "--budget" not in said
    assert main([*words, "--dry-run", "--budget", "3"]) == 0
    assert "--budget scales optim.steps when it has timed some steps" in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_said_before_the_streets_are_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["recipe", "kitti", "--real", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]
    assert main(words) == 1
    assert "nowhere" in capsys.readouterr().err
    assert main([*words, "--dry-run", "--budget", "inf"]) == 1
    assert "--budget is inf" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_rounds_leave_out_the_scans_that_have_labels(tmp_path: Path) -> None:
    recipe = Recipe("kitti", tmp_path, Path("/real"), "with_labels", rounds=1)
    words = next(step.words for step in recipe.steps() if step.name == "pseudo1_real")
    assert "--leave-out" not in words  # the default: those of the run


def test_a_finished_training_on_other_samples_is_no_result(tmp_path: Path, tiny_config: Config) -> None:
    listed, out = tmp_path / "few.txt", tmp_path / "out"
    listed.write_text("00/000000\n")
    (tmp_path / "tiny.yaml").write_text(write_config(tiny_config))
    words = ("train", str(tmp_path / "tiny.yaml"), f"data.labelled={listed}", f"runtime.out={out}/a")
    step = Step("a", (*words, "--resume", "auto"), out / "done" / "a.json", out / "logs" / "a.log")
    train(read_config(words[1], words[2:]))
    step.mark()
    assert step.is_done()
    listed.write_text("00/000000\n00/000001\n")
    with pytest.raises(ValueError, match=r"other labelled samples: 1 more \(00/000001\).* choose another --out"):
        step.is_done()


def write_drive(home: Path, tiny: Path, poses: bool = True) -> Path:
    """The three scans of a made-up sequence, perhaps with poses."""
    for kind in ("velodyne", "labels"):
        shutil.copytree(tiny / "sequences" / "00" / kind, home / kind)
    if poses:
        write_kitti_poses(home, Trajectory(("000000", "000001", "000002"), curve(3, 0.1)))
    return home


def votes_of(recipe: Recipe) -> dict[str, str | None]:
    found = {}
    for step in recipe.steps():
        if step.words[0] == "pseudo-label":
            found[step.name] = step.words[step.words.index("--votes") + 1] if "--votes" in step.words else None
    return found


def test_a_source_pools_votes_if_all_its_scans_have_poses(tmp_path: Path, tiny_kitti: Path) -> None:
    real, more = tmp_path / "real", tmp_path / "more"
    write_drive(real / "sequences" / "00", tiny_kitti)
    plain = write_drive(real / "sequences" / "01", tiny_kitti, poses=False)
    write_drive(more, tiny_kitti)
    recipe = Recipe("kitti", tmp_path, real, "train_1pct_uniform", (more,), 1)
    assert votes_of(recipe) == {"pseudo1_real": None, "pseudo1_gathered": "2"}
    write_kitti_poses(plain, Trajectory(("000000", "000001", "000002"), curve(3, 0.1)))
    assert votes_of(recipe) == {"pseudo1_real": "2", "pseudo1_gathered": "2"}
    assert votes_of(replace(recipe, votes=0)) == {"pseudo1_real": None, "pseudo1_gathered": None}
    two = replace(recipe, unlabelled=(more, tiny_kitti / "sequences" / "00"))
    assert votes_of(two) == {"pseudo1_real": "2", "pseudo1_gathered": None}
    assert votes_of(replace(recipe, unlabelled=(real,)))["pseudo1_gathered"] is None  # two drives in one folder
    (more / "poses.txt").write_text("1 0 0\n")
    with pytest.raises(ValueError, match=r"more/poses.txt: has rows of 3 numbers.*--votes 0"):
        recipe.steps()


def test_gathered_scans_keep_the_poses_of_their_drive(tmp_path: Path, tiny_kitti: Path) -> None:
    more = write_drive(tmp_path / "more", tiny_kitti)
    for number in (2, 1, 0):  # scans 3, 5 and 7 of a longer drive, and other files of the benchmark
        (more / f"velodyne/{number:06d}.bin").rename(more / f"velodyne/{2 * number + 3:06d}.bin")
    write_kitti_poses(more, Trajectory(("000003", "000005", "000007"), curve(3, 0.1)))
    (more / "voxels").mkdir()
    (more / "voxels" / "000003.bin").write_bytes(b"0")
    assert len(list(gather([more], tmp_path / "gathered"))) == 3
    drive = open_drive(tmp_path / "gathered" / "sequences" / "00")
    np.testing.assert_allclose(drive.own_poses().poses, curve(3, 0.1), atol=1e-9)


TINY = [
    "network.widths=[8,8]", "network.blocks=[1,1]", "data.projection.width=128", "data.batch_labelled=2",
    "data.batch_unlabelled=2", "runtime.accelerator=cpu", "runtime.workers=0", "runtime.precision=32-true",
    "runtime.threads=1", "runtime.checkpoint_every=2", "runtime.log_every=2",
]  # fmt: skip


def failing_at(number: int, step: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose call of this number fails."""
    calls = count(1)

    def run(*arguments: object) -> Any:
        if next(calls) == number:
            raise RuntimeError("no power")
        return step(*arguments)

    return run


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
@pytest.mark.filterwarnings("ignore:.*rangeseg fit-sensor")
def test_a_whole_recipe_is_killed_and_goes_on(
    tmp_path: Path, tiny_kitti: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("open3d", reason="streets are cast with Open3D (extra view)")
    out, listed, real = tmp_path / "out", tmp_path / "labelled.txt", tmp_path / "real"
    write_drive(real / "sequences" / "00", tiny_kitti)
    (real / "sequences" / "08").symlink_to(tiny_kitti / "sequences" / "08")
    listed.write_text("00/000000\n")
    (tmp_path / "more").mkdir()
    shutil.copy(tiny_kitti / "sequences/00/velodyne/000002.bin", tmp_path / "more" / "scan.bin")
    words = ["recipe", "kitti", "--real", str(real), "--labelled", str(listed), "--out", str(out), "--unlabelled"]
    words += [str(tmp_path / "more"), "--rounds", "1", "--scans", "1", "--votes", "1", "optim.steps=4", *TINY]

    with monkeypatch.context() as patch:  # within the fourth step; tests/test_stopping.py has the signals
        patch.setattr(Trainer, "train_step", failing_at(4, Trainer.train_step))
        assert main(words) == 1
    assert "pretrain failed; see" in capsys.readouterr().err
    assert sum(1 for _ in (out / "streets").rglob("*.bin")) == 11
    assert (out / "pretrain" / "last.pt").is_file()
    assert not (out / "done" / "pretrain.json").exists()
    assert main(words) == 0
    said = capsys.readouterr().out
    for stage in ("pretrain", "labelled", "teacher", "round1"):
        assert f"| {stage} |" in said
        assert (out / "done" / f"{stage}.json").is_file()
    log = (out / "logs" / "pretrain.log").read_text()
    assert (log.count("step 1/4"), log.count("step 4/4")) == (1, 1)  # it went on from the checkpoint of step 2
    rows = [row for row in read_metrics(out / "pretrain" / "metrics.csv") if row[1] == "supervised"]
    assert [step for step, *_ in rows] == [2, 4]
    for source, names in (("real", ("00/000001", "00/000002")), ("gathered", ("00/000000",))):
        assert read_list(out / "pseudo1" / source / "scans.txt") == names
        assert ("--votes" in (out / "done" / f"pseudo1_{source}.json").read_text()) == (source == "real")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("last.pt")}
    assert len(before) == 4
    assert main(words) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("last.pt")} == before
    assert main([*words, "optim.lr=1e-4"]) == 1
    assert "is done, but with other words" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
@pytest.mark.filterwarnings("ignore:.*rangeseg fit-sensor")
def test_any_lidar_to_the_end_within_a_budget(
    tmp_path: Path, tiny_kitti: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "FEWEST", 2)
    out, drive = tmp_path / "out", write_drive(tmp_path / "drive", tiny_kitti)
    for sequence in (*sequences(), "08"):
        for kind, ending in (("velodyne", "bin"), ("labels", "label")):
            place = out / "streets" / "sequences" / sequence / kind / f"000000.{ending}"
            place.parent.mkdir(parents=True)
            shutil.copy(drive / kind / f"000000.{ending}", place)
    Recipe("any-lidar", out, unlabelled=(drive,), scans=1).steps()[0].mark()  # the streets are there already
    words = ["recipe", "any-lidar", "--unlabelled", str(drive), "--out", str(out), "--rounds", "1", "--scans", "1"]
    assert main([*words, "--budget", "1e-6", *TINY]) == 0
    kept = json.loads((out / "budget.json").read_text())
    assert set(kept["steps"].values()) == {2}  # the fewest
    assert min(kept["seconds_per_step"].values()) > 0
    assert (out / "round1" / "evaluation.json").is_file()
    assert read_config(out / "round1" / "config.yaml").optim.steps == 2
    assert "--votes" in (out / "done" / "pseudo1_gathered.json").read_text()
