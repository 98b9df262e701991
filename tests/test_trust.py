"""A stranger's file runs no program: whatever its stored config names, whoever loads it, unless the user trusts it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from rangeseg import ConfigError, Segmenter, read_config, train
from rangeseg.apps.validate import dataset_config
from rangeseg.cli import main
from rangeseg.commands import COMMANDS
from rangeseg.config import Config, config_from_yaml, write_config
from rangeseg.engine.checkpoint import read_checkpoint, write_checkpoint
from rangeseg.engine.experiment import Experiment
from rangeseg.evaluation.point_head import read_head
from rangeseg.inference.import_weights import read_tensors
from rangeseg.inference.run import Run
from rangeseg.networks.exported import KEY, read_exported
from rangeseg.networks.pretrained import _read as read_weights
from rangeseg.projection.sensor import sensor_projection

COMPONENTS = ("network", "data.projection", "data.dataset", "evaluation.back_projection", "method", "perturbation")
PLACES = {
    **{key: key for key in COMPONENTS},
    **{f"within {key}": f"{key}.anything" for key in COMPONENTS},
    "a list within a perturbation": "perturbation.parts",
    "augmentation": "data.augmentation",
    "window": "evaluation.window",
    "another dataset": "data.unlabelled_from",
    "another labelled dataset": "data.labelled_from",
}
"""What the program is called by -> the key of the stored config that holds it."""


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """The file that is there if a program was run."""
    return tmp_path / "pwned"


def evil(place: str, mark: Path, config: Config) -> str:
    """The text of a stored config that runs a program when its component is made."""
    program: Any = {"name": "subprocess:Popen", "args": ["touch", str(mark)]}
    if place.endswith("_from"):
        program = [{"root": ".", "dataset": program}]
    if place.endswith("parts"):
        program = [program]
    layer = OmegaConf.create(write_config(config))
    OmegaConf.update(layer, place, program, merge=False, force_add=True)
    return OmegaConf.to_yaml(layer)


def write_pt(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"format": 1, "config": text, "teacher": {}}, path)
    return path


def write_onnx(path: Path, text: str) -> Path:
    onnx = pytest.importorskip("onnx", reason="the extra export is not installed")
    pytest.importorskip("onnxruntime", reason="the extra export is not installed")
    value = onnx.helper.make_tensor_value_info("channels", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["channels"], ["logits"])
    out = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([node], "g", [value], [out])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    told = {"config": text, "stride": [1, 1], "mean": [0.0], "std": [1.0]}
    onnx.helper.set_model_props(model, {KEY: json.dumps(told)})
    path.write_bytes(model.SerializeToString())
    return path


def by_command(*words: str) -> Callable[[Path], object]:
    """Call a command, and pass on what it says as an error."""

    def call(path: Path) -> None:
        filled = [word.replace("RUN", str(path)).replace("HERE", str(path.parent)) for word in words]
        main(["--debug", *filled])

    return call


LOADERS: dict[str, Callable[[Path], object]] = {
    "Run.load": lambda path: Run.load(path, device="cpu"),
    "Segmenter.load": lambda path: Segmenter.load(path, device="cpu"),
    "evaluate": by_command("evaluate", "RUN"),
    "predict": by_command("predict", "RUN", "HERE", "--out", "HERE/out"),
    "predict --drive": by_command("predict", "RUN", "--drive", "HERE", "--out", "HERE/out"),
    "export": by_command("export", "RUN", "--out", "HERE/net.pt"),
    "show": by_command("show", "HERE/scan.bin", "--run", "RUN", "--png", "HERE/a.png"),
    "show video": by_command("show", "HERE/scan.bin", "--run", "RUN", "--video", "HERE/a.gif"),
    "show run": by_command("show", "RUN", "--video", "HERE/a.gif"),
    "show perturbation": by_command("show", "perturbation", "cutmix", "--run", "RUN", "--png", "HERE/p.png"),
    "report": by_command("report", "RUN", "--out", "HERE/r.html"),
    "fit-head": by_command("fit-head", "RUN"),
    "benchmark": by_command("benchmark", "HERE", "--inference", "RUN"),
    "pseudo-label": by_command("pseudo-label", "RUN", "--out", "HERE/pseudo"),
    "weights": by_command("weights", "--pack", "RUN", "--name", "a", "--facts", "HERE/facts.json", "--out", "HERE/w"),
}


@pytest.mark.parametrize("loader", LOADERS)
def test_a_stored_config_that_names_code_is_refused_before_anything_runs(
    loader: str, mark: Path, tiny_config: Config, tmp_path: Path
) -> None:
    (tmp_path / "scan.bin").write_bytes(b"")
    (tmp_path / "facts.json").write_text("{}")
    for place in PLACES.values():
        stored = write_pt(tmp_path / "net.pt", evil(place, mark, tiny_config))
        with pytest.raises(ConfigError, match=r"net\.pt: .*'subprocess:Popen'.*--trust"):
            LOADERS[loader](stored)
    assert not mark.exists()


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_run_folders_onnx_files_and_the_start_of_a_training_are_no_other_way_in(
    place: str, mark: Path, tiny_config: Config, tmp_path: Path
) -> None:
    text = evil(place, mark, tiny_config)
    folder = write_pt(tmp_path / "their" / "last.pt", text).parent
    tiny_config.runtime.initialise_from = str(folder)
    tries: list[Callable[[], object]] = [
        lambda: Run.load(folder, device="cpu"),
        lambda: Run.load(write_onnx(tmp_path / "net.onnx", text), device="cpu"),
        lambda: train(tiny_config),
        lambda: config_from_yaml(text),
    ]
    for attempt in tries:
        with pytest.raises(ConfigError, match="subprocess:Popen"):
            attempt()
    assert not mark.exists()


def test_the_trap_works_and_trust_opens_it(
    mark: Path, tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = write_pt(tmp_path / "net.pt", evil("network", mark, tiny_config))
    monkeypatch.setattr(subprocess, "Popen", lambda args: mark.write_text(args[0]))
    with pytest.raises((AttributeError, ConfigError)):  # what it makes is no network, but it has run
        Run.load(stored, device="cpu", trust=True)
    assert mark.read_text() == "touch"


def test_every_command_that_loads_runs_takes_trust_and_the_page_on_security_names_it() -> None:
    taking = set()
    for command, module in COMMANDS.items():
        module.add_arguments(parser := ArgumentParser())
        taking |= {command} if "--trust" in parser.format_help() else set()
    assert {name.split()[0] for name in LOADERS} - {"Run.load", "Segmenter.load"} <= taking
    page = (Path(__file__).parents[1] / "docs" / "security.md").read_text()
    (sentence,) = re.findall(r"^(`evaluate`, .*?) have this option\.", page, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`([a-z-]+)`", sentence)) == taking


OWN = """
from rangeseg.networks.fidnet import FIDNet

