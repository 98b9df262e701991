"""Every layout of a drive: what is carried is read back by the dataset itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from test_nuscenes import MINI, write_nuscenes

from rangeseg.data.carried import CarriedLabels
from rangeseg.data.nuscenes import NuScenes
from rangeseg.data.pandaset import PandaSet
from rangeseg.data.scan_folder import ScanFolder
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.drive.layouts import Drive, open_drive
from rangeseg.scan_io import write_labels


def write_all(drive: Drive, out: Path, raw: list[int]) -> dict[str, np.ndarray]:
    """Random labels for each scan, in the dataset's own form; and what they are."""
    rng, written = np.random.default_rng(0), {}
    for entry in drive.scans:
        ids = rng.choice(raw, len(drive.read(entry.file))).astype(np.uint32)
        drive.write_raw(out / entry.label_path, ids, entry.file)
        np.testing.assert_array_equal(drive.labels_of(entry, out), ids)
        written[entry.name] = drive.label_map.to_train(ids)
    return written


def check(source: CarriedLabels, written: dict[str, np.ndarray], scans: int) -> None:
    assert len(source) == scans
    for index in range(scans):
        np.testing.assert_array_equal(source.scan(index).label, written[source.name(index).rpartition("/")[2]])


def test_kitti(tiny_kitti: Path, tmp_path: Path) -> None:
    drive = open_drive(tiny_kitti / "sequences" / "00")
    written = write_all(drive, tmp_path, [0, 10, 40, 252])
    assert (tmp_path / "sequences" / "00" / "labels" / "000002.label").is_file()
    check(CarriedLabels(SemanticKitti(tiny_kitti, labels=False), tiny_kitti, tmp_path), written, 3)
    (tmp_path / "k").mkdir()
    (tmp_path / "k" / "dataset").symlink_to(tiny_kitti)  # as the zip files unpack
    root = tmp_path / "k"
    assert open_drive(root / "dataset" / "sequences" / "00").names == drive.names
    check(CarriedLabels(SemanticKitti(root, labels=False), root, tmp_path), written, 3)


def test_a_sequence_that_lies_alone(tiny_kitti: Path, tmp_path: Path) -> None:
    home = shutil.copytree(tiny_kitti / "sequences" / "00", tmp_path / "my_drive")
    drive = open_drive(home, dataset="semantic_kitti")
    assert drive.labels_of(drive.scans[0]) is not None
    assert drive.scans[0].label_path == Path("labels", "000000.label")


def test_nuscenes(tmp_path: Path) -> None:
    root = write_nuscenes(tmp_path / "n", "v1.0-mini", MINI)
    drive = open_drive(root, scene="scene-0061")
    written = write_all(drive, tmp_path / "out", [0, 17, 24, 30])
    source = NuScenes(root, "mini_train", labels=False)
    keyframes = sum(name.startswith("scene-0061") for name in source.names)
    check(CarriedLabels(source, root, tmp_path / "out"), written, keyframes)
    labelled = [entry for entry in drive.scans if drive.labels_of(entry) is not None]
    assert len(labelled) == keyframes < len(drive.scans)


def test_pandaset(data_root: Path, tmp_path: Path) -> None:
    pytest.importorskip("pandas", reason="the extra pandaset is not installed")
    root = data_root / "pandaset" / "official"
    drive = open_drive(root / "001")
    own = drive.labels_of(drive.scans[0])
    assert own is not None
    np.testing.assert_array_equal(drive.label_map.to_train(own), PandaSet(root).scan(0).label)
    written = write_all(drive, tmp_path, [0, 7, 13])
    check(CarriedLabels(PandaSet(root, labels=False), root, tmp_path), written, 1)
    with pytest.raises(ValueError, match="5 labels for the 1"):
        drive.write_raw(tmp_path / "x.pkl.gz", own[:5], drive.scans[0].file)


def test_a_folder_of_scans(tmp_path: Path) -> None:
    rng, root = np.random.default_rng(0), tmp_path / "mine"
    (root / "scans").mkdir(parents=True)
    for name in ("a", "b"):
        np.save(root / "scans" / f"{name}.npy", rng.normal(size=(60, 4)).astype(np.float32))
        write_labels(root / "labels" / f"{name}.label", np.full(60, 40, np.uint32))
    drive = open_drive(root / "scans")
    assert drive.names == ("a", "b")
    assert drive.labels_of(drive.scans[1]) is not None
    written = write_all(drive, tmp_path / "out", [0, 10, 40])
    source = ScanFolder(root, "train", classes="semantic_kitti", splits={"train": ["."]}, labels=False)
    check(CarriedLabels(source, root, tmp_path / "out"), written, 2)
    with pytest.raises(ValueError, match=r"ships no datasets/my_classes/labels\.yaml"):
        open_drive(root / "scans", dataset="my_classes")
