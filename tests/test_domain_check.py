"""Every scan is compared with what a run was trained on, and told of by its file where it does not fit."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import random_scan
from numpy.typing import NDArray

from rangeseg import Segmenter, read_scan
from rangeseg.cli import main
from rangeseg.inference import domain_check
from rangeseg.inference.distributed import ProcessGroup
from rangeseg.inference.domain_check import DomainCheck
from rangeseg.inference.run import Run
from rangeseg.notices import Notice
from rangeseg.projection.checks import DOUBLED, doubled, misfits
from rangeseg.projection.spherical import SphericalProjection
from rangeseg.types import Scan


def street(seed: int = 0, points: int = 30_000) -> Scan:
    """A made-up scan as bright and as far as KITTI's, which the shipped network was trained on."""
    rng = np.random.default_rng(seed)
    azimuth, inclination = rng.uniform(-np.pi, np.pi, points), np.radians(rng.uniform(-24.9, 2.9, points))
    way = np.stack([np.cos(inclination) * np.cos(azimuth), np.cos(inclination) * np.sin(azimuth), np.sin(inclination)])
    xyz = (rng.uniform(1, 20, points) * way).T.astype(np.float32)
    return Scan(xyz, rng.uniform(0, 0.5, points).astype(np.float32))


def write(path: Path, scan: Scan) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.column_stack([scan.xyz, scan.remission]).astype("<f4").tofile(path)
    return path


def dark(scan: Scan) -> Scan:
    return replace(scan, remission=scan.remission / 255)


def warnings_in(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith("warning:")]