class Net(FIDNet):
    pass
"""


@pytest.mark.slow
def test_the_users_own_code_trains_resumes_is_initialised_from_and_is_loaded_with_trust(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_net.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    tiny_config.network["name"] = "own_net:Net"
    (tmp_path / "own.yaml").write_text(write_config(tiny_config))
    run, more = tiny_config.runtime.out, ["optim.steps=5"]
    assert main(["--debug", "train", str(tmp_path / "own.yaml")]) == 0
    assert main(["--debug", "train", str(tmp_path / "own.yaml"), "--resume", *more]) == 0
    again = [f"runtime.out={tmp_path / 'again'}", f"runtime.initialise_from={run}", "optim.steps=1"]
    assert main(["--debug", "train", str(tmp_path / "own.yaml"), *again]) == 0
    with pytest.raises(ConfigError, match=r"network\.name is 'own_net:Net'"):
        Run.load(run, device="cpu")
    assert type(Run.load(run, device="cpu", trust=True).network).__name__ == "Net"
    assert type(Run.load(run, device="cpu", trust=frozenset({"own_net:Net"})).network).__name__ == "Net"
    with pytest.raises(ConfigError, match="own_net:Net"):
        Run.load(run, device="cpu", trust=frozenset({"another:Net"}))


def test_a_word_of_the_users_own_may_name_a_dataset() -> None:
    config = dataset_config("rangeseg.data.scan_folder:ScanFolder", "root", ["data.dataset.classes=semantic_kitti"])
    assert config.data.dataset["name"] == "rangeseg.data.scan_folder:ScanFolder"


def test_an_override_of_the_users_own_may_name_code(tiny_config: Config, tmp_path: Path) -> None:
    stored = write_config(tiny_config)
    found = config_from_yaml(stored, ["network={name: 'my:Net', width: 3}"])
    assert found.network["name"] == "my:Net"
    (tmp_path / "mine.yaml").write_text(stored.replace("name: fidnet", "name: my:Net"))
    assert read_config(tmp_path / "mine.yaml").network["name"] == "my:Net"


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "a: ${oc.env:HOME}", ""])
def test_a_stored_config_that_is_none_is_one_line(text: str, tmp_path: Path, capsys: Any) -> None:
    stored = write_pt(tmp_path / "net.pt", text)
    assert main(["evaluate", str(stored)]) == 1
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("section", ["{name: 'subprocess:Popen', args: [touch, MARK]}", "{fov_up_deg: SECTION}"])
def test_a_sensors_file_names_no_code(section: str, mark: Path, tmp_path: Path) -> None:
    program = section.replace("SECTION", "{name: 'subprocess:Popen', args: [touch, MARK]}").replace("MARK", str(mark))
    text = f"sensor: S\nsource: x\nheight: 4\nwidth: 8\nprojection: spherical\nspherical: {program}\n"
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"S: .*'subprocess:Popen'"):
        sensor_projection(str(tmp_path / "s.yaml"))
    assert not mark.exists()


class Evil:
    """Runs a program where it is unpickled."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.made = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.made


