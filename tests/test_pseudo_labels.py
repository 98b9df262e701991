"""Balanced pseudo-labels against sorting in NumPy, and the way from a run to a run on them."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from test_predict_drive import tiny_drive  # noqa: F401 # a fixture

from rangeseg.cli import main
from rangeseg.config import Config, config_from, read_config
from rangeseg.data.scribble_kitti import ScribbleKitti
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.drive.layouts import open_drive
from rangeseg.drive.trajectory import Trajectory
from rangeseg.engine.checkpoint import write_checkpoint
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.training import train
from rangeseg.inference.drive import ScanProbabilities, label_pooled, pool_drive, pooled, probabilities_of
from rangeseg.inference.pseudo_labels import BINS, Balance, pseudo_label
from rangeseg.inference.segmenter import Segmenter
from rangeseg.registry import ConfigError
from rangeseg.scan_io import read_labels
from rangeseg.types import IGNORE


def test_the_surest_share_of_each_class_in_each_annulus_is_kept(rng: np.random.Generator) -> None:
    balance = Balance(keep=0.3, annuli=4)
    label, annulus = rng.integers(0, 5, 4000), rng.integers(0, 4, 4000)
    sure = np.minimum(rng.beta(2 + label, 2) * BINS, BINS - 1).astype(int)
    counts = np.zeros((6, 4, BINS), np.int64)
    np.add.at(counts, (label, annulus, sure), 1)
    bins = balance.thresholds(counts)
    for train_id in range(5):
        for ring in range(4):
            mine = np.sort(sure[(label == train_id) & (annulus == ring)])[::-1]
            assert bins[train_id, ring] == mine[int(np.ceil(0.3 * len(mine))) - 1]
    assert (bins[5] == BINS).all()  # nobody was given it


def test_annuli_are_rings_on_the_ground_and_the_last_has_no_end() -> None:
    xyz = np.array([[0, 0, 9], [3, 4, 0], [0, -4.99, 50], [30, 40, 0], [44, 0, 0], [0, 500, 1], [np.nan, 0, 0]])
    assert Balance().annulus(xyz.astype(np.float32)).tolist() == [0, 1, 0, 9, 8, 9, 0]


@pytest.mark.parametrize("settings", [{"keep": 0.0}, {"keep": 1.2}, {"annuli": 0}, {"annuli": 300}, {"width_m": 0.0}])
def test_what_cannot_be_balanced_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="Pseudo-labels got"):
        Balance(**settings)  # type: ignore[arg-type]


def test_a_run_labels_scans_and_the_next_run_learns_from_them(
    tiny_config: Config, tiny_kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny_config)
    first, out = Path(tiny_config.runtime.out), tmp_path / "pseudo"
    (tmp_path / "labelled.txt").write_text("00/000001\n")
    words = ["pseudo-label", str(first), "--leave-out", str(tmp_path / "labelled.txt"), "--out", str(out)]
    assert main([*words, "--keep", "0.4", "--annuli", "3", "--width-m", "10"]) == 0
    assert "% of the points are labelled below" in capsys.readouterr().out
    assert (out / "scans.txt").read_text().split() == ["00/000000", "00/000002"]
    assert sorted(path.name for path in out.iterdir()) == ["scans.txt", "sequences"]

    segmenter, source = Segmenter.load(first, device="cpu"), SemanticKitti(tiny_kitti, "train", labels=False)
    answers, sure, rings = [], [], []
    for index in (0, 2):  # the oracle: one long sort
        scan = source.scan(index)
        image = segmenter.project(scan)
        logits = segmenter.logits(image)
        answers.append(segmenter.label(image, logits))
        probabilities = image.back_project(logits.softmax(0).numpy())
        sure.append(probabilities[np.minimum(answers[-1], 18), np.arange(len(scan))])
        rings.append(np.minimum(np.hypot(*scan.xyz[:, :2].T) // 10, 2))
    written = [
        segmenter.label_map.to_train(read_labels(out / f"sequences/00/predictions/00000{index}.label")[0])
        for index in (0, 2)
    ]
    label, confidence, ring, kept = (np.concatenate(each) for each in (answers, sure, rings, written))
    assert (kept == label)[kept != IGNORE].all()
    for train_id in np.unique(label[label != IGNORE]):
        for annulus in range(3):
            mine = (label == train_id) & (ring == annulus)
            if mine.any():
                bins = np.floor(confidence[mine] * BINS)
                least = np.sort(bins)[::-1][int(np.ceil(0.4 * len(bins))) - 1]
                assert ((kept[mine] != IGNORE) == (bins >= least)).all()
    assert 0.4 <= (kept != IGNORE).mean() < 0.9

    entry = {"root": str(tiny_kitti), "dataset": {"name": "semantic_kitti", "labels_from": str(out)}}
    again = {
        "data": {
            "labelled": str(tmp_path / "labelled.txt"),
            "labelled_from": [entry | {"subset": str(out / "scans.txt")}],
        },
        "supervised": {"mix": {"range_mix": {}}},
        "runtime": {"out": str(tmp_path / "second"), "initialise_from": str(first)},
    }
    assert train(config_from([asdict(tiny_config), again])) is not None
    source = SemanticKitti(tiny_kitti, "train", labels_from=out)
    with pytest.raises(ValueError, match=r"00/predictions/000001.label: the labels of .* are missing.*scans.txt"):
        source.scan(1)

    (out / "sequences/00/predictions/000007.label").touch()  # not of the earlier call
    (tmp_path / "labelled.txt").write_text("00/000000\n")
    assert main(words) == 0
    assert (out / "scans.txt").read_text().split() == ["00/000001", "00/000002"]
    written = sorted(path.stem for path in out.rglob("*.label"))
    assert written == ["000001", "000002", "000007"]


def test_scans_that_people_labelled_get_no_pseudo_labels(
    tiny_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By default, those of `data.labelled`; an explicit list, or none, replaces them."""
    network = Experiment(tiny_config).make_network()
    write_checkpoint(tmp_path / "run.pt", {"teacher": network.state_dict()}, tiny_config)
    whole = ["00/000000", "00/000001", "00/000002"]
    (tmp_path / "one.txt").write_text("00/000001\n")
    (tmp_path / "two.txt").write_text("00/000000\n00/000002\n")

    def labelled(*words: str) -> list[str]:
        out = tmp_path / "pseudo"
        assert main(["pseudo-label", str(tmp_path / "run.pt"), "--device", "cpu", "--out", str(out), *words]) == 0
        return (out / "scans.txt").read_text().split()

    of_list = f"data.labelled={tmp_path / 'one.txt'}"
    assert labelled() == labelled("data.labelled=none") == labelled(of_list, "--leave-out", "none") == whole
    assert labelled(of_list, "--leave-out", str(tmp_path / "two.txt")) == ["00/000001"]
    (tmp_path / "short.txt").write_text("00/1\n")  # no scan has this name
    capsys.readouterr()
    words = ["pseudo-label", str(tmp_path / "run.pt"), "--out", str(tmp_path / "pseudo")]
    assert main([*words, "--leave-out", str(tmp_path / "short.txt")]) == 1
    assert "short.txt: 1 of 1 listed scans do not exist: 00/1" in " ".join(capsys.readouterr().err.split())
    assert labelled(of_list) == ["00/000000", "00/000002"]
    assert "No pseudo-labels for the 1 scans of data.labelled=" in " ".join(capsys.readouterr().out.split())
    shutil.copytree(tiny_config.data.root, tmp_path / "kitti")
    for name in ("000000", "000002"):
        (tmp_path / f"kitti/sequences/00/labels/{name}.label").unlink()
    partly = ("data.labelled=with_labels", f"data.root={tmp_path / 'kitti'}")
    assert labelled(*partly) == ["00/000000", "00/000002"]
    (tmp_path / "one.txt").write_text("00/000777\n")
    assert main(["pseudo-label", str(tmp_path / "run.pt"), "--out", str(tmp_path / "pseudo"), of_list]) == 1
    assert "none with --leave-out none" in " ".join(capsys.readouterr().err.split())


