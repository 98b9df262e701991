"""The columns that a dataset names are read everywhere: carried labels, drives, votes and the commands on drives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_tiny_config
from test_trajectory import curve

from rangeseg.apps.suggest import suggest
from rangeseg.cli import main
from rangeseg.data.carried import CarriedLabels
from rangeseg.data.scan_folder import ScanFolder
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.drive.kitti_poses import write_kitti_poses
from rangeseg.drive.layouts import open_drive
from rangeseg.drive.request import Request
from rangeseg.drive.trajectory import Trajectory
from rangeseg.engine.checkpoint import write_checkpoint
from rangeseg.engine.experiment import Experiment
from rangeseg.inference.pseudo_labels import Balance, Votes, pseudo_label
from rangeseg.inference.segmenter import Segmenter
from rangeseg.scan_io import read_scan
from rangeseg.types import Scan

FIELDS: dict[str, str | None] = {"unit": "cm", "remission": "remission/255"}
WORDS = ["--fields", *(f"{name}={column}" for name, column in FIELDS.items())]


@pytest.fixture
def metres(tiny_kitti: Path, tmp_path: Path) -> Path:
    """A drive with poses; one of its scans is labelled."""
    home = Path(shutil.copytree(tiny_kitti / "sequences/00", tmp_path / "metres/sequences/00"))
    write_kitti_poses(home, Trajectory(("000000", "000001", "000002"), curve(3, 0.1)))
    for name in ("000001", "000002"):
        (home / "labels" / f"{name}.label").unlink()
    return home


@pytest.fixture
def centimetres(metres: Path, tmp_path: Path) -> Path:
    """The same drive in other units."""
    home = Path(shutil.copytree(metres, tmp_path / "centimetres/sequences/00"))
    for path in (home / "velodyne").iterdir():
        (np.fromfile(path, np.float32).reshape(-1, 4) * np.float32([100, 100, 100, 255])).tofile(path)
    return home


def same(scan: Scan, other: Scan) -> None:
    np.testing.assert_allclose(scan.xyz, other.xyz, rtol=1e-5)
    np.testing.assert_allclose(scan.remission, other.remission, rtol=1e-5)


def files(folder: Path, ending: str = "label") -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob(f"*.{ending}"))}


def nearly_equal(found: dict[str, bytes], expected: dict[str, bytes]) -> None:
    """The same labels, but for rounding of the units."""
    assert found.keys() == expected.keys() != set()
    for name, content in found.items():
        labels = (np.frombuffer(one, "<u4") for one in (content, expected[name]))
        assert np.mean(np.equal(*labels)) > 0.99


def test_scans_with_carried_labels_are_the_scans_of_the_dataset(
    metres: Path, centimetres: Path, tmp_path: Path
) -> None:
    """Columns and units are those of the dataset, and the type of its labels is not that of carried ones."""
    out = tmp_path / "out"
    assert main(["propagate", str(metres), "--out", str(out), "--no-visibility"]) == 0
    root = centimetres.parent.parent
    whole = SemanticKitti(root, fields=FIELDS, labels=False)
    options: dict[str, Any] = {"classes": "semantic_kitti", "scans": "sequences/{split}/velodyne/*.bin"}
    options |= {
        "fields": FIELDS,
        "splits": {"train": ["00"], "val": ["08"]},
        "label_dtype": "uint8",
        "label_scans": "{split}/{name}.raw",
    }
    for source in (whole, ScanFolder(root, "train", **options, labels=False)):
        carried = CarriedLabels(source, root, out)
        assert len(carried) == 3
        for index in range(3):
            same(carried.scan(index), source.scan(index))
            same(carried.scan(index), read_scan(metres / "velodyne" / f"{index:06d}.bin"))
            assert (carried.scan(index).label != 255).any()


def test_labels_are_carried_by_the_columns_that_were_named(
    metres: Path, centimetres: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def carry(*words: str) -> int:
        return main(["propagate", *words, "--no-visibility"])

    assert carry(str(metres), "--out", str(tmp_path / "a")) == 0
    assert carry(str(centimetres), "--out", str(tmp_path / "b"), *WORDS) == 0
    expected = files(tmp_path / "a")
    nearly_equal(files(tmp_path / "b"), expected)
    dataset = json.dumps({"name": "semantic_kitti", "fields": FIELDS})
    config = ["--config", "mini_kitti", f"data.root={centimetres.parent.parent}", "data.labelled=with_labels"]
    assert carry(*config, f"data.dataset={dataset}", "--out", str(tmp_path / "c")) == 0
    assert carry(*config, *WORDS, "--out", str(tmp_path / "d")) == 0
    assert files(tmp_path / "b") == files(tmp_path / "c") == files(tmp_path / "d")
    record = json.loads((tmp_path / "c/sequences/00/propagate.json").read_text())
    assert record["fields"] == FIELDS
    assert carry(*config, *WORDS, "--out", str(tmp_path / "c")) == 0
    assert "fields" not in json.loads((tmp_path / "a/sequences/00/propagate.json").read_text())
    capsys.readouterr()
    assert carry(str(centimetres), "--out", str(tmp_path / "c"), "--fields", "unit=mm") == 1
    assert "the existing labels were carried with other --fields. Give" in " ".join(capsys.readouterr().err.split())


def test_poses_and_suggestions_are_of_these_columns(
    metres: Path, centimetres: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Scan] = []

    def register(scans: Any, names: tuple[str, ...]) -> Trajectory:
        seen.extend(scans)
        return Trajectory(names, curve(len(names), 0.1))

    monkeypatch.setattr("rangeseg.drive.request.register", register)
    words = ["poses", str(centimetres), "--by", "kiss-icp", "--out", str(tmp_path / "poses")]
    assert main([*words, *WORDS]) == 0
    for scan, path in zip(seen, sorted((metres / "velodyne").iterdir()), strict=True):
        same(scan, read_scan(path))
    reports = []
    for home, more in ((metres, []), (centimetres, WORDS)):
        out = tmp_path / f"{home.parent.parent.name}.json"
        assert main(["suggest", str(home), "--count", "1", "--json", str(out), *more]) == 0
        reports.append(json.loads(out.read_text()))
    assert reports[0]["suggestions"][0]["gain"] == pytest.approx(reports[1]["suggestions"][0]["gain"], rel=0.01)


@pytest.fixture
def network(tiny_kitti: Path, tmp_path: Path) -> Callable[[dict[str, str | None]], Path]:
    """Writes a checkpoint of one network, whose config names the columns."""
    config = make_tiny_config(tiny_kitti, tmp_path)
    state = Experiment(config).make_network().state_dict()

    def write(fields: dict[str, str | None]) -> Path:
        dataset = {"name": "semantic_kitti"} | ({"fields": fields} if fields else {})
        path = tmp_path / f"{len(fields)}.pt"
        write_checkpoint(path, {"teacher": state}, replace(config, data=replace(config.data, dataset=dataset)))
        return path

    return write


def test_a_drive_is_labelled_by_the_columns_of_the_run(
    metres: Path, centimetres: Path, network: Callable[[dict[str, str | None]], Path], tmp_path: Path
) -> None:
    def predict(run: Path, home: Path, out: str, *words: str) -> dict[str, bytes]:
        where = ["--drive", str(home), "--out", str(tmp_path / out), "--device", "cpu", "--anyway"]
        assert main(["predict", str(run), *where, *words]) == 0
        return files(tmp_path / out)

    expected = predict(network({}), metres, "a")
    nearly_equal(predict(network(FIELDS), centimetres, "b"), expected)
    nearly_equal(predict(network({}), centimetres, "c", *WORDS), expected)
    suggested = []
    for run, home in ((network({}), metres), (network(FIELDS), centimetres)):
        out = tmp_path / f"{run.stem}.json"
        words = ["suggest", str(home), "--run", str(run), "--count", "1", "--json", str(out), "--device", "cpu"]
        assert main(words) == 0
        suggested.append(json.loads(out.read_text())["suggestions"][0]["entropy"])
    assert suggested[0] == pytest.approx(suggested[1], rel=1e-3)


def test_votes_for_pseudo_labels_read_the_scans_of_the_source(
    metres: Path, centimetres: Path, network: Callable[[dict[str, str | None]], Path], tmp_path: Path
) -> None:
    segmenter = Segmenter.load(network({}), device="cpu")
    for home, fields in ((metres, None), (centimetres, FIELDS)):
        root = home.parent.parent
        source = SemanticKitti(root, fields=fields, labels=False)
        pseudo_label(segmenter, source, tmp_path / "out" / root.name, Balance(keep=1.0), votes=Votes(1))
    nearly_equal(files(tmp_path / "out/centimetres"), files(tmp_path / "out/metres"))


def test_fixed_columns_cannot_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "001/lidar").mkdir(parents=True)
    (tmp_path / "n/v1.0-mini").mkdir(parents=True)
    for home in ("001", "n"):
        for command in ("propagate", "suggest", "poses", "predict"):
            place = ["--drive"] * (command == "predict") + [str(tmp_path / home)]
            assert main([command, *place, "--out", "out"] if command != "suggest" else [command, *place]) == 1
            assert "--fields" not in capsys.readouterr().err
            words = [command, *place, "--fields", "unit=mm", *(["--out", "out"] if command != "suggest" else [])]
            assert main(words) == 1
            assert "--fields" in capsys.readouterr().err


def test_a_drive_of_semantic_poss_has_its_intensities(tmp_path: Path, rng: np.random.Generator) -> None:
    home = tmp_path / "sequences/00"
    (home / "velodyne").mkdir(parents=True)
    points = rng.uniform(1, 30, (600, 4)).astype(np.float32)
    points[:, 3] = rng.integers(0, 256, 600)
    points.tofile(home / "velodyne/000000.bin")
    drive = open_drive(home, dataset="semantic_poss")
    np.testing.assert_allclose(drive.read(drive.scans[0].file).remission, points[:, 3] / 255, rtol=1e-6)


def test_a_run_on_semantic_poss_gets_intensities_as_in_training(
    tiny_kitti: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    """Also if the classes of the drive are not named."""
    home = tmp_path / "sequences/00"
    (home / "velodyne").mkdir(parents=True)
    points = rng.uniform(1, 30, (600, 4)).astype(np.float32)
    points[:, 3] = rng.integers(0, 256, 600)
    points.tofile(home / "velodyne/000000.bin")
    write_kitti_poses(home, Trajectory(("000000",), curve(1)))
    config = make_tiny_config(tiny_kitti, tmp_path)
    config = replace(config, data=replace(config.data, dataset={"name": "semantic_poss"}))
    write_checkpoint(tmp_path / "run.pt", {"teacher": Experiment(config).make_network().state_dict()}, config)
    segmenter = Segmenter.load(tmp_path / "run.pt", device="cpu")
    drive = suggest(Request(home, Path()), 1, segmenter=segmenter).task.drive
    np.testing.assert_allclose(drive.read(drive.scans[0].file).remission, points[:, 3] / 255, rtol=1e-6)