@pytest.mark.parametrize("read", [read_checkpoint, read_head, read_tensors, read_weights], ids=lambda f: f.__name__)
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("call", ["system", "Popen"])
def test_an_evil_pickle_is_refused_without_advice_to_run_it(
    read: Callable[[Path], Any], zipped: bool, call: str, mark: Path, tmp_path: Path
) -> None:
    bad = Evil(os.system, f"touch {mark}") if call == "system" else Evil(subprocess.Popen, ["touch", str(mark)])
    torch.save({"format": 1, "x": bad}, tmp_path / "net.pt", _use_new_zipfile_serialization=zipped)
    if read is read_tensors and call == "Popen":  # what it does not know it makes nothing of
        read(tmp_path / "net.pt")
    else:
        with pytest.raises(ValueError, match=r"net\.pt.*(GLOBAL|no named tensors)") as refused:
            read(tmp_path / "net.pt")
        said = str(refused.value)
        assert "weights_only" not in said
        assert "safe_globals" not in said
        assert "trust" not in said
        assert "\n" not in said
        assert "\x1b" not in said
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"junk", b"\x80\x02}q\x00.", b"PK\x03\x04junk"])
@pytest.mark.parametrize("read", [read_checkpoint, read_head, read_tensors, read_weights], ids=lambda f: f.__name__)
def test_junk_is_refused_by_every_reader_of_tensors(
    read: Callable[[Path], Any], content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "net.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"net\.pt"):
        read(tmp_path / "net.pt")


def test_a_package_of_machine_code_runs_only_with_trust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.pt2").write_bytes(b"machine code")
    opened: list[str] = []
    monkeypatch.setattr(torch._inductor, "aoti_load_package", opened.append)
    with pytest.raises(ValueError, match=r"net\.pt2: a package contains machine code.*--trust"):
        read_exported(tmp_path / "net.pt2")
    assert main(["predict", str(tmp_path / "net.pt2"), str(tmp_path)]) == 1
    assert "machine code" in capsys.readouterr().err
    with pytest.raises(ValueError, match="machine code"):
        Run.load(tmp_path / "net.pt2", trust=frozenset({"a:b"}))  # names are no leave to run a whole file
    assert not opened
    with pytest.raises(ValueError, match="cannot run on this machine"):
        read_exported(tmp_path / "net.pt2", trust=True)
    assert opened == [str(tmp_path / "net.pt2")]


def test_an_error_of_a_stored_config_names_its_file_and_one_of_an_override_does_not(
    tiny_config: Config, tmp_path: Path
) -> None:
    network = Experiment(tiny_config).make_network()
    write_checkpoint(tmp_path / "a.pt", {"teacher": network.state_dict()}, tiny_config)
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    for old, new in (("label_seed", "label_Seed"), ("fov_up_deg: 6.0", "fov_up_deg: -60.0")):
        damaged = state | {"config": state["config"].replace(old, new)}
        assert damaged["config"] != state["config"]
        torch.save(damaged, tmp_path / "b.pt")
        with pytest.raises(ConfigError, match=r"b\.pt: its config is damaged, or of another version: data\."):
            Run.load(tmp_path / "b.pt", device="cpu")
    with pytest.raises(ConfigError, match=r"^network\.widht: "):
        Run.load(tmp_path / "a.pt", device="cpu", overrides=["network.widht=3"])
