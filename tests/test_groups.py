"""Scores of groups of classes, against counting the elements."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rangeseg.cli import main
from rangeseg.evaluation.groups import parse_groups, score_groups
from rangeseg.evaluation.metrics import ConfusionMatrix
from rangeseg.types import IGNORE

NAMES = ("car", "truck", "road", "person")


def test_groups_are_counted_by_element(rng: np.random.Generator) -> None:
    label, prediction = (rng.choice([0, 1, 2, 3, IGNORE], 500).astype(np.uint8) for _ in range(2))
    matrix = ConfusionMatrix(4)
    matrix.update(prediction, label)
    found = score_groups(matrix, parse_groups(["vehicle=car,truck", "ground=road"], NAMES))
    known = label != IGNORE
    for name, members in {"vehicle": [0, 1], "ground": [2]}.items():
        mine, said = np.isin(label, members), np.isin(prediction, members)
        assert found[name]["right"] == pytest.approx(said[mine].mean())
        assert found[name]["labelled"] == pytest.approx(mine[known].mean())
        assert found[name]["predicted"] == pytest.approx(said[known].mean())


def test_every_class_a_group_of_its_own_gives_the_accuracy(rng: np.random.Generator) -> None:
    matrix = ConfusionMatrix(4, rng.integers(0, 50, (4, 5)))
    groups = parse_groups([f"{name}={name}" for name in NAMES], NAMES)
    found = score_groups(matrix, groups).values()
    assert sum((one["right"] or 0) * (one["labelled"] or 0) for one in found) == pytest.approx(matrix.accuracy())


def test_a_group_without_elements_has_no_score() -> None:
    found = score_groups(ConfusionMatrix(4), {"vehicle": [0, 1]})
    assert found == {"vehicle": {"right": None, "labelled": None, "predicted": None}}


@pytest.mark.parametrize(("words", "said"), [
    (["vehicle"], "'vehicle' does not have the form NAME=CLASS,CLASS"),
    (["=car"], "'=car' does not have the form"),
    (["vehicle="], "'vehicle=' does not have the form"),
    (["vehicle=car,lorry"], "no class is called 'lorry'. The classes: car, truck, road, person"),
    (["a=car", "a=truck"], "two groups are called 'a'"),
    (["a=car", "b=truck,car"], "the class 'car' occurs twice"),
    (["a=car,car"], "the class 'car' occurs twice"),
])  # fmt: skip
def test_bad_groups_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(ValueError, match="--groups: ") as caught:
        parse_groups(words, NAMES)
    assert said in str(caught.value)


def test_evaluate_prints_and_writes_groups(tiny_kitti: Path, tmp_path: Path, capsys: Any) -> None:
    words = ["evaluate", "first-answer", f"data.root={tiny_kitti}", "--anyway", "--groups"]
    written_to = ["--json", str(tmp_path / "x.json")]
    assert main([*words, "vehicle=car,truck", "road=road,parking", *written_to]) == 0
    assert "of all predictions" in capsys.readouterr().out
    written = json.loads((tmp_path / "x.json").read_text())
    assert list(written["groups"]) == ["vehicle", "road"]
    matrix = ConfusionMatrix(len(written["iou"]), np.array(written["confusion"]))
    assert matrix.accuracy() == pytest.approx(written["accuracy"])
    assert main([*words, "vehicle=lorry"]) == 1
    assert "no class is called 'lorry'" in " ".join(capsys.readouterr().err.split())


def test_an_override_that_yaml_cannot_read_is_not_the_weights_fault(tiny_kitti: Path, capsys: Any) -> None:
    assert main(["evaluate", "first-answer", f"data.root={tiny_kitti}", "data.dataset.scans={split}/*.bin"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith("error: data.dataset.scans={split}/*.bin: the value is not readable as YAML")
