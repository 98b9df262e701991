"""Values that no sensor measured and answers that mean nothing: counted, told of by the file's name, never used."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import random_scan
from scan_writers import pcd, ply

from rangeseg import Segmenter, read_scan
from rangeseg.apps.validate import dataset_config, validate
from rangeseg.cli import main
from rangeseg.config import Config
from rangeseg.engine.checkpoint import write_checkpoint
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.initialise import initialise
from rangeseg.inference.run import Run
from rangeseg.inference.scoring import open_views, score_run
from rangeseg.notices import Notice
from rangeseg.photos.io import read_photo
from rangeseg.registry import ConfigError
from rangeseg.scan_formats.checks import FARTHEST_M, guarded
from rangeseg.types import IGNORE, Scan

IMPOSSIBLE = {
    "nan remission": (3, np.nan),
    "infinite remission": (3, -np.inf),
    "a million times too far": (0, 3e7),
    "a little too far": (1, 1.01 * FARTHEST_M),
}


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    scan = random_scan(np.random.default_rng(3), 3000)
    return np.column_stack([scan.xyz, scan.remission]).astype("<f4")


def written(path: Path, table: np.ndarray) -> Path:
    """A scan's file in the format of its ending."""
    rows = np.rec.fromarrays(table.T, names="x,y,z,remission")
    ring = np.zeros((len(table), 1), "<f4")
    writers: dict[str, Callable[[], object]] = {
        ".bin": lambda: table.tofile(path),
        ".pcd.bin": lambda: np.hstack([table * [1, 1, 1, 255], ring]).astype("<f4").tofile(path),
        ".npy": lambda: np.save(path, table),
        ".pcd": lambda: path.write_bytes(pcd(rows)),
        ".ply": lambda: path.write_bytes(ply(rows)),
        ".npz": lambda: np.savez(path, **{name: rows[name] for name in rows.dtype.names}),
    }
    writers["".join(path.suffixes)]()
    return path


@pytest.mark.parametrize("ending", [".bin", ".npy", ".pcd.bin", ".pcd", ".ply", ".npz"])
@pytest.mark.parametrize("kind", IMPOSSIBLE)
def test_what_no_lidar_measured_is_no_return_in_every_format(
    kind: str, ending: str, table: np.ndarray, tmp_path: Path
) -> None:
    """The network answers as for the scan whose point is at the origin: nothing but that point changes."""
    column, value = IMPOSSIBLE[kind]
    broken, without = table.copy(), table.copy()
    broken[7, column], without[7, :3] = value, 0
    with pytest.warns(Notice, match=rf"broken\{ending}: 1 (farther|with a remission).*of its 3000 points"):
        scan = read_scan(written(tmp_path / f"broken{ending}", broken))
    segmenter = Segmenter.load("first-answer", device="cpu")
    expected = segmenter(read_scan(written(tmp_path / f"without{ending}", without)))
    found = segmenter(scan)
    assert found[7] == IGNORE
    np.testing.assert_array_equal(found, expected)


def test_a_whole_scan_is_neither_copied_nor_spoken_of(rng: np.random.Generator) -> None:
    scan = random_scan(rng, 100)
    scan.xyz[3], scan.xyz[4], scan.remission[3] = np.nan, 0, np.nan  # no returns as files have them
    kept = guarded(scan)
    np.testing.assert_array_equal(kept.xyz, scan.xyz)
    assert np.isfinite(kept.remission).all()
    plain = random_scan(rng, 100)
    assert guarded(plain) is plain


def test_scans_that_were_not_read_from_files_are_guarded_too(rng: np.random.Generator, tiny_config: Config) -> None:
    """As a robot's node gives them to a segmenter, and a dataset of one's own to training and evaluation."""
    scan = random_scan(rng, 500)
    scan.remission[5] = np.nan
    with pytest.warns(Notice, match="a scan: 1 with a remission"):
        assert Segmenter.load("first-answer", device="cpu")(replace(scan, label=None))[5] == IGNORE

    class Own:
        label_map = Experiment(tiny_config).label_map

        def __len__(self) -> int:
            return 1

        def name(self, index: int) -> str:
            return "one"

        def scan(self, index: int) -> Scan:
            return scan

    views = Experiment(tiny_config).views(Own())
    with pytest.warns(Notice, match="with a remission"):
        assert torch.isfinite(views.view(0, rng).image).all()
    with pytest.warns(Notice, match="with a remission"):
        assert torch.isfinite(views.sample(0).view.image).all()


