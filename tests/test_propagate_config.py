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
from rangeseg.data.carried import CarriedLabels
from rangeseg.data.evidence import OWN, evidence_file, read_evidence
from rangeseg.data.scan_folder import ScanFolder
from rangeseg.data.scribble_kitti import ScribbleKitti
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


def still(home: Path, sequence: str = "00") -> None:
    """The sensor does not move."""
    poses = Trajectory(("000000", "000001", "000002"), np.tile(np.eye(4), (3, 1, 1)))
    write_kitti_poses(home / "sequences" / sequence, poses)


def test_a_relative_root_carries_the_listed_scans_alone(tiny_kitti: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Paths that are written in another way name the same scans."""
    shutil.copytree(tiny_kitti, tmp_path / "kitti")
    still(tmp_path / "kitti")
    (tmp_path / "some.txt").write_text("00/000001\n")
    monkeypatch.chdir(tmp_path)
    for number, root in enumerate(("kitti", "./kitti/../kitti", str(tmp_path / "kitti"))):
        out = tmp_path / str(number)
        words = [f"data.root={root}", "data.labelled=some.txt", "--out", str(out)]
        assert main(["propagate", "--config", "mini_kitti", *words]) == 0
        assert json.loads((out / "sequences/00/propagate.json").read_text())["labelled"] == ["000001"]


@pytest.mark.parametrize("apart", [False, True])
def test_scribbles_are_carried_and_read_and_no_dense_label_is(tiny_kitti: Path, tmp_path: Path, apart: bool) -> None:
    home = shutil.copytree(tiny_kitti, tmp_path / "kitti")
    still(home)
    place = home / "sequences" / ("scribbles/00" if apart else "00/scribbles")
    place.mkdir(parents=True)
    dense = sorted((home / "sequences/00/labels").iterdir())
    for path in dense:
        raw = np.fromfile(path, "<u4")
        raw[100:] = 0
        raw[:100] = 50  # building, which the dense labels may contradict
        raw.tofile(place / path.name)
    out = tmp_path / "out"
    words = [f"data.root={home}", "data.labelled=all", "--spread", "nearest", "--neighbours", "1", "--out", str(out)]
    assert main(["propagate", "--config", "scribble_kitti+supervised", *words]) == 0
    source = ScribbleKitti(home, "train", labels=False)
    carried = CarriedLabels(source, home, out)
    assert len(carried) == 3
    building = source.label_map.names.index("building")
    for index in range(3):
        raw = np.fromfile(out / "sequences/00/labels" / f"{index:06d}.label", "<u4")
        assert set(raw.tolist()) <= {0, 50}
        label = carried.scan(index).label
        assert label is not None
        assert (label[:100] == building).all()


@pytest.mark.parametrize("scans", ["scans", "clouds"])
def test_a_folder_of_scans_of_ones_own(scans: str, tiny_kitti: Path, tmp_path: Path) -> None:
    """Names are time stamps with a dot; each scan keeps its own evidence."""
    root, out = tmp_path / "own", tmp_path / "out"
    home = root / "a"
    within = Path("a") if scans == "scans" else Path("a", scans)  # holds the poses, and labels/ of the carried labels
    names = ["1700000000.10", "1700000000.20", "1700000000.30"]
    for folder, kind, ending in ((scans, "velodyne", "bin"), ("labels", "labels", "label")):
        (home / folder).mkdir(parents=True)
        for name, path in zip(names, sorted((tiny_kitti / "sequences/00" / kind).iterdir()), strict=True):
            shutil.copy(path, home / folder / f"{name}.{ending}")
    write_kitti_poses(root / within, Trajectory(tuple(names), np.tile(np.eye(4), (3, 1, 1))))
    (tmp_path / "some.txt").write_text(f"{names[1]}\n")
    options = {"classes": "semantic_kitti", "splits": {"train": ["a"], "val": ["b"]}, "scans": f"{{split}}/{scans}/*"}
    options["label_scans"] = "{split}/labels/{name}.label"
    words = [
        f"data.root={root}",
        f"data.dataset={json.dumps({'name': 'scan_folder'} | options)}",
        f"data.labelled={tmp_path / 'some.txt'}",
        "--out",
        str(out),
    ]
    assert main(["propagate", "--config", "mini_kitti", *words]) == 0
    assert json.loads((out / within / "propagate.json").read_text())["labelled"] == [names[1]]
    evidence = [evidence_file(out / within / "labels" / f"{name}.label") for name in names]
    assert len(set(evidence)) == 3
    assert all(path.is_file() for path in evidence)
    own = [(read_evidence(path)["kind"] == OWN).any() for path in evidence]
    assert own == [False, True, False]
    assert len(CarriedLabels(ScanFolder(root, "train", **options, labels=False), root, out)) == 3


@pytest.mark.parametrize("name", ["000000.label", "08.pkl.gz", "17.50.label", "17.5.label", "a_lidarseg.bin"])
def test_each_label_file_has_its_own_evidence(name: str) -> None:
    others = ["000001.label", "17.51.label", "17.label", "b_lidarseg.bin", "09.pkl.gz"]
    paths = [evidence_file(Path("x/labels") / one) for one in (name, *others)]
    assert len(set(paths)) == len(paths)
    assert paths[0].parent == Path("x/evidence")


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
