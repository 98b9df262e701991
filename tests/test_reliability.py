"""Calibration error against a loop in float64, the temperature against SciPy, and both through the commands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import random_scan
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from rangeseg import IGNORE, Segmenter
from rangeseg.cli import main
from rangeseg.config import Config
from rangeseg.engine.training import train
from rangeseg.evaluation.reliability import BINS, COLDEST, HOTTEST, Reliability, fit_temperature
from rangeseg.inference.calibrate import calibrated
from rangeseg.inference.export import describe, write_weights
from rangeseg.inference.run import Run
from rangeseg.inference.scoring import open_views
from rangeseg.notices import Notice
from rangeseg.weights import Weights, find_weights

K = 4


def answers(rng: np.random.Generator, count: int = 3000) -> tuple[NDArray, NDArray, NDArray]:
    """Predictions, labels and confidences, some of them missing."""
    prediction, label = rng.integers(0, K, count).astype(np.uint8), rng.integers(0, K, count).astype(np.uint8)
    label = np.where(rng.random(count) < 0.5, prediction, label).astype(np.uint8)
    prediction[:40], label[20:90] = IGNORE, IGNORE
    return prediction, label, rng.beta(3, 1 + prediction % 3, count).astype(np.float32)


def expected_error(prediction: NDArray, label: NDArray, confidence: NDArray) -> float:
    """The definition, element by element."""
    bins: dict[int, list[tuple[float, bool]]] = {}
    for given, true, sure in zip(prediction.tolist(), label.tolist(), confidence.tolist(), strict=True):
        if given != IGNORE and true != IGNORE:
            bins.setdefault(min(int(sure * BINS), BINS - 1), []).append((sure, given == true))
    total = sum(map(len, bins.values()))
    gaps = (abs(np.mean([sure for sure, _ in some]) - np.mean([good for _, good in some])) for some in bins.values())
    return float(sum(len(some) / total * gap for some, gap in zip(bins.values(), gaps, strict=True)))


def test_the_error_is_that_of_the_definition_and_adds_up(rng: np.random.Generator) -> None:
    first, second = answers(rng), answers(rng, 1000)
    found = Reliability(K)
    found.update(*first)
    other = Reliability(K)
    other.update(*second)
    both = [np.concatenate(pair) for pair in zip(first, second, strict=True)]
    assert (found + other).error() == pytest.approx(expected_error(*both), abs=1e-6)
    for train_id, error in enumerate((found + other).error_by_class()):
        mine = both[0] == train_id
        assert error == pytest.approx(expected_error(*(part[mine] for part in both)), abs=1e-6)
    known = (both[0] != IGNORE) & (both[1] != IGNORE)
    sure, right = (found + other).means()
    assert sure == pytest.approx(both[2][known].astype(float).mean(), abs=1e-6)
    assert right == pytest.approx((both[0] == both[1])[known].mean())
    for every in (1, 2):
        curve = np.array((found + other).curve(every))
        assert curve[:, 2].sum() == pytest.approx(1)
        assert (curve[:, 2] * curve[:, 4]).sum() == pytest.approx(right)
        assert ((curve[:, 0] <= curve[:, 3] + 1e-6) & (curve[:, 3] <= curve[:, 1] + 1e-6)).all()


def test_nothing_counted_is_none_and_bad_confidence_is_refused() -> None:
    none = Reliability(2)
    assert none.report(("a", "b"), 1.0)["ece"] is None
    assert none.curve() == []
    one = np.zeros(1, np.uint8)
    for bad in (np.array([1.5]), np.array([np.nan]), np.array([0.5, 0.5])):
        with pytest.raises(ValueError, match=r"probabilities|shape"):
            none.update(one, one, bad)


@pytest.mark.parametrize("heat", [0.4, 1.0, 3.0])
def test_the_temperature_is_the_likeliest(heat: float, rng: np.random.Generator) -> None:
    """Labels drawn from softmax(logits / heat): SciPy's minimum of the likelihood, and about `heat` itself."""
    logits = rng.normal(0, 2, (4000, K))
    chance = np.exp(logits / heat)
    label = (rng.random((4000, 1)) > (chance / chance.sum(1, keepdims=True)).cumsum(1)).sum(1)

    def unlikely(log_heat: float) -> float:
        scaled = logits / np.exp(log_heat)
        total = np.logaddexp.reduce(scaled, axis=1)
        return float((total - scaled[np.arange(len(label)), label]).mean())

    best = np.exp(minimize_scalar(unlikely, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9}).x)
    found = fit_temperature(logits.astype(np.float32), label)
    assert found == pytest.approx(best, rel=1e-4)
    assert found == pytest.approx(heat, rel=0.1)


def test_no_best_temperature_ends_at_the_border_and_nothing_to_fit_is_refused() -> None:
    logits = np.array([[3.0, 0], [0, 2]])
    assert fit_temperature(logits, np.array([0, 1])) == pytest.approx(COLDEST)
    assert fit_temperature(logits, np.array([1, 0])) == pytest.approx(HOTTEST)
    with pytest.raises(ValueError, match="no labelled"):
        fit_temperature(np.zeros((0, 2)), np.zeros(0, int))
    with pytest.raises(ValueError, match="logits contain nan or infinity"):
        fit_temperature(np.array([[np.inf, 0]]), np.array([0]))