def test_a_file_without_one_possible_point_is_refused(table: np.ndarray, tmp_path: Path) -> None:
    table = table.copy()
    table[:, 3] = np.nan
    with (
        pytest.warns(Notice, match="3000 with a remission"),
        pytest.raises(ValueError, match=r"a.bin: none of its 3000 points is a return.*remission"),
    ):
        read_scan(written(tmp_path / "a.bin", table))


def test_the_commands_say_it_in_one_line(table: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = table.copy()
    broken[7, 3], broken[8, 0] = np.nan, 5000
    path = written(tmp_path / "broken.bin", broken)
    for words in (
        ["predict", str(path), "--out", str(tmp_path)],
        ["show", str(path), "--png", str(tmp_path / "a.png")],
    ):
        assert main(words) == 0
        said = capsys.readouterr().err.splitlines()
        assert [line for line in said if line.startswith("warning:")] == [
            f"warning: {path}: 1 farther than 1000 m and 1 with a remission that is not finite of its 3000 points; "
            "they count as no returns. Check the program that wrote the file."
        ]
        assert not any("UserWarning" in line or ".py:" in line for line in said)


def test_of_many_files_of_a_kind_the_first_are_shown_and_the_others_counted(
    table: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = table.copy()
    broken[7, 3] = np.nan
    (tmp_path / "scans").mkdir()
    for number in range(23):
        written(tmp_path / "scans" / f"{number:02d}.bin", broken[: 200 + number])
    first = str(written(tmp_path / "whole.bin", table))
    assert main(["predict", first, str(tmp_path / "scans"), "--out", str(tmp_path / "out")]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning:")]
    assert len(said) == 21
    assert said[-1].startswith("warning: 3 more files like the last: N with a remission")


def test_validate_lists_them(tiny_kitti: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(tiny_kitti, tmp_path / "kitti"))
    place = root / "sequences" / "00" / "velodyne" / "000001.bin"
    points = np.fromfile(place, "<f4")
    points[3] = np.nan
    points.tofile(place)
    config = dataset_config("semantic_kitti", str(root))
    for workers in (0, 2):
        problems = {one.split: one.problems for one in validate(config, partial=True, workers=workers)}
        assert problems["val"] == problems["test"] == ()
        assert len(problems["train"]) == 1
        assert problems["train"][0].startswith(f"{place}: 1 with a remission")


def broken_run(config: Config, where: str) -> Run:
    """A network with one nan, in its last layer or in the statistics of its first."""
    experiment = Experiment(config)
    network = experiment.make_network()
    state = network.state_dict()
    name = [name for name in state if state[name].is_floating_point()][-1 if where == "last" else 0]
    state[name][(0,) * state[name].ndim] = np.nan
    return Run.of(experiment, network, torch.device("cpu"))


@pytest.mark.parametrize("where", ["first", "last"])
def test_an_answer_of_nan_is_an_error_that_names_the_scan(where: str, tiny_config: Config, tiny_kitti: Path) -> None:
    run = broken_run(tiny_config, where)
    path = tiny_kitti / "sequences" / "08" / "velodyne" / "000000.bin"
    segmenter, scan = Segmenter(run), read_scan(path)
    for work in (
        lambda: segmenter(scan),
        lambda: list(segmenter.stream([scan], workers=0)),
        lambda: list(segmenter.stream([scan], workers=2)),
        lambda: segmenter.logits(segmenter.project(scan)),
    ):
        with pytest.raises(ValueError, match=rf"{path}: the network's output contains nan.*runtime.precision"):
            work()
    with pytest.raises(ValueError, match=r"000000.*: the network's output contains nan"):
        score_run(run, open_views(run))


def test_an_answer_of_nan_is_an_error_for_photographs_too(photo_config: Config) -> None:
    run = broken_run(photo_config, "last")
    path = Path(photo_config.data.root) / "val" / "v_0000.png"
    with pytest.raises(ValueError, match=rf"{path}: the network's output contains nan"):
        Segmenter(run)(read_photo(path))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_when_a_checkpoint_is_read(value: float, tmp_path: Path) -> None:
    run = Run.load("first-answer", device="cpu")
    state = run.network.state_dict()
    name = next(iter(state))
    state[name][(0,) * state[name].ndim] = value
    write_checkpoint(tmp_path / "last.pt", {"teacher": state}, run.config)
    with pytest.raises(ValueError, match=rf"last.pt: 1 weights contain nan or infinity, the first is {name}.*earlier"):
        Run.load(tmp_path / "last.pt")
    runtime = replace(run.config.runtime, initialise_from=str(tmp_path / "last.pt"))
    with pytest.raises(ConfigError, match=r"runtime\.initialise_from: .*contain nan or infinity"):
        initialise(run.network, Experiment(replace(run.config, runtime=runtime)))
