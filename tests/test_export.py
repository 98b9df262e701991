"""Exported files: the run's own answers on real scans, from ONNX Runtime; what else they tell; and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from conftest import make_tiny_config
from torch import Tensor, nn

pytest.importorskip("onnxruntime", reason="the extra export is not installed")
pytest.importorskip("onnxscript", reason="the extra export is not installed")

from rangeseg import LabelMap, Segmenter
from rangeseg.cli import main
from rangeseg.config import Config, write_config
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.engine.experiment import Experiment
from rangeseg.inference import export as exporting
from rangeseg.inference.export import Agreement, Normalising, compare, export, to_onnx, write_weights
from rangeseg.inference.run import Run
from rangeseg.networks import NETWORKS
from rangeseg.networks.exported import onnx_network, parse_description, read_exported, read_onnx
from rangeseg.registry import ConfigError
from rangeseg.resources import resource
from rangeseg.scan_io import read_scan
from rangeseg.types import Scan

SMALL = {
    "fidnet": {"width": 8, "blocks": [1, 1, 1], "azimuth_stride": 2},
    "cenet": {"width": 8, "blocks": [1, 1, 1]},
    "salsanext": {"width": 4},
    "foldnet": {"widths": [8, 8, 12], "blocks": [1, 1, 1], "hidden": [8, 8]},
    "rangenet": {"width": 4, "blocks": [1, 1]},
    "squeezeseg": {"width": 16},
    "rangevit": {"dim": 16, "depth": 2, "heads": 2, "stem": 4, "hidden": 8, "decoder": 8, "wrap": False}
    | {"positions": [8, 3]},  # as many rows as the views have
    "deeplab_v2": {"layers": 50, "width": 4},
    "deeplab_v3plus": {"layers": 50, "width": 4},
    "unet": {"encoder": "resnet18", "width": 4},
    "pspnet": {"encoder": "resnet18", "width": 4},
}
"""Each network, small; one without an entry is exported as it is."""

ON_SCANS = {"fidnet", "cenet", "rangenet", "rangevit", "salsanext", "squeezeseg", "foldnet"}


def make_run(config: Config, name: str) -> Run:
    config.network = {"name": name} | SMALL.get(name, {})
    experiment = Experiment(config)
    network = experiment.make_network().eval()
    with torch.no_grad():
        for module in network.modules():  # statistics as after some training, so that a lost one shows
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.1, 0.1)
                module.running_var.uniform_(0.5, 2)
    return Run(experiment, network, torch.device("cpu"))


@cache
def exported_fidnet() -> bytes:
    """The ONNX file of the small FIDNet; to write one takes seconds."""
    return to_onnx(make_run(make_tiny_config(Path("no_data"), Path("no_run")), "fidnet"))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_gives_its_own_logits_for_any_batch_and_width(
    name: str, tiny_config: Config, photo_config: Config
) -> None:
    import onnx

    run = make_run(tiny_config if name in ON_SCANS else photo_config, name)
    content = to_onnx(run)
    weights = [part.name for part in onnx.load_from_string(content).graph.initializer]
    assert weights
    assert not any("auxiliary" in weight for weight in weights)  # heads that only training uses
    assert name != "cenet" or len(run.network.auxiliary) == 2
    exported = onnx_network(content, "it.onnx", device="cpu")
    assert exported.description["classes"] == list(run.label_map.names)
    assert exported.stride == tuple(run.network.stride)
    rows, columns = run.network.stride
    height = run.config.data.projection["height"] if name in ON_SCANS else max(2 * rows, 32)
    for batch, width in ((1, max(3 * columns, 48)), (3, max(5 * columns, 80))):
        image = torch.randn(batch, len(run.config.data.channels), height, width)
        image[:, :, :, : width // 3] = 0
        with torch.no_grad():
            torch.testing.assert_close(exported(image), run.network(image), atol=2e-4, rtol=1e-4)


def test_the_normalisation_within_is_that_of_the_views(rng: np.random.Generator) -> None:
    channels, valid = torch.randn(2, 3, 4, 8), torch.rand(2, 4, 8) < 0.5
    mean, std = (1.0, -2.0, 0.5), (0.5, 3.0, 2.0)
    image = Normalising(nn.Identity(), mean, std)(channels, valid)
    expected = (channels.numpy() - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    np.testing.assert_allclose(image.numpy(), np.where(valid.numpy()[:, None], expected, 0), rtol=1e-5, atol=1e-6)


def test_a_run_becomes_a_file_that_the_commands_take_like_a_run(
    tiny_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(write_config(tiny_config))
    run, file = tiny_config.runtime.out, str(tmp_path / "out" / "net.onnx")
    assert main(["train", str(tmp_path / "config.yaml")]) == 0
    assert main(["export", run, "--out", file, "--max-scans", "2"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "on 2 scans, logits differ by at most" in said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["net.onnx"]
    results = []
    for which in (run, file):
        assert main(["evaluate", which, "--json", str(tmp_path / "e.json"), "--device", "cpu"]) == 0
        results.append(json.loads((tmp_path / "e.json").read_text()))
    assert results[0]["mean_iou"] == pytest.approx(results[1]["mean_iou"], abs=1e-3)
    scan = SemanticKitti(tiny_config.data.root, "val").scan_path(0)
    assert main(["predict", file, str(scan), "--out", str(tmp_path / "predicted"), "--device", "cpu"]) == 0
    own, other = Segmenter.load(run, device="cpu"), Segmenter.load(file, device="cpu")
    assert compare(own, other, [read_scan(scan)]).good()
    assert (own(read_scan(scan)) == other(read_scan(scan))).mean() >= 0.9999


def test_a_file_that_disagrees_is_not_written(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tiny_config, "fidnet")
    scan = SemanticKitti(tiny_config.data.root, "val", labels=False).scan(0)
    content = exported_fidnet()
    with torch.no_grad():
        run.network.head.classify.bias.add_(torch.arange(run.label_map.num_classes))  # type: ignore[union-attr, operator]
    monkeypatch.setitem(exporting.FORMATS, ".onnx", lambda run: content)
    with pytest.raises(RuntimeError, match=r"net\.onnx: not written\. On 1 real inputs its logits differ by up to"):
        export(run, tmp_path / "net.onnx", [scan])
    with pytest.raises(ValueError, match="no data for the verification"):
        export(run, tmp_path / "net.onnx", [])
    assert not [*tmp_path.glob("*.onnx")]
    with pytest.raises(ValueError, match=r"must end in \.onnx, \.pt2, \.xml or"):
        export(run, tmp_path / "net.pt", [scan])


@pytest.mark.parametrize(
    ("agreement", "good"),
    [
        (Agreement(1, 10000, 1, 1e-4), True),
        (Agreement(1, 10000, 2, 1e-4), False),
        (Agreement(1, 10000, 0, 2e-3), False),
        (Agreement(0, 0, 0, 0.0), False),
    ],
)
def test_what_agrees_is_written_down(agreement: Agreement, good: bool) -> None:
    assert agreement.good() == good


def test_other_files_and_devices_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"no ONNX")
    with pytest.raises(ValueError, match=r"a\.onnx: not a complete ONNX file"):
        read_onnx(tmp_path / "a.onnx")
    with pytest.raises(ValueError, match=r"b\.onnx: cannot be read"):
        read_onnx(tmp_path / "b.onnx")
    import onnx
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [value],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "foreign.onnx"))
    with pytest.raises(ValueError, match=r"rangeseg export did not write"):
        read_onnx(tmp_path / "foreign.onnx")
    content = exported_fidnet()
    with pytest.raises(ValueError, match=r"no device 'npu' here; use auto or .*cpu"):
        onnx_network(content, "it.onnx", device="npu")
    with pytest.raises(ValueError, match=r"not a complete ONNX file"):
        onnx_network(content[: len(content) // 2], "half.onnx", device="cpu")


@pytest.mark.parametrize(
    "damage",
    [
        {"stride": [0, 8]}, {"stride": 8}, {"mean": [1.0]}, {"std": [0.0] * 5}, {"mean": ["x"] * 5}, {"temperature": 0},
        {"temperature": "x"}, {"config": 3}, {"config": None}, [1], {},
    ],
)  # fmt: skip
def test_a_damaged_description_is_an_error_with_the_name(damage: Any) -> None:
    whole = {"stride": [1, 8], "mean": [0.0] * 5, "std": [1.0] * 5, "temperature": 1.5, "config": "x: 1"}
    assert parse_description(json.dumps(whole), "it.onnx") == whole
    text = json.dumps(whole | damage if damage and isinstance(damage, dict) else damage)
    for content in (text, "{"):
        with pytest.raises(ValueError, match=r"^it\.onnx: its description of the network is damaged"):
            parse_description(content, "it.onnx")


def test_an_exported_file_is_neither_changed_nor_exported_again(tmp_path: Path, tiny_kitti: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(exported_fidnet())
    rows = make_tiny_config(Path("no_data"), Path("no_run")).data.projection["height"]
    with pytest.raises(ConfigError, match=rf"net\.onnx: was exported for range images of {rows} rows, .* gives 32"):
        Run.load(file, overrides=["data.projection.height=32"])
    with pytest.raises(ConfigError, match=r"net\.onnx: was exported for data.channels .*, not range"):
        Run.load(file, overrides=["data.channels=[range]", "data.mean=[1]", "data.std=[1]"])
    run = Run.load(file)
    with pytest.raises(ValueError, match=r"cannot label images of shape \(1, 5, 3, 64\).* Export the run again"):
        run.network(torch.zeros(1, 5, 3, 64))
    with pytest.raises(ValueError, match="is compiled already"):
        Segmenter(run, compile=True)
    with pytest.raises(ValueError, match="cannot be exported again"):
        export(run, tmp_path / "again.onnx", [])
    with pytest.raises(ValueError, match=r"^foo: must end in \.onnx, \.pt2, \.xml or \.pt"):
        export(run, tmp_path / "foo", [])


def test_weights_alone_are_a_small_checkpoint_with_the_same_labels(
    tiny_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(write_config(tiny_config))
    run, file = Path(tiny_config.runtime.out), tmp_path / "small.pt"
    assert main(["train", str(tmp_path / "config.yaml")]) == 0
    assert main(["export", str(run), "--out", str(file)]) == 0
    assert "the teacher alone" in capsys.readouterr().out
    assert file.stat().st_size < (run / "last.pt").stat().st_size / 2
    scan = SemanticKitti(tiny_config.data.root, "val", labels=False).scan(0)
    np.testing.assert_array_equal(Segmenter.load(file)(scan), Segmenter.load(run)(scan))
    exported = onnx_network(exported_fidnet(), "it.onnx", device="cpu")
    with pytest.raises(ValueError, match="has no weights to write"):
        write_weights(replace(Run.load(run), network=exported), tmp_path / "none.pt")


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="there is no C++ compiler")
def test_a_package_is_machine_code_that_labels_like_the_run(
    tiny_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(write_config(tiny_config))
    run, file = tiny_config.runtime.out, tmp_path / "net.pt2"
    assert main(["train", str(tmp_path / "config.yaml")]) == 0
    assert main(["export", run, "--out", str(file), "--max-scans", "2"]) == 0
    assert "on 2 scans, logits differ by at most" in " ".join(capsys.readouterr().out.split())
    scan = SemanticKitti(tiny_config.data.root, "val", labels=False).scan(0)
    own, other = Segmenter.load(run, device="cpu"), Segmenter.load(file, trust=True)
    assert (own(scan) == other(scan)).mean() >= 0.9999
    assert other.run.network.description["classes"] == list(own.label_map.names)  # type: ignore[union-attr]


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pt2").write_bytes(b"no package")
    with pytest.raises(ValueError, match=r"a\.pt2: cannot run on this machine .*export the run again on this machine"):
        read_exported(tmp_path / "a.pt2", trust=True)
    with pytest.raises(ValueError, match=r"b\.pt2: cannot be read"):
        read_exported(tmp_path / "b.pt2")


def test_a_run_on_a_gpu_is_compared_with_a_file_that_runs_on_the_cpu() -> None:
    class OnGpu:
        """Logits that cannot be subtracted from those on the CPU."""

        def cpu(self) -> Tensor:
            return torch.zeros(3, 2, 2)

    class One:
        label_map = LabelMap.read(resource("datasets", "semantic_kitti", "labels.yaml"))

        def __init__(self, logits: Any) -> None:
            self.project, self.logits = lambda sample: None, lambda image: logits
            self.label = lambda image, logits: np.zeros(4, np.uint8)

    sample = Scan(np.ones((4, 3), np.float32))
    found = compare(cast(Segmenter, One(OnGpu())), cast(Segmenter, One(torch.ones(3, 2, 2))), [sample])
    assert (found.elements, found.largest_difference) == (4, 1)
