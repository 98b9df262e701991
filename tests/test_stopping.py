"""Trainings that are stopped, started twice, or gone on with; places that cannot be written to; home folders."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from lightning_fabric import Fabric

from rangeseg import ConfigError, read_config, train
from rangeseg.apps.steps import ChildProcesses
from rangeseg.cli import main, parse
from rangeseg.config import Config, config_from_yaml, write_config
from rangeseg.data.loading import Batch, Stream
from rangeseg.engine import training
from rangeseg.engine.checkpoint import read_checkpoint
from rangeseg.engine.folder import LOCK
from rangeseg.engine.run_logger import RunLogger
from rangeseg.engine.stopping import SIGNALS, Stopped, StopRequest
from rangeseg.engine.trainer import Trainer
from rangeseg.files import check_folder, check_writable, try_lock
from rangeseg.paths import expand_home


@pytest.fixture(params=SIGNALS, ids=lambda number: number.name)
def number(request: pytest.FixtureRequest) -> signal.Signals:
    """SIGINT and SIGTERM, in tests that are over before a lost one could end the test run."""
    found: signal.Signals = request.param
    return found


def signalled_at(step: int, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal comes in the middle of a step, and once more right behind, as launchers pass it on."""
    whole = Trainer.train_step

    def train_step(self: Trainer, *views: Any) -> Any:
        if self.step == step - 1:
            signal.raise_signal(number)
            signal.raise_signal(number)
        return whole(self, *views)

    monkeypatch.setattr(Trainer, "train_step", train_step)


def test_between_exchanges_several_processes_do_nothing_on_their_devices() -> None:
    """A number that is copied to a GPU waits for all steps before."""

    class Two:
        world_size = 2

        @property
        def device(self) -> torch.device:
            raise AssertionError("the device is used")

    assert StopRequest().agreed(cast(Fabric, Two()), due=False) == 0


def test_a_signal_lets_the_step_finish_and_the_rest_is_the_same_to_the_bit(
    number: signal.Signals, tiny_config: Config, tmp_path: Path
) -> None:
    tiny_config.runtime.checkpoint_every = 100
    tiny_config.runtime.out = str(tmp_path / "whole")
    train(tiny_config, resume="auto")  # there is nothing to go on from
    tiny_config.runtime.out = str(tmp_path / "stopped")
    before = [signal.getsignal(one) for one in SIGNALS]
    with pytest.MonkeyPatch.context() as patch:
        signalled_at(3, number, patch)
        with pytest.raises(Stopped, match="stopped at step 3; use --resume to continue") as stopped:
            train(tiny_config)
    assert stopped.value.code == 128 + number
    assert [signal.getsignal(one) for one in SIGNALS] == before
    assert read_checkpoint(tmp_path / "stopped" / "last.pt")["step"] == 3
    train(tiny_config, resume="auto")
    one, other = (read_checkpoint(tmp_path / name / "last.pt") for name in ("whole", "stopped"))
    for part in ("network", "teacher"):
        assert all(torch.equal(value, other[part][name]) for name, value in one[part].items())


def test_an_unreadable_scan_loses_no_step(tiny_config: Config, tmp_path: Path) -> None:
    """The scan is damaged when step 3 has read it and is whole again when the training goes on."""
    tiny_config.runtime.checkpoint_every = 100
    tiny_config.runtime.out = str(tmp_path / "whole")
    train(tiny_config)
    tiny_config.runtime.out = str(tmp_path / "stopped")
    with pytest.MonkeyPatch.context() as patch:
        whole, calls = Stream.__next__, []

        def read(self: Stream) -> Batch:
            calls.append(self)
            if len(calls) == 3 * 3 + 1:  # the labelled batch and two unlabelled ones of three steps
                raise ValueError("a.bin: ends within a point.")
            return whole(self)

        patch.setattr(Stream, "__next__", read)
        with pytest.raises(
            ValueError, match=r"^a.bin: ends within a point. Stopped at step 3; use --resume to continue"
        ):
            train(tiny_config)
    assert read_checkpoint(tmp_path / "stopped" / "last.pt")["step"] == 3
    train(tiny_config, resume=True)
    one, other = (read_checkpoint(tmp_path / name / "last.pt") for name in ("whole", "stopped"))
    for part in ("network", "teacher"):
        assert all(torch.equal(value, other[part][name]) for name, value in one[part].items())


class Killed(BaseException):
    """Nothing catches it, as nothing catches a SIGKILL."""


