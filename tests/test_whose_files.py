"""Whose labels lie in an output folder, what they are called, and what is said of them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_tiny_config

from rangeseg.apps.predict import ClassShares
from rangeseg.cli import main, parse
from rangeseg.commands.predict import _is_scans
from rangeseg.config import Config
from rangeseg.data.prediction_files import ScanFiles
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.engine.checkpoint import write_checkpoint
from rangeseg.engine.experiment import Experiment
from rangeseg.inference.origin import FILE, claim
from rangeseg.inference.predict import find_tasks
from rangeseg.paths import walk

FILES = ScanFiles(SemanticKitti.read_label_map())


@pytest.fixture(scope="module")
def runs(tiny_kitti: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two checkpoints of one config that say different things, and a copy of the first."""
    folder = tmp_path_factory.mktemp("runs")
    config = make_tiny_config(tiny_kitti, folder)
    found = {}
    for number, name in enumerate(("one", "other")):
        torch.manual_seed(number)
        config.runtime.seed = number
        network = Experiment(config).make_network()
        with torch.no_grad():
            network.head.classify.bias[3 + number] += 50  # type: ignore[union-attr, operator, index]
        found[name] = folder / f"{name}.pt"
        write_checkpoint(found[name], {"teacher": network.state_dict()}, config)
    found["copy"] = folder / "copy.pt"
    found["copy"].write_bytes(found["one"].read_bytes())
    return found


Predict = Callable[..., int]


@pytest.fixture
def predict(runs: dict[str, Path], tiny_kitti: Path, tmp_path: Path) -> Predict:
    """Predict the scans of 00 and of 08, or of one of them."""

    def call(name: str, *words: str, sequence: str = "") -> int:
        scans = tiny_kitti / "sequences" / sequence
        return main(["predict", str(runs[name]), str(scans), "--out", str(tmp_path / "out"), "--device", "cpu", *words])

    return call


def written(out: Path) -> dict[str, int]:
    """Label file -> its one raw id."""
    files = sorted(out.rglob("*.label"))
    return {path.relative_to(out).as_posix(): int(np.unique(np.fromfile(path, "<u4")).max()) for path in files}


