"""Votes along a drive: what is pooled, by hand; and the command."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import make_tiny_config
from test_trajectory import curve

from rangeseg.cli import main
from rangeseg.data.evidence import OWN, evidence_file
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.drive.kitti_poses import write_kitti_poses
from rangeseg.drive.labelled_points import moved
from rangeseg.drive.layouts import open_drive
from rangeseg.drive.trajectory import Trajectory
from rangeseg.engine.checkpoint import write_checkpoint
from rangeseg.engine.experiment import Experiment
from rangeseg.inference.carried import CarriedFolder
from rangeseg.inference.distributed import ProcessGroup
from rangeseg.inference.drive import ScanProbabilities, label_drive, pooled
from rangeseg.inference.origin import FILE
from rangeseg.inference.segmenter import Segmenter
from rangeseg.projection.beam import BeamProjection
from rangeseg.projection.spherical import SphericalProjection
from rangeseg.scan_io import read_labels, write_labels
from rangeseg.types import IGNORE, Scan

PIXELS = SphericalProjection(16, 64, 30.0, -30.0)


def seen(rng: np.random.Generator, number: int, pose: np.ndarray, world: np.ndarray) -> ScanProbabilities:
    xyz = ((world - pose[:3, 3]) @ pose[:3, :3]).astype(np.float32)
    image = PIXELS(Scan(xyz, np.zeros(len(xyz), np.float32)))
    pixels = np.flatnonzero(image.valid)
    probability = rng.dirichlet(np.ones(4), len(pixels)).astype(np.float32)
    return ScanProbabilities(number, image, pixels, probability, 0.3)


def test_the_mean_is_that_of_the_near(rng: np.random.Generator) -> None:
    """All pairs in float64."""
    poses, world = curve(3, 0.5), rng.normal(0, 4, (400, 3))
    scans = [seen(rng, number, poses[number], world + rng.normal(0, 0.05, world.shape)) for number in range(3)]
    found = pooled(scans[1], scans, poses, 0.3)
    placed = [one.xyz @ poses[one.number, :3, :3].T + poses[one.number, :3, 3] for one in scans]
    alone = 0
    for m, point in enumerate(placed[1]):
        votes = [scans[1].probability[m].astype(float)]
        for other in (0, 2):
            distance = np.linalg.norm(placed[other] - point, axis=1)
            if distance.min() < 0.3:
                votes.append(scans[other].probability[distance.argmin()].astype(float))
        alone += len(votes) == 1
        np.testing.assert_allclose(found[m], np.mean(votes, axis=0), atol=1e-6)
    assert 0 < alone < len(found) / 2


def test_votes_of_a_tilted_sensor_are_those_of_its_level_twin(rng: np.random.Generator) -> None:
    """The poses hold in the frame of the file, wherever the sensor is mounted."""
    poses, world = curve(2, 1.0), rng.normal(0, 4, (400, 3))
    tilted = BeamProjection(64, list(np.linspace(30, -30, 16)), origin_m=(1.0, 0.0, 1.8), tilt_deg=(0.0, 15.0))
    scans = []
    for number, pose in enumerate(poses):
        xyz = ((world - pose[:3, 3]) @ pose[:3, :3]).astype(np.float32)
        image = tilted(Scan(xyz))
        pixels = np.flatnonzero(image.valid)
        scans.append(ScanProbabilities(number, image, pixels, np.ones((len(pixels), 1), np.float32), 0.3))
    shown = [one.image.point_index.ravel()[one.pixels] for one in scans]
    points = moved(scans[0].xyz, np.linalg.inv(poses[1]) @ poses[0])
    near, index = scans[1].nearest(points, 0.05)
    both = np.isin(shown[0], shown[1])
    assert both.sum() > 100
    assert near[both].all()
    np.testing.assert_array_equal(shown[1][index[both[near]]], shown[0][both])  # each point gets its own vote


def test_the_order_and_the_window(tiny_drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each scan is asked once; no votes are the run's own labels; threads do not matter."""
    drive, segmenter = open_drive(tiny_drive), Segmenter.load("kitti", device="cpu")
    poses = drive.own_poses()
    asked: list[int] = []
    logits = segmenter.logits
    monkeypatch.setattr(segmenter, "logits", lambda image: (asked.append(len(asked)), logits(image))[1])
    found = list(label_drive(segmenter, drive, poses, votes=1, workers=0))
    assert [number for number, _, _ in found] == [0, 1, 2]
    assert len(asked) == 3
    again = list(label_drive(segmenter, drive, poses, votes=1, workers=2))
    alone = list(label_drive(segmenter, drive, poses, votes=0, workers=0))
    for number in range(3):
        np.testing.assert_array_equal(found[number][2], again[number][2])
        own = segmenter(drive.read(drive.scans[number].file))
        np.testing.assert_array_equal(alone[number][2], own)
        np.testing.assert_allclose(alone[number][2].confidence, own.confidence, atol=1e-5)
    assert any((found[number][2] != alone[number][2]).any() for number in range(3))