def test_a_temperature_changes_confidence_and_no_label(rng: np.random.Generator) -> None:
    run = Run.load("first-answer", device="cpu")
    scan = random_scan(rng)
    plain, warm = (Segmenter(replace(run, temperature=heat)) for heat in (1.0, 2.5))
    image = plain.project(scan)
    scaled = plain.logits(image).double().numpy() / 2.5
    chance = np.exp(scaled - scaled.max(0))
    chance = (chance / chance.sum(0))[:, image.row, image.col]  # type: ignore[union-attr]
    for found in (warm(scan), next(warm.stream([scan], workers=2, confidence=True))):
        np.testing.assert_array_equal(found.labels, plain(scan).labels)
        known = found.labels != IGNORE
        expected = chance[found.labels[known], np.flatnonzero(known)]
        np.testing.assert_allclose(found.confidence[known], expected, atol=1e-5)
        nats = -(chance * np.log(chance)).sum(0)
        np.testing.assert_allclose(found.entropy[known], nats[known], atol=1e-4)


def test_evaluate_calibrates_and_every_form_of_the_run_carries_it(
    tiny_config: Config, tiny_kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny_config)
    folder, told = Path(tiny_config.runtime.out), tmp_path / "told.json"
    before = torch.load(folder / "last.pt", weights_only=True)
    assert main(["evaluate", str(folder), "--json", str(told)]) == 0
    plain = json.loads(told.read_text())["reliability"]
    assert plain["temperature"] == 1
    assert main(["evaluate", str(folder), "--calibrate", "--json", str(told)]) == 0
    said = capsys.readouterr()
    assert "fitted on the scans scored here" in " ".join(said.out.split())
    assert "the highest allowed, because the run is no better than chance" in said.err  # random scans, random labels
    warm = json.loads(told.read_text())["reliability"]
    assert warm["temperature"] != 1
    assert warm["accuracy"] == plain["accuracy"]

    after = torch.load(folder / "last.pt", weights_only=True)
    heat = after.pop("temperature")
    assert heat == pytest.approx(warm["temperature"])
    assert after.keys() == before.keys()
    assert all(torch.equal(after["teacher"][key], before["teacher"][key]) for key in before["teacher"])
    run = Run.load(folder, device="cpu")
    assert run.temperature == describe(run)["temperature"] == heat
    views = open_views(run)
    with pytest.warns(Notice, match="the highest allowed"):
        assert calibrated(run, views).temperature == pytest.approx(heat)  # it is fitted on what is not divided yet
    write_weights(run, tmp_path / "small.pt")
    assert Run.load(tmp_path / "small.pt", device="cpu").temperature == heat

    facts = {key: "x" for key in ("summary", "data", "licence", "limits", "made_by")} | {"sensors": [], "scores": {}}
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    packing = ["weights", "--pack", str(folder), "--name", "tiny", "--facts", str(tmp_path / "facts.json")]
    assert main([*packing, "--out", str(tmp_path / "packed")]) == 0
    assert isinstance(find_weights(tmp_path / "packed"), Weights)
    assert Run.load(tmp_path / "packed", device="cpu").temperature == heat
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "packed"), f"data.root={tiny_kitti}", "--calibrate"]) == 1
    assert "these weights cannot be changed" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["net.onnx", "net.xml"])
def test_exported_files_carry_the_temperature(
    name: str, tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openvino" if name.endswith(".xml") else "onnxruntime")
    pytest.importorskip("onnxscript")
    write_weights(replace(Run.load("first-answer", device="cpu"), temperature=2.0), tmp_path / "run.pt")
    scan = random_scan(rng)
    scan.xyz.tofile(tmp_path / "scan.bin")
    np.column_stack([scan.xyz, scan.remission]).astype(np.float32).tofile(tmp_path / "scan.bin")
    words = ["export", str(tmp_path / "run.pt"), str(tmp_path / "scan.bin"), "--out", str(tmp_path / name)]
    assert main(words) == 0
    own, other = Segmenter.load(tmp_path / "run.pt", device="cpu"), Segmenter.load(tmp_path / name, device="cpu")
    assert own.run.temperature == other.run.temperature == 2
    np.testing.assert_allclose(own(scan).confidence, other(scan).confidence, atol=1e-4)
    assert main(["evaluate", str(tmp_path / name), "--calibrate", "data.root=x"]) == 1
    assert "exported file" in capsys.readouterr().err


@pytest.mark.slow
def test_the_real_scans_confidence_fits_after_calibration_on_others(kitti_root: Path) -> None:
    """The network that ships is too sure; a temperature of three scans mends most of it on the other two."""
    run = Run.load("kitti", device="cpu", overrides=[f"data.root={kitti_root}"])
    shipped, run = run.temperature, replace(run, temperature=1.0)
    views = open_views(run)

    class Part:
        def __init__(self, indices: list[int]) -> None:
            self.indices = indices

        def __len__(self) -> int:
            return len(self.indices)

        def sample(self, index: int) -> object:
            return views.sample(self.indices[index])

    warm = calibrated(run, Part([0, 2, 4]))
    assert warm.temperature == pytest.approx(shipped, rel=0.1)  # that of the card, fitted on all five
    errors = []
    for one in (run, warm):
        found, segmenter = Reliability(run.label_map.num_classes), Segmenter(one)
        for index in (1, 3):
            sample = views.sample(index)
            answer = segmenter(sample)
            found.update(answer.labels, sample.label, answer.confidence)
        errors.append(found.error())
    assert errors[1] < 0.05 < 0.08 < errors[0]
