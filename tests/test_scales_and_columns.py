"""Files with other columns, types, units and scales than their ending says: refused or told of, with what to write."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import random_scan
from scan_writers import pcd, ply, rows_of

from rangeseg import read_scan
from rangeseg.apps.validate import dataset_config, validate
from rangeseg.cli import main
from rangeseg.config import Config
from rangeseg.data.scan_statistics import FACTOR, measure, unlike
from rangeseg.engine.checkpoint import read_checkpoint
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.training import train
from rangeseg.engine.training_data import TrainingData
from rangeseg.inference.export import describe, write_weights
from rangeseg.inference.run import Run
from rangeseg.notices import Notice
from rangeseg.projection.spherical import SphericalProjection
from rangeseg.scan_formats import unpack as unpacking
from rangeseg.types import Scan

CHANNELS = ("range", "x", "y", "z", "remission")
IMAGE = SphericalProjection(64, 512, 3.0, -25.0)


@pytest.fixture(scope="module")
def kitti(kitti_root: Path) -> np.ndarray:
    """(N, 4) of a real scan; N is a multiple of 60, so that any number of columns fits the length."""
    table = np.fromfile(kitti_root / "sequences" / "08" / "velodyne" / "000000.bin", "<f4").reshape(-1, 4)
    return table[: len(table) // 60 * 60]


def other_columns(table: np.ndarray, count: int, kind: str) -> np.ndarray:
    """The scan with `count` columns: without its remission, or with a ring and times behind it."""
    more = [np.arange(len(table)) // 2000, np.linspace(0, 0.1, len(table)), np.zeros(len(table)), np.ones(len(table))]
    return np.column_stack([table, *more])[:, :count].astype(kind)


@pytest.mark.parametrize(
    ("count", "kind"), [(3, "float32"), (5, "float32"), (6, "float32"), (3, "float64"), (4, "float64"), (5, "float64")]
)
def test_other_columns_of_a_bin_are_refused_and_named(kitti: np.ndarray, tmp_path: Path, count: int, kind: str) -> None:
    """What the error says to write reads the scan as it was."""
    path = tmp_path / "a.bin"
    other_columns(kitti, count, kind).tofile(path)
    assert path.stat().st_size % 16 == 0  # the length alone does not tell
    with pytest.raises(
        ValueError, match=rf"a.bin: is not x, y, z, remission of float32.*{count} columns of {kind}"
    ) as e:
        read_scan(path)
    said = re.search(r'"columns": "([^"]*)"', str(e.value))
    assert said
    scan = read_scan(path, fields={"columns": said[1], "type": kind})
    np.testing.assert_array_equal(scan.xyz, kitti[:, :3])
    np.testing.assert_array_equal(scan.remission, kitti[:, 3] if count > 3 else 0)


def test_a_length_that_four_columns_do_not_fit_is_told_of_too(kitti: np.ndarray, tmp_path: Path) -> None:
    kitti[:50_001, :3].tofile(tmp_path / "a.bin")
    with pytest.raises(ValueError, match=r"not a multiple of 16-byte records.*3 columns of float32"):
        read_scan(tmp_path / "a.bin")


@pytest.mark.parametrize(("count", "padded"), [(8, True), (8, False), (12, True)])
def test_records_of_two_or_three_times_the_length_are_refused_and_named(
    kitti: np.ndarray, tmp_path: Path, count: int, padded: bool
) -> None:
    """As PCL has points in memory: x, y, z, 1, intensity and padding, without a negative number but the coordinates."""
    pad = [np.ones(len(kitti))] if padded else []
    more = [np.arange(len(kitti)) % 64, np.linspace(0, 0.1, len(kitti)), *[np.zeros(len(kitti))] * 7]
    table = np.column_stack([kitti[:, :3], *pad, kitti[:, 3], *more])[:, :count].astype("<f4")
    table.tofile(tmp_path / "a.bin")
    with pytest.raises(ValueError, match=rf"only every (second|third) record is a point, so it has {count} col") as e:
        read_scan(tmp_path / "a.bin")
    said = re.search(r'"columns": "([^"]*)"', str(e.value))
    assert said
    scan = read_scan(tmp_path / "a.bin", fields={"columns": said[1]})
    np.testing.assert_array_equal(scan.xyz, kitti[:, :3])
    np.testing.assert_array_equal(scan.remission, kitti[:, 3])


def test_points_in_another_order_are_no_other_columns(kitti: np.ndarray, tmp_path: Path) -> None:
    np.random.default_rng(0).permutation(kitti).tofile(tmp_path / "a.bin")
    assert len(read_scan(tmp_path / "a.bin")) == len(kitti)
    other_columns(np.random.default_rng(0).permutation(kitti), 5, "float32").tofile(tmp_path / "a.bin")
    with pytest.raises(ValueError, match="Give the columns, for example"):
        read_scan(tmp_path / "a.bin")


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1000), ("cm", 100)])
@pytest.mark.parametrize("ending", [".bin", ".npy", ".pcd"])
def test_millimetres_and_centimetres_are_refused_and_named(
    tmp_path: Path, unit: str, factor: float, ending: str, rng: np.random.Generator
) -> None:
    scan = random_scan(rng)
    table = np.column_stack([scan.xyz * np.float32(factor), scan.remission])
    path = tmp_path / f"a{ending}"
    if ending == ".pcd":
        path.write_bytes(pcd(np.rec.fromarrays(table.T, names="x,y,z,remission")))
    else:
        table.tofile(path) if ending == ".bin" else np.save(path, table)
    with pytest.raises(ValueError, match=rf'a{ending}: half of its points are farther.*"unit": "{unit}"'):
        read_scan(path)
    np.testing.assert_allclose(read_scan(path, fields={"unit": unit}).xyz, scan.xyz, rtol=1e-5)


@pytest.mark.parametrize("ending", [".bin", ".npy"])
def test_an_intensity_of_255_is_told_of_with_the_cure(ending: str, tmp_path: Path, rng: np.random.Generator) -> None:
    scan, path = random_scan(rng), tmp_path / f"a{ending}"
    table = np.column_stack([scan.xyz, 255 * scan.remission]).astype("<f4")
    table.tofile(path) if ending == ".bin" else np.save(path, table)
    with pytest.warns(Notice, match=rf'a{ending}: its remission goes up to 25\d.*"remission": "remission/255"'):
        read_scan(path)
    np.testing.assert_allclose(
        read_scan(path, fields={"remission": "remission/255"}).remission, scan.remission, rtol=1e-6
    )


@pytest.mark.parametrize("ending", [".pcd", ".ply", ".bin", ".npy"])
def test_a_named_remission_above_its_full_scale_is_told_of(
    ending: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    scan, path = random_scan(rng), tmp_path / f"a{ending}"
    columns = {axis: scan.xyz[:, k].copy() for k, axis in enumerate("xyz")} | {"remission": 255 * scan.remission}
    if ending in (".pcd", ".ply"):
        path.write_bytes(pcd(rows_of(columns)) if ending == ".pcd" else ply(rows_of(columns)))
    else:
        table = np.column_stack([*columns.values()]).astype("<f4")
        table.tofile(path) if ending == ".bin" else np.save(path, table)
    fields = {} if ending in (".pcd", ".ply") else {"columns": "x y z remission"}
    with pytest.warns(Notice, match=rf'a{ending}: its remission goes up to 25\d.*"remission": "remission/N"'):
        read_scan(path, fields=fields)
    with pytest.warns(Notice, match=r"its remission/100 goes up to 2\.5"):
        read_scan(path, fields=fields | {"remission": "remission/100"})
    again = read_scan(path, fields=fields | {"remission": "remission/255"})
    np.testing.assert_allclose(again.remission, scan.remission, rtol=1e-6)


def test_a_sweep_of_nuscenes_above_255_is_told_of(tmp_path: Path, rng: np.random.Generator) -> None:
    scan = random_scan(rng)
    table = np.column_stack([scan.xyz, 65535 * scan.remission, np.zeros(len(scan))]).astype("<f4")
    table.tofile(tmp_path / "a.pcd.bin")
    with pytest.warns(Notice, match=r"a.pcd.bin: its intensity/255 goes up to 25\d.*intensity/N"):
        read_scan(tmp_path / "a.pcd.bin")


def test_a_sweep_of_nuscenes_in_zero_to_one_is_told_of(tmp_path: Path, rng: np.random.Generator) -> None:
    scan = random_scan(rng)
    np.column_stack([scan.xyz, scan.remission, np.zeros(len(scan))]).astype("<f4").tofile(tmp_path / "a.pcd.bin")
    with pytest.warns(Notice, match=r"largest intensity is 1, but full scale is 255.*intensity/1"):
        read_scan(tmp_path / "a.pcd.bin")
    again = read_scan(tmp_path / "a.pcd.bin", fields={"remission": "intensity/1"})
    np.testing.assert_array_equal(again.remission, scan.remission)
    assert again.ring is not None
    assert (again.ring == 31).all()


def test_the_columns_of_an_npy_may_be_named(tmp_path: Path, rng: np.random.Generator) -> None:
    scan = random_scan(rng)
    table = np.column_stack([scan.xyz, np.arange(len(scan)) % 16, 255 * scan.remission])
    np.save(tmp_path / "a.npy", table)
    with pytest.raises(ValueError, match=r"holds float64 of shape.*name the columns"):
        read_scan(tmp_path / "a.npy")
    with pytest.raises(ValueError, match="holds 5 columns; name each"):
        read_scan(tmp_path / "a.npy", fields={"columns": "x y z"})
    fields = {"columns": "x y z ring power", "remission": "power/255", "ring": "ring/top"}
    read = read_scan(tmp_path / "a.npy", fields=fields)
    np.testing.assert_allclose(read.remission, scan.remission, rtol=1e-6)
    np.testing.assert_array_equal(read.ring, np.arange(len(scan)) % 16)


def test_what_fields_cannot_mean_is_said(tmp_path: Path, rng: np.random.Generator) -> None:
    np.column_stack([random_scan(rng).xyz, np.zeros(2000)]).astype("<f4").tofile(tmp_path / "a.bin")
    for fields, said in (
        ({"unit": "feet"}, "unit is feet; give m, cm, mm"),
        ({"columns": "x y z t", "type": "text"}, "type is text; use float32"),
        ({"columns": "a b c d"}, "x, y and z are needed; it has a, b, c, d"),
        ({"columns": "x y z"}, "not a multiple of 12-byte records"),
        *(({axis: f"{axis}/10"}, rf'{axis} is {axis}/10, .* fields={{"unit": "mm"}}') for axis in "xyz"),
    ):
        with pytest.raises(ValueError, match=said):
            read_scan(tmp_path / "a.bin", fields=fields)  # type: ignore[arg-type] # mappings of str to str


def clouds(folder: Path, ending: str, scans: list[Scan]) -> list[Path]:
    """Scans whose intensity, a float, says nothing of its full scale."""
    paths = []
    for number, scan in enumerate(scans):
        columns = {axis: scan.xyz[:, k].copy() for k, axis in enumerate("xyz")} | {"intensity": scan.remission}
        paths.append(folder / f"{number:02d}{ending}")
        paths[-1].write_bytes(pcd(rows_of(columns)) if ending == ".pcd" else ply(rows_of(columns)))
    return paths


@pytest.mark.parametrize("ending", [".pcd", ".ply"])
def test_one_bright_reflector_does_not_darken_a_scan(ending: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """The scans of a folder have one scale: the same object is as bright in each, whatever else is in sight."""
    xyz, grey = random_scan(rng).xyz, np.linspace(0, 200, 2000, dtype=np.float32)
    dark, bright = grey / 250, grey.copy()
    bright[5] = 4000.0  # a road sign
    paths = clouds(tmp_path, ending, [Scan(xyz, one) for one in (dark, grey, bright)])
    read = [read_scan(path).remission for path in paths]
    for found, given in zip(read, (dark, grey, bright), strict=True):
        np.testing.assert_allclose(found, np.minimum(given / 255, 1), rtol=1e-6)
    assert [read_scan(path).remission.max() for path in reversed(paths)] == [one.max() for one in reversed(read)]


def test_a_scan_that_is_brighter_than_those_beside_it_is_told_of(tmp_path: Path, rng: np.random.Generator) -> None:
    xyz, grey = random_scan(rng).xyz, np.linspace(0, 1, 2000, dtype=np.float32)
    paths = clouds(tmp_path, ".pcd", [Scan(xyz, grey)] * 3)
    read_scan(paths[0])
    late = clouds(tmp_path, ".pcd", [Scan(xyz, 200 * grey)])[0]
    with pytest.warns(Notice, match=r"\d+ % of its intensity are above 1, the full scale of the files.*intensity/N"):
        read_scan(late)


def test_corrected_columns_have_a_scale_and_rings_of_their_own(tmp_path: Path, rng: np.random.Generator) -> None:
    """The second call of a session corrects the columns; nothing that the first call found is used."""
    scan, ring = random_scan(rng), np.arange(2000) % 40
    path = tmp_path / "a.bin"
    np.column_stack([scan.xyz, 255 * scan.remission, ring, scan.remission / 2]).astype("<f4").tofile(path)
    first = read_scan(path, fields={"columns": "x y z line a intensity", "ring": None})
    np.testing.assert_allclose(first.remission, scan.remission / 2, rtol=1e-6)
    second = read_scan(path, fields={"columns": "x y z intensity line a"})
    np.testing.assert_allclose(second.remission, scan.remission, rtol=1e-6)


def test_a_recording_is_unpacked_with_one_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first cloud is a dark one, whose values would fit a full scale of 1."""
    rng = np.random.default_rng(0)
    xyz = random_scan(rng).xyz
    powers = [np.linspace(0, 1, 2000, dtype=np.float32), np.linspace(0, 252, 2000, dtype=np.float32)]

    def recording(path: Path, topic: str | None = None):  # type: ignore[no-untyped-def] # noqa: ANN202
        axes = {axis: xyz[:, k] for k, axis in enumerate("xyz")}
        made = [unpacking.Cloud(axes | {"intensity": power}) for power in powers]
        return len(made), iter(made)

    monkeypatch.setattr(unpacking, "clouds_of_bag", recording)
    count, files = unpacking.unpack(tmp_path / "a.bag", tmp_path / "out")
    written = [read_scan(path).remission for path in files]
    assert count == len(written) == 2
    for found, power in zip(written, powers, strict=True):
        np.testing.assert_allclose(found, power / 255, rtol=1e-6)


