"""A run in OpenVINO's form, in float32 and in int8: the same labels, or nothing is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import random_scan

from rangeseg import Segmenter
from rangeseg.cli import main
from rangeseg.inference.export import Agreement, describe, export, to_onnx
from rangeseg.inference.quantise import FLOAT_FIRST, as_input, to_openvino
from rangeseg.inference.run import Run
from rangeseg.networks.openvino import MOST_SIZES
from rangeseg.types import Scan

openvino = pytest.importorskip("openvino", reason="the extra openvino is not installed")
pytest.importorskip("onnxscript", reason="the extra export is not installed")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]  # exporters warn about their own insides


@pytest.fixture(scope="module")
def scans() -> list[Scan]:
    rng = np.random.default_rng(7)
    return [random_scan(rng) for _ in range(4)]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, scans: list[Scan]) -> Path:
    path = tmp_path_factory.mktemp("openvino") / "net.xml"
    agreement = export(Run.load("first-answer", device="cpu"), path, scans)
    assert agreement.samples == 4
    assert agreement.mean_iou is not None
    assert agreement.mean_iou[0] == pytest.approx(agreement.mean_iou[1], abs=1e-3)
    assert sorted(one.name for one in path.parent.iterdir()) == ["net.bin", "net.xml"]
    return path


def test_it_gives_the_runs_logits_and_labels_from_any_thread_and_size(file: Path, scans: list[Scan]) -> None:
    own, other = Segmenter.load("first-answer", device="cpu"), Segmenter.load(file, device="cpu")
    for scan in scans:
        image = own.project(scan)
        torch.testing.assert_close(other.logits(image), own.logits(image), atol=1e-3, rtol=1e-3)
    alone = [own(scan).labels for scan in scans * 2]
    for labels, expected in zip(other.stream(scans * 2, workers=3), alone, strict=True):
        assert (labels == expected).mean() > 0.9999
    columns = own.run.network.stride[1]
    network = other.run.network
    for batch, width in ((2, 40 * columns), (1, 24 * columns)):
        view = torch.randn(batch, 5, 64, width)
        with torch.no_grad():
            torch.testing.assert_close(network(view), own.run.network(view), atol=1e-3, rtol=1e-3)


def test_the_commands_take_it_like_a_run(file: Path, tiny_kitti: Path, tmp_path: Path) -> None:
    words = [f"data.root={tiny_kitti}", "--device", "cpu"]
    results = []
    for which in (file, "first-answer"):
        assert main(["evaluate", str(which), *words, "--json", str(tmp_path / "e.json")]) == 0
        results.append(json.loads((tmp_path / "e.json").read_text())["mean_iou"])
    assert results[0] == pytest.approx(results[1], abs=1e-3)
    scan = tiny_kitti / "sequences/08/velodyne/000000.bin"
    assert main(["predict", str(file), str(scan), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0


def test_int8_keeps_the_ends_in_float(scans: list[Scan], tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="the extra int8 is not installed")
    run = Run.load("first-answer", device="cpu")
    segmenter = Segmenter(run)
    views = [segmenter.project(scan).view(tuple(run.config.data.channels), (0,) * 5, (1,) * 5) for scan in scans]
    inputs = [as_input(view.image.numpy(), view.valid.numpy()) for view in views]
    path = tmp_path / "net.xml"
    to_openvino(to_onnx(run), describe(run), path, inputs)
    model = openvino.Core().read_model(path)
    convolutions = [op for op in model.get_ordered_ops() if op.get_type_name() == "Convolution"]

    def in_int8(op: object) -> bool:
        """What it multiplies with comes through a FakeQuantize, or was stored as int8."""
        source = op.input_value(1).get_node()  # type: ignore[attr-defined]
        while source.get_input_size():
            source = source.input_value(0).get_node()
        return source.get_element_type() in (openvino.Type.i8, openvino.Type.u8)

    found = [in_int8(op) for op in convolutions]
    assert not any(found[:FLOAT_FIRST])
    assert not found[-1]
    assert sum(found) >= len(found) - FLOAT_FIRST - 2


def test_what_is_wrong_is_said(
    file: Path, tiny_kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def error(*words: str) -> str:
        assert main([*words, f"data.root={tiny_kitti}"]) == 1
        return " ".join(capsys.readouterr().err.split())

    scan = str(tiny_kitti / "sequences/08/velodyne/000000.bin")
    copy = tmp_path / "net.xml"
    copy.write_bytes(file.read_bytes())
    assert "net.bin is not in the same folder" in error("predict", str(copy), scan)
    whole = file.with_suffix(".bin").read_bytes()
    copy.with_suffix(".bin").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "net.bin belongs to another network" in error("predict", str(copy), scan)
    copy.with_suffix(".bin").write_bytes(b"")
    copy.write_text("<net></net>")
    assert "is not a complete file from rangeseg export" in error("predict", str(copy), scan)
    assert "no device 'npu'" in error("predict", str(file), scan, "--device", "npu")


def test_only_a_few_compiled_sizes_are_kept(file: Path) -> None:
    network = Run.load(file, device="cpu").network
    columns = network.stride[1]
    with torch.no_grad():
        for width in range(2, MOST_SIZES + 5):
            network(torch.randn(1, 5, 64, width * columns))
    assert len(network._call._sizes) == MOST_SIZES  # type: ignore[union-attr]
    assert len(network._call._local.requests) == MOST_SIZES  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("differing", "difference", "good", "good8"), [(0, 0, True, True), (50, 9, False, True), (101, 0, False, False)]
)
def test_int8_is_judged_by_its_labels(differing: int, difference: float, good: bool, good8: bool) -> None:
    agreement = Agreement(1, 1000, differing, difference)
    assert (agreement.good(), agreement.good(int8=True)) == (good, good8)
    assert not replace(agreement, samples=0).good(int8=True)
