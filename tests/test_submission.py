"""A submission takes its name only if every byte of it is what a server takes."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import random_scan

from rangeseg.cli import main
from rangeseg.config import Config, write_config
from rangeseg.data.prediction_files import ScanFiles
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.inference.predict import Task, find_tasks, write_zip
from rangeseg.inference.submission import check_zip, refuse
from rangeseg.labels import LabelMap
from rangeseg.resources import resource
from rangeseg.scan_io import read_scan
from rangeseg.types import IGNORE

KITTI = LabelMap.read(resource("datasets", "semantic_kitti", "labels.yaml"))
FILES = ScanFiles(KITTI)
ONE = "sequences/13/predictions/000001.label"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scans in each sequence of split test, of 30 to 60 points."""
    root, rng = tmp_path_factory.mktemp("kitti"), np.random.default_rng(3)
    for sequence in KITTI.splits["test"]:
        for frame in range(2):
            scan = random_scan(rng, int(rng.integers(30, 60)))
            path = root / "sequences" / sequence / "velodyne" / f"{frame:06d}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.column_stack([scan.xyz, scan.remission]).astype("<f4").tofile(path)
    return root


@pytest.fixture(scope="module")
def tasks(root: Path) -> list[Task]:
    return find_tasks([], FILES, SemanticKitti(root, "test"))


@pytest.fixture(scope="module")
def packed(root: Path, tasks: list[Task]) -> Path:
    """A whole submission."""
    rng, out = np.random.default_rng(4), root / "out"
    for task in tasks:
        scan = FILES.read(task.file)
        labels = rng.choice([*range(19), IGNORE], len(scan)).astype(np.uint8)
        FILES.write(out / task.target, labels, scan, task.file)
    write_zip(out, tasks, root / "whole.zip", lambda path: refuse(path, check_zip(path, tasks, FILES)))
    return root / "whole.zip"


Entries = dict[str, bytes]


def repacked(packed: Path, path: Path, change: Callable[[Entries], object]) -> Path:
    """A zip with something changed."""
    with zipfile.ZipFile(packed) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def test_nothing_is_wrong_with_a_whole_submission(packed: Path, tasks: list[Task]) -> None:
    assert check_zip(packed, tasks, FILES) == []
    with zipfile.ZipFile(packed) as archive:
        names = archive.namelist()
    assert len(names) == len(set(names)) == 1 + 11 * 2 + 11 * 2
    for folder in ("sequences/", "sequences/11/", "sequences/21/predictions/"):
        assert names.count(folder) == 1
    assert names.index("sequences/11/") < names.index("sequences/11/predictions/")


def test_points_without_a_class_have_the_raw_id_that_the_users_classes_name(tmp_path: Path) -> None:
    """`ignore: 255` in their YAML; a point without a return never has a class."""
    named = {"raw_names": {**KITTI.raw_names, 255: "none"}, "learning_map": {**KITTI.learning_map, 255: IGNORE}}
    files, scan, target = ScanFiles(replace(KITTI, ignore_raw=255, **named)), tmp_path / "a.bin", tmp_path / "a.label"
    np.array([[1, 2, 3, 0], [0, 0, 0, 0]], "<f4").tofile(scan)
    files.write(target, np.array([8, IGNORE]), read_scan(scan), scan)
    assert np.fromfile(target, "<u4").tolist() == [40, 255]
    assert files.problem(target, scan) is None
    np.array([40, 0], "<u4").tofile(target)
    assert files.problem(target, scan) == "raw ids [0] are not valid in the benchmark"


def put(content: bytes) -> Callable[[Entries], object]:
    return lambda entries: entries.update({ONE: content})


def of_points(value: int) -> Callable[[Entries], object]:
    """One label in the file has this value."""

    def change(entries: Entries) -> None:
        labels = np.frombuffer(entries[ONE], "<u4").copy()
        labels[7] = value
        entries[ONE] = labels.tobytes()

    return change


