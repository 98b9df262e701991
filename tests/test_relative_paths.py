"""A scan named from its own folder, as 000000.bin, has the labels, tags and poses of its sequence."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import random_scan
from test_domain_check import write
from test_predict_drive import tiny_drive  # noqa: F401 - a fixture

from rangeseg.apps.fit_sensor import find_labels
from rangeseg.apps.shown_scan import read_shown
from rangeseg.cli import main
from rangeseg.config import Config
from rangeseg.data.kitti_poses import pose_of
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.data.semantic_poss import COLUMNS, ROWS, SemanticPOSS
from rangeseg.engine.training import train

SPELLINGS = (("velodyne", "000000.bin"), (".", "velodyne/000000.bin"), ("velodyne", "../velodyne/000000.bin"))


@pytest.mark.parametrize(("folder", "name"), SPELLINGS)
def test_the_files_of_a_sequence_are_found(
    folder: str, name: str, tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "velodyne" / "000000.bin", random_scan(rng, 100))
    for beside in ("labels", "tag"):
        (tmp_path / beside).mkdir()
    np.full(100, 40, "<u4").tofile(tmp_path / "labels" / "000000.label")
    (np.arange(ROWS * COLUMNS) < 100).astype(np.uint8).tofile(tmp_path / "tag" / "000000.tag")
    (tmp_path / "poses.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n")
    monkeypatch.chdir(tmp_path / folder)
    scan = Path(name)
    assert read_shown(scan, None, None, "semantic_kitti", SemanticKitti.read_label_map()).label is not None
    assert find_labels(scan, 100) is not None
    assert SemanticPOSS.read(scan).ring is not None
    assert pose_of(scan) is not None


def test_votes_along_a_drive_below_a_relative_root(
    tiny_config: Config,
    tiny_drive: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train(tiny_config)
    monkeypatch.chdir(tiny_drive.parent.parent)
    written = []
    for root in (str(Path.cwd()), "."):
        words = ["pseudo-label", tiny_config.runtime.out, f"data.root={root}", "--votes", "1"]
        assert main([*words, "--out", str(tmp_path / "pseudo"), "--device", "cpu"]) == 0
        written.append([path.read_bytes() for path in sorted((tmp_path / "pseudo").rglob("*.label"))])
        shutil.rmtree(tmp_path / "pseudo")
    assert written[0] == written[1] != []
