"""The viewer: what it shows follows from its state, picking finds the point under the mouse, the window opens."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rangeseg.apps.explore import explore_dataset, explore_folder, explore_run
from rangeseg.apps.shown_scan import find_prediction, make_frame
from rangeseg.cli import main
from rangeseg.config import Config
from rangeseg.engine.training import train
from rangeseg.labels import LabelMap
from rangeseg.projection.spherical import SphericalProjection
from rangeseg.scan_io import write_labels
from rangeseg.types import IGNORE, Scan
from rangeseg.vis.explorer import COLORINGS, Explorer, Frame
from rangeseg.vis.panels import colorise, error_picture

PROJECT = SphericalProjection(height=16, width=64, fov_up_deg=25.0, fov_down_deg=-25.0)


def frame(rng: np.random.Generator, name: str = "08/000000", *, labels: bool = True, predicted: bool = True) -> Frame:
    count = 500
    xyz = rng.normal(size=(count, 3)).astype(np.float32) * (20, 20, 2)
    xyz = xyz.astype(np.float32)
    xyz[0] = 0  # no return
    label = rng.integers(0, 19, count)
    label[1] = IGNORE
    scan = Scan(xyz, rng.random(count, np.float32), label=label if labels else None)
    prediction = rng.integers(0, 19, count) if predicted else None
    return Frame(name, PROJECT(scan), prediction, rng.random(count) if predicted else None)


@pytest.fixture
def explorer(rng: np.random.Generator, label_map: LabelMap) -> Explorer:
    frames = [frame(rng, f"08/{k:06d}") for k in range(3)]
    return Explorer(frames.__getitem__, len(frames), label_map)


def test_steps_go_round_and_load_each_scan_ahead_once(rng: np.random.Generator, label_map: LabelMap) -> None:
    frames, asked = [frame(rng, str(k)) for k in range(3)], []

    def load(index: int) -> Frame:
        asked.append(index)
        return frames[index]

    explorer = Explorer(load, 3, label_map)
    seen = []
    for by in (1, 1, 1, -1):
        seen.append(explorer.frame.name)
        explorer.step(by)
    assert [*seen, explorer.frame.name] == ["0", "1", "2", "0", "2"]
    explorer.close()
    assert asked[:4] == [0, 1, 2, 0]  # the next one while this one is looked at
    with pytest.raises(ValueError, match="No scan to show"):
        Explorer(load, 0, label_map)


def test_colours_are_those_of_the_panels(explorer: Explorer, label_map: LabelMap) -> None:
    scan, prediction = explorer.frame.image.scan, explorer.frame.prediction
    assert scan.label is not None
    assert prediction is not None
    np.testing.assert_array_equal(explorer.colors("label"), colorise(scan.label, label_map))
    np.testing.assert_array_equal(explorer.colors("prediction"), colorise(prediction, label_map))
    np.testing.assert_array_equal(explorer.colors("error"), error_picture(prediction, scan.label))
    sure = explorer.colors("confidence").astype(int)
    order = np.argsort(explorer.frame.confidence)
    assert (np.diff(sure[order, 0] + sure[order, 1] - sure[order, 2]) >= -3).mean() > 0.95  # violet to yellow
    for coloring in COLORINGS:
        strip = explorer.strip(coloring)
        image = explorer.frame.image
        np.testing.assert_array_equal(strip[image.valid], explorer.colors(coloring)[image.point_index[image.valid]])
        assert not strip[~image.valid].any()


def test_what_a_scan_lacks_cannot_be_chosen(rng: np.random.Generator, label_map: LabelMap) -> None:
    bare = Explorer(lambda index: frame(rng, labels=False, predicted=False), 1, label_map)
    assert bare.coloring == "range"
    assert bare.beside is None
    assert not any(bare.color_by(name) for name in ("label", "prediction", "error", "confidence", "nonsense"))
    assert bare.color_by("remission")
    assert (bare.colors("label") == 110).all()
    bare.toggle_beside()
    assert bare.beside is None


def test_hidden_classes_go_and_come_back(explorer: Explorer) -> None:
    label, prediction = explorer.frame.image.scan.label, explorer.frame.prediction
    assert label is not None
    assert prediction is not None
    there = ~explorer.frame.image.no_return
    explorer.toggle_class(3)
    np.testing.assert_array_equal(explorer.visible("label"), there & (label != 3))
    np.testing.assert_array_equal(explorer.visible("error"), there & (prediction != 3))
    explorer.toggle_class(3)
    np.testing.assert_array_equal(explorer.visible("label"), there)


def test_the_point_under_the_mouse_is_the_nearest_to_the_eye(explorer: Explorer) -> None:
    view = np.eye(4)
    view[:3, :3] = [[0, -1, 0], [0, 0, 1], [-1, 0, 0]]  # looks along x: y to the left, z upwards
    projection = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, -0.2], [0, 0, -1, 0]], float)
    xyz = explorer.frame.image.scan.xyz.astype(float)
    ahead = np.flatnonzero(xyz[:, 0] > 1)
    for point in ahead[:20]:
        at = (-xyz[point, 1] / xyz[point, 0], xyz[point, 2] / xyz[point, 0])
        apart = np.hypot(-xyz[ahead, 1] / xyz[ahead, 0] - at[0], xyz[ahead, 2] / xyz[ahead, 0] - at[1])
        close = ahead[apart < 0.02]
        expected = close[xyz[close, 0].argmin()]
        picked = explorer.pick("label", view, projection, at)
        assert picked is not None
        assert xyz[picked, 0] <= xyz[expected, 0] + 1e-9
        assert f"point {picked}\n" in explorer.describe(picked) + "\n"
    assert explorer.pick("label", view, projection, (50.0, 50.0)) is None
    label = explorer.frame.image.scan.label
    assert label is not None
    text = explorer.describe(1)
    assert "label: none" in text
    assert "probability" in text


def test_a_run_a_dataset_and_other_tools_predictions(tiny_config: Config, tmp_path: Path, label_map: LabelMap) -> None:
    train(tiny_config)
    looked = explore_run(Path(tiny_config.runtime.out))
    assert looked.frame.has("error")
    assert looked.frame.confidence is not None
    assert ((looked.frame.confidence > 0) == ~looked.frame.image.no_return).all()
    bare = explore_dataset(Path(tiny_config.data.root), dataset="semantic_kitti")
    assert bare.coloring == "label"
    name, count = bare.frame.name, len(bare.frame.image.scan)
    sequence, number = name.split("/")
    raw = np.full(count, label_map.raw_ids[2], np.uint32)
    for place in (f"sequences/{sequence}/predictions/{number}.label", f"{sequence}/{number}.label", f"{number}.label"):
        folder = tmp_path / place.replace("/", "_")
        write_labels(folder / place, raw)
        assert (find_prediction(folder, name, label_map) == 2).all()
    given = explore_dataset(Path(tiny_config.data.root), dataset="semantic_kitti", predictions=folder)
    assert (given.frame.prediction == 2).all()
    with pytest.raises(ValueError, match="No prediction for"):
        explore_dataset(Path(tiny_config.data.root), dataset="semantic_kitti", predictions=tmp_path)
    with pytest.raises(ValueError, match=r"3 predicted labels for \d+ points"):
        make_frame("x", bare.frame.image.scan, PROJECT, prediction=np.zeros(3, int))
    for each in (looked, bare, given):
        each.close()


def test_a_folder_of_scans_is_shown_with_what_predict_wrote(tiny_config: Config, tmp_path: Path) -> None:
    train(tiny_config)
    run, inside_dataset = tiny_config.runtime.out, Path(tiny_config.data.root) / "sequences" / "08" / "velodyne"
    (tmp_path / "flat" / "deeper").mkdir(parents=True)
    for number, file in enumerate(sorted(inside_dataset.iterdir())):
        (tmp_path / "flat" / ("deeper" if number else "") / file.name).write_bytes(file.read_bytes())
    for folder in (tmp_path / "flat", inside_dataset):
        out = tmp_path / f"out_{folder.name}"
        assert main(["predict", run, str(folder), "--out", str(out)]) == 0
        by_run, by_file = explore_folder(folder, run=Path(run)), explore_folder(folder, predictions=out)
        assert by_run.count == by_file.count == len(list(inside_dataset.iterdir()))
        for one, other in zip(by_run.frames(99), by_file.frames(99), strict=True):
            assert one.name == other.name
            seen = ~one.image.no_return
            assert one.prediction is not None
            assert other.prediction is not None
            np.testing.assert_array_equal(one.prediction[seen], other.prediction[seen])
        by_run.close()
        by_file.close()
        page = str(tmp_path / "page.html")
        assert main(["show", str(folder), "--prediction", str(out), "--html", page]) == 0
        scan = next(file for file in folder.iterdir() if file.is_file())
        assert main(["show", str(scan), "--prediction", str(out), "--png", str(tmp_path / "one.png")]) == 0


def test_columns_are_used_for_the_scans_of_a_run_and_of_a_dataset(
    tiny_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny_config)
    for words in ([tiny_config.runtime.out], [tiny_config.data.root, "--split", "val"]):
        assert main(["show", *words, "--fields", "remission=i", "--html", str(tmp_path / "page.html")]) == 1
        assert "has no i for remission; it has x, y, z, remission" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["flat", "--labels", "x.label"], "--labels is for a single scan"),
        (["flat", "--run", "kitti", "--split", "val"], "needs the run in place of the folder"),
        (["flat", "--prediction", "other"], "No prediction for 000000; looked for other/000000.label, and"),
        (["empty", "--run", "kitti"], "contains nothing to predict"),
        (["flat", "--dataset", "camvid"], "The window shows only scans"),
        (["run", "--run", "kitti"], "is a run itself"),
        (["flat", "data.channels=[x]"], "data.channels=[x]: changes the config of a run, but no run is given"),
        (["flat/000000.bin", "--split", "val"], "--split is for a run or a dataset"),
    ],
)
def test_folders_that_cannot_be_shown(
    words: list[str], expected: str, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for folder in ("flat", "empty", "run", "other"):
        Path(folder).mkdir()
    scan = data_root / "semantickitti" / "sequences" / "08" / "velodyne" / "000000.bin"
    Path("flat/000000.bin").write_bytes(scan.read_bytes())
    Path("run/config.yaml").write_text("")
    assert main(["show", *words, "--html", "page.html"]) == 1
    assert expected in " ".join(capsys.readouterr().err.split())
    assert not Path("page.html").exists()


def test_animations_of_a_sequence_and_of_one_scan(
    tiny_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("open3d", reason="the extra view is not installed")
    root = Path(tiny_config.data.root)
    assert main(["show", str(root), "--video", str(tmp_path / "all.gif"), "--max-scans", "2"]) == 0
    with Image.open(tmp_path / "all.gif") as drawn:
        assert drawn.n_frames == 2
        assert np.asarray(drawn.convert("RGB")).std() > 1
    assert main(["show", str(root), "--video", str(tmp_path / "all.mp4")]) == 1
    assert "ends in .gif" in " ".join(capsys.readouterr().err.split())
    scan = next((root / "sequences" / "08" / "velodyne").iterdir())
    assert main(["show", str(scan), "--video", str(tmp_path / "one.gif")]) == 0
    with Image.open(tmp_path / "one.gif") as drawn:
        assert drawn.n_frames > 30


@pytest.fixture
def display() -> str:
    """A screen that nobody looks at."""
    if not (shutil.which("Xvfb") and shutil.which("xdotool") and shutil.which("import")):
        pytest.skip(reason="Xvfb, xdotool or ImageMagick's import is not installed")
    if not [*Path("/usr/share/vulkan/icd.d").glob("*.json")]:
        pytest.skip(reason="there is no Vulkan driver: apt-get install libvulkan1 mesa-vulkan-drivers")
    number = f":{90 + os.getpid() % 900}"
    server = subprocess.Popen(["Xvfb", number, "-screen", "0", "1500x900x24"], stderr=subprocess.DEVNULL)
    time.sleep(1)
    yield number  # type: ignore[misc]
    server.terminate()
    server.wait()


@pytest.mark.slow
def test_the_window_opens_takes_keys_and_closes(data_root: Path, display: str, tmp_path: Path) -> None:
    scan = data_root / "semantickitti" / "sequences" / "08" / "velodyne" / "000000.bin"
    environment = os.environ | {"DISPLAY": display}
    command = [sys.executable, "-m", "rangeseg.cli", "show", str(scan)]
    opened = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def ask(*words: str) -> str:
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=False).stdout

    def grab(name: str) -> np.ndarray:
        ask("import", "-window", "root", str(tmp_path / name))
        return np.asarray(Image.open(tmp_path / name).convert("RGB"))

    def wait_for(what: Callable[[], bool]) -> None:
        until = time.monotonic() + 60
        while not what():
            assert opened.poll() is None, opened.communicate()[0]
            assert time.monotonic() < until, "it takes too long"
            time.sleep(0.5)

    try:
        wait_for(lambda: bool(ask("xdotool", "search", "--name", "rangeseg")))
        magenta = np.array([255, 0, 255])  # the road
        wait_for(lambda: (np.abs(grab("label.png")[:700, :1250].astype(int) - magenta).max(-1) < 10).sum() > 1000)
        ask("xdotool", "windowfocus", ask("xdotool", "search", "--name", "rangeseg").split()[0])
        ask("xdotool", "key", "5")
        wait_for(lambda: (np.abs(grab("range.png")[:700, :1250].astype(int) - magenta).max(-1) < 10).sum() < 100)
        ask("xdotool", "key", "q")
        assert opened.wait(30) == 0
    finally:
        opened.kill()
        opened.communicate()
