"""`rangeseg propagate --config`: the labels that a config trains on, along all drives of its data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_camvid

from rangeseg.cli import main
from rangeseg.config import read_config
from rangeseg.data.sparse import SparseLabels
from rangeseg.drive.kitti_poses import write_kitti_poses
from rangeseg.drive.trajectory import Trajectory
from rangeseg.engine.experiment import Experiment
from rangeseg.types import IGNORE


def test_a_config_says_what_is_carried_along_all_its_drives(tiny_kitti: Path, tmp_path: Path, capsys: Any) -> None:
    """Its list of scans; and of sparse labels exactly the pixels that training would read."""
    home = shutil.copytree(tiny_kitti, tmp_path / "kitti")
    poses = Trajectory(("000000", "000001", "000002"), np.tile(np.eye(4), (3, 1, 1)))
    shutil.copytree(home / "sequences/00", home / "sequences/01")
    for drive in ("00", "01"):
        write_kitti_poses(home / "sequences" / drive, poses)
    (tmp_path / "some.txt").write_text("00/000001\n01/000000\n01/000002\n")
    words = [f"data.root={home}", f"data.labelled={tmp_path / 'some.txt'}", "data.projection.width=128"]
    base = ["propagate", "--config", "mini_kitti"]
    assert main([*base, "--out", str(tmp_path / "whole"), *words]) == 0
    said = capsys.readouterr().out
    assert "00: 1 labelled scans" in said
    assert "01: 2 labelled scans" in said
    records = [json.loads((tmp_path / "whole/sequences" / one / "propagate.json").read_text()) for one in ("00", "01")]
    assert [record["labelled"] for record in records] == [["000001"], ["000000", "000002"]]
    words += ["data.label_fraction=0.05", "data.label_seed=3"]
    assert main([*base, "--out", str(tmp_path / "few"), "--json", str(tmp_path / "few.json"), *words]) == 0
    config = read_config("mini_kitti", [*words, "runtime.out=x"])
    experiment = Experiment(config)
    clicked = SparseLabels(experiment.open("train", config.data.labelled), experiment.input.projection, 0.05, 3)  # type: ignore[arg-type,union-attr]
    for index in range(3):
        name = clicked.name(index).replace("/", "/labels/")
        raw = np.fromfile(tmp_path / "few/clicks/sequences" / f"{name}.label", "<u4")
        truth = np.fromfile(home / "sequences" / f"{name}.label", "<u4")
        kept = clicked.scan(index).label != IGNORE
        assert 0 < kept.sum() < len(kept) / 2
        np.testing.assert_array_equal(raw, np.where(kept, truth, 0))
    assert len(json.loads((tmp_path / "few.json").read_text())["drives"]) == 2


@pytest.mark.parametrize(("words", "said"), [
    ([], "Give exactly one of DRIVE and --config CONFIG"),
    (["x", "--config", "mini_kitti"], "Give exactly one of"),
    (["x", "data.root=y"], "data.root=y: overrides need a config. Give it with --config"),
    (["--config", "camvid", "data.root=camvid", "data.labelled=all"], "--config: its data are photographs"),
])  # fmt: skip
def test_a_drive_or_a_config(words: list[str], said: str, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write_camvid(tmp_path / "camvid")
    assert main(["propagate", *words, "--out", "out"]) == 1
    assert said in " ".join(capsys.readouterr().err.split())
