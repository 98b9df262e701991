"""`rangeseg validate` lists everything that is wrong with a dataset, and nothing where nothing is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import random_scan, write_camvid
from PIL import Image

from rangeseg.apps.validate import SampleReport, count_problems, dataset_config, examine, scan_problems, validate
from rangeseg.catalog import DATASETS
from rangeseg.cli import main
from rangeseg.config import Config, write_config
from rangeseg.data.dataset import ScanDataset
from rangeseg.engine.experiment import Experiment
from rangeseg.labels import LabelMap
from rangeseg.resources import resource
from rangeseg.types import Scan

KITTI = LabelMap.read(resource("datasets", "semantic_kitti", "labels.yaml"))


@pytest.fixture
def kitti(tiny_kitti: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_kitti, tmp_path / "kitti"))


def wrong(root: Path, name: str = "semantic_kitti", *splits: str, **how: bool) -> list[str]:
    reports = validate(dataset_config(name, str(root)), splits, partial=True, **how)
    return [what for one in reports for what in one.problems]


def test_nothing_is_wrong_with_whole_data(kitti: Path, tmp_path: Path) -> None:
    assert wrong(kitti) == []
    assert wrong(write_camvid(tmp_path / "camvid"), "camvid") == []
    assert main(["validate", "semantic_kitti", "--root", str(kitti), "--partial"]) == 0


def test_everything_that_is_wrong_with_scans_is_listed(kitti: Path) -> None:
    """Each damage alone is one problem that names its file; all together are all of them."""
    folder = kitti / "sequences" / "00"
    points = np.fromfile(folder / "velodyne" / "000002.bin", "<f4")
    labels = np.fromfile(kitti / "sequences" / "08" / "labels" / "000000.label", "<u4")
    (folder / "velodyne" / "000000.bin").write_bytes(b"12345")
    (folder / "labels" / "000001.label").write_bytes(b"1234")
    points[0] = np.inf
    points.tofile(folder / "velodyne" / "000002.bin")
    labels[7] = 5
    labels.tofile(kitti / "sequences" / "08" / "labels" / "000000.label")
    (kitti / "sequences" / "08" / "labels" / "000001.label").unlink()
    (kitti / "sequences" / "11" / "velodyne" / "000000.bin").write_bytes(b"")
    found = wrong(kitti, workers=2)
    said = (
        ("000000.bin", "16-byte records"),
        ("000001.label", "1 labels for 1500 points"),
        ("00/000002", "1 of 1500 points have non-finite coordinates"),
        ("08/labels/000000.label", "raw ids that SemanticKITTI does not know: 5"),
        ("08/labels/000001.label", "missing"),
        ("11/velodyne/000000.bin", "contains no points"),
    )
    assert len(found) == len(said)
    for one, words in zip(found, said, strict=True):
        assert all(word in one for word in words), one
    assert wrong(kitti, "semantic_kitti", "test", workers=0) == found[-1:]


def test_everything_that_is_wrong_with_photographs_is_listed(tmp_path: Path) -> None:
    root = write_camvid(tmp_path / "camvid")
    whole = (root / "train" / "v_0000.png").read_bytes()
    (root / "train" / "v_0000.png").write_bytes(whole[: len(whole) // 2])
    Image.new("L", (3, 4)).save(root / "trainannot" / "v_0001.png")
    Image.new("L", (44, 30), 200).save(root / "valannot" / "v_0002.png")
    (root / "valannot" / "v_0003.png").unlink()
    shutil.rmtree(root / "test")
    found = wrong(root, "camvid")
    said = (
        ("train/v_0000.png", "copy it again"),
        ("trainannot/v_0001.png", "4 x 3 pixels of labels"),
        ("valannot/v_0002.png", "does not know: 200"),
        ("valannot/v_0003.png", "missing"),
        ("split test", "no such folder"),
    )
    assert len(found) == len(said)
    for one, words in zip(found, said, strict=True):
        assert all(word in one for word in words), one


def test_the_number_of_threads_changes_nothing(kitti: Path) -> None:
    (kitti / "sequences" / "00" / "velodyne" / "000001.bin").write_bytes(b"1")
    config = dataset_config("semantic_kitti", str(kitti))
    one, *others = (list(validate(config, workers=workers)) for workers in (0, 1, 3))
    assert others == [one, one]
    assert [(report.split, report.samples) for report in one] == [("train", 3), ("val", 2), ("test", 1)]
    assert [report.elements for report in one] == [2 * 1500, 2 * 1500, 1500]
    assert [report.labelled for report in one] == [2 * 1500, 2 * 1500, 0]


def test_official_counts_are_wanted_unless_a_part_is_enough(kitti: Path, tmp_path: Path) -> None:
    config = dataset_config("semantic_kitti", str(kitti))
    problems = {report.split: report.problems for report in validate(config)}
    assert problems["val"] == ("sequence 08: 2 scans; the official count is 4071",)
    assert len(problems["train"]) == 10  # sequences that are not there have too few scans, too
    assert len(problems["test"]) == 11
    photos = dataset_config("camvid", str(write_camvid(tmp_path / "camvid")))
    assert [report.problems for report in validate(photos, ["val"])] == [
        ("split val: 4 photographs; the official count is 101",)
    ]


def test_counts_of_the_complete_dataset_are_right() -> None:
    names = [f"{part}/{i:06d}" for part in KITTI.splits["test"] for i in range(KITTI.scan_counts[part])]
    assert len(names) == 20_351
    assert count_problems(KITTI, "test", names) == []
    assert count_problems(KITTI, "test", names[:-1]) == ["sequence 21: 2720 scans; the official count is 2721"]
    camvid = LabelMap.read(resource("datasets", "camvid", "labels.yaml"))
    assert count_problems(camvid, "train", ["x"] * 367) == []
    assert count_problems(replace(camvid, split_counts={}), "train", ["x"]) == []


@pytest.mark.parametrize("name", [name for name in DATASETS if name not in ("photo_folder", "scan_folder")])
def test_official_counts_belong_to_splits_and_sequences(name: str) -> None:
    label_map = Experiment(dataset_config(name, "somewhere")).label_map
    assert set(label_map.split_counts) <= set(label_map.splits)
    sequences = {sequence for split in label_map.splits.values() for sequence in split}
    assert set(label_map.scan_counts) <= sequences


def changed(scan: Scan, place: int, column: int, value: float) -> Scan:
    table = np.column_stack([scan.xyz, scan.remission])
    table[place, column] = value
    return replace(scan, xyz=table[:, :3].copy(), remission=table[:, 3].copy())


def test_values_that_cannot_be_right_are_found(rng: np.random.Generator) -> None:
    scan = random_scan(rng, 50)
    assert scan_problems(scan) == []
    for value in (np.nan, np.inf, -np.inf):
        assert "1 of 50 points" in scan_problems(changed(scan, 3, 1, value))[0]
        assert "1 of 50 remissions" in scan_problems(changed(scan, 3, 3, value))[0]
    assert scan_problems(changed(scan, 0, 3, 255)) == [f"remission runs from {scan.remission[1:].min():g} to 255; "
                                                       "expected [0, 1]"]  # fmt: skip
    nowhere = scan
    for column in range(4):  # as an organised cloud writes a beam that never came back
        nowhere = changed(nowhere, 9, column, np.nan)
    assert scan_problems(nowhere) == []


def test_json_holds_what_was_printed(kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (kitti / "sequences" / "08" / "velodyne" / "000001.bin").write_bytes(b"1")
    out = tmp_path / "found.json"
    arguments = ["validate", "semantic_kitti", "--root", str(kitti), "--split", "val", "--partial", "--json", str(out)]
    assert main(arguments) == 1
    said = capsys.readouterr()
    (split,) = json.loads(out.read_text())["splits"]
    assert split["split"] == "val"
    assert split["elements"] == 1500
    (problem,) = split["problems"]
    assert problem in said.out
    assert "problems found: 1" in said.err.replace("\n", " ")


def test_a_config_names_dataset_and_folder(tiny_config: Config, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(write_config(tiny_config))
    assert main(["validate", str(tmp_path / "config.yaml"), "--partial"]) == 0
    assert main(["validate", str(tmp_path / "config.yaml"), "--partial", "--root", str(tmp_path)]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["semantic_kiti", "--root", "x"], "Did you mean 'semantic_kitti'"),
        (["semantic_kitti"], "data.root: missing"),
        (["semantic_kitti", "--root", "x", "--split", "vall"], "no split vall; use train, val, test"),
        (["semantic_kitti", "--root", "x", "--workers", "-1"], "give 0 or more"),
    ],
)
def test_what_cannot_be_checked_is_said(
    arguments: list[str], message: str, kitti: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", *(str(kitti) if word == "x" else word for word in arguments)]) == 1
    assert message in capsys.readouterr().err.replace("\n", " ")


def test_options_of_a_dataset_are_taken(tmp_path: Path) -> None:
    config = dataset_config("cityscapes", str(tmp_path), ["data.dataset.half=true"])
    assert config.data.dataset == {"name": "cityscapes", "half": True}
    (problem,) = wrong(tmp_path, "cityscapes", "val")
    assert "no such folder" in problem
    (report,) = validate(dataset_config("cityscapes", str(tmp_path), ["data.dataset.halff=true"]), ["val"])
    assert "Did you mean 'half'" in report.problems[0]


def test_nothing_is_wrong_with_real_scans(scans_root: Path) -> None:
    train, val = validate(dataset_config("semantic_kitti", str(scans_root)), ["train", "val"], partial=True)
    assert (train.samples, val.samples) in ((7, 1), (35, 5))
    assert (train.problems, val.problems) == ((), ())
    points = sum(path.stat().st_size // 16 for path in scans_root.glob("sequences/*/velodyne/*.bin"))
    assert train.elements + val.elements == points


def test_a_folder_of_ones_own_photographs_is_checked(photo_config: Config, tmp_path: Path) -> None:
    own = {
        "name": "photo_folder",
        "classes": str(resource("datasets", "camvid", "labels.yaml")),
        "images": "{split}/*.png",
        "label_images": "{split}annot/{name}.png",
    }
    photo_config.data.dataset = own
    (tmp_path / "config.yaml").write_text(write_config(photo_config))
    config = dataset_config(str(tmp_path / "config.yaml"))
    assert [(one.samples, one.problems) for one in validate(config, partial=True)] == [(4, ())] * 3
    (Path(photo_config.data.root) / "valannot" / "v_0001.png").unlink()
    problems = [what for one in validate(config, partial=True) for what in one.problems]
    assert len(problems) == 1
    assert "valannot/v_0001.png: the labels of" in problems[0]


def test_an_unexpected_error_of_ones_own_dataset_is_listed() -> None:
    class Own(ScanDataset):
        label_map = KITTI

        def __len__(self) -> int:
            return 2

        def name(self, index: int) -> str:
            return f"own/{index}"

        def scan(self, index: int) -> Scan:
            if index == 0:
                raise KeyError("lidar_top")
            return random_scan(np.random.default_rng(0), 10)

    first, second = examine(Own(), workers=0)
    assert first.problems == ("own/0: KeyError: 'lidar_top'",)
    assert (second.elements, second.labelled, second.problems) == (10, 10, ())


def test_problems_are_said_as_they_are_found_and_after_ctrl_c_the_verdict_on_what_was_read(
    kitti: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (kitti / "sequences" / "00" / "velodyne" / "000000.bin").write_bytes(b"12345")
    read: list[str] = []

    def stopped(source: Any, *, workers: int) -> Iterator[SampleReport]:
        for one in examine(source, workers=0):
            yield one
            read.append(capsys.readouterr().out)  # what was printed when the next is asked for
            if len(read) == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr("rangeseg.apps.validate.examine", stopped)
    words = ["validate", "semantic_kitti", "--root", str(kitti), "--json", str(tmp_path / "v.json"), "--partial"]
    assert main(words) == 130
    assert "000000.bin" in read[0]
    assert "16-byte records" in " ".join(read[0].split())
    said = capsys.readouterr()
    assert "stopped" in said.err
    assert "train, not all" in said.out
    (split,) = json.loads((tmp_path / "v.json").read_text())["splits"]
    assert (split["split"], split["samples"], len(split["problems"])) == ("train, not all", 2, 1)