def test_the_numbers_of_training_scans_tell_others_from_them(data_root: Path) -> None:
    """KITTI's own scans of other places are like its training scans; those with another unit, scale or sensor not."""
    scans = [read_scan(path) for path in sorted(data_root.glob("semantickitti/sequences/0*/velodyne/000004.bin"))]
    statistics = measure(IMAGE(scan) for scan in scans)
    assert statistics["scans"] == len(scans) == 8
    others = sorted(data_root.glob("kitti_unlabelled/sequences/*/velodyne/*.bin"))[::4]
    assert [unlike(read_scan(path), statistics, CHANNELS) for path in others] == [[]] * len(others)
    one = scans[0]
    for xyz, remission, said in (
        (one.xyz, 255 * one.remission, "mean remission is 7"),
        (one.xyz, one.remission / 255, "mean remission is 0.001"),
        (one.xyz, 0 * one.remission, "mean remission is 0,"),
        (one.xyz / 1000, one.remission, "its median range is 0.0"),
        (one.xyz * 100, one.remission, "its median range is 9"),
        (one.xyz * np.float32([1, -1, -1]), one.remission, "check that z points up"),  # upside down
        (one.xyz + np.float32([0, 0, 1.73]), one.remission, "the origin is at the sensor"),  # heights above the road
    ):
        (found,) = unlike(Scan(xyz, remission), statistics, CHANNELS)
        assert said in found
    assert unlike(Scan(one.xyz, 255 * one.remission), statistics, ("range", "x")) == []
    panda = read_scan(next(data_root.glob("pandaset/sequences/001/velodyne/*.bin")))
    assert "mean remission" in unlike(panda, statistics, CHANNELS)[0]


