"""The demo: all of its parts on a tiny budget, one seed, one result; stopped, and gone on with; on real scans, too."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("open3d", reason="the extra view is not installed")

from rangeseg.apps.demo import LABELLED, METHODS, TRAIN, Numbers, demo, verdict
from rangeseg.cli import main
from rangeseg.config import read_config

TINY = [
    "optim.steps=2",
    "data.projection.width=64",
    "data.projection.height=16",
    "network.width=8",
    "network.blocks=[1,1]",
    "network.stem=[8,8,8]",
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
    said = " ".join(capsys.readouterr().out.split())
    assert "18 scans of synthetic streets" in said
    assert "It is one seed of a short schedule" in said
    listed = (out / "labelled.txt").read_text().split()
    assert len(listed) == len(set(listed)) == LABELLED
    assert len([*(out / "predictions").rglob("*.label")]) == 3
    page = (out / "report.html").read_text("utf-8")
    assert "3 scans of unseen synthetic streets" in page
    assert all(f"{method}_seed0" in page for method in METHODS)
    assert (out / "demo.png").stat().st_size > 10_000
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*.pt")}
    again = numbers_of(out, scans=3)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.pt")} == written
    assert [one.method for one in again] == list(METHODS)
    assert again == numbers_of(tmp_path / "other", scans=3)  # one seed, one result
    with pytest.raises(ValueError, match=r"holds a demo with a different seed\. Choose another --out"):
        numbers_of(out, scans=3, seed=1)


@pytest.mark.slow
def test_it_runs_on_real_scans(data_root: Path, tmp_path: Path) -> None:
    found = numbers_of(tmp_path / "demo", real=data_root / "semantickitti")
    assert [one.method for one in found] == list(METHODS)
    assert "5 real scans of the validation split" in (tmp_path / "demo" / "report.html").read_text("utf-8")
    assert len([*(tmp_path / "demo" / "predictions").rglob("*.label")]) == 5
    assert not (tmp_path / "demo" / "streets").exists()
    listed = (tmp_path / "demo" / "labelled.txt").read_text().split()
    assert len(listed) == LABELLED
    assert len({name.split("/")[0] for name in listed}) == 7  # spread over all places


def test_too_few_scans_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sequences"):
        numbers_of(tmp_path / "demo", real=tmp_path)
    assert not (tmp_path / "demo" / "streets").exists()


def test_the_methods_differ_in_the_weight_alone() -> None:
    supervised, cutmix = (read_config(f"demo+{method}") for method in METHODS)
    assert (supervised.consistency.weight, cutmix.consistency.weight) == (0, 1)
    supervised.consistency.weight, supervised.runtime.out = cutmix.consistency.weight, cutmix.runtime.out
    assert supervised == cutmix
    assert "08" not in TRAIN


def test_the_verdict_is_honest() -> None:
    low, high = Numbers("supervised", 0.2, 0.6), Numbers("cutmix", 0.25, 0.65)
    assert verdict(low, high).startswith("With the unlabelled scans, CutMix is 5.0 points of mIoU ahead (+5.0")
    assert verdict(high, low).startswith("CutMix is not ahead here: -5.0 points of mIoU, -5.0 of accuracy.")
