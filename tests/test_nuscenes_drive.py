"""nuScenes' keyframes carry their labels to the sweeps between them, and training reads them there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_nuscenes import POINTS, token, write_nuscenes
from test_trajectory import turned

from rangeseg.cli import main
from rangeseg.config import read_config
from rangeseg.data.carried import CarriedLabels
from rangeseg.data.nuscenes import NuScenes
from rangeseg.data.nuscenes_tables import LIDAR
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.training_data import TrainingData
from rangeseg.types import IGNORE

SCENES = {"scene-0061": 3, "scene-0553": 2}
ROAD, MANMADE = 24, 28
MOUNTED = turned(-90, x=0.9, z=1.8)
"""LiDAR -> vehicle."""


def quaternion(turn: np.ndarray) -> list[float]:
    """(w, x, y, z) of a turn about z."""
    angle = np.arctan2(turn[1, 0], turn[0, 0])
    return [float(np.cos(angle / 2)), 0.0, 0.0, float(np.sin(angle / 2))]


def row_of(key: str, pose: np.ndarray) -> dict:
    return {"token": key, "rotation": quaternion(pose), "translation": pose[:3, 3].tolist()}


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes in a curve past one wall: every scan, keyframe or sweep, sees the same world from its own pose."""
    root = write_nuscenes(tmp_path_factory.mktemp("n"), "v1.0-mini", SCENES)
    tables, rng = root / "v1.0-mini", np.random.default_rng(0)
    rows = json.loads((tables / "sample_data.json").read_text())
    world = np.concatenate([rng.uniform((-20, 4, 0), (20, 4.05, 3), (POINTS // 2, 3)),
                            rng.uniform((-20, -4, -0.02), (20, 3.5, 0), (POINTS // 2, 3))])  # fmt: skip
    lidar = sorted((row for row in rows if LIDAR in row["filename"]), key=lambda row: row["timestamp"])
    egos = []
    for number, row in enumerate(lidar):
        ego = turned(4.0 * number, x=0.5 * number, y=0.1 * number)
        row["ego_pose_token"] = token("ego", number)
        egos.append(row_of(row["ego_pose_token"], ego))
        sensor = ego @ MOUNTED
        seen = (world - sensor[:3, 3]) @ sensor[:3, :3]
        table = np.column_stack([seen, np.full(POINTS, 100), np.arange(POINTS) % 32])
        table.astype(np.float32).tofile(root / row["filename"])
        if row["is_key_frame"]:
            labels = np.where(np.arange(POINTS) < POINTS // 2, MANMADE, ROAD).astype(np.uint8)
            labels.tofile(root / "lidarseg" / "v1.0-mini" / f"{row['token']}_lidarseg.bin")
    sensors = [row_of(token("calibrated", name), MOUNTED) for name in ("CAM_FRONT", LIDAR)]
    for name, content in (("sample_data", rows), ("ego_pose", egos), ("calibrated_sensor", sensors)):
        (tables / f"{name}.json").write_text(json.dumps(content, indent=0))
    return root


@pytest.fixture(scope="module")
def carried(moving: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both scenes carried into one folder, as the dataset has one."""
    out = tmp_path_factory.mktemp("carried")
    for scene in SCENES:
        words = ["propagate", str(moving), "--scene", scene, "--out", str(out), "--no-visibility"]
        assert main(words) == 0
    return out


def test_sweeps_get_the_keyframes_labels_by_their_own_poses(moving: Path, carried: Path) -> None:
    """The same points of the same world: every sweep has the label of each of its points, keyframes keep theirs."""
    source = NuScenes(moving, "mini_train_sweeps", labels=False)
    found = CarriedLabels(source, moving, carried)
    assert len(found) == len(source) == 3 * sum(SCENES.values())
    names = source.label_map.names
    truth = np.where(np.arange(POINTS) < POINTS // 2, names.index("manmade"), names.index("driveable_surface"))
    for index in range(len(found)):
        label = found.scan(index).label
        assert label is not None
        assert np.mean(label == truth) > 0.98  # a corner of the wall and the road may disagree
    assert {path.name for path in (carried / "lidarseg").glob("*.json")} == {f"propagate_{one}.json" for one in SCENES}


def test_a_scene_that_is_carried_again_keeps_its_own_record(
    moving: Path, carried: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["propagate", str(moving), "--scene", "scene-0061", "--out", str(carried), "--max-distance-m", "0.1"]
    assert main(words) == 1
    assert "propagate_scene-0061.json: the existing labels were carried with other rules" in " ".join(
        capsys.readouterr().err.split()
    )


def test_a_test_split_has_no_place_for_labels(tmp_path: Path) -> None:
    root = write_nuscenes(tmp_path, "v1.0-test", {"scene-0077": 1}, labels=False)
    with pytest.raises(ValueError, match="split test_sweeps has no labels"):
        NuScenes(root, "test_sweeps").label_path(1)


def test_the_students_answers_on_sweeps_are_the_carried_labels(moving: Path, carried: Path) -> None:
    words = [f"data.root={moving}", "data.labelled=all", f"data.carried={carried}", "data.carried_as=targets"]
    small = ["optim.steps=1", "runtime.out=x", "evaluation.split=train", "data.projection.width=128"]
    config = read_config("nuscenes/sweeps+cutmix", [*words, *small])
    data = TrainingData.open(Experiment(config))
    assert (len(data.labelled), len(data.unlabelled)) == (5, 15)
    for index in range(15):
        view = data.unlabelled.view(index, np.random.default_rng(0))
        assert (view.label[view.valid] != IGNORE).float().mean() > 0.95
    bare = replace(config, data=replace(config.data, carried="none", carried_as="labels"))
    bare.data.unlabelled_from[0]["carried"] = "none"
    view = TrainingData.open(Experiment(bare)).unlabelled.view(1, np.random.default_rng(0))
    assert (view.label == IGNORE).all()


def test_carried_labels_of_sweeps_are_further_labelled_scans(moving: Path, carried: Path) -> None:
    other = f"{{root: {moving}, dataset: {{name: nuscenes}}, split: train_sweeps, carried: {carried}}}"
    words = [f"data.root={moving}", "data.labelled=all", f"data.labelled_from=[{other}]", "optim.steps=1"]
    config = read_config("nuscenes+supervised", [*words, "runtime.out=x", "evaluation.split=train"])
    data = TrainingData.open(Experiment(config))
    assert len(data.labelled) == 5 + 15
    labels = [data.labelled.view(index, np.random.default_rng(0)).label for index in range(20)]
    assert all((label != IGNORE).any() for label in labels)