def test_labels_of_another_network_are_not_taken_for_ones_own(
    predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict("one", sequence="08") == 0
    first = written(tmp_path / "out")
    assert predict("copy", sequence="08") == 0  # the same network under another name
    assert "(0 of them now)" in capsys.readouterr().out
    assert predict("other", sequence="08") == 1
    said = capsys.readouterr().err
    assert "labels of another network" in said
    assert "one.pt" in said
    assert "--overwrite" in said
    assert written(tmp_path / "out") == first
    assert predict("other", "--overwrite", sequence="08") == 0
    second = written(tmp_path / "out")
    assert second.keys() == first.keys()
    assert set(second.values()).isdisjoint(first.values())


def test_after_an_overwrite_of_some_the_rest_is_still_of_another(predict: Predict, tmp_path: Path) -> None:
    """Also where the overwriting was killed in the middle."""
    assert predict("one") == 0
    old = written(tmp_path / "out")
    assert predict("other", "--overwrite", sequence="08") == 0
    assert predict("other") == 0
    assert set(written(tmp_path / "out").values()).isdisjoint(old.values())


def test_another_config_is_another_origin(predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict("one", sequence="08") == 0
    assert predict("one", "evaluation.back_projection.name=nearest", sequence="08") == 1
    assert "labels of another config" in capsys.readouterr().err
    assert predict("one", "evaluation.batch=2", "runtime.workers=1", "runtime.out=elsewhere", sequence="08") == 0


@pytest.mark.parametrize("content", [None, b"", b"[1]", b"{"])
def test_labels_of_nobody_knows_whom_are_refused(
    content: bytes | None, predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict("one", sequence="08") == 0
    (tmp_path / "out" / FILE).unlink()
    if content is not None:
        (tmp_path / "out" / FILE).write_bytes(content)
    assert predict("one", sequence="08") == 1
    assert "labels of an unknown network" in capsys.readouterr().err
    assert predict("one", "--overwrite", sequence="08") == 0
    assert predict("one", sequence="08") == 0


def test_a_folder_with_other_things_in_it_may_be_used(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    claim(tmp_path, {"sha256": "a"}, [Path("0.label")])
    assert json.loads((tmp_path / FILE).read_text()) == {"sha256": "a"}
    with pytest.raises(ValueError, match="another network"):
        claim(tmp_path, {"sha256": "b"}, [])
    claim(tmp_path, {"sha256": "b"}, [], overwrite=True, write=False)  # not the first process
    assert json.loads((tmp_path / FILE).read_text()) == {"sha256": "a"}


def test_linked_scans_keep_the_names_of_the_path_given(tiny_kitti: Path, tmp_path: Path) -> None:
    """A sequence, a folder of scans, and a scan, each a link; and links within what is given."""
    there = tiny_kitti / "sequences" / "08" / "velodyne"
    home = tmp_path / "sequences" / "11"
    home.mkdir(parents=True)
    (home / "velodyne").symlink_to(there)
    expected = [Path("sequences", "11", "predictions", f"{number:06d}.label") for number in (0, 1)]
    for given in (home / "velodyne", home, tmp_path / "sequences", tmp_path):
        assert [task.target for task in find_tasks([given], FILES)] == expected
    (tmp_path / "single.bin").symlink_to(there / "000000.bin")
    (task,) = find_tasks([tmp_path / "single.bin"], FILES)
    assert task.target == Path("single.label")


def test_a_relative_path_has_the_same_names(tiny_kitti: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_kitti / "sequences" / "08" / "velodyne")
    (task,) = find_tasks(["000000.bin"], FILES)
    assert task.target == Path("sequences", "08", "predictions", "000000.label")


def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "b" / "self").symlink_to(".")
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a" / "b")
    (tmp_path / "a" / "b" / "x.bin").touch()
    (tmp_path / "gone.bin").symlink_to("nowhere")
    found = [path.relative_to(tmp_path).as_posix() for path in walk(tmp_path)]
    assert sorted(found) == ["a/again/x.bin", "a/b/x.bin"]


def test_linked_scans_make_a_folder_of_scans(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "x.bin").touch()
    (tmp_path / "drives").mkdir()
    (tmp_path / "drives" / "a").symlink_to(tmp_path / "disk")
    assert _is_scans(tmp_path / "drives")


def test_what_was_done_is_said_with_shares_and_the_next_command(
    predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert predict("one", sequence="08") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"2 scans labelled in {tmp_path / 'out'} (2 of them now)")
    name = Experiment(make_config(tmp_path)).label_map.names[3]
    assert said[1].startswith(f"class shares: {name} ")
    (following,) = [line.removeprefix("next: ") for line in said if line.startswith("next: ")]
    monkeypatch.chdir(tmp_path)
    words = shlex.split(following)
    assert parse(words[1:])
    assert main(words[1:]) == 0
    assert (tmp_path / "picture.png").is_file()


def make_config(tmp_path: Path) -> Config:
    return make_tiny_config(tmp_path, tmp_path)


def test_class_shares_are_those_of_the_labels(rng: np.random.Generator) -> None:
    names = [f"class {number}" for number in range(9)]
    shares, labels = ClassShares(names), [rng.choice([0, 1, 2, 5, 255], 1000) for _ in range(3)]
    assert list(shares.words()) == []
    for one in labels:
        shares.count(one)
    (line,) = shares.words()
    whole = np.concatenate(labels)
    whole = whole[whole != 255]
    line, _, rest = line.partition("; ")
    assert rest == f"{1 - len(whole) / 3000:.1%} of all have no label"
    told = dict(part.rsplit(" ", 1) for part in line.removeprefix("class shares: ").split(", "))
    assert told == {names[one]: f"{(whole == one).mean():.1%}" for one in (0, 1, 2, 5)}
    shares.count(np.arange(9))
    assert "and 3 more classes" in next(iter(shares.words()))
