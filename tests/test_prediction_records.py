"""A prediction is kept only if its input, its network and its own files are those that its record names."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_photo_config, make_tiny_config, random_scan
from test_domain_check import dark, street, warnings_in, write
from test_predict_drive import tiny_drive  # noqa: F401 - a fixture

from rangeseg.apps import predict as predict_app
from rangeseg.apps.shown_scan import find_prediction
from rangeseg.cli import main
from rangeseg.data.prediction_files import ScanFiles
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.engine.checkpoint import write_checkpoint
from rangeseg.engine.experiment import Experiment
from rangeseg.inference.distributed import ProcessGroup
from rangeseg.inference.labelled_files import WithConfidence, beside
from rangeseg.inference.origin import claim, origin_of
from rangeseg.inference.predict import MOST_UNREADABLE
from rangeseg.inference.records import PREFIX

Call = Callable[..., int]


def scan_file(path: Path, seed: int) -> Path:
    """A scan of 1500 points; all have the same size and the same time."""
    write(path, random_scan(np.random.default_rng(seed), 1500))
    os.utime(path, (1e9, 1e9))
    return path


@pytest.fixture(scope="module")
def runs(tiny_kitti: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two networks."""
    folder, found = tmp_path_factory.mktemp("runs"), {}
    config = make_tiny_config(tiny_kitti, folder)
    for number, name in enumerate(("one", "other")):
        config.runtime.seed = number
        found[name] = folder / f"{name}.pt"
        write_checkpoint(found[name], {"teacher": Experiment(config).make_network().state_dict()}, config)
    return found


