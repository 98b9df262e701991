"""Labels of another type or order are refused by name, and a split without one labelled point before any training."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rangeseg import read_scan
from rangeseg.apps.validate import dataset_config, validate
from rangeseg.commands.console import print_report
from rangeseg.config import Config
from rangeseg.data.scan_folder import ScanFolder
from rangeseg.engine import training
from rangeseg.engine.checkpoint import read_checkpoint
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.training import train
from rangeseg.engine.training_data import TrainingData
from rangeseg.evaluation.evaluate import Scores, report
from rangeseg.evaluation.metrics import ConfusionMatrix
from rangeseg.labels import LabelMap
from rangeseg.registry import ConfigError
from rangeseg.resources import resource
from rangeseg.scan_io import read_labels

KITTI = LabelMap.read(resource("datasets", "semantic_kitti", "labels.yaml"))
WRONG = {
    "float32": (lambda raw: raw.astype("<f4"), "float32 numbers"),
    "big-endian": (lambda raw: raw.astype(">u4"), "big-endian numbers"),
    "upper bits": (lambda raw: (raw << 16).astype("<u4"), "classes in the upper 16 bits"),
    "upper bits with instances": (lambda raw: (raw << 16 | 3 * (raw == 10)).astype("<u4"), "classes in the upper 16"),
    "int64": (lambda raw: raw.astype("<i8"), "3000 labels for 1500 points .*if these are int64, write uint32"),
    "uint16": (lambda raw: raw.astype("<u2"), "750 labels for 1500 points .*if these are uint16, write uint32"),
}


@pytest.fixture
def kitti(tiny_kitti: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_kitti, tmp_path / "kitti"))


def rewrite(root: Path, change: Any, sequence: str = "*") -> None:
    for path in root.glob(f"sequences/{sequence}/labels/*.label"):
        change(np.fromfile(path, "<u4")).tofile(path)


@pytest.mark.parametrize("kind", WRONG)
def test_labels_of_another_type_are_refused_by_validate_and_by_training(
    kind: str, kitti: Path, tiny_config: Config
) -> None:
    change, said = WRONG[kind]
    rewrite(kitti, change)
    config = dataset_config("semantic_kitti", str(kitti))
    problems = [what for one in validate(config, partial=True) for what in one.problems]
    assert len([what for what in problems if ".label: " in what]) == 5
    tiny_config.data.root = str(kitti)
    with pytest.raises(ValueError, match=rf"\.label: .*{said}"):
        train(tiny_config)
    assert not (Path(tiny_config.runtime.out) / "last.pt").exists()


def test_whole_labels_pass(kitti_root: Path, tmp_path: Path) -> None:
    """Real ones, with instances; those of a scan without a class; and any class of a map."""
    for path in kitti_root.glob("sequences/*/labels/000000.label"):
        assert read_labels(path)[0].any()
    for raw in (np.zeros(50), np.full(50, 259), np.arange(300), np.full(50, 40 | 7 << 16)):
        raw.astype("<u4").tofile(tmp_path / "a.label")
        semantic, instance = read_labels(tmp_path / "a.label")
        np.testing.assert_array_equal(semantic | instance.astype(np.uint32) << 16, raw)


def test_labels_as_npy_are_read_or_refused_by_name(kitti: Path) -> None:
    scan = kitti / "sequences" / "00" / "velodyne" / "000000.bin"
    raw = np.fromfile(kitti / "sequences" / "00" / "labels" / "000000.label", "<u4")
    place = kitti / "a.npy"

    def read() -> np.ndarray:
        label = read_scan(scan, labels=place, label_map=KITTI).label
        assert label is not None
        return label

    for array in (raw.astype(np.int64), raw.astype(np.uint16), raw.astype(">i4"), raw[:, None], raw | 5 << 16):
        np.save(place, array)
        np.testing.assert_array_equal(read(), KITTI.to_train(raw))
    for array, said in (
        (raw.astype(np.float32), r"a\.npy: holds float32 of shape \(1500,\); give \(N,\) integers"),
        (raw.reshape(2, -1), r"a\.npy: holds uint32 of shape \(2, 750\)"),
        (raw.astype(np.int64) - 300, r"a\.npy: labels range from -290"),
        (raw << 16, "classes in the upper 16 bits"),
        (raw[:-1], "1499 labels for 1500 points"),
    ):
        np.save(place, array)
        with pytest.raises(ValueError, match=said):
            read()


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_bare_integers_with_a_sign_are_read(dtype: str, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    np.ones((5, 4), "<f4").tofile(tmp_path / "scans" / "a.bin")
    raw = np.array([0, 10, 40, 40, 48])
    raw.astype(dtype).tofile(tmp_path / "a.ids")
    options: Any = {"splits": {"train": ["a"]}, "label_scans": "{name}.ids", "label_dtype": dtype}
    label = ScanFolder(tmp_path, classes="semantic_kitti", **options).scan(0).label
    np.testing.assert_array_equal(label, KITTI.to_train(raw))
    (raw - 11).astype(dtype).tofile(tmp_path / "a.ids")
    with pytest.raises(ValueError, match="raw ids from -11 to 37 do not fit"):
        ScanFolder(tmp_path, classes="semantic_kitti", **options).scan(0)


@pytest.mark.parametrize(("sequence", "key"), [("00", "data.labelled"), ("08", "evaluation.split")])
def test_a_split_without_one_labelled_point_is_refused_before_training(
    sequence: str, key: str, kitti: Path, tiny_config: Config
) -> None:
    rewrite(kitti, np.zeros_like, sequence)
    tiny_config.data.root = str(kitti)
    with pytest.raises(ConfigError, match=rf"{key}: none of its \d scans or photographs has a labelled point"):
        train(tiny_config)
    assert not (Path(tiny_config.runtime.out) / "last.pt").exists()
    split = {"00": "train", "08": "val"}[sequence]
    problems = {one.split: one.problems for one in validate(dataset_config("semantic_kitti", str(kitti)), partial=True)}
    assert problems[split] == (f"split {split}: has labels, but no element has a class",)
    assert problems["test"] == ()


def test_one_labelled_point_is_enough(kitti: Path, tiny_config: Config) -> None:
    rewrite(kitti, np.zeros_like, "00")
    last = kitti / "sequences" / "00" / "labels" / "000002.label"
    raw = np.fromfile(last, "<u4")
    raw[7] = 40
    raw.tofile(last)
    tiny_config.data.root = str(kitti)
    assert len(TrainingData.open(Experiment(tiny_config)).labelled) == 3


def test_photographs_without_one_labelled_pixel_are_refused_too(photo_config: Config) -> None:
    for path in Path(photo_config.data.root).glob("trainannot/*.png"):
        Image.new("L", (44, 30), 11).save(path)
    with pytest.raises(ConfigError, match=r"data\.labelled: none of its 4 scans or photographs has"):
        train(photo_config)


def empty_report() -> dict[str, Any]:
    return report(Scores(ConfusionMatrix(19), {}), KITTI.names)


def test_a_score_of_nothing_is_printed_and_logged(
    tiny_config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where the labelled points of a validation are all in scans of another process."""
    assert empty_report()["mean_iou"] is None
    nothing = training.Validation(empty_report(), Scores(ConfusionMatrix(19), {}), [])
    monkeypatch.setattr(training, "_validate", lambda *them: nothing)
    result = train(tiny_config)
    assert result is not None
    print_report(result, "nothing", official=False)
    assert "mIoU none over 0 classes present, accuracy none" in capsys.readouterr().out
    folder = Path(tiny_config.runtime.out)
    assert "mean_iou" not in json.loads((folder / "metrics.json").read_text())
    assert read_checkpoint(folder / "last.pt")["step"] == 4


def test_the_last_checkpoint_is_written_before_what_may_fail(
    tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*them: Any) -> Any:
        raise RuntimeError("no space left")

    monkeypatch.setattr(training, "_validate", fail)
    with pytest.raises(RuntimeError, match="no space left"):
        train(tiny_config)
    assert read_checkpoint(Path(tiny_config.runtime.out) / "last.pt")["step"] == 4


def test_the_last_checkpoint_knows_the_best_score_of_its_own_evaluation(tiny_config: Config) -> None:
    """Else a resumed run would take a worse result for the best."""
    tiny_config.evaluation = replace(tiny_config.evaluation, every=2)
    train(tiny_config)
    folder = Path(tiny_config.runtime.out)
    best = read_checkpoint(folder / "last.pt")["best"]
    assert best == max(read_checkpoint(folder / "best.pt")["best"], best) > -1
