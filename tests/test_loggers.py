"""Loggers besides the run folder: a class of one's own, and the adapters in their offline modes."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from rangeseg.config import Config
from rangeseg.engine.loggers import Logger, Mlflow, Trackio, Wandb, stored_id
from rangeseg.engine.run_logger import read_metrics
from rangeseg.engine.training import train
from rangeseg.registry import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore:.*rangeseg fit-sensor")


class RecordingLogger:
    """Keeps what it is told."""

    told: ClassVar[list[tuple[Any, ...]]] = []

    def __init__(self, word: str = "none", fails: bool = False) -> None:
        self.word, self.fails = word, fails

    def start(self, folder: Path, config: Mapping[str, Any], step: int) -> None:
        self.told.append(("start", folder, dict(config), step, self.word))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        if self.fails:
            raise OSError("the server is away")
        self.told.append(("scalars", step, dict(values)))

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        self.told.append(("image", step, name, image.shape, image.dtype))

    def close(self) -> None:
        self.told.append(("close",))


def with_logger(config: Config, *sections: dict[str, Any]) -> Config:
    return replace(config, runtime=replace(config.runtime, loggers=list(sections)))


def test_a_class_of_ones_own_is_told_what_the_folder_is_told(tiny_config: Config) -> None:
    RecordingLogger.told.clear()
    train(with_logger(tiny_config, {"name": "test_loggers:RecordingLogger", "word": "hello"}))
    told = RecordingLogger.told
    assert told[0][0] == "start"
    assert told[0][1] == Path(tiny_config.runtime.out)
    assert told[0][2]["optim.steps"] == 4
    assert told[0][3:] == (0, "hello")
    assert told[-1] == ("close",)
    scalars = [(one[1], name, value) for one in told if one[0] == "scalars" for name, value in one[2].items()]
    rows = read_metrics(Path(tiny_config.runtime.out) / "metrics.csv")
    assert len(rows) > 4
    same = [(a[:2] == b[:2]) and (a[2] == b[2] or math.isnan(a[2])) for a, b in zip(scalars, rows, strict=True)]
    assert all(same)
    images = [one for one in told if one[0] == "image"]
    assert images
    assert all(len(shape) == 3 and dtype == np.uint8 for *_, shape, dtype in images)


def test_a_logger_that_fails_does_not_end_the_training(tiny_config: Config) -> None:
    RecordingLogger.told.clear()
    with pytest.warns(UserWarning, match="The logger RecordingLogger failed and is no longer used: the server is away"):
        report = train(with_logger(tiny_config, {"name": "test_loggers:RecordingLogger", "fails": True}))
    assert report is not None
    assert [one[0] for one in RecordingLogger.told] == ["start"]


def test_a_wrong_logger_is_refused_before_training(tiny_config: Config) -> None:
    with pytest.raises(ConfigError, match=r"runtime\.loggers\[0\].*Did you mean 'wandb'"):
        train(with_logger(tiny_config, {"name": "wandv"}))
    with pytest.raises(ConfigError, match=r"runtime\.loggers\[0\]\.words: unknown key"):
        train(with_logger(tiny_config, {"name": "test_loggers:RecordingLogger", "words": "x"}))
    assert not Path(tiny_config.runtime.out).exists()


def use(logger: Logger, folder: Path) -> None:
    folder.mkdir()
    logger.start(folder, {"optim.lr": 0.25, "network.name": "fidnet"}, 0)
    logger.scalars(3, {"supervised": 1.5, "mean_iou": 0.5})
    logger.image(3, "confusion", np.full((8, 9, 3), 7, np.uint8))
    logger.close()


@pytest.mark.filterwarnings("ignore")
def test_wandb_offline(tmp_path: Path) -> None:
    wandb = pytest.importorskip("wandb", reason="the extra wandb is not installed")
    use(Wandb(mode="offline"), tmp_path / "run")
    wandb.teardown()  # as at the end of a process: only then has wandb's service written the whole file
    (kept,) = (tmp_path / "run/wandb").glob("offline-run-*/run-*.wandb")
    content = kept.read_bytes()
    assert b"supervised" in content
    assert b"optim.lr" in content


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tool", ["wandb", "mlflow"])
def test_a_resumed_training_continues_its_run(tool: str, tmp_path: Path) -> None:
    pytest.importorskip(tool, reason=f"the extra {tool} is not installed")
    folder, seen = tmp_path / "run", []
    folder.mkdir()
    for step in (0, 5, 0):
        logger = Wandb(mode="offline") if tool == "wandb" else Mlflow()
        logger.start(folder, {"optim.lr": 0.25}, step)
        seen.append(stored_id(folder, tool, 1))
        logger.scalars(step + 1, {"supervised": 1.5})
        logger.close()
    assert seen[0] == seen[1]
    assert seen[0] != seen[2]  # a new training is a new run


@pytest.mark.filterwarnings("ignore")
def test_mlflow_in_a_file(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    use(Mlflow(), tmp_path / "run")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'run/mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("rangeseg").experiment_id])
    assert run.data.params == {"optim.lr": "0.25", "network.name": "fidnet"}
    assert run.data.metrics == {"supervised": 1.5, "mean_iou": 0.5}
    assert [path.name for path in (tmp_path / "run/mlflow").rglob("*.png")] == ["00000003.png"]
    assert run.info.status == "FINISHED"


@pytest.mark.filterwarnings("ignore")
def test_trackio_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio", reason="the extra trackio is not installed")
    import sqlite3

    use(Trackio(), tmp_path / "run")
    (database,) = (tmp_path / "trackio").rglob("rangeseg*.db")
    rows = sqlite3.connect(database).execute("select step, metrics from metrics").fetchall()
    logged: dict[str, Any] = {}
    for step, metrics in rows:
        assert step == 3
        logged |= json.loads(metrics)
    assert (logged["supervised"], logged["mean_iou"]) == (1.5, 0.5)


class FakeTrackio:
    """trackio's runs: a new run whose name is in use gets another name; `allow` continues a run by its name."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.used: list[str] = []

    def init(self, *, name: str, resume: str, **_: Any) -> SimpleNamespace:
        if name not in self.runs or resume == "never":
            name = name if name not in self.runs else f"{name}-{len(self.runs)}"
            self.runs.append(name)
        self.used.append(name)
        return SimpleNamespace(name=name)


def test_trackio_continues_the_run_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeTrackio()
    monkeypatch.setitem(sys.modules, "trackio", fake)  # type: ignore[misc]
    folders = [tmp_path / place / "fidnet_cutmix" for place in ("a", "b")]
    for folder in folders:
        folder.mkdir(parents=True)
        Trackio().start(folder, {}, 0)
    for folder in folders:
        Trackio().start(folder, {}, 500)
    assert fake.used == 2 * ["fidnet_cutmix", "fidnet_cutmix-1"]
    Trackio().start(folders[0], {}, 0)  # from the beginning again
    assert fake.used[-1] == "fidnet_cutmix-2"