def test_votes_along_the_drive_are_the_teacher(
    tiny_config: Config,
    tiny_drive: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    """The oracle: the pooled probabilities of every scan of the drive, and one long sort."""
    train(tiny_config)
    first, root, out = Path(tiny_config.runtime.out), tiny_drive.parent.parent, tmp_path / "pseudo"
    (tmp_path / "labelled.txt").write_text("00/000001\n")
    words = ["pseudo-label", str(first), f"data.root={root}", "--leave-out", str(tmp_path / "labelled.txt")]
    words += ["--out", str(out), "--keep", "0.4", "--annuli", "1", "--votes", "1"]
    assert main(words) == 0
    drive, segmenter = open_drive(tiny_drive), Segmenter.load(first, device="cpu")
    poses, read = drive.own_poses(), [drive.read(scan.file) for scan in drive.scans]
    asked = [probabilities_of(segmenter, scan, number, 0.3) for number, scan in enumerate(read)]
    label, sure, kept = [], [], []
    for number in (0, 2):  # the scan that is left out votes
        near = [one for one in asked if abs(one.number - number) <= 1]
        mean = pooled(asked[number], near, poses.poses, 0.3)
        label.append(label_pooled(segmenter, asked[number], mean))
        pixels = np.zeros((19, 16 * 64), np.float32)
        pixels[:, asked[number].pixels] = (mean / mean.sum(1, keepdims=True)).T  # of half precision
        image = asked[number].image
        points = pixels[:, np.maximum(image.row * 64 + image.col, 0)]
        sure.append(points[np.minimum(label[-1], 18), np.arange(len(read[number]))])
        place = out / f"sequences/00/predictions/00000{number}.label"
        kept.append(segmenter.label_map.to_train(read_labels(place)[0]))
    labels, confidence, written = (np.concatenate(each) for each in (label, sure, kept))
    assert (written == labels)[written != IGNORE].all()
    for train_id in np.unique(labels[labels != IGNORE]):
        bins = np.floor(confidence[labels == train_id] * BINS)
        least = np.sort(bins)[::-1][int(np.ceil(0.4 * len(bins))) - 1]
        assert ((written[labels == train_id] != IGNORE) == (bins >= least)).all()
    words[words.index(str(out))] = str(tmp_path / "alone")
    assert main(words[:-2]) == 0
    alone = (tmp_path / "alone/sequences/00/predictions/000000.label").read_bytes()
    assert alone != (out / "sequences/00/predictions/000000.label").read_bytes()


def test_votes_hold_a_window_of_the_drive(tiny_drive: Path) -> None:  # noqa: F811
    """Each scan in reach is asked once, those out of reach never."""
    drive, segmenter = open_drive(tiny_drive), Segmenter.load("first-answer", device="cpu")
    read: list[str] = []
    seen = replace(drive, read=lambda file: (read.append(file.stem), drive.read(file))[1])
    many = replace(seen, scans=seen.scans * 4)
    poses = Trajectory(tuple(map(str, range(12))), np.tile(np.eye(4), (12, 1, 1)))
    sizes: list[int] = []

    def use(scan: ScanProbabilities, probability: np.ndarray) -> int:
        sizes.append(len(probability))
        return scan.number

    assert list(pool_drive(segmenter, many, poses, [0, 1, 8], use, 1, workers=0)) == [0, 1, 8]
    assert len(read) == 3 + 3  # 0, 1, 2 and 7, 8, 9


@pytest.mark.parametrize("words", [["--votes", "-1"], ["--poses", "here"]])
def test_votes_of_no_scans_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pseudo-label", "run", "--out", "out", *words]) == 1
    assert "the number of scans before and after each scan" in " ".join(capsys.readouterr().err.split())


def test_pseudo_labels_stand_in_for_scribbles_too(tiny_kitti: Path) -> None:
    source = ScribbleKitti(tiny_kitti, "train", labels_from="there")
    assert source.pair(0).label == Path("there/sequences/00/predictions/000000.label")


def test_nothing_left_to_label_is_said(tiny_config: Config, tiny_kitti: Path, tmp_path: Path) -> None:
    train(tiny_config)
    source = SemanticKitti(tiny_kitti, "train", labels=False)
    with pytest.raises(ValueError, match="No scan is left to label"):
        pseudo_label(Segmenter.load(tiny_config.runtime.out), source, tmp_path / "out", leave_out=source.names)


def test_the_ramp_is_a_share_of_the_steps() -> None:
    config = read_config("mini_kitti+warm_teacher+cutmix", ["data.root=x", "optim.steps=1000"])
    assert config.consistency.rampup_steps(1000) == 300
    assert (config.teacher.decay, config.teacher.warmup, config.consistency.threshold) == (0.996, True, 0.95)
    config = read_config("mini_kitti", ["data.root=x"])
    assert config.consistency.rampup_steps(config.optim.steps) == 150
    with pytest.raises(ConfigError, match="rampup_share"):
        read_config("mini_kitti", ["data.root=x", "consistency.rampup_share=0.5"])