def test_a_network_that_learnt_without_remission_or_at_any_gain_accepts_scans_like_that(
    tiny_config: Config, rng: np.random.Generator
) -> None:
    def statistics(**changes: Any) -> dict[str, Any]:
        tiny_config.data.augmentation = changes
        return TrainingData.open(Experiment(tiny_config)).statistics or {}

    scan = random_scan(rng)
    dark, bright = (Scan(scan.xyz, factor * scan.remission) for factor in (0, 4.5))
    plain = statistics()
    assert [bool(unlike(one, plain, CHANNELS)) for one in (scan, dark, bright)] == [False, True, True]
    assert [bool(unlike(one, statistics(drop_remission=0.3), CHANNELS)) for one in (dark, bright)] == [False, True]
    wide = statistics(remission_gain=[0.5, 2.0])
    assert [bool(unlike(one, wide, CHANNELS)) for one in (dark, bright)] == [True, False]
    np.testing.assert_allclose(wide["remission"], np.array(plain["remission"]) * [0.5, 2])


def test_statistics_are_the_least_and_the_most_of_medians_and_means(rng: np.random.Generator) -> None:
    scans = [random_scan(rng) for _ in range(3)]
    scans[0].xyz[::3] = 0  # no returns do not count
    metres = [np.median(np.linalg.norm(scan.xyz[scan.xyz.any(axis=1)].astype(float), axis=1)) for scan in scans]
    light = [scan.remission[scan.xyz.any(axis=1)].astype(float).mean() for scan in scans]
    images = [IMAGE(scan) for scan in scans]
    found = measure(images)
    filled = [np.count_nonzero(image.point_index >= 0) / (64 * 512) for image in images]
    np.testing.assert_allclose(found["filled"], [min(filled), max(filled)], rtol=1e-6)
    np.testing.assert_allclose(found["range_m"], [min(metres), max(metres)], rtol=1e-6)
    np.testing.assert_allclose(found["remission"], [min(light), max(light)], rtol=1e-6)
    below = [(scan.xyz[scan.xyz.any(axis=1), 2] < 0).mean() for scan in scans]
    np.testing.assert_allclose(found["below"], [min(below), max(below)], rtol=1e-6)
    brightest = Scan(scans[1].xyz, np.full(2000, max(light), np.float32))
    for factor, like in ((1.01 * FACTOR, False), (0.99 * FACTOR, True)):
        assert (unlike(Scan(brightest.xyz, factor * brightest.remission), found, CHANNELS) == []) is like


