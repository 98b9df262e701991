"""Options of the commands: numbers out of range are usage errors, and outputs are checked before the work."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from rangeseg.cli import main
from rangeseg.commands.console import check_outputs, whole
from rangeseg.commands.export import _notify_shared
from rangeseg.inference.predict import Task
from rangeseg.notices import Notice

NUMBERS = [
    (["analyse", "patch-distance", "c.yaml", "--out", "o"], "--every", 1),
    (["analyse", "patch-distance", "c.yaml", "--out", "o"], "--anchors", 1),
    (["benchmark"], "--repeats", 1),
    (["benchmark-ssl", "--out", "o"], "--jobs", 1),
    (["export", "r", "--out", "o.onnx"], "--max-scans", 1),
    (["fit-head", "r"], "--steps", 1),
    (["fit-head", "r"], "--scans", 1),
    (["fit-sensor", "s", "--out", "o.yaml"], "--max-scans", 1),
    (["fit-sensor", "s", "--out", "o.yaml"], "--rows", 1),
    (["propagate", "d", "--out", "o"], "--every", 1),
    (["propagate", "d", "--out", "o"], "--workers", 0),
    (["predict", "r"], "--workers", 0),
    (["repeat", "c.yaml", "--out", "o"], "--jobs", 1),
    (["report", "r"], "--scans", 1),
    (["reproduce", "row", "--root", "r", "--out", "o"], "--jobs", 1),
    (["show", "s"], "--max-scans", 1),
    (["stats", "c.yaml"], "--workers", 0),
    (["synthesise", "--out", "o"], "--scans", 1),
]


@pytest.mark.parametrize(("words", "option", "least"), NUMBERS, ids=lambda value: str(value))
def test_a_number_out_of_range_is_a_usage_error(
    words: list[str], option: str, least: int, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([*words, option, str(least - 1)])
    assert ended.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"{option}: {least - 1} is out of range; give at least {least}" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--calibrate", "scans", "--out", "net.xml"], "--calibrate: only for --int8"),
        (["--int8", "--out", "net.xml"], "--int8 needs real scans"),
        (["--int8", "--calibrate", "scans", "--out", "run.pt"], "--int8 is only for OpenVINO"),
    ],
)
def test_an_export_in_another_form_than_asked_is_refused(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", "first-answer", *words]) == 1
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


def test_scans_that_calibrate_and_verify_are_told(tmp_path: Path) -> None:
    one, other = (Task(tmp_path / name, Path(name)) for name in ("a.bin", "b.bin"))
    with pytest.warns(Notice, match=r"a\.bin: is given for the verification and to --calibrate \(1 such files\)"):
        _notify_shared([one], [one, other])
    _notify_shared([one], [other])  # a notice would be an error


def test_what_is_no_number_is_said_as_by_argparse() -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--n", type=whole(2))
    assert parser.parse_args(["--n", "2"]).n == 2
    with pytest.raises(argparse.ArgumentError, match="invalid int value: 'two'"):
        parser.parse_args(["--n", "two"])


@pytest.mark.parametrize("name", ["json", "plot", "zip", "video", "png", "html", "results"])
def test_each_output_file_is_checked_before_the_work(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for bad, error in ((tmp_path, IsADirectoryError), (tmp_path / "file" / "x", NotADirectoryError)):
        with pytest.raises(error):
            check_outputs(argparse.Namespace(**{name: bad}), "propagate")
    check_outputs(argparse.Namespace(**{name: tmp_path / "new" / "x"}), "propagate")


def test_output_folders_are_checked_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("out", "prelabel"):
        with pytest.raises(NotADirectoryError):
            check_outputs(argparse.Namespace(**{name: tmp_path / "file"}), "suggest")
        check_outputs(argparse.Namespace(**{name: tmp_path}), "suggest")
    check_outputs(argparse.Namespace(png=tmp_path), "show")  # pictures of several perturbations


def test_poses_of_votes_that_are_not_asked_for(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["pseudo-label", "kitti", "--out", str(tmp_path / "o"), "--poses", str(tmp_path)]
    assert main(words) == 1
    assert "--poses has no effect without --votes N" in " ".join(capsys.readouterr().err.split())


def test_an_ending_in_large_letters_is_not_taken_for_a_scan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The readers know the endings in small letters."""
    np.ones((40, 4), np.float32).tofile(tmp_path / "A.BIN")
    assert main(["predict", str(tmp_path / "A.BIN"), "--out", str(tmp_path / "o")]) != 0
    assert "A.BIN" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
