"""The run folder: numbers are never lost, doubled or half-written."""

from __future__ import annotations

import json
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rangeseg.engine.journal import Journal, read_metrics


def test_numbers_read_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.scalars(1, {"loss": 0.1})
    journal.scalars(2, {"loss": float("nan"), "lr": 1e-3})
    journal.close()
    rows = read_metrics(tmp_path / "metrics.csv")
    assert rows[0] == (1, "loss", 0.1)
    assert rows[2] == (2, "lr", 1e-3)
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"loss": None, "lr": 1e-3}
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2]


def test_going_on_drops_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    for step in (1, 2, 3):
        first.scalars(step, {"loss": float(step)})
    first.close()
    second = Journal(tmp_path, step=2)
    second.scalars(3, {"loss": 30.0})
    second.close()
    assert read_metrics(tmp_path / "metrics.csv") == [(1, "loss", 1.0), (2, "loss", 2.0), (3, "loss", 30.0)]


def test_a_half_written_line_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,name,value\n1,loss,0.5\n2,lo")
    assert read_metrics(tmp_path / "metrics.csv") == [(1, "loss", 0.5)]


def test_a_journal_that_is_not_enabled_leaves_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "none", enabled=False)
    journal.scalars(1, {"loss": 1.0})
    with journal.progress(0, 2) as progress:
        progress(1, {})
    journal.close()
    assert not (tmp_path / "none").exists()