def test_predict_looks_at_every_scan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first fits, so the old check, of the first scan, said nothing."""
    good, bad = write(tmp_path / "a.bin", street(0)), write(tmp_path / "b.bin", dark(street(1)))
    high = write(tmp_path / "c.bin", replace(street(2), xyz=street(2).xyz * np.float32([1, 1, -1])))
    words = ["predict", "first-answer", str(good), str(bad), str(high), "--out", str(tmp_path / "out")]
    assert main(words) == 1
    captured = capsys.readouterr()
    first, second = sorted(warnings_in(captured.err))
    assert first.startswith(f"warning: {bad}: does not fit this run")
    assert "mean remission" in first
    assert second.startswith(f"warning: {high}: does not fit this run")
    assert "beyond the field of view" in second
    assert "error: 2 of 3 scans do not fit this run" in captured.err
    assert "UserWarning" not in captured.err
    assert len(list((tmp_path / "out").rglob("*.label"))) == 3
    assert main([*words, "--overwrite", "--anyway"]) == 0
    assert "2 of 3 scans do not fit" in capsys.readouterr().out


def test_a_few_misfits_are_counted_and_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(write(tmp_path / f"{k}.bin", street(k) if k else dark(street(k)))) for k in range(3)]
    assert main(["predict", "first-answer", *paths, "--out", str(tmp_path / "out"), "--workers", "2"]) == 0
    captured = capsys.readouterr()
    assert len(warnings_in(captured.err)) == 1
    assert "1 of 3 scans do not fit this run" in captured.out


@pytest.mark.parametrize("anyway", [False, True])
def test_evaluate_and_show_look_too(anyway: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = dark(street())
    path = write(tmp_path / "sequences" / "08" / "velodyne" / "000000.bin", scan)
    (tmp_path / "sequences" / "08" / "labels").mkdir()
    np.full(len(scan), 40, "<u4").tofile(tmp_path / "sequences" / "08" / "labels" / "000000.label")
    weights = "first-answer"
    words = ["evaluate", weights, f"data.root={tmp_path}", "data.dataset.name=semantic_kitti"]
    assert main([*words, *(["--anyway"] if anyway else [])]) == (0 if anyway else 1)
    captured = capsys.readouterr()
    (line,) = warnings_in(captured.err)
    assert line.startswith(f"warning: {path}: does not fit this run")
    assert "mIoU" in captured.out
    assert main(["show", str(path), "--run", weights, "--png", str(tmp_path / "a.png")]) == 0
    (again,) = warnings_in(capsys.readouterr().err)
    assert again == line
    assert main([*words, "--level", "pixel", *(["--anyway"] if anyway else [])]) == (0 if anyway else 1)
    assert warnings_in(capsys.readouterr().err) == [line]


def test_evaluate_counts_the_misfits_of_all_processes(
    tiny_kitti: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class FirstOfTwo(ProcessGroup):
        """The other process finds two scans, none of which fits."""

        def all_reduce(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
            return values + 2 if values.shape == (2,) else values

    monkeypatch.setattr(ProcessGroup, "init", staticmethod(FirstOfTwo))
    assert main(["evaluate", "first-answer", f"data.root={tiny_kitti}", "data.dataset.name=semantic_kitti"]) == 1
    assert "2 of 2 scans do not fit this run" in capsys.readouterr().err


def test_a_segmenter_warns_for_each_file_and_once_for_a_stream_without_files(tmp_path: Path) -> None:
    segmenter = Segmenter.load("first-answer", device="cpu")
    for name in ("a.bin", "b.bin"):
        with pytest.warns(Notice, match=rf"{name}: does not fit this run"):
            segmenter(read_scan(write(tmp_path / name, dark(street()))))
    with pytest.warns(Notice, match="a scan: does not fit this run") as told:
        list(segmenter.stream([dark(street(k)) for k in range(4)], workers=0))
    assert len(told) == 1
    segmenter(street())
    assert [*segmenter.domain_check.fits.values()] == [False, False, False]
    with pytest.raises(ValueError, match="3 of 3 scans do not fit"):
        list(segmenter.domain_check.summary())


@pytest.mark.parametrize("name", ["any-lidar", "any-lidar-adapted"])
def test_networks_for_any_sensor_tell_of_one_that_is_upside_down(name: str) -> None:
    """Their projection fits each scan, so its field of view shows nothing."""
    segmenter, scan = Segmenter.load(name, device="cpu"), street()
    segmenter.project(scan)
    segmenter.project(replace(scan, xyz=scan.xyz * np.float32([-1, -1, 1])))  # y or x ahead: nothing that tells
    with pytest.warns(Notice, match="check that z points up"):
        segmenter.project(replace(scan, xyz=scan.xyz * np.float32([1, -1, -1])))


def test_small_scans_and_runs_without_statistics_say_nothing(rng: np.random.Generator) -> None:
    run = replace(Run.load("first-answer", device="cpu"), statistics=None)
    domain_check = DomainCheck(run)
    segmenter = Segmenter(run)
    domain_check.check(segmenter.project(dark(street())))
    domain_check.check(segmenter.project(dark(random_scan(rng, 3000))))
    domain_check.check("a photograph")
    assert list(domain_check.summary()) == []


def test_empty_rows_are_no_fault_where_training_images_had_them() -> None:
    with pytest.warns(Notice, match="give fewer columns"):
        sparse = SphericalProjection(64, 1024, 3.0, -25.0)(street(points=16_000))
    share = float(sparse.valid.mean())
    assert [bool(misfits(sparse, least)) for least in (1.0, share + 0.01, share, 0.1)] == [True, True, False, False]
    run = Run.load("first-answer", device="cpu")
    known = {**(run.statistics or {})}
    for least, fits in ((share + 0.01, False), (share - 0.01, True)):
        check = DomainCheck(replace(run, statistics=known | {"filled": [least, 1.0]}))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Notice)
            check.check(sparse)
        assert [*check.fits.values()] == [fits]


def test_real_scans_fit_or_do_not(data_root: Path) -> None:
    """KITTI fits the network that learnt from it; PandaSet, nuScenes and RELLIS-3D do not."""
    segmenter = Segmenter.load("first-answer", device="cpu")
    kitti = sorted(data_root.glob("kitti_unlabelled/sequences/*/velodyne/*.bin"))[::13]
    for path in kitti:
        segmenter.project(read_scan(path))
    assert all(segmenter.domain_check.fits.values())
    for place in ("pandaset/sequences/002/velodyne/*.bin", "nuscenes_fragments/raw/*", "rellis3d/sequences/00/*/*.bin"):
        path = next(data_root.glob(place))
        with pytest.warns(Notice, match="does not fit this run"):
            segmenter.project(read_scan(path))


def both_returns(scan: Scan, share: float = 1.0) -> Scan:
    """A scan and, for the first part of its beams, a second return farther along the beam."""
    count = int(share * len(scan))
    return Scan(
        np.concatenate([scan.xyz, scan.xyz[:count] * np.float32(1.07)]),
        np.concatenate([scan.remission, scan.remission[:count]]),
    )


@pytest.mark.parametrize("order", ["blocks", "pairs"])
def test_two_returns_a_beam_are_told_of(order: str) -> None:
    scan = both_returns(street(points=30_000))
    if order == "pairs":
        pairs = np.arange(60_000).reshape(2, -1).T.reshape(-1)
        scan = Scan(scan.xyz[pairs], scan.remission[pairs])
    projection = SphericalProjection(64, 2048, 6, -28)
    with pytest.warns(Notice, match="two returns a beam"):
        image = projection(scan)
    assert image.hidden.mean() > 0.5
    assert "48" <= misfits(image)[-1][:2] <= "52"


def test_one_return_a_beam_is_not(data_root: Path) -> None:
    for place in ("semantickitti/sequences/0*/velodyne/000000.bin", "pandaset/*/*/*/000000.bin", "nuscenes_*/raw/*"):
        for path in data_root.glob(place):
            scan = read_scan(path)
            assert doubled(scan) < 0.01
            assert doubled(both_returns(scan)) > 3 * DOUBLED


def test_of_a_stream_the_first_scans_and_then_some_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scans without a file come of one sensor; of files each is looked at."""
    run = Run.load("first-answer", device="cpu")
    looked: list[str] = []
    monkeypatch.setattr(domain_check, "misfits", lambda image, filled: looked.append(image.scan.where) or [])
    image = SphericalProjection(64, 512, 3.0, -25.0)(street())
    check = DomainCheck(run)
    for _ in range(60):
        check.check(image)
    assert len(looked) == domain_check.SURE_AFTER + 60 // domain_check.EVERY
    named = replace(image, scan=replace(image.scan, where="a.bin"))
    for _ in range(10):
        check.check(named)
    assert looked.count("a.bin") == 10
