"""Several seeds: every job once, none twice, and a table that says what it averages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest

from rangeseg.apps import repeat
from rangeseg.apps.repeat import Job, curves, make_jobs, run_jobs, table
from rangeseg.cli import main
from rangeseg.config import Config, write_config


def write_report(job: Job, score: float) -> None:
    job.folder.mkdir(parents=True)
    job.report.write_text(json.dumps({"mean_iou": score, "accuracy": 0.5, "classes_present": ["car", "road"]}))


def test_the_table_gives_mean_and_sample_deviation(tmp_path: Path) -> None:
    jobs = make_jobs([Path("a.yaml"), Path("b.yaml")], [0, 1, 2], tmp_path)
    scores = [0.1, 0.12, 0.17]
    for job in jobs:
        if job.config.stem == "a":
            write_report(job, scores[job.seed])
    jobs = [job for job in jobs if job.report.is_file()]
    row = next(line for line in table(jobs).splitlines() if line.startswith("| a "))
    assert f"{100 * mean(scores):.2f}" in row
    assert f"± {100 * stdev(scores):.2f}" in row
    assert "| b " not in table(jobs)
    assert "2 classes present in the scored split: car, road" in table(jobs)


def test_curves_are_means_at_the_steps_that_all_seeds_have(tmp_path: Path) -> None:
    jobs = make_jobs([Path("a.yaml"), Path("b.yaml")], [0, 1], tmp_path)
    for job, last in zip(jobs, ("20,mean_iou,0.4", None, "20,mean_iou,0.6\n30,mean_iou,0.7", None), strict=True):
        if last is not None:
            job.folder.mkdir(parents=True)
            (job.folder / "metrics.csv").write_text(f"step,name,value\n10,mean_iou,0.1\n10,loss,3.0\n{last}\n")
    lines = curves(jobs)
    assert list(lines) == ["a"]
    assert lines["a"][0] == [10, 20]
    assert lines["a"][1] == pytest.approx([10, 50])
    assert curves(jobs, "loss")["a"] == ([10], [300.0])


def test_nothing_trained_is_said() -> None:
    assert "Nothing is trained yet" in table([])


def test_seeds_are_trained_together_for_all_configs(tmp_path: Path) -> None:
    jobs = make_jobs([Path("a.yaml"), Path("b.yaml")], [0, 1], tmp_path)
    assert [(job.config.stem, job.seed) for job in jobs] == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]


def test_a_failed_training_names_its_log(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("optimm: {}\n")
    jobs = make_jobs([tmp_path / "bad.yaml"], [0], tmp_path / "out")
    with pytest.raises(RuntimeError, match=r"bad_seed0\.log"):
        list(run_jobs(jobs, []))
    assert "Did you mean 'optim'" in (tmp_path / "out" / "bad_seed0.log").read_text()


@pytest.mark.slow
def test_the_command_trains_what_is_missing_and_nothing_else(tiny_config: Config, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(write_config(tiny_config))
    arguments = [
        "repeat",
        str(tmp_path / "tiny.yaml"),
        "--seeds",
        "3",
        "4",
        "--jobs",
        "2",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main([*arguments, "optim.steps=2"]) == 0
    first = (tmp_path / "out" / "table.md").read_text()
    assert "3: " in first
    assert "4: " in first
    made = (tmp_path / "out" / "tiny_seed3" / "last.pt").stat().st_mtime_ns
    assert main([*arguments, "optim.steps=2"]) == 0
    assert (tmp_path / "out" / "tiny_seed3" / "last.pt").stat().st_mtime_ns == made
    assert (tmp_path / "out" / "table.md").read_text() == first


def test_configs_scored_on_other_classes_are_told(tmp_path: Path) -> None:
    jobs = make_jobs(["a.yaml", "b.yaml"], [0, 1], tmp_path)
    for job in jobs:
        write_report(job, 0.5)
    assert "cannot be compared" not in table(jobs)
    report = json.loads(jobs[1].report.read_text()) | {"classes_present": ["car"]}
    for job in jobs[1::2]:
        job.report.write_text(json.dumps(report))
    said = table(jobs)
    assert "2 classes present in the scored split of a: car, road" in said
    assert "1 classes present in the scored split of b: car" in said
    assert "cannot be compared" in said
    write_report(Job("a.yaml", 5, tmp_path / "a_seed5"), 0.5)
    (tmp_path / "a_seed5/evaluation.json").write_text(json.dumps(report))
    said = table([jobs[0], Job("a.yaml", 5, tmp_path / "a_seed5")])
    assert "1 classes present in the scored split of a with seed 5: car" in said


def test_a_table_has_only_the_jobs_of_this_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second training stops before its score on the new split is there."""
    for job in make_jobs(["a.yaml"], [0, 1], tmp_path):
        write_report(job, 0.5)

    def run_jobs(jobs: Sequence[Job], *_: Any, **__: Any) -> Iterator[Job]:
        yield jobs[0]
        raise RuntimeError("stopped")

    monkeypatch.setattr(repeat, "run_jobs", run_jobs)
    assert main(["repeat", "a.yaml", "--seeds", "0", "1", "1", "--out", str(tmp_path)]) == 1
    assert "| a | 50.00 |  | 0: 50.00 | 50.00 |" in (tmp_path / "table.md").read_text()


def test_a_seed_given_twice_is_trained_once(tmp_path: Path) -> None:
    assert [job.seed for job in make_jobs(["a.yaml"], [5, 5, 6], tmp_path)] == [5, 6]
