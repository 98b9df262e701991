"""The demo: an answer first; all of its parts on a tiny budget, one seed, one result; on real scans, too."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("open3d", reason="the extra view is not installed")

from rangeseg.apps.demo import KITTI, LABELLED, METHODS, TRAIN, Numbers, demo, resembles_training, verdict
from rangeseg.cli import main
from rangeseg.config import read_config
from rangeseg.data.synthesise import write_scan
from rangeseg.data.synthetic import SyntheticStreets
from rangeseg.inference.segmenter import Segmenter

TINY = [
    "optim.steps=2",
    "data.projection.width=64",
    "data.projection.height=16",
    "runtime.accelerator=cpu",
]


def numbers_of(out: Path, **options: object) -> list[Numbers]:
    return [said for said in demo(out, overrides=TINY, **options) if isinstance(said, Numbers)]  # type: ignore[arg-type]


@pytest.mark.slow
def test_it_makes_all_that_it_says_and_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--scans", "3", *TINY]) == 0
    printed = capsys.readouterr()
    said = " ".join(printed.out.split())
    assert said.index("labelled by the network first-answer") < said.index("The training starts now")
    assert "training both: " in printed.err  # progress without a terminal
    assert "18 scans of synthetic streets" in said
    assert "This is one seed of a short schedule" in said
    assert all((out / f"{method}_seed0" / "last.pt").is_file() for method in METHODS)  # as docs/looking.md has them
    listed = (out / "labelled.txt").read_text().split()
    assert len(listed) == len(set(listed)) == LABELLED
    assert len([*(out / "predictions").rglob("*.label")]) == 3
    page = (out / "report.html").read_text("utf-8")
    assert "3 scans of unseen synthetic streets" in page
    assert all(f"<td>{method}</td>" in re.sub("<span.*?</span>", "", page) for method in METHODS)
    assert (out / "demo.png").stat().st_size > 10_000
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*.pt")}
    again = numbers_of(out, scans=3)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.pt")} == written
    assert [one.method for one in again] == ["as shipped", *METHODS]
    assert again == numbers_of(tmp_path / "other", scans=3)  # one seed, one result
    with pytest.raises(ValueError, match=r"holds a demo with a different seed\. Choose another --out"):
        numbers_of(out, scans=3, seed=1)


@pytest.mark.slow
def test_it_runs_on_real_scans(data_root: Path, tmp_path: Path) -> None:
    found = numbers_of(tmp_path / "demo", real=data_root / "semantickitti")
    assert [one.method for one in found] == ["as shipped", *METHODS]
    assert "5 real scans of the validation split" in (tmp_path / "demo" / "report.html").read_text("utf-8")
    assert len([*(tmp_path / "demo" / "predictions").rglob("*.label")]) == 5
    assert not (tmp_path / "demo" / "streets").exists()
    listed = (tmp_path / "demo" / "labelled.txt").read_text().split()
    assert len(listed) == LABELLED
    assert len({name.split("/")[0] for name in listed}) == 7  # spread over all places


def test_it_begins_with_an_answer_to_any_scan(
    tmp_path: Path, tiny_kitti: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = tiny_kitti / "sequences/08/velodyne/000000.bin"
    alone = tmp_path / "mine.bin"
    alone.write_bytes(scan.read_bytes())
    out = tmp_path / "demo"
    assert main(["demo", str(alone), "--out", str(out), "--answer-only"]) == 0
    mine, made = capsys.readouterr().out.splitlines()
    assert mine.startswith(f"{alone}, labelled by the network any-lidar: ")  # too few points for the check of kitti
    assert mine.endswith(f"Picture: {out / 'answer_mine.png'}")
    assert "right" not in mine  # there are no labels beside it
    right = re.search(r"first-answer: .* (\d+) % of its labelled points are right\.", made)
    assert right
    assert int(right[1]) > 60
    assert not (out / "streets").exists()
    for name in ("answer_mine", "answer"):
        assert len(np.unique(np.asarray(Image.open(out / f"{name}.png")).reshape(-1, 3), axis=0)) > 10


def test_a_scan_of_another_sensor_and_dataset_gets_an_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = write_scan(tmp_path / "mine", SyntheticStreets(sensor="vlp16", scans=1, sequences=["08"], split="val"), 0)
    beside = scan.parent.parent / "labels" / f"{scan.stem}.label"
    other = np.full(len(np.fromfile(beside, np.uint32)), 23, np.uint32)  # an id that SemanticKITTI does not have
    other.tofile(beside)
    assert main(["demo", str(scan), "--out", str(tmp_path / "demo"), "--answer-only"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{scan}, labelled by the network any-lidar: ")
    assert "does not fit this run" not in printed.err
    warned = [line for line in printed.err.splitlines() if line.startswith(f"warning: {beside}: ")]
    assert len(warned) == 1
    assert "The scan is shown without labels" in warned[0]


def test_labels_that_are_named_are_not_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = write_scan(tmp_path / "mine", SyntheticStreets(sensor="vlp16", scans=1, sequences=["08"], split="val"), 0)
    beside = scan.parent.parent / "labels" / f"{scan.stem}.label"
    np.fromfile(beside, np.uint32)[:-1].tofile(beside)
    picture = tmp_path / "x.png"
    assert main(["show", str(scan), "--png", str(picture)]) == 0
    assert f"warning: {beside}: " in capsys.readouterr().err
    picture.unlink()
    assert main(["show", str(scan), "--labels", str(beside), "--png", str(picture)]) == 1
    assert f"error: {beside}: " in capsys.readouterr().err
    assert not picture.exists()


def test_a_scan_too_small_to_be_checked_is_not_taken_for_one_of_kitti(tmp_path: Path) -> None:
    """`kitti` labels only scans that resemble its training scans; few points show no resemblance."""
    rng = np.random.default_rng(0)
    np.c_[rng.uniform(-20, 20, (500, 3)), rng.random(500)].astype(np.float32).tofile(tmp_path / "few.bin")
    segmenter = Segmenter.load(KITTI)
    assert not resembles_training(segmenter.run.experiment.read(tmp_path / "few.bin"), segmenter)


def test_a_wrong_scan_is_told_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", str(tmp_path / "none.bin"), "--out", str(tmp_path / "demo")]) == 1
    assert "none.bin" in capsys.readouterr().err
    assert not [*(tmp_path / "demo").rglob("*.png")]


def test_too_few_scans_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sequences"):
        numbers_of(tmp_path / "demo", real=tmp_path)
    assert not (tmp_path / "demo" / "streets").exists()


def test_the_methods_differ_in_the_weight_alone() -> None:
    supervised, semi = (read_config(f"demo+{method}") for method in METHODS)
    assert (supervised.consistency.weight, semi.consistency.weight) == (0, 1)
    supervised.consistency.weight, supervised.runtime.out = semi.consistency.weight, semi.runtime.out
    assert supervised == semi
    assert "08" not in TRAIN


def test_the_verdict_is_honest() -> None:
    low, high = Numbers("supervised", 0.2, 0.6), Numbers("lasermix", 0.25, 0.65)
    assert "+5.0 points of mIoU, +5.0 points of accuracy" in verdict(low, high)
    assert "-5.0 points of mIoU, -5.0 points of accuracy" in verdict(high, low)