def dies_before(owner: Any, name: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends where something is called for the so-many-th time."""
    whole, calls = getattr(owner, name), []

    def call(*given: Any, **options: Any) -> Any:
        calls.append(name)
        if len(calls) == count:
            raise Killed
        return whole(*given, **options)

    monkeypatch.setattr(owner, name, call)


@pytest.mark.parametrize(
    ("owner", "name", "count"),
    [
        *((training, "_validate", count) for count in (1, 2)),  # the checkpoint is there, the evaluation is not
        *((Trainer, "save", count) for count in range(1, 6)),  # of last.pt, best.pt, last.pt; last.pt twice
        *((RunLogger, "scalars", count) for count in (2, 3, 6)),  # of 4 steps and 2 evaluations
    ],
)
def test_a_run_that_died_anywhere_ends_with_the_files_of_one_that_did_not(
    owner: Any, name: str, count: int, tiny_config: Config, tmp_path: Path
) -> None:
    tiny_config.evaluation.every, tiny_config.runtime.checkpoint_every = 2, 2
    found = []
    for folder in ("whole", "died"):
        tiny_config.runtime.out = str(tmp_path / folder)
        with pytest.MonkeyPatch.context() as patch:
            if folder == "died":
                dies_before(owner, name, count, patch)
                with pytest.raises(Killed):
                    train(tiny_config)
                patch.undo()
            train(tiny_config, resume="auto")
        tensors = [read_checkpoint(tmp_path / folder / f"{one}.pt") for one in ("last", "best")]
        texts = [(tmp_path / folder / one).read_text() for one in ("metrics.csv", "metrics.json", "evaluation.json")]
        found.append((tensors, texts))
    (one, texts), (other, again) = found
    assert again == texts
    for mine, yours in zip(one, other, strict=True):
        assert all(torch.equal(value, yours["teacher"][key]) for key, value in mine["teacher"].items())
        assert (mine["step"], mine["best"], mine["evaluated"]) == (yours["step"], yours["best"], yours["evaluated"])


def test_ctrl_c_before_a_command_begins_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rangeseg.cli.make_parser", interrupted)
    assert main(["configs"]) == 130
    assert capsys.readouterr().err == "stopped\n"


def test_a_signal_where_numbers_and_an_evaluation_are_due_loses_none_of_them(
    number: signal.Signals, tiny_config: Config, tmp_path: Path
) -> None:
    tiny_config.evaluation.every = 2
    texts = []
    for folder in ("whole", "stopped"):
        tiny_config.runtime.out = str(tmp_path / folder)
        with pytest.MonkeyPatch.context() as patch:
            if folder == "stopped":
                signalled_at(2, number, patch)
                with pytest.raises(Stopped):
                    train(tiny_config)
        train(tiny_config, resume="auto") if folder == "stopped" else train(tiny_config)
        texts.append((tmp_path / folder / "metrics.csv").read_text())
    assert texts[0] == texts[1]


def test_the_command_says_so_and_ends_as_shells_have_it(
    number: signal.Signals,
    tiny_config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "c.yaml").write_text(write_config(tiny_config))
    signalled_at(1, number, monkeypatch)
    assert main(["train", str(tmp_path / "c.yaml")]) == 128 + number
    assert capsys.readouterr().err.splitlines()[-1] == "stopped at step 1; use --resume to continue"


def test_a_second_signal_does_not_wait(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    came: list[int] = []
    before = signal.signal(number, lambda number, frame: came.append(number))
    try:
        with StopRequest() as request:
            signal.raise_signal(number)
            signal.raise_signal(number)
            assert (request.number, came) == (number, [])
            monkeypatch.setattr("rangeseg.engine.stopping.AGAIN_S", 0.0)
            signal.raise_signal(number)
            assert came == [number]
    finally:
        signal.signal(number, before)


def test_other_threads_train_without_signals() -> None:
    found: list[int] = []

    def work() -> None:
        with StopRequest() as request:
            found.append(request.number)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [0]


def test_two_trainings_do_not_share_a_folder(tiny_config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(tiny_config.runtime.out)
    folder.mkdir(parents=True)
    with (folder / LOCK).open("w") as file:  # as another process has it
        file.write("process 1 on there")
        file.flush()
        assert try_lock(file)
        for resume in (False, True, "auto"):
            with pytest.raises(ConfigError, match=r"another training is using .*run \(process 1 on there\)"):
                train(tiny_config, resume=resume)  # type: ignore[arg-type]
    assert [path.name for path in folder.iterdir()] == [LOCK]
    train(tiny_config)  # the lock went with its owner
    assert str(os.getpid()) in (folder / LOCK).read_text()
    train(tiny_config, resume=True)


@pytest.mark.parametrize(
    ("words", "resume", "config"),
    [
        ("train c.yaml", "no", "c.yaml"),
        ("train c.yaml --resume", "yes", "c.yaml"),
        ("train --resume c.yaml", "yes", "c.yaml"),
        ("train c.yaml --resume auto", "auto", "c.yaml"),
        ("train --resume auto c.yaml", "auto", "c.yaml"),
        ("train --resume=auto c.yaml optim.lr=1", "auto", "c.yaml"),
    ],
)
def test_resume_takes_auto_and_no_config(words: str, resume: str, config: str) -> None:
    arguments = parse(words.split())
    assert (arguments.resume, arguments.config) == (resume, config)


CHILD = """
import signal, sys, time
from pathlib import Path
def note(number, frame):
    Path(sys.argv[1]).write_text(str(number))
    sys.exit(128 + number)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, note)
