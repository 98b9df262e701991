"""docs/label_a_drive.md, done as written on a made-up drive, with somebody who knows the truth as the person."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from documents import ROOT, blocks, rangeseg_words

from rangeseg.cli import main
from rangeseg.drive.kitti_poses import read_kitti_poses
from rangeseg.scan_io import read_labels, write_labels

PAGE = ROOT / "docs" / "label_a_drive.md"
CLASSES = (40, 10, 70)
"""Road, cars and vegetation by their height: there is something to learn."""
SCANS, STEP_M = 8, 1.0
FURTHER = {
    "suggest": ["--device", "cpu"],
    "train": ["optim.steps=120", "optim.lr=1e-2", "teacher.decay=0.8", "data.projection.height=32",
              "data.projection.width=128", "network={name: fidnet, width: 8, blocks: [2, 2]}",
              "runtime.initialise_from=null", "runtime.precision=32-true", "runtime.accelerator=cpu",
              "runtime.workers=0"],
    "evaluate": ["--device", "cpu"],
    "predict": ["--device", "cpu"],
}  # fmt: skip


def world(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) points of a street, and their raw ids: ground, boxes about 1 m high, tall things."""
    ground = rng.uniform((-30, -12, -1.72), (40, 12, -1.7), (12000, 3))
    middles = rng.uniform((-30, -11, 0), (40, 11, 0), (40, 3))
    boxes = (middles[:, None] + rng.uniform((-1, -1, -1.2), (1, 1, 0), (40, 200, 3))).reshape(-1, 3)
    tall = (middles[:, None] + (3, 2, 0) + rng.uniform((-0.4, -0.4, 0.1), (0.4, 0.4, 1.2), (40, 300, 3))).reshape(-1, 3)
    sizes = [len(part) for part in (ground, boxes, tall)]
    return np.concatenate([ground, boxes, tall]), np.repeat(CLASSES, sizes).astype(np.uint32)


def write_sequence(home: Path, seed: int, scans: int, *, labels: bool) -> list[np.ndarray]:
    """Scans a metre apart of one world; their raw ids."""
    points, raw = world(np.random.default_rng(seed))
    truth = []
    for number in range(scans):
        seen = points - (STEP_M * number, 0, 0)
        far, rise = np.linalg.norm(seen, axis=1), np.rad2deg(np.arctan2(seen[:, 2], np.hypot(seen[:, 0], seen[:, 1])))
        near = (far < 30) & (rise > -25) & (rise < 3)  # what an HDL-64E sees
        table = np.column_stack([seen[near], np.full(near.sum(), 0.3)]).astype(np.float32)
        (home / "velodyne").mkdir(parents=True, exist_ok=True)
        table.tofile(home / "velodyne" / f"{number:06d}.bin")
        truth.append(raw[near])
        if labels:
            write_labels(home / "labels" / f"{number:06d}.label", raw[near])
    return truth


def label_as_a_person(folder: Path, truth: list[np.ndarray]) -> None:
    """Correct every label of all scans, and write their names down."""
    names = []
    for path in sorted((folder / "labels").iterdir()):
        truth[int(path.stem)].astype("<u4").tofile(path)
        names.append(path.stem)
    with (folder / "done.txt").open("a") as file:
        file.write("".join(f"{name}\n" for name in names))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*rangeseg fit-sensor")  # made-up scans are of no sensor
def test_the_page_leads_from_no_labels_to_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kiss_icp", reason="the extra poses is not installed")
    monkeypatch.chdir(tmp_path)
    truth = write_sequence(Path("my/sequences/00"), 1, SCANS, labels=False)
    write_sequence(Path("my/sequences/08"), 2, 2, labels=True)
    lines = [line for block in blocks(PAGE) if block.language == "bash" for line in block.commands]
    words = [rangeseg_words(line) for line in lines]
    assert len(words) == 7
    for command in words:
        assert command is not None
        assert main([*command, *FURTHER.get(command[0], [])]) == 0, command
        if command[0] == "suggest":
            label_as_a_person(Path("to_label"), truth)
    poses = read_kitti_poses(Path("poses"), [f"{n:06d}" for n in range(SCANS)])
    np.testing.assert_allclose(poses.positions[:, 0], STEP_M * np.arange(SCANS), atol=0.1)
    given = sorted(path.stem for path in Path("my/sequences/00/labels").iterdir())
    assert len(given) == 3
    for number in range(SCANS):
        carried = read_labels(f"carried/sequences/00/labels/{number:06d}.label")[0]
        assert np.mean(carried == truth[number]) > 0.9
    share = np.bincount(np.concatenate(truth)).max() / sum(map(len, truth))
    alone = ["--drive", "my/sequences/00", "--poses", "poses", "--out", "alone", "--device", "cpu"]
    assert main(["predict", "runs/my_drive", *alone]) == 0
    of_network, of_all = (
        [np.mean(read_labels(path)[0] == truth[int(path.stem)]) for path in Path(folder).rglob("*.label")]
        for folder in ("alone", "predicted")
    )
    assert len(of_network) == len(of_all) == SCANS
    assert np.mean(of_network) > share + 0.05  # it has learnt more than the most frequent class
    assert np.mean(of_all) > np.mean(of_network)  # carried labels come first


def test_the_page_has_the_seven_commands_it_promises() -> None:
    lines = [line for block in blocks(PAGE) if block.language == "bash" for line in block.commands]
    assert len(lines) == 7
    assert all(
        re.match(r"rangeseg (poses|suggest|corrected|propagate|train|evaluate|predict) ", line) for line in lines
    )