@pytest.fixture
def predict(runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Label scans or a drive into OUT; the result is the number of scans that were labelled now, -1 for an error."""

    def call(name: str, *words: str, out: str = "out") -> int:
        capsys.readouterr()
        if main(["predict", str(runs[name]), *words, "--out", str(tmp_path / out), "--device", "cpu"]):
            return -1
        return int(capsys.readouterr().out.partition(" of them now")[0].rpartition("(")[2])

    return call


@pytest.fixture
def scans(tmp_path: Path) -> dict[str, str]:
    """Two folders of two scans with equal names, sizes and times."""
    for number, name in enumerate("ab"):
        for frame in range(2):
            scan_file(tmp_path / name / f"{frame:06d}.bin", 2 * number + frame)
    return {name: str(tmp_path / name) for name in "ab"}


def contents(out: Path) -> dict[str, bytes]:
    files = sorted(path for path in out.rglob("*") if path.is_file() and not path.name.startswith(".predicted_"))
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def test_labels_of_other_scans_with_the_same_names_are_not_kept(
    predict: Call, scans: dict[str, str], tmp_path: Path
) -> None:
    assert predict("one", scans["a"]) == 2
    assert predict("one", scans["a"]) == 0
    assert predict("one", scans["b"]) == 2
    assert predict("one", scans["b"], out="fresh") == 2
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")
    assert predict("one", scans["b"]) == 0
    assert predict("one", scans["a"]) == 2


def test_unreadable_scans_do_not_stop_the_others(
    predict: Call, scans: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = [scan_file(tmp_path / "a" / f"1{frame:05d}.bin", frame) for frame in range(MOST_UNREADABLE)]
    (tmp_path / "a/000000.bin").write_bytes(bytes(7))
    assert predict("one", scans["a"], "--zip", str(tmp_path / "a.zip")) == -1
    assert re.search(r"a/000000\.bin: .* All other files are labelled\.\n$", capsys.readouterr().err)
    assert len(contents(tmp_path / "out")) == MOST_UNREADABLE + 1
    assert not (tmp_path / "a.zip").exists()
    scan_file(tmp_path / "a/000000.bin", 0)
    assert predict("one", scans["a"]) == 1

    for path in whole[1:]:
        path.write_bytes(bytes(7))
    assert predict("one", scans["a"]) == -1
    said = capsys.readouterr().err.splitlines()
    assert f"{len(whole) - 1} files cannot be read:" in said[-len(whole) - 1]
    assert said[-1] == "All other files are labelled."
    for path in (whole[0], *(Path(scans["a"]) / f"{frame:06d}.bin" for frame in range(2))):
        path.write_bytes(bytes(7))
    assert predict("one", scans["a"], out="other") == -1
    assert capsys.readouterr().err.endswith("These are too many; the rest is not labelled.\n")


def test_any_spelling_of_a_path_names_the_same_scan(
    predict: Call, scans: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert predict("one", scans["a"]) == 2
    (tmp_path / "link").symlink_to("a")
    monkeypatch.chdir(tmp_path)
    assert [predict("one", words) for words in ("a", "b/../a", "link")] == [0, 0, 0]
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("b")
    assert predict("one", "link") == 2


def test_a_scan_that_was_replaced_is_labelled_again(predict: Call, scans: dict[str, str], tmp_path: Path) -> None:
    """Also by an older one."""
    assert predict("one", scans["a"]) == 2
    shutil.copy(tmp_path / "b/000001.bin", tmp_path / "a/000001.bin")
    for time in (2e9, 5e8):
        os.utime(tmp_path / "a/000001.bin", (time, time))
        assert predict("one", scans["a"]) == 1
    assert predict("one", scans["a"]) == 0


def test_photographs_of_one_camera_are_not_confused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = make_photo_config(tmp_path)
    file = tmp_path / "run.pt"
    write_checkpoint(file, {"teacher": Experiment(config).make_network().state_dict()}, config)
    photo = next(path for path in sorted(Path(config.data.root).rglob("*.png")))
    for name in "ab":
        (tmp_path / name).mkdir()
        shutil.copy(photo, tmp_path / name / "x.png")
    said = []
    for name in "aab":
        words = ["predict", str(file), str(tmp_path / name), "--out", str(tmp_path / "o"), "--device", "cpu"]
        assert main([*words, "--confidence"]) == 0
        said.append(capsys.readouterr().out.partition(" of them now")[0].rpartition("(")[2])
    assert said == ["1", "0", "1"]


@pytest.mark.parametrize("votes", ["0", "1"])
def test_scans_of_a_drive_and_those_that_vote_are_noted(
    votes: str,
    predict: Call,
    tiny_drive: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    words = ("--drive", str(tiny_drive), "--votes", votes)
    home = tmp_path / "velodyne"
    shutil.copytree(tiny_drive / "velodyne", home)
    (tiny_drive / "velodyne").unlink()
    home.rename(tiny_drive / "velodyne")
    assert [predict("one", *words), predict("one", *words)] == [3, 0]
    scan_file(tiny_drive / "velodyne" / "000000.bin", 9)
    assert predict("one", *words) == 1 + int(votes)


@pytest.mark.parametrize("torn", [False, True])
def test_a_prediction_without_a_whole_record_is_made_again(
    torn: bool, predict: Call, scans: dict[str, str], tmp_path: Path
) -> None:
    """As after a kill."""
    assert predict("one", scans["a"]) == 2
    (record,) = (tmp_path / "out").glob(f"{PREFIX}*")
    whole, _, last = record.read_bytes().rpartition(b"\n")
    assert json.loads(last)["target"].endswith(".label")
    record.write_bytes(whole + (b"\n" + last[:20] if torn else b""))
    assert predict("one", scans["a"]) == 1
    assert predict("one", scans["a"]) == 0


def test_a_kill_while_labels_are_overwritten_is_no_change_by_a_person(
    predict: Call, scans: dict[str, str], tmp_path: Path
) -> None:
    assert predict("one", scans["a"]) == 2
    assert predict("one", scans["a"], "--overwrite") == 2
    (record,) = (tmp_path / "out").glob(f"{PREFIX}*")
    record.write_bytes(record.read_bytes().rpartition(b"\n")[0])
    assert predict("one", scans["a"]) == 1
    assert predict("one", scans["a"]) == 0


def test_labels_that_a_person_corrected_and_copies_stay(predict: Call, scans: dict[str, str], tmp_path: Path) -> None:
    assert predict("one", scans["a"]) == 2
    target = tmp_path / "out" / "000001.label"
    np.full(1500, 40, "<u4").tofile(target)
    assert predict("one", scans["a"]) == 0
    assert (np.fromfile(target, "<u4") == 40).all()
    shutil.copytree(tmp_path / "out", tmp_path / "copy", copy_function=shutil.copyfile)
    assert predict("one", scans["a"], out="copy") == 0
    assert predict("one", scans["b"], out="copy") == 2
    shutil.copytree(tmp_path / "copy", tmp_path / "again", copy_function=shutil.copyfile)
    assert predict("one", scans["a"], out="again") == 2
    assert predict("one", scans["a"], "--overwrite") == 2


def test_processes_have_records_of_their_own(
    runs: dict[str, Path], predict: Call, scans: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, words = ProcessGroup(), ["predict", str(runs["one"]), scans["a"], "--out", str(tmp_path / "out")]
    monkeypatch.setattr(predict_app, "_finish", lambda *arguments: [])  # of the first, before the second is called
    for name in ("barrier", "close"):
        monkeypatch.setattr(ProcessGroup, name, lambda self: None)
    monkeypatch.setattr(ProcessGroup, "all_reduce", lambda self, values: values)
    for group in (ProcessGroup(0, 2, 0), ProcessGroup(1, 2, 1)):
        monkeypatch.setattr(ProcessGroup, "init", staticmethod(lambda group=group: group))
        assert main([*words, "--device", "cpu"]) == 0
    assert len([*(tmp_path / "out").glob(f"{PREFIX}*")]) == len(contents(tmp_path / "out")) == 2
    monkeypatch.setattr(ProcessGroup, "init", staticmethod(lambda: alone))
    assert predict("one", scans["a"]) == 0


def test_confidence_is_that_of_the_labels_beside_it(predict: Call, scans: dict[str, str], tmp_path: Path) -> None:
    assert predict("one", scans["a"], "--confidence") == 2
    assert predict("one", scans["a"]) == 0
    assert len(contents(tmp_path / "out")) == 4
    assert predict("other", scans["a"], "--overwrite") == 2
    assert [*contents(tmp_path / "out")] == ["000000.label", "000001.label"]
    assert predict("other", scans["a"], "--confidence") == 2
    assert predict("other", scans["a"], "--confidence", out="fresh") == 2
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")
    assert predict("other", scans["a"], "--confidence") == 0
    assert predict("other", scans["b"]) == 2
    assert [*contents(tmp_path / "out")] == ["000000.label", "000001.label"]


def test_a_confidence_file_has_as_many_values_as_points(scans: dict[str, str], tmp_path: Path) -> None:
    files: Any = WithConfidence(ScanFiles(SemanticKitti.read_label_map()))
    target, file = tmp_path / "000000.label", Path(scans["a"], "000000.bin")
    np.full(1500, 40, "<u4").tofile(target)
    for points in (1499, 1500):
        np.savez(beside(target), confidence=np.ones(points, np.float32), entropy=np.ones(points, np.float32))
        assert (files.problem(target, file) is None) == (points == 1500)


def test_other_formats_of_other_labels_are_removed_but_no_file_of_a_person(
    predict: Call, scans: dict[str, str], tmp_path: Path
) -> None:
    out, label_map = tmp_path / "out", SemanticKitti.read_label_map()
    assert predict("one", scans["a"]) == 2
    assert predict("one", scans["a"], "--format", "ply") == 2  # the same labels
    assert len(contents(out)) == 4
    (out / "000000.npz").write_bytes(b"mine")
    (out / "000001.ply").write_bytes(b"changed")
    assert predict("other", scans["a"], "--overwrite", "--format", "pcd") == 2
    assert [*contents(out)] == ["000000.npz", "000000.pcd", "000001.pcd", "000001.ply"]
    assert predict("other", scans["a"], out="fresh") == 2
    (out / "000000.npz").unlink()
    np.testing.assert_array_equal(
        find_prediction(out, "000000", label_map), find_prediction(tmp_path / "fresh", "000000", label_map)
    )


def test_labels_never_replace_the_scans(
    predict: Call, scans: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor are scans removed that rangeseg wrote as labelled points."""
    assert predict("one", scans["a"], "--format", "ply", out="points") == 2
    points, before = str(tmp_path / "points"), contents(tmp_path / "points")
    for more in ((), ("--overwrite",)):
        assert predict("one", points, "--format", "ply", *more, out="points") == -1
        assert "is an input, and would be overwritten" in " ".join(capsys.readouterr().err.split())
    assert predict("other", points, "--overwrite", out="points") == 2
    assert before.items() <= contents(tmp_path / "points").items()


def test_labelled_points_in_a_folder_of_scans_are_no_scans(
    predict: Call, scans: dict[str, str], tmp_path: Path
) -> None:
    """`predict RUN . --format ply` writes below the folder that it reads, and may be called again."""
    assert predict("one", scans["a"], "--format", "ply", out="a/labelled") == 2
    assert predict("one", scans["a"], "--format", "ply", out="a/labelled") == 0
    assert predict("one", scans["a"], out="fresh") == 2
    assert predict("one", str(tmp_path / "a" / "labelled"), out="again") == 2  # a folder that is asked for


def origin(run: Any, path: Path) -> dict[str, Any]:
    return origin_of(path, run)


def test_the_weights_of_openvino_belong_to_the_origin(runs: dict[str, Path], tmp_path: Path) -> None:
    run = SimpleNamespace(config=make_tiny_config(tmp_path, tmp_path), temperature=1.0)
    (tmp_path / "net.xml").write_bytes(b"graph")
    (tmp_path / "net.bin").write_bytes(b"weights")
    first = origin(run, tmp_path / "net.xml")
    assert origin(run, tmp_path / "net.xml") == first
    (tmp_path / "net.bin").write_bytes(b"other weights")
    claim(tmp_path / "out", first, [])
    with pytest.raises(ValueError, match="another network"):
        claim(tmp_path / "out", origin(run, tmp_path / "net.xml"), [])


def test_the_contents_of_files_that_the_config_names_belong_to_the_origin(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head, classes, a sensor and a person's own code; the initial weights do not count."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    places = ("head.pt", "my.yaml", "sensor.yaml", "my_code.py", "start.pt")
    for name in places:
        Path(name).write_text("x = 1\n")
    __import__("my_code")
    config = make_tiny_config(tmp_path, tmp_path)
    config.evaluation.back_projection = {"name": "head", "file": "head.pt"}
    config.data.dataset = {"name": "my_code:Mine", "classes": "my.yaml"}
    config.data.projection = {"name": "sensor", "sensor": "sensor.yaml"}
    config.network = config.network | {"weights": "start.pt"}
    run = SimpleNamespace(config=config, temperature=1.0)
    changed, before = [], origin(run, runs["one"])
    for name in places:
        Path(name).write_text("x = 2\n")
        after = origin(run, runs["one"])
        changed += [name] if after != before else []
        before = after
    assert changed == list(places[:-1])
    assert origin(SimpleNamespace(config=config, temperature=1.5), runs["one"]) != before


def test_another_head_is_not_taken_for_the_first(
    predict: Call, scans: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from rangeseg.evaluation.point_head import PointHead, write_head

    head = tmp_path / "head.pt"
    word = f"evaluation.back_projection={{name: head, file: {head}}}"
    torch.manual_seed(0)
    write_head(head, PointHead(19, window=3))
    assert predict("one", scans["a"], word) == 2
    write_head(head, PointHead(19, window=3))
    assert predict("one", scans["a"], word) == -1
    assert "contents of evaluation.back_projection.file differ" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("drive", [False, True])
def test_misfits_are_told_of_by_each_call(drive: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As by the first, until the scans fit, or --anyway says so; there is no submission of them."""
    place, out = tmp_path / "drive", tmp_path / "out"
    for number in range(3):
        scan = street(number)
        write(place / f"{number:06d}.bin", scan if number == 1 else dark(scan))
    (place / "poses.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n" * 3)
    (place / "calib.txt").write_text("Tr: 1 0 0 0 0 1 0 0 0 0 1 0\n")
    words = ["predict", "first-answer", *(["--drive"] if drive else []), str(place)]
    words += ["--out", str(out), "--device", "cpu", *(["--votes", "0"] if drive else [])]
    said = []
    for _ in range(2):
        assert main(words) == 1
        captured = capsys.readouterr()
        said.append((sorted(warnings_in(captured.err)), captured.err.count("2 of 3 scans do not fit this run")))
    assert "0 of them now" in captured.out
    assert said[0] == said[1]
    assert (len(said[0][0]), said[0][1]) == (2, 1)
    if not drive:
        assert main([*words, "--zip", str(tmp_path / "s.zip"), "--partial"]) == 1
        assert not (tmp_path / "s.zip").exists()
    assert main([*words, "--anyway"]) == 0
    assert main(words) == 1
    capsys.readouterr()
    for number in range(3):
        write(place / f"{number:06d}.bin", street(number))
    assert main(words) == 0
    assert "do not fit" not in capsys.readouterr().out


def test_misfits_of_all_processes_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The scan of the first process fits, those of the others do not."""
    path = write(tmp_path / "a.bin", street())
    counts: list[list[int]] = []

    def all_reduce(self: ProcessGroup, values: np.ndarray) -> np.ndarray:
        counts.append(values.tolist())
        return values + np.array([2, 2])

    monkeypatch.setattr(ProcessGroup, "all_reduce", all_reduce)
    assert main(["predict", "first-answer", str(path), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 1
    assert counts == [[0, 1]]
    assert "2 of 3 scans do not fit this run" in capsys.readouterr().err


def test_the_tags_of_semantic_poss_are_inputs(predict: Call, tmp_path: Path) -> None:
    scan_file(tmp_path / "in/velodyne/000000.bin", 0)
    tag = tmp_path / "in/tag/000000.tag"
    tag.parent.mkdir()
    tag.write_bytes(b"1")
    place = str(tmp_path / "in/velodyne")
    assert [predict("one", place), predict("one", place)] == [1, 0]
    tag.write_bytes(b"10")
    assert predict("one", place) == 1


def test_an_origin_has_no_new_keys_without_need(runs: dict[str, Path], tmp_path: Path) -> None:
    """So that folders of earlier versions are not refused."""
    config = replace(make_tiny_config(tmp_path, tmp_path))
    found = origin(SimpleNamespace(config=config, temperature=1.0), runs["one"])
    assert not [key for key in found if "contents" in key]
    assert found["temperature"] is None