Path(sys.argv[2]).touch()
time.sleep(60)
"""


def test_signals_reach_the_trainings_of_repeat(number: signal.Signals, tmp_path: Path) -> None:
    codes: list[int] = []
    got, ready = tmp_path / "got", tmp_path / "ready"

    def work(children: ChildProcesses) -> None:
        with (tmp_path / "log").open("w") as log:
            codes.append(children.run([sys.executable, "-c", CHILD, str(got), str(ready)], log))
            codes.append(children.run([sys.executable, "-c", "raise SystemExit(7)"], log))

    children = ChildProcesses()
    with pytest.raises(Stopped) as stopped, children:  # noqa: PT012
        thread = threading.Thread(target=work, args=(children,))
        thread.start()
        deadline = time.monotonic() + 30
        while not ready.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        signal.raise_signal(number)
    thread.join(30)
    assert got.read_text() == str(int(number))
    assert codes == [128 + number, 128 + number]  # the second was never started
    assert stopped.value.code == 128 + number


@pytest.mark.slow
def test_repeat_leaves_no_orphans(tiny_config: Config, tmp_path: Path) -> None:
    tiny_config.optim.steps = 100_000
    (tmp_path / "c.yaml").write_text(write_config(tiny_config))
    words = ["repeat", str(tmp_path / "c.yaml"), "--seeds", "0", "1", "--jobs", "2", "--out", str(tmp_path / "out")]
    started = subprocess.Popen([sys.executable, "-m", "rangeseg", *words], stderr=subprocess.PIPE, text=True)
    logs = [tmp_path / "out" / f"c_seed{seed}" for seed in (0, 1)]
    deadline = time.monotonic() + 120
    while not all((log / "metrics.csv").is_file() for log in logs) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    started.terminate()
    _, said = started.communicate(timeout=60)
    assert started.returncode == 143, said
    for log in logs:
        process = int((log / LOCK).read_text().split()[1])
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
        assert read_checkpoint(log / "last.pt")["step"] > 0


def test_home_folders_are_those_of_the_shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    given = {"a": ["~/x", Path("~/y"), 3, "a~/b", "~"], "b": {"c": "~/z"}, "d": "~nobody-of-this-name/x", "e": "x/~/y"}
    assert expand_home(given) == {
        "a": ["/home/me/x", Path("/home/me/y"), 3, "a~/b", "/home/me"],
        "b": {"c": "/home/me/z"},
        "d": "~nobody-of-this-name/x",
        "e": "x/~/y",
    }
    assert parse(["predict", "r.pt", "--out=~/out", "--zip=~/s.zip"]).out == Path("/home/me/out")
    words = ["data.root=~/data", "runtime.out=~/runs", "optim.steps=1", "network={name: fidnet, weights: ~/w.pt}"]
    (tmp_path / "c.yaml").write_text("data: {labelled: ~/list.txt}\n")
    config = read_config(tmp_path / "c.yaml", words)
    assert (config.data.root, config.runtime.out) == ("/home/me/data", "/home/me/runs")
    assert (config.data.labelled, config.network["weights"]) == ("/home/me/list.txt", "/home/me/w.pt")
    assert config_from_yaml(write_config(config)) == config


def test_what_cannot_be_written_is_found_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_writable(tmp_path / "new" / "deep" / "file")
    check_writable(tmp_path / "file")
    check_writable(Path("/dev/null"))
    check_folder(tmp_path / "new")
    with pytest.raises(IsADirectoryError):
        check_writable(tmp_path)
    with pytest.raises(NotADirectoryError):
        check_writable(tmp_path / "file" / "x")
    with pytest.raises(NotADirectoryError):
        check_folder(tmp_path / "file")
    with pytest.raises(OSError, match="too long"):
        check_writable(tmp_path / ("n" * 256))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


COMMANDS = [
    "predict RUN SCAN --out FILE",
    "predict RUN SCAN --out FOLDER --zip FILE/x.zip",
    "evaluate RUN --json FOLDER",
    "evaluate RUN --json FILE/x.json",
    "export RUN --out FILE/x.onnx",
    "report RUN --out FOLDER",
    "fit-head RUN --out FOLDER",
    "repeat mini_kitti/quick data.root=x --out FILE",
    "demo --out FILE",
]


@pytest.mark.parametrize("words", COMMANDS)
def test_commands_look_at_their_outputs_first(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("FILE").touch()
    Path("FOLDER").mkdir()
    assert main(words.split()) == 1  # the run is not even there
    said = capsys.readouterr().err
    assert "FILE" in said or "FOLDER" in said
    assert "another" in said or "name a file" in said or "Not a directory" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["FILE", "FOLDER"]


def test_train_looks_at_its_folder_first(tiny_config: Config, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    tiny_config.runtime.out = str(tmp_path / "file" / "run")
    tiny_config.data.root = "absent"
    with pytest.raises(ConfigError, match=r"runtime\.out: .* cannot be written to"):
        train(tiny_config)
