"""Carried labels that the training uses besides its labelled scans come only from the labels of these scans."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_carried import with_data

from rangeseg.cli import main
from rangeseg.config import Config
from rangeseg.data.evidence import OWN, evidence_file, read_evidence
from rangeseg.drive.kitti_poses import write_kitti_poses
from rangeseg.drive.trajectory import Trajectory
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.training_data import TrainingData, open_views
from rangeseg.registry import ConfigError

NOT_LISTED = r"data\.carried: .*labels were carried from 1 scans that are not among the labelled .* e\.g\. 000002\. Run"
NOT_READ = r"data\.carried: .*of its points have labels given by people that the config does not read, because of data"
WAYS = ["targets", "both", "weak_head"]


@pytest.fixture
def home(tiny_kitti: Path, tmp_path: Path) -> Path:
    """A drive of a sensor that stands still."""
    home = Path(shutil.copytree(tiny_kitti, tmp_path / "kitti")) / "sequences/00"
    write_kitti_poses(home, Trajectory(("000000", "000001", "000002"), np.tile(np.eye(4), (3, 1, 1))))
    return home


@pytest.fixture
def config(tiny_config: Config, home: Path, tmp_path: Path) -> Config:
    """Two of three scans are labelled."""
    (tmp_path / "two.txt").write_text("00/000000\n00/000001\n")
    return with_data(tiny_config, root=str(home.parent.parent), labelled=str(tmp_path / "two.txt"),
                     carried=str(tmp_path / "carried"))  # fmt: skip


def carry(home: Path, tmp_path: Path, *words: str) -> None:
    assert main(["propagate", str(home), "--out", str(tmp_path / "carried"), "--no-visibility", *words]) == 0


def data_of(config: Config, **data: Any) -> TrainingData:
    return TrainingData.open(Experiment(with_data(config, **data)))


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_labels_of_scans_that_are_not_listed_are_refused(
    config: Config, home: Path, tmp_path: Path, way: str, recorded: bool
) -> None:
    """The record tells; without one, the evidence of the scans."""
    carry(home, tmp_path, "--labelled", "000000", "000002")
    if not recorded:
        (tmp_path / "carried/sequences/00/propagate.json").unlink()
    with pytest.raises(ConfigError, match=NOT_LISTED):
        data_of(config, carried_as=way)
    if way != "weak_head":
        with pytest.raises(ConfigError, match=NOT_LISTED):
            open_views(Experiment(with_data(config, carried_as=way)), "unlabelled")
    assert len(data_of(config, carried_as="labels").labelled) == 3  # all labels of the folder, by intent
    assert len(data_of(config, carried_as=way, labelled="all").labelled) == 3
    shutil.rmtree(tmp_path / "carried")
    carry(home, tmp_path, "--labelled", "000001")
    assert len(data_of(config, carried_as=way).labelled) == 2


def test_scans_without_carried_labels_of_their_own_count_too(config: Config, home: Path, tmp_path: Path) -> None:
    """The labels of a scan that is not among the unlabelled ones went to those that are."""
    carry(home, tmp_path, "--labelled", "000000", "000002")
    with pytest.raises(ConfigError, match=NOT_LISTED):
        data_of(config, carried_as="targets", unlabelled=config.data.labelled)


@pytest.mark.parametrize("spelling", ["relative", "linked", "absolute"])
def test_any_spelling_of_the_root_names_the_same_scans(
    config: Config, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    carry(home, tmp_path, "--labelled", "000000", "000001")
    (tmp_path / "link").symlink_to(tmp_path / "kitti")
    monkeypatch.chdir(tmp_path)
    root = {"relative": "kitti/../kitti", "linked": str(tmp_path / "link"), "absolute": config.data.root}[spelling]
    data = data_of(config, carried_as="targets", root=root)
    assert (len(data.labelled), len(data.unlabelled)) == (2, 3)
    other = {"root": os.path.relpath(config.data.root), "dataset": {"name": "semantic_kitti"}}
    data = data_of(config, carried_as="targets", root=root, labelled="none",
                   labelled_from=[other | {"subset": config.data.labelled}])  # fmt: skip
    assert (len(data.labelled), len(data.unlabelled)) == (2, 3)


def test_the_carried_labels_of_another_source_are_compared(config: Config, home: Path, tmp_path: Path) -> None:
    carry(home, tmp_path, "--labelled", "000000", "000002")
    root, carried = config.data.root, config.data.carried
    other = {"root": root, "dataset": {"name": "semantic_kitti"}, "carried": carried}
    empty = tmp_path / "other"
    shutil.copytree(tmp_path / "carried", empty)
    shutil.rmtree(tmp_path / "carried")
    carry(home, tmp_path, "--labelled", "000000")
    data_of(config, carried_as="targets", unlabelled_from=[other])
    with pytest.raises(ConfigError, match=NOT_LISTED):
        data_of(config, carried_as="targets", unlabelled_from=[other | {"carried": str(empty)}])


@pytest.mark.parametrize("way", WAYS)
def test_clicks_of_the_same_config_are_not_refused_and_other_labels_are(
    config: Config, home: Path, tmp_path: Path, way: str
) -> None:
    words = [f"data.root={config.data.root}", f"data.labelled={config.data.labelled}", "data.label_fraction=0.05"]
    words += ["data.projection={name: spherical, height: 16, width: 64, fov_up_deg: 6.0, fov_down_deg: -28.0}"]
    assert main(["propagate", "--config", "mini_kitti", *words, "--out", str(tmp_path / "carried")]) == 0
    clicks = {"carried_as": way, "label_fraction": 0.05}
    assert len(data_of(config, **clicks).labelled) == 2
    for changed in ({"label_seed": 1}, {"label_fraction": 0.02}, {"label_spread": "classes"}):
        with pytest.raises(ConfigError, match=NOT_READ):
            data_of(config, **clicks | changed)
    data_of(config, carried_as=way)  # all labels of these scans are known
    shutil.rmtree(tmp_path / "carried")
    carry(home, tmp_path, "--labelled", "000000", "000001")
    with pytest.raises(ConfigError, match=NOT_READ):
        data_of(config, **clicks)


def test_a_record_that_cannot_be_read_is_refused(config: Config, home: Path, tmp_path: Path) -> None:
    carry(home, tmp_path, "--labelled", "000000")
    (tmp_path / "carried/sequences/00/propagate.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"propagate\.json: cannot be read .* Run rangeseg propagate --overwrite"):
        data_of(config, carried_as="targets")


def test_what_is_carried_again_leaves_nothing_of_before(config: Config, home: Path, tmp_path: Path) -> None:
    """Scans that are no longer in reach lose their labels, so that the record is true of the folder."""
    carry(home, tmp_path, "--labelled", "000000", "000002", "--max-scans", "1")
    folder = tmp_path / "carried/sequences/00"
    kept = folder / "labels/other.label"
    kept.write_bytes(b"a file of someone else")
    carry(home, tmp_path, "--labelled", "000000", "--max-scans", "1", "--overwrite")
    assert sorted(path.name for path in (folder / "labels").iterdir()) == ["000000.label", "000001.label", kept.name]
    own = [(read_evidence(path)["kind"] == OWN).any() for path in sorted((folder / "evidence").iterdir())]
    assert own == [True, False]
    assert not evidence_file(folder / "labels/000002.label").exists()
    assert len(data_of(config, carried_as="targets").labelled) == 2