@pytest.fixture
def tiny_drive(tiny_kitti: Path, tmp_path: Path) -> Path:
    home = tmp_path / "sequences" / "00"
    home.mkdir(parents=True)
    (home / "velodyne").symlink_to(tiny_kitti / "sequences" / "00" / "velodyne")
    write_kitti_poses(home, Trajectory(("000000", "000001", "000002"), curve(3, 0.1)))
    return home


@pytest.mark.filterwarnings("ignore:.*rangeseg fit-sensor")  # made-up scans are of no sensor
def test_the_command_writes_labels(tiny_drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--drive", str(tiny_drive), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    assert "3 scans labelled" in " ".join(capsys.readouterr().out.split())
    for number in range(3):
        raw, instance = read_labels(tmp_path / "out" / "sequences/00/predictions" / f"{number:06d}.label")
        assert len(raw) == 1500
        assert not instance.any()
    assert main(["predict", "--drive", str(tiny_drive), "--votes", "-1"]) == 1
    assert "--votes is -1; give 0 or more" in " ".join(capsys.readouterr().err.split())
    (tiny_drive / "poses.txt").unlink()
    assert main(["predict", "--drive", str(tiny_drive), "--out", str(tmp_path / "out")]) == 1
    assert "has no poses.txt" in " ".join(capsys.readouterr().err.split())
    assert main(["predict"]) == 1
    assert "There is nothing to predict" in " ".join(capsys.readouterr().err.split())


@pytest.fixture
def predict(tiny_drive: Path, tiny_kitti: Path, tmp_path: Path) -> Callable[..., int]:
    """Label the drive by one of two networks."""
    config = make_tiny_config(tiny_kitti, tmp_path)
    for number in (0, 1):
        config.runtime.seed = number
        network = Experiment(config).make_network()
        write_checkpoint(tmp_path / f"{number}.pt", {"teacher": network.state_dict()}, config)

    def call(number: int, *words: str) -> int:
        where = ["--drive", str(tiny_drive), "--out", str(tmp_path / "out"), "--device", "cpu"]
        return main(["predict", str(tmp_path / f"{number}.pt"), *where, *words])

    return call


def test_labels_of_another_network_votes_or_poses_are_not_taken_for_ones_own(
    predict: Callable[..., int], tiny_drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said() -> str:
        return " ".join(capsys.readouterr().err.split())

    assert predict(0) == 0
    whole = {path.name: path.read_bytes() for path in sorted((tmp_path / "out").rglob("*.label"))}
    assert len(whole) == 3
    stamp = (tmp_path / "out" / FILE).stat().st_mtime_ns
    (tmp_path / "out/sequences/00/predictions/000001.label").unlink()
    capsys.readouterr()
    assert predict(0) == 0
    assert "(1 of them now)" in capsys.readouterr().out
    assert (tmp_path / "out" / FILE).stat().st_mtime_ns == stamp
    assert {path.name: path.read_bytes() for path in sorted((tmp_path / "out").rglob("*.label"))} == whole
    for number, words, what in (
        (1, (), "another network"),
        (0, ("--votes", "1"), "drive.votes"),
        (0, ("evaluation.back_projection.name=nearest",), "another config"),
    ):
        assert predict(number, *words) == 1
        assert what in (told := said())
        assert "--overwrite" in told
    write_kitti_poses(tiny_drive, Trajectory(("000000", "000001", "000002"), curve(3, 0.2)))
    assert predict(0) == 1
    assert "drive.poses" in said()
    assert predict(1, "--overwrite") == 0
    assert "(3 of them now)" in capsys.readouterr().out
    alone = ["predict", str(tmp_path / "1.pt"), str(tiny_drive), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main(alone) == 1  # without votes they are others
    assert "drive.votes" in said()


def test_drives_with_poses_of_their_own_share_a_folder(
    predict: Callable[..., int], tiny_drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tiny_drive.parent / "11"
    other.mkdir()
    (other / "velodyne").symlink_to(tiny_drive / "velodyne")
    write_kitti_poses(other, Trajectory(("000000", "000001", "000002"), curve(3, 0.2)))
    out = tmp_path / "out"

    def labelled(number: int, drive: Path, *words: str) -> str:
        """How many scans were labelled now, or the error."""
        capsys.readouterr()
        where = ["--drive", str(drive), "--out", str(out), "--device", "cpu"]
        failed = main(["predict", str(tmp_path / f"{number}.pt"), *where, *words])
        said = capsys.readouterr()
        return " ".join(said.err.split()) if failed else said.out.partition(" of them now")[0].rpartition("(")[2]

    drives = (tiny_drive, other)
    assert [labelled(0, drive) for drive in (*drives, *drives)] == ["3", "3", "0", "0"]
    assert "drive.votes differ" in labelled(0, other, "--votes", "1")
    assert [labelled(0, other, "--votes", "1", "--overwrite"), labelled(0, tiny_drive)] == ["3", "0"]
    assert "another network" in labelled(1, other, "--votes", "1")
    assert labelled(1, other, "--overwrite") == "3"
    assert "differ" in labelled(1, tiny_drive)  # its labels are still those of the first network
    assert "differ" in labelled(0, tiny_drive)
    assert [labelled(1, tiny_drive, "--overwrite"), labelled(1, other)] == ["3", "0"]


def test_a_linked_drive_keeps_the_name_of_the_path_given(tiny_drive: Path) -> None:
    (tiny_drive.parent / "11").symlink_to(tiny_drive)
    assert open_drive(tiny_drive.parent / "11").scans[0].label_path.as_posix() == "sequences/11/labels/000000.label"


@pytest.mark.parametrize("words", [["--zip", "x.zip"], ["--compile"], ["--topic", "/a"]])
def test_what_a_drive_does_not_have_is_refused(
    words: list[str], predict: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(0, *words) == 1
    assert words[0] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_processes_share_a_drive(
    predict: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each labels a stretch, with the votes of scans of the other's; only the first speaks."""
    assert predict(0) == 0
    labels = tmp_path / "out" / "sequences/00/predictions"
    whole = {path.name: path.read_bytes() for path in labels.iterdir()}
    for path in labels.iterdir():
        path.unlink()
    for name in ("barrier", "close"):
        monkeypatch.setattr(ProcessGroup, name, lambda self: None)
    monkeypatch.setattr(ProcessGroup, "all_reduce", lambda self, values: values)
    shares = []
    for number in (1, 0):
        capsys.readouterr()
        monkeypatch.setattr(ProcessGroup, "init", staticmethod(lambda number=number: ProcessGroup(number, 2, number)))
        before = set(labels.iterdir())
        assert predict(0) == 0
        shares.append({path.name for path in set(labels.iterdir()) - before})
        assert bool(capsys.readouterr().out) == (number == 0)
    assert shares == [{"000002.label"}, {"000000.label", "000001.label"}]
    assert {path.name: path.read_bytes() for path in labels.iterdir()} == whole


@pytest.fixture
def carried(tiny_drive: Path, tiny_kitti: Path, tmp_path: Path) -> Path:
    """Labels that `propagate` carried from the first scan of the drive to the others."""
    labels, out = tmp_path / "true", tmp_path / "carried"
    place = labels / "sequences/00/labels"
    place.mkdir(parents=True)
    shutil.copy(tiny_kitti / "sequences/00/labels/000000.label", place)
    assert main(["propagate", str(tiny_drive), "--labels", str(labels), "--out", str(out)]) == 0
    return out


def test_carried_labels_come_before_predictions(
    predict: Callable[..., int], carried: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(0, "--confidence") == 0
    alone = {path.stem: read_labels(path)[0] for path in (tmp_path / "out").rglob("*.label")}
    capsys.readouterr()
    assert predict(0, "--carried", str(carried)) == 1  # other labels than those of the network alone
    assert "drive.carried differ" in " ".join(capsys.readouterr().err.split())
    assert predict(0, "--carried", str(carried), "--overwrite", "--confidence") == 0
    label_map = SemanticKitti.read_label_map()
    replaced = 0
    for name, network in alone.items():
        place = carried / "sequences/00/labels" / f"{name}.label"
        label = label_map.to_train(read_labels(place)[0])
        known = label != IGNORE
        written = tmp_path / "out/sequences/00/predictions" / f"{name}.label"
        expected = np.where(known, label_map.to_raw(label), network)
        np.testing.assert_array_equal(read_labels(written)[0], expected)
        confidence = np.load(written.with_name(f"{name}_confidence.npz"))["confidence"]
        evidence = np.load(evidence_file(place))
        wanted = np.where(evidence["kind"] == OWN, 1, evidence["agreement"])
        np.testing.assert_allclose(confidence[known], wanted[known], atol=1e-3)
        replaced += int((expected != network).sum())
    assert replaced > 100
    assert predict(0, "--carried", str(carried), "--confidence") == 0
    assert "(0 of them now)" in capsys.readouterr().out
    for changed in ("labels/000001.label", "evidence/000001.npz"):
        (carried / "sequences/00" / changed).touch()
        assert predict(0, "--carried", str(carried), "--confidence") == 1  # they have changed
        assert predict(0, "--carried", str(carried), "--confidence", "--overwrite") == 0


def test_the_raw_ids_are_those_of_the_drives_classes(
    predict: Callable[..., int], tiny_drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The classes of the network, but raw id 100 + train id."""
    names = SemanticKitti.read_label_map().names
    content = {
        "dataset": "mine", "splits": {"train": ["00"]},
        "classes": [{"name": name, "color": [1, 2, 3], "raw": 100 + train} for train, name in enumerate(names)],
        "raw": {0: {"name": "none", "class": "ignore"}}
        | {100 + train: {"name": name, "class": name} for train, name in enumerate(names)},
    }  # fmt: skip
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    assert predict(0) == 0
    alone = {path.name: read_labels(path)[0] for path in (tmp_path / "out").rglob("*.label")}
    given = np.arange(1500) % 20  # train ids, and 19 for no label
    write_labels(tmp_path / "carried/sequences/00/labels/000001.label", np.where(given < 19, 100 + given, 0))
    words = ["--dataset", str(tmp_path / "mine.yaml"), "--overwrite"]
    for carried in ((), ("--carried", str(tmp_path / "carried"))):
        assert predict(0, *words, *carried) == 0
        for path in (tmp_path / "out").rglob("*.label"):
            train = SemanticKitti.read_label_map().to_train(alone[path.name])
            expected = np.where(train == IGNORE, 0, 100 + train.astype(int))
            if carried and path.stem == "000001":
                expected = np.where(given < 19, 100 + given, expected)
            np.testing.assert_array_equal(read_labels(path)[0], expected)
    capsys.readouterr()
    assert predict(0) == 1
    assert "drive.raw_ids" in " ".join(capsys.readouterr().err.split())


def test_a_drive_whose_raw_ids_may_be_others_needs_a_dataset(tiny_drive: Path, tmp_path: Path) -> None:
    drive = open_drive(tiny_drive)
    own = replace(drive.label_map, learning_map={**drive.label_map.learning_map, 99: IGNORE, 1: 0})
    with pytest.raises(ValueError, match=r"found from the layout, has other raw ids.*--dataset"):
        CarriedFolder.open(tmp_path, drive, own)
    with pytest.raises(ValueError, match="has no labels of the 3 scans"):
        CarriedFolder.open(tmp_path, drive, own, chosen=True)


def test_carried_labels_of_something_else_are_refused(
    predict: Callable[..., int], carried: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(message: str, *words: str) -> None:
        assert predict(0, *words) == 1
        assert message in " ".join(capsys.readouterr().err.split())

    refused("has no labels of the 3 scans; looked for sequences/00/labels", "--carried", str(tmp_path / "none"))
    refused("those of the run are", "--carried", str(carried), "--dataset", "semantic_poss")
    place = carried / "sequences/00/labels/000001.label"
    whole = evidence_file(place).read_bytes()
    np.savez(evidence_file(place), **{name: column[:-1] for name, column in np.load(evidence_file(place)).items()})
    refused("000001.npz: has 1499 points, but", "--carried", str(carried), "--confidence")
    evidence_file(place).write_bytes(whole)
    place.write_bytes(place.read_bytes()[:-4])
    refused("000001.label", "--carried", str(carried), "--overwrite")
    assert main(["predict", str(tmp_path / "0.pt"), str(tmp_path), "--carried", str(carried)]) == 1
    assert "--carried: only with --drive" in " ".join(capsys.readouterr().err.split())
    assert main(["predict", str(tmp_path / "0.pt"), str(tmp_path), "--votes", "0"]) == 1
    assert "--votes: only with --drive" in " ".join(capsys.readouterr().err.split())
