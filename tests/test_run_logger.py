"""The run folder: numbers are never lost, doubled or half-written."""

from __future__ import annotations

import errno
import io
import json
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.summary.writer import record_writer
from tensorboard.util.tensor_util import make_ndarray

from rangeseg.config import Config
from rangeseg.engine.run_logger import RunLogger, flatten, no_traceback_of_writers, read_metrics, read_seconds
from rangeseg.engine.training import train
from rangeseg.vis.confusion import confusion_picture


def test_numbers_read_back(tmp_path: Path) -> None:
    logger = RunLogger(tmp_path)
    logger.scalars(1, {"loss": 0.1})
    logger.scalars(2, {"loss": float("nan"), "lr": 1e-3})
    logger.close()
    rows = read_metrics(tmp_path / "metrics.csv")
    assert rows[0] == (1, "loss", 0.1)
    assert rows[2] == (2, "lr", 1e-3)
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"loss": None, "lr": 1e-3}
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2]


def test_going_on_drops_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    first = RunLogger(tmp_path)
    for step in (1, 2, 3):
        first.scalars(step, {"loss": float(step)})
    first.close()
    assert read_seconds(tmp_path) is not None
    (tmp_path / "time.json").write_text('{"seconds": 100.0}')
    second = RunLogger(tmp_path, step=2)
    second.scalars(3, {"loss": 30.0})
    second.close()
    assert read_metrics(tmp_path / "metrics.csv") == [(1, "loss", 1.0), (2, "loss", 2.0), (3, "loss", 30.0)]
    assert 100 <= (read_seconds(tmp_path) or 0) < 160  # both sessions


def test_a_half_written_line_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,name,value\n1,loss,0.5\n2,lo")
    assert read_metrics(tmp_path / "metrics.csv") == [(1, "loss", 0.5)]


def test_a_logger_that_is_not_enabled_writes_nothing(tmp_path: Path) -> None:
    logger = RunLogger(tmp_path / "none", enabled=False)
    logger.scalars(1, {"loss": 1.0})
    with logger.progress(0, 2) as progress:
        progress(1, {})
    logger.close()
    assert not (tmp_path / "none").exists()


def test_tensorboard_has_classes_confusion_points_and_the_table_of_runs(tiny_config: Config) -> None:
    train(tiny_config)
    events = EventAccumulator(tiny_config.runtime.out, size_guidance={"tensors": 0})
    events.Reload()
    tags = events.Tags()
    assert any(name.startswith("iou/") for name in tags["scalars"])
    confusion = np.asarray(Image.open(io.BytesIO(events.Images("confusion")[-1].encoded_image_string)))
    assert confusion.std() > 1
    name = next(name for name in tags["tensors"] if name.endswith("prediction_VERTEX"))
    vertices, colors = (
        make_ndarray(events.Tensors(name.replace("VERTEX", part))[-1].tensor_proto) for part in ("VERTEX", "COLOR")
    )
    assert vertices.shape == colors.shape
    assert vertices.shape[0] == 1
    assert np.isfinite(vertices).all()
    assert len(np.unique(colors.reshape(-1, 3), axis=0)) >= 1
    assert name.replace("prediction", "label") in tags["tensors"]
    table = events.summary_metadata["_hparams_/session_start_info"].plugin_data
    started = HParamsPluginData.FromString(table["hparams"] if isinstance(table, dict) else table.content)
    values = started.session_start_info.hparams
    assert values["optim.steps"].number_value == tiny_config.optim.steps
    assert values["network.name"].string_value == "fidnet"
    assert not [path for path in Path(tiny_config.runtime.out).iterdir() if path.is_dir()]  # no runs within the run


def test_many_points_are_thinned(tmp_path: Path) -> None:
    logger = RunLogger(tmp_path)
    xyz = np.arange(3 * 70_000, dtype=np.float32).reshape(-1, 3)
    xyz[0] = np.nan
    logger.points(1, "scan", xyz, np.zeros((70_000, 3), np.uint8))
    logger.close()
    events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0})
    events.Reload()
    kept = make_ndarray(events.Tensors("scan_VERTEX")[0].tensor_proto)[0]
    assert 20_000 < len(kept) <= 30_000
    np.testing.assert_array_equal(kept[0], xyz[1])


def test_flat_keys_are_full_paths() -> None:
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1, 2], "e": None, "f": True}) == {
        "a.b": 1,
        "a.c": "{}",
        "d": "[1, 2]",
        "e": "None",
        "f": True,
    }


def test_a_confusion_picture_shows_shares() -> None:
    state = np.array([[3, 1, 0], [0, 0, 0]])
    picture = confusion_picture(state, ["first", "second"], cell=30)
    margin = picture.shape[1] - 3 * 30
    assert picture.shape[0] - margin == 2 * 30
    cells = picture[margin + 2, margin + 2 :: 30].astype(int)
    assert cells[0, 2] > cells[1, 2] > cells[2, 2]
    empty = picture[margin + 30 + 2, margin + 2 :: 30]
    assert (empty == empty[0]).all()


def log_for_seconds(logger: RunLogger) -> None:
    for step in range(1000):
        logger.scalars(step, {"a": 1.0})
        time.sleep(0.01)


def test_a_full_disk_is_told_once_and_not_by_the_thread_that_writes_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    told: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda failed: told.append(failed.thread.name))
    with no_traceback_of_writers():
        logger = RunLogger(tmp_path)
        monkeypatch.setattr(record_writer.RecordWriter, "write", full)
        with pytest.raises(OSError, match="No space left"):
            log_for_seconds(logger)
        with suppress(OSError):
            logger.close()
        other = threading.Thread(target=full, name="another")
        other.start()
        other.join()
    assert told == ["another"]
