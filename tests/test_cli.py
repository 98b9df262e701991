"""The whole path through the commands: train, evaluate, predict, show; and what they say when something is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import count_colors
from PIL import Image

from rangeseg import Segmenter, read_scan
from rangeseg.cli import main, parse
from rangeseg.config import Config, write_config
from rangeseg.engine.checkpoint import read_checkpoint
from rangeseg.labels import LabelMap
from rangeseg.resources import resource
from rangeseg.scan_io import read_labels
from rangeseg.types import IGNORE
from rangeseg.version import __version__
from rangeseg.weights import DEFAULT
from rangeseg.weights import shipped as shipped_weights


@pytest.fixture(scope="module")
def run(tiny_kitti: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few steps, trained through the command."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "config.yaml").write_text(
        f"""
data:
  root: {tiny_kitti}
  projection: {{name: spherical, height: 16, width: 64, fov_up_deg: 6.0, fov_down_deg: -28.0}}
network: {{name: fidnet, width: 8, blocks: [1, 1], azimuth_stride: 2}}
optim: {{steps: 4}}
runtime: {{out: {folder / "run"}, workers: 1, accelerator: cpu, log_every: 1}}
"""
    )
    assert main(["train", str(folder / "config.yaml"), "consistency.threshold=0", "optim.lr=2e-3"]) == 0
    return folder / "run"


def test_a_run_folder_is_complete(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert {
        "config.yaml",
        "versions.json",
        "metrics.csv",
        "metrics.json",
        "last.pt",
        "best.pt",
        "evaluation.json",
    } <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"supervised", "consistency", "confidence", "lr", "mean_iou"} <= set(metrics)
    assert "lr: 0.002" in (run / "config.yaml").read_text()


def test_evaluate_gives_the_score_of_training(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run), "--official", "--json", str(tmp_path / "e.json"), "--device", "cpu"]) == 0
    again, trained = (json.loads(path.read_text()) for path in (tmp_path / "e.json", run / "evaluation.json"))
    assert again["iou"] == trained["iou"]
    assert "official rule" in capsys.readouterr().out


def test_predictions_score_the_same_when_read_by_others(run: Path, tiny_kitti: Path, tmp_path: Path) -> None:
    """The .label files, read and scored with NumPy alone, give evaluate's number."""
    out, packed = tmp_path / "out", tmp_path / "s.zip"
    assert main(["predict", str(run), "--split", "val", "--out", str(out), "--zip", str(packed), "--partial"]) == 0
    assert main(["evaluate", str(run), "--json", str(tmp_path / "e.json")]) == 0
    label_map = LabelMap.read(resource("datasets", "semantic_kitti", "labels.yaml"))
    hits = np.zeros(19)
    union = np.zeros(19)
    seen = np.zeros(19)
    for path in sorted((tmp_path / "out" / "sequences" / "08" / "predictions").glob("*.label")):
        given = np.fromfile(path, "<u4")
        truth = np.fromfile(tiny_kitti / "sequences" / "08" / "labels" / path.name, "<u4") & 0xFFFF
        for train_id, raw in enumerate(label_map.raw_ids):
            hits[train_id] += ((given == raw) & (truth == raw)).sum()
            union[train_id] += ((given == raw) | (truth == raw)).sum()
            seen[train_id] += (truth == raw).sum()
    mean = (hits[seen > 0] / union[seen > 0]).mean()
    assert json.loads((tmp_path / "e.json").read_text())["mean_iou"] == pytest.approx(mean)
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        assert {"sequences/", "sequences/08/", "sequences/08/predictions/"} <= set(archive.namelist())
        assert archive.testzip() is None