def test_a_run_knows_what_it_was_trained_on(tiny_config: Config, tmp_path: Path) -> None:
    """In its checkpoints, and in what is exported of it."""
    tiny_config.runtime.log_images = 0
    train(tiny_config)
    folder = Path(tiny_config.runtime.out)
    measured = read_checkpoint(folder / "last.pt")["statistics"]
    points = [
        np.fromfile(path, "<f4").reshape(-1, 4) for path in sorted(Path(tiny_config.data.root).rglob("00/*/*.bin"))
    ]
    np.testing.assert_allclose(measured["remission"][1], max(one[:, 3].mean(dtype=float) for one in points), rtol=1e-6)
    run = Run.load(folder, device="cpu")
    assert run.statistics == measured == describe(run)["statistics"]
    write_weights(run, tmp_path / "alone.pt")
    assert Run.load(tmp_path / "alone.pt", device="cpu").statistics == measured


def rewritten(root: Path, folder: Path, change: np.ndarray) -> Path:
    """A copy of a dataset whose points are multiplied, column by column."""
    root = Path(shutil.copytree(root, folder / "kitti"))
    for path in root.rglob("*.bin"):
        (np.fromfile(path, "<f4").reshape(-1, 4) * change).astype("<f4").tofile(path)
    return root


def test_every_command_says_it_and_takes_the_cure(
    tiny_kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = rewritten(tiny_kitti, tmp_path, np.array([1, 1, 1, 255]))
    scan = root / "sequences" / "08" / "velodyne" / "000000.bin"
    config = tmp_path / "config.yaml"
    config.write_text(
        f"data: {{root: {root}, projection: {{name: spherical, height: 16, width: 64, fov_up_deg: 6.0, "
        "fov_down_deg: -28.0}}\nnetwork: {name: fidnet, width: 8, blocks: [1, 1], azimuth_stride: 2}\n"
        f"optim: {{steps: 1}}\nruntime: {{out: {tmp_path / 'run'}, workers: 0, accelerator: cpu, log_images: 0}}\n"
    )
    commands = {
        "stats": (["stats", str(config)], 0),
        "validate": (["validate", "semantic_kitti", "--root", str(root), "--partial"], 1),
        "show": (["show", str(scan), "--png", str(tmp_path / "a.png")], 0),
        "predict": (["predict", str(scan), "--out", str(tmp_path / "o"), "--overwrite"], 0),
        "train": (["train", str(config)], 0),
    }
    for name, (words, code) in commands.items():
        assert main(words) == code, name
        captured = capsys.readouterr()
        assert "its remission goes up to 25" in captured.out + captured.err, name
        cure = ["--fields", "remission=remission/255"]
        if name == "train":
            cure = ["data.dataset.fields={remission: remission/255}", f"runtime.out={tmp_path / 'other'}"]
        assert main([*words, *cure]) == 0, name
        captured = capsys.readouterr()
        assert "remission runs" not in captured.out + captured.err, name
    run = Run.load(tmp_path / "other", device="cpu")  # its config remembers what the columns are
    assert run.config.data.dataset["fields"] == {"remission": "remission/255"}
    assert torch.is_tensor(next(run.network.parameters()))


def test_validate_takes_fields_of_a_dataset(tiny_kitti: Path, tmp_path: Path) -> None:
    root = rewritten(tiny_kitti, tmp_path, np.array([1000, 1000, 1000, 1]))
    config = dataset_config("semantic_kitti", str(root))
    problems = [what for one in validate(config, partial=True) for what in one.problems]
    assert len(problems) == 6
    assert all('fields={"unit": "mm"}' in what for what in problems)
    cured = dataset_config("semantic_kitti", str(root), ["data.dataset.fields={unit: mm}"])
    assert [what for one in validate(cured, partial=True) for what in one.problems] == []
