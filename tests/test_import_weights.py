"""From published checkpoint files to a run folder that the other commands take."""

from __future__ import annotations

import json
import os
import tarfile
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from published import checkpoint

from rangeseg import Segmenter
from rangeseg.cli import main
from rangeseg.config import Config, config_from_yaml, read_config, write_config
from rangeseg.config.shipped import shipped_configs
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.engine.experiment import Experiment
from rangeseg.inference.import_weights import import_weights, read_published, read_tensors
from rangeseg.inference.run import Run
from rangeseg.networks.pretrained import load_encoder
from rangeseg.networks.published import PARTS, PREFIXES, import_state_dict

CONFIGS = {
    "cenet_aux": "cenet_512",
    "fidnet_point_5ch": "fidnet_full",
    "rangenet_darknet21": "rangenet21_full",
    "rangenet_darknet53": "rangenet53_full",
    "rangenet_squeezesegV2": "squeezeseg_full",
    "salsanext": "salsanext_full",
}
LAYOUT = "rangenet_squeezesegV2"
"""The smallest."""


def shipped(layout: str) -> Path:
    return shipped_configs()[f"semantic_kitti/{CONFIGS[layout]}"]


def errors(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main([str(word) for word in words]) == 1
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("layout", [name if "53" not in name else pytest.param(name, marks=pytest.mark.slow)
                                    for name in CONFIGS])  # fmt: skip
def test_a_published_checkpoint_and_its_config_become_a_run(
    layout: str, tmp_path: Path, generator: torch.Generator
) -> None:
    state = checkpoint(layout, generator)
    torch.save({"state_dict": state, "epoch": 1}, tmp_path / "net")
    words = ["import-weights", tmp_path / "net", "--config", shipped(layout), "--out", tmp_path / "run"]
    assert main([*map(str, words)]) == 0
    run = Run.load(tmp_path / "run", device="cpu")
    published = read_config(shipped(layout), ["data.root=."])
    assert (run.config.data, run.config.network) == (published.data, published.network)
    assert run.config.runtime.out == str(tmp_path / "run")
    first = next(iter(run.network.parameters()))
    assert torch.equal(first, next(iter(state.values())))
    for name in ("config.yaml", "versions.json"):
        assert (tmp_path / "run" / name).is_file()
    assert config_from_yaml((tmp_path / "run" / "config.yaml").read_text()) == run.config


@pytest.fixture
def tiny(tiny_config: Config, tmp_path: Path) -> Path:
    """A config of the published SqueezeSegV2 on the made-up dataset."""
    tiny_config.network = {"name": "squeezeseg"}
    (tmp_path / "tiny.yaml").write_text(write_config(tiny_config))
    return tmp_path / "tiny.yaml"


@pytest.fixture
def parts(tmp_path: Path, generator: torch.Generator) -> Path:
    """lidar-bonnetal's three files."""
    state, folder = checkpoint(LAYOUT, generator), tmp_path / "squeezesegV2"
    folder.mkdir()
    for part, start in PARTS.items():
        own = {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}
        torch.save(own, folder / part, _use_new_zipfile_serialization=False)  # as torch of 2019 wrote them
    return folder


def test_evaluate_predict_show_and_export_take_the_run(
    tiny: Path, parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = read_config(tiny)
    run, given = tmp_path / "run", [f"data.root={config.data.root}"]
    files = [str(parts / part) for part in PARTS]
    assert main(["import-weights", *files, "--config", str(tiny), "--out", str(run), *given]) == 0
    assert "0.93 M parameters" in capsys.readouterr().out
    assert main(["evaluate", str(run), "--json", str(tmp_path / "e.json"), "--device", "cpu"]) == 0
    assert 0 <= json.loads((tmp_path / "e.json").read_text())["mean_iou"] <= 1
    source = SemanticKitti(config.data.root, "val", labels=False)
    scan = source.scan_path(0)
    assert main(["predict", str(run), str(scan), "--out", str(tmp_path / "p"), "--device", "cpu"]) == 0
    written = np.fromfile(next((tmp_path / "p").rglob("*.label")), np.uint32)
    segmenter = Segmenter.load(run, device="cpu")
    labels = segmenter(source.scan(0))
    np.testing.assert_array_equal(written, np.array(segmenter.label_map.raw_ids)[labels])
    assert main(["show", str(scan), "--run", str(run), "--png", str(tmp_path / "s.png")]) == 0
    assert main(["export", str(run), "--out", str(tmp_path / "net.pt")]) == 0
    np.testing.assert_array_equal(Segmenter.load(tmp_path / "net.pt", device="cpu")(source.scan(0)), labels)


def test_training_goes_on_from_it(tiny: Path, parts: Path, tmp_path: Path) -> None:
    run = tmp_path / "imported"
    root = f"data.root={read_config(tiny).data.root}"
    assert main(["import-weights", str(parts), "--config", str(tiny), "--out", str(run), "--new-classifier", root]) == 0
    imported = Run.load(run, device="cpu").network
    assert not torch.equal(imported.classify.weight, torch.load(parts / "segmentation_head")["1.weight"][1:])
    assert torch.equal(imported.stem["narrow"].conv.weight, torch.load(parts / "backbone")["conv1a.0.weight"])
    more = [f"runtime.initialise_from={run}", "optim.steps=1", "optim.lr=1e-9", "teacher.decay=0.999"]
    assert main(["train", str(tiny), *more]) == 0
    trained = Run.load(read_config(tiny).runtime.out, device="cpu").network
    torch.testing.assert_close(trained.classify.weight, imported.classify.weight, rtol=1e-3, atol=1e-5)


def test_a_folder_that_holds_a_run_is_left_alone(
    tiny: Path, parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.pt").write_bytes(b"precious")
    said = errors(capsys, "import-weights", parts, "--config", tiny, "--out", tmp_path / "run")
    assert "run already contains a run. Choose another folder." in said
    assert (tmp_path / "run" / "last.pt").read_bytes() == b"precious"


def test_another_network_is_refused_with_the_files_name_and_nothing_is_written(
    tiny: Path, parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["import-weights", parts, "--config", tiny, "--out", tmp_path / "run"]
    said = errors(capsys, *words, "--network", "rangenet", "network.blocks=21")
    assert "squeezesegV2: The weights are not those of this RangeNet:" in said
    assert "missing: " in said
    assert "did you mean 'squeezeseg'" in errors(capsys, *words, "--network", "squeezesegv2").lower()
    (parts / "segmentation_decoder").unlink()
    assert "missing: decoder.0." in errors(capsys, *words)
    assert not (tmp_path / "run").exists()


def test_files_that_cannot_be_read_are_refused(
    tmp_path: Path, parts: Path, tiny_config: Config, generator: torch.Generator
) -> None:
    whole = tmp_path / "whole.pth"
    torch.save(checkpoint(LAYOUT, generator), whole)
    (tmp_path / "half.pth").write_bytes(whole.read_bytes()[:1000])
    (tmp_path / "text.pth").write_text("Not found")
    (tmp_path / "empty.pth").write_bytes(b"")
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    for name in ("half", "text", "empty"):
        with pytest.raises(
            ValueError, match=rf"{name}\.pth: cannot be read as a checkpoint of torch \(.+\)\. Download"
        ):
            read_tensors(tmp_path / f"{name}.pth")
    with pytest.raises(ValueError, match=r"tensor\.pth: holds a Tensor, not named weights"):
        read_tensors(tmp_path / "tensor.pth")
    with pytest.raises(ValueError, match=r"none\.pth: no such file"):
        read_published([tmp_path / "none.pth"])
    with pytest.raises(ValueError, match=r"has no files backbone, segmentation_decoder"):
        read_published([tmp_path])
    for pair in ([parts / "backbone", whole], [parts / "backbone", parts / "backbone"]):
        with pytest.raises(ValueError, match=r"with several files, give one of each part of lidar-bonnetal"):
            read_published(pair)
    with pytest.raises(ValueError, match=r"whole\.pth: The weights are not those of this FIDNet"):
        import_weights([whole], tiny_config)


class Evil:
    """Runs code where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({str(self.path)!r}, 'w')",)


def test_a_call_of_the_system_is_refused_and_not_made(tmp_path: Path) -> None:
    class Worse:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path / 'pwned'}",)

    torch.save({"state_dict": Worse()}, tmp_path / "net")
    with pytest.raises(ValueError, match=r"\(Trying to load unsupported GLOBAL posix\.system whose module"):
        read_tensors(tmp_path / "net")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_objects_beside_the_weights_are_passed_over_and_never_run(zipped: bool, tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 3)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    content = {
        "scheduler": {"last": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)},
        "state_dict": layer.state_dict(),
        "info": {"best": np.float64(0.5)},
        "evil": Evil(tmp_path / "pwned"),
    }
    torch.save(content, tmp_path / "net", _use_new_zipfile_serialization=zipped)
    read = read_tensors(tmp_path / "net")
    assert read.keys() == content.keys()
    for name, value in layer.state_dict().items():
        assert torch.equal(read["state_dict"][name], value)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("key", [None, "state_dict", "model_state_dict", "model_state", "model", "net"])
@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "module.", "model.", "module._orig_mod.", "model._orig_mod.net."])
def test_what_wraps_weights_is_taken_off(key: str | None, prefix: str, tmp_path: Path) -> None:
    layer, other = (torch.nn.Sequential(torch.nn.Linear(2, 3)) for _ in range(2))
    state: dict[str, Any] = {prefix + name: value for name, value in layer.state_dict().items()}
    torch.save(state if key is None else {key: state, "epoch": 1}, tmp_path / "net")
    import_state_dict(other, read_tensors(tmp_path / "net"))
    assert torch.equal(other[0].weight, layer[0].weight)


def test_wrappers_within_wrappers_and_compiled_parts_are_taken_off(tmp_path: Path) -> None:
    layer, other = (torch.nn.Sequential(torch.nn.Linear(2, 3)) for _ in range(2))
    state = {f"0._orig_mod.{name}": value for name, value in layer[0].state_dict().items()}
    torch.save({"model": {"state_dict": state, "args": 1}}, tmp_path / "net")
    import_state_dict(other, read_tensors(tmp_path / "net"))
    assert torch.equal(other[0].weight, layer[0].weight)


def test_no_network_of_ours_has_only_names_that_begin_like_a_wrapper(tiny_config: Config) -> None:
    for name in ("fidnet", "cenet", "salsanext", "squeezeseg", "foldnet"):
        names = Experiment(replace(tiny_config, network={"name": name})).make_network().state_dict()
        assert not [prefix for prefix in PREFIXES if all(one.startswith(prefix) for one in names)], name


class TestFolders:
    """lidar-bonnetal's log folders, whose files end in _train_best and the like."""

    def make(self, folder: Path, *suffixes: str) -> Path:
        for number, suffix in enumerate(suffixes):
            for part in PARTS:
                torch.save({"weight": torch.full((2,), number)}, folder / f"{part}{suffix}")
        return folder

    @pytest.mark.parametrize(
        ("suffixes", "taken"), [(("_train_best", "_valid_best"), 1), (("_train", ""), 1), (("_epoch_9",), 0)]
    )
    def test_one_set_is_taken_the_best_first(self, tmp_path: Path, suffixes: tuple[str, ...], taken: int) -> None:
        state = read_published([self.make(tmp_path, *suffixes)])
        assert state.keys() == PARTS.keys()
        assert {int(part["weight"][0]) for part in state.values()} == {taken}

    def test_several_of_which_none_is_the_best_are_asked_about(self, tmp_path: Path) -> None:
        with pytest.raises(
            ValueError, match=r"has parts with the endings _e1, _e2\. Give three files with the same ending"
        ):
            read_published([self.make(tmp_path, "_e1", "_e2")])

    def test_a_folder_of_other_files_says_what_it_has(self, tmp_path: Path) -> None:
        (tmp_path / "SENet_valid_best").touch()
        with pytest.raises(
            ValueError, match=r"has no files backbone, .*; it has SENet_valid_best\. Give the checkpoint file"
        ):
            read_published([tmp_path])


def test_files_of_another_kind_are_told_by_what_they_are(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 3))
    torch.save(network.state_dict(), tmp_path / "net.pt")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "net.pt", "net.pt")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "net.pt", "net.pt")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.write(tmp_path / "net.pt", "net.pt")
    torch.save(network, tmp_path / "whole.pt")
    torch.save({"model": network, "epoch": 1}, tmp_path / "within.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(network).save(tmp_path / "script.pt")
    (tmp_path / "lfs.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    (tmp_path / "page.pt").write_text("<!DOCTYPE html><html>Not found</html>")
    for name, words in {
        "a.tar.gz": r"is compressed \(\.gz or \.tar\.gz\), no checkpoint\. Unpack it",
        "a.tar": r"is an archive \(\.tar\), no checkpoint\. Unpack it",
        "a.zip": r"is an archive \(\.zip\), no checkpoint\. Unpack it",
        "whole.pt": r"contains a pickled network object.*torch\.save\(network\.state_dict\(\), FILE\)",
        "within.pt": r"contains a pickled network object",
        "script.pt": r"is a TorchScript program",
        "lfs.pt": r"is a pointer of Git LFS",
        "page.pt": r"is a web page",
    }.items():
        with pytest.raises(ValueError, match=rf"{name}: {words}") as caught:
            read_tensors(tmp_path / name)
        assert "weights_only" not in str(caught.value)
        with pytest.raises(ValueError, match=rf"weights: .*{name}: {words}"):
            load_encoder(network, str(tmp_path / name), 18)