def test_predict_leaves_whole_files_alone_and_mends_others(
    run: Path, tiny_kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scans = tiny_kitti / "sequences" / "08" / "velodyne"
    assert main(["predict", str(run), str(scans), "--out", str(tmp_path)]) == 0
    target = tmp_path / "sequences" / "08" / "predictions" / "000000.label"
    whole = target.read_bytes()
    target.write_bytes(whole[:-2])
    capsys.readouterr()
    assert main(["predict", str(run), str(scans), "--out", str(tmp_path)]) == 0
    assert "(1 of them now)" in capsys.readouterr().out
    assert target.read_bytes() == whole


def test_a_segmenter_labels_like_predict(run: Path, tiny_kitti: Path, tmp_path: Path) -> None:
    path = tiny_kitti / "sequences" / "11" / "velodyne" / "000000.bin"
    segmenter = Segmenter.load(run, device="cpu")
    labels = segmenter(read_scan(path))
    assert main(["predict", str(run), str(path), "--out", str(tmp_path)]) == 0
    written = np.fromfile(tmp_path / "sequences" / "11" / "predictions" / "000000.label", "<u4")
    assert (segmenter.label_map.to_raw(labels) == written).all()


def test_a_folder_of_scans_is_input_and_the_run_may_be_named(
    run: Path, tiny_kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scans = tiny_kitti / "sequences" / "11" / "velodyne"
    for words, shipped in (([str(scans)], True), ([str(scans), "--run", str(run)], False), ([str(run), str(scans)], 0)):
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        assert main(["predict", *words, "--out", str(out), "--device", "cpu"]) == 0
        said = capsys.readouterr().out
        assert ("No run given" in said) == bool(shipped)
        assert len(list(out.rglob("*.label"))) == len(list(scans.iterdir()))


def test_what_is_neither_a_run_nor_scans_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.JPG").touch()

    def error(*words: str) -> str:
        assert main(["predict", *words, "--out", str(tmp_path / "o")]) == 1
        return " ".join(capsys.readouterr().err.split())

    assert "photographs need a run" in error(str(tmp_path / "photos"))
    (tmp_path / "photos" / "a.JPG").unlink()
    assert "is neither a run (there is no last.pt) nor a folder of scans" in error(str(tmp_path))
    assert "rangeseg unpack drive.pcap" in error("drive.pcap")
    assert "There is nothing to predict" in error()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
@pytest.mark.parametrize("device", ["cuda", "cuda:3", "xpu", "mps", "nonsense"])
def test_a_device_that_is_not_there_is_one_line(
    run: Path, tiny_kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], device: str
) -> None:
    scan = tiny_kitti / "sequences" / "11" / "velodyne" / "000000.bin"
    for words in (["predict", str(run), str(scan), "--out", str(tmp_path)], ["evaluate", str(run)]):
        assert main([*words, "--device", device]) == 1
        said = capsys.readouterr().err
        assert f"error: device {device}: not available" in said
        assert len(said.strip().splitlines()) == 1


def test_show_without_a_display_says_so_at_once(
    tiny_kitti: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Open3D waits for ever."""
    scan = str(tiny_kitti / "sequences" / "08" / "velodyne" / "000000.bin")
    for display, reason in (("", "DISPLAY is not set"), (":97", "the display :97 does not answer")):
        monkeypatch.setenv("DISPLAY", display)
        for word in (scan, str(tiny_kitti)):
            assert main(["show", word]) == 1
            said = capsys.readouterr().err
            assert reason in said
            assert "--png FILE" in said
            assert len(said.strip().splitlines()) == 1


def test_an_animation_of_a_scan_has_the_labels_and_the_prediction_that_are_given(
    tiny_kitti: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clouds: list[np.ndarray] = []
    monkeypatch.setattr(
        "rangeseg.vis.animation.write_gif", lambda path, drawn, turns: clouds.extend(c for _, c in drawn)
    )
    scan = tiny_kitti / "sequences" / "11" / "velodyne" / "000000.bin"
    points = len(read_scan(scan))
    for name, raw in (("labels", 40), ("prediction", 10)):
        np.full(points, raw, "<u4").tofile(tmp_path / f"{name}.label")
        words = ["show", str(scan), f"--{name}", str(tmp_path / f"{name}.label"), "--video", str(tmp_path / "a.gif")]
        assert main(words) == 0
    label_map = LabelMap.read(resource("datasets", "semantic_kitti", "labels.yaml"))
    for colors, raw in zip(clouds, (40, 10), strict=True):
        assert (colors == label_map.colors[label_map.raw_ids.index(raw)]).all(1).mean() > 0.9
    np.full(3, 10, "<u4").tofile(tmp_path / "short.label")
    assert main(["show", str(scan), "--prediction", str(tmp_path / "short.label"), "--video", "a.gif"]) == 1
    assert main(["show", str(tiny_kitti), "--labels", str(tmp_path / "short.label"), "--video", "a.gif"]) == 1


def test_show_draws_a_picture(run: Path, tiny_kitti: Path, tmp_path: Path) -> None:
    scan = tiny_kitti / "sequences" / "08" / "velodyne" / "000000.bin"
    assert main(["show", str(scan), "--run", str(run), "--png", str(tmp_path / "a.png")]) == 0
    labels = tiny_kitti / "sequences" / "08" / "labels" / "000000.label"
    assert main(["show", str(scan), "--prediction", str(labels), "--png", str(tmp_path / "b.png")]) == 0
    for name in "ab":
        picture = np.asarray(Image.open(tmp_path / f"{name}.png"))
        assert picture.shape[2] == 3
        assert count_colors(picture) > 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "absent.yaml"], "no such config file"),
        (["evaluate", "absent"], "no such checkpoint"),
        (["predict", "RUN", "--out", "x"], "othing to predict"),
        (["predict", "RUN", "absent.bin", "--out", "x"], "no such file or folder"),
        (["evaluate", "RUN", "--split", "trian"], "trian"),
        (["evaluate", "RUN", "--split", "test"], "no labels"),
        (["evaluate", "RUN", "data.rooot=x"], "Did you mean 'root'"),
        (["show", "absent.bin", "--png", "x.png"], "absent.bin"),
    ],
)
def test_errors_are_one_clear_line(
    run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main([str(run) if word == "RUN" else word for word in arguments]) == 1
    assert message in capsys.readouterr().err.replace("\n", " ")


def test_unknown_flags_are_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", str(run), "--oficial"])
    assert "--oficial" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_run_ends_like_one_never_killed(tiny_config: Config, tmp_path: Path) -> None:
    """SIGKILL at whatever moment, then --resume: the same bits."""
    tiny_config.optim.steps, tiny_config.runtime.checkpoint_every = 60, 7
    (tmp_path / "c.yaml").write_text(write_config(tiny_config))

    def command(name: str, *flags: str) -> list[str]:
        out = f"runtime.out={tmp_path / name}"
        return [sys.executable, "-m", "rangeseg.cli", "train", str(tmp_path / "c.yaml"), out, *flags]

    killed = subprocess.Popen(command("killed"), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not (tmp_path / "killed" / "last.pt").is_file() and killed.poll() is None:
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    subprocess.run(command("whole"), check=True, capture_output=True, timeout=120)
    subprocess.run(command("killed", "--resume"), check=True, capture_output=True, timeout=120)
    states = [read_checkpoint(tmp_path / name / "last.pt") for name in ("whole", "killed")]
    for part in ("network", "teacher"):
        assert all(torch.equal(value, states[1][part][name]) for name, value in states[0][part].items())


@pytest.mark.slow
def test_two_processes_train_to_equal_parameters(tiny_config: Config, tmp_path: Path) -> None:
    """DDP over gloo: both ranks end with the same student and teacher, BatchNorm statistics included."""
    tiny_config.runtime.devices = 2
    (tmp_path / "c.yaml").write_text(write_config(tiny_config))
    program = tmp_path / "two.py"
    program.write_text(
        f"""
import torch
from rangeseg.config import read_config
from rangeseg.engine import training
from rangeseg.engine.trainer import Trainer

fit = Trainer.fit
def watched(self, *arguments):
    fit(self, *arguments)
    state = {{"network": self.network.state_dict(), "teacher": self.teacher.network.state_dict()}}
    torch.save(state, r"{tmp_path}/rank" + str(self.fabric.global_rank) + ".pt")
Trainer.fit = watched
if __name__ == "__main__":
    training.train(read_config(r"{tmp_path / "c.yaml"}"))
"""
    )
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    for part in ("network", "teacher"):
        for name, value in ranks[0][part].items():
            assert torch.equal(value, ranks[1][part][name]), f"{part}.{name}"


def test_a_missing_viewer_is_said_in_full(
    tiny_kitti: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "open3d", None)
    monkeypatch.setattr("rangeseg.vis.window.require_display", lambda: None)
    assert main(["show", str(tiny_kitti / "sequences" / "08" / "velodyne" / "000000.bin")]) == 1
    assert 'pip install "rangeseg[view]"' in capsys.readouterr().err


def test_without_a_run_the_shipped_network_answers_and_says_so(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = data_root / "semantickitti" / "sequences" / "08" / "velodyne" / "000000.bin"
    assert main(["predict", str(scan), "--out", str(tmp_path)]) == 0
    assert "using any-lidar, a network that ships with rangeseg" in " ".join(capsys.readouterr().out.split())
    points = read_scan(scan)
    segmenter = Segmenter.load(device="cpu")
    label_map = segmenter.label_map
    raw, _ = read_labels(next(tmp_path.rglob("*.label")))
    labels = segmenter(points)
    np.testing.assert_array_equal(label_map.to_train(raw), labels)
    truth = label_map.to_train(read_labels(scan.parent.parent / "labels" / "000000.label")[0])
    known = truth != IGNORE
    assert (labels == truth)[known].mean() > 0.5  # 65 % over five such scans
    card = shipped_weights()[DEFAULT]
    assert (card.folder / card.card.weights).stat().st_size < 8e6  # bytes
    assert resource("datasets", "semantic_kitti", "first_answer.md").is_file()


def test_keys_and_whole_sections_of_a_config_are_overrides() -> None:
    words = ["perturbation={name: cutmix, area: 0.3}", "data.projection={name: ring, height: 32}", "optim.steps=3"]
    arguments = parse(["train", words[0], "c.yaml", *words[1:], "--resume"])
    assert (arguments.config, arguments.overrides, arguments.resume) == ("c.yaml", words, "yes")


def test_only_train_has_resume(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(["train", "--resume", "auto", "c.yaml"]).resume == "auto"
    for words in (["evaluate", "runs/quick", "--resume"], ["evaluate", "runs/quick", "--resume", "auto"]):
        with pytest.raises(SystemExit) as ended:
            parse(words)
        assert ended.value.code == 2
        assert capsys.readouterr().err.strip().endswith("unrecognized arguments: " + " ".join(words[2:]))


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "rangeseg", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"rangeseg {__version__}"