DAMAGES: dict[str, tuple[Callable[[Entries], object], str]] = {
    "a file less": (lambda entries: entries.pop(ONE), f"{ONE}: missing"),
    "a folder less": (lambda entries: entries.pop("sequences/12/"), "sequences/12/: missing"),
    "a file more": (lambda entries: entries.update({"readme.txt": b"hello"}), "readme.txt: unexpected file"),
    "a scan more": (lambda entries: entries.update({ONE.replace("01.", "02."): b""}), "000002.label: unexpected"),
    "a point less": (lambda entries: entries.update({ONE: entries[ONE][:-4]}), "bytes for"),
    "half a point": (lambda entries: entries.update({ONE: entries[ONE][:-2]}), "bytes for"),
    "empty": (put(b""), "0 bytes for"),
    "a train id": (of_points(3), "raw ids [3] are not valid in the benchmark"),
    "a raw id that is no class's own": (of_points(252), "raw ids [252]"),
    "an instance": (of_points(10 | 1 << 16), "instance ids"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_thing_that_is_wrong_is_one_problem(damage: str, packed: Path, tasks: list[Task], tmp_path: Path) -> None:
    change, words = DAMAGES[damage]
    (problem,) = check_zip(repacked(packed, tmp_path / "s.zip", change), tasks, FILES, workers=0)
    assert words in problem


def test_all_that_is_wrong_is_told(packed: Path, tasks: list[Task], tmp_path: Path) -> None:
    def change(entries: Entries) -> None:
        entries.pop("sequences/12/")
        of_points(3)(entries)
        entries.pop(ONE.replace("13", "14"))

    found = [check_zip(repacked(packed, tmp_path / "s.zip", change), tasks, FILES, workers=n) for n in (0, 1, 3)]
    assert len(found[0]) == 3
    assert found[1:] == found[:-1]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_repeated_entry_is_found(packed: Path, tasks: list[Task], tmp_path: Path) -> None:
    path = repacked(packed, tmp_path / "s.zip", lambda entries: None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(ONE, archive.read(ONE))
    assert check_zip(path, tasks, FILES) == [f"{ONE}: occurs 2 times in the file"]


def test_damaged_bytes_are_found_wherever_they_are(packed: Path, tasks: list[Task], tmp_path: Path) -> None:
    """One byte flipped, anywhere in the content of an entry."""
    with zipfile.ZipFile(packed) as archive:
        info = archive.getinfo(ONE)
        start = info.header_offset + 30 + len(ONE)
    whole, path = packed.read_bytes(), tmp_path / "s.zip"
    for place in range(start, start + info.compress_size, 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        (problem,) = check_zip(path, tasks, FILES, workers=0)
        assert problem.startswith(f"{ONE}: ")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_zip_that_is_cut_off_is_found(share: float, packed: Path, tasks: list[Task], tmp_path: Path) -> None:
    whole = packed.read_bytes()
    (tmp_path / "s.zip").write_bytes(whole[: int(share * len(whole))])
    (problem,) = check_zip(tmp_path / "s.zip", tasks, FILES)
    assert "not a complete zip file" in problem


def test_what_is_wrong_never_takes_the_name(root: Path, packed: Path, tasks: list[Task], tmp_path: Path) -> None:
    """Neither a new file nor a change of an old one, and nothing is left behind."""
    (tmp_path / "s.zip").write_bytes(b"old")
    more = [*tasks, Task(tasks[0].file, Path("sequences/11/predictions/000009.label"))]

    def check(path: Path) -> None:
        refuse(tmp_path / "s.zip", check_zip(path, more, FILES), cure="Mend it.")

    with pytest.raises(ValueError, match=r"s\.zip: not written.* Mend it.\n.*000009\.label: missing"):
        write_zip(root / "out", tasks, tmp_path / "s.zip", check)
    assert [path.name for path in tmp_path.iterdir()] == ["s.zip"]
    assert (tmp_path / "s.zip").read_bytes() == b"old"


def test_many_problems_are_counted() -> None:
    with pytest.raises(ValueError, match="and 80 more") as error:
        refuse(Path("s.zip"), [f"problem {number}" for number in range(100)])
    assert "problem 19" in str(error.value)
    assert "problem 20" not in str(error.value)
    refuse(Path("s.zip"), [])


def test_the_official_validator_takes_it_and_less_than_ours_refuses(
    root: Path, packed: Path, tasks: list[Task], tmp_path: Path
) -> None:
    """Against semantic-kitti-api's own script. It looks in velodyne/ or, as of some commits, in voxels/."""
    checkout = os.environ.get("RANGESEG_SEMANTIC_KITTI_API")
    if not checkout:
        pytest.skip(reason="set RANGESEG_SEMANTIC_KITTI_API to a checkout of semantic-kitti-api")
    for sequence in KITTI.splits["test"]:
        voxels = root / "sequences" / sequence / "voxels"
        voxels.exists() or voxels.symlink_to("velodyne")  # type: ignore[func-returns-value]

    def accepts(path: Path) -> bool:
        script = Path(checkout, "validate_submission.py")
        done = subprocess.run([sys.executable, script, str(path), str(root)], capture_output=True, check=False)
        return done.returncode == 0

    assert accepts(packed)
    theirs = {}
    for number, (name, (change, _)) in enumerate(DAMAGES.items()):
        theirs[name] = accepts(repacked(packed, tmp_path / f"{number}.zip", change))
    assert not any(theirs[name] for name in ("a file less", "a folder less", "a point less", "half a point", "empty"))
    assert all(theirs[name] for name in ("a train id", "a scan more"))


@pytest.fixture
def trained(tiny_config: Config, tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(write_config(tiny_config))
    assert main(["train", str(tmp_path / "config.yaml"), "optim.steps=1", "evaluation.every=0"]) == 0
    return Path(tiny_config.runtime.out)


def command(run: Path, root: Path, out: Path, *more: str) -> list[str]:
    return ["predict", str(run), f"data.root={root}", "--split", "test", "--out", str(out), "--device", "cpu", *more]


def test_a_split_without_all_its_scans_is_no_submission(
    trained: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said before anything is predicted; with --partial it is packed; with all scans there it is packed without."""
    out, packed = tmp_path / "out", tmp_path / "s.zip"
    arguments = command(trained, root, out, "--zip", str(packed))
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert "sequence 21: 2 scans; the official count is 2721" in said
    assert "--partial" in said
    assert not packed.exists()
    assert not out.exists()
    assert main([*arguments, "--partial"]) == 0
    packed.unlink()
    whole = replace(KITTI, scan_counts=dict.fromkeys(KITTI.splits["test"], 2))
    monkeypatch.setattr(SemanticKitti, "read_label_map", staticmethod(lambda: whole))
    assert main(arguments) == 0
    assert len(zipfile.ZipFile(packed).namelist()) == 45


def test_the_confidence_is_not_packed(trained: Path, root: Path, packed: Path, tmp_path: Path) -> None:
    arguments = command(trained, root, tmp_path / "out", "--confidence", "--zip", str(tmp_path / "s.zip"), "--partial")
    assert main(arguments) == 0
    assert len([*(tmp_path / "out").rglob("*_confidence.npz")]) == 22
    names = [set(zipfile.ZipFile(path).namelist()) for path in (packed, tmp_path / "s.zip")]
    assert names[0] == names[1]


def test_points_are_no_submission(
    trained: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command(
        trained, root, tmp_path / "out", "--format", "ply", "--zip", str(tmp_path / "s.zip"), "--partial"
    )
    assert main(arguments) == 1
    assert "--format ply is no format of a submission" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def contents(out: Path) -> dict[str, bytes]:
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and not path.name.startswith(".predicted_")]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def test_workers_write_the_same_files(trained: Path, root: Path, tmp_path: Path) -> None:
    written = []
    for workers in (0, 3):
        assert main(command(trained, root, tmp_path / str(workers), "--workers", str(workers))) == 0
        written.append(contents(tmp_path / str(workers)))
    assert written[0] == written[1]
    assert len(written[0]) == 22


@pytest.mark.slow
def test_ranks_share_the_work_and_the_first_packs_it(trained: Path, root: Path, tmp_path: Path) -> None:
    """By torchrun itself: together the same files as one process writes, and one zip of all of them."""
    assert main(command(trained, root, tmp_path / "one")) == 0
    arguments = command(trained, root, tmp_path / "two", "--zip", str(tmp_path / "s.zip"), "--partial")
    started = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "rangeseg.cli"]
    done = subprocess.run(
        [sys.executable, *started, *arguments], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert done.stdout.count("labelled in") == 1
    assert "(11 of them now, by the first of 2 processes)" in done.stdout.replace("\n", " ")
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        assert {name for name in archive.namelist() if name[-1] != "/"} == set(contents(tmp_path / "one"))
