"""A run keeps the names and raw ids of its classes: a file of the classes that changed later is not used in silence."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from test_weights import FACTS

from rangeseg.config import Config, write_config
from rangeseg.engine.checkpoint import read_checkpoint, stored_classes
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.initialise import initialise
from rangeseg.engine.training import train
from rangeseg.inference import run as loading
from rangeseg.inference.export import describe, write_weights
from rangeseg.inference.run import Run
from rangeseg.notices import Notice
from rangeseg.registry import ConfigError
from rangeseg.resources import resource
from rangeseg.weights import pack

Content = dict[str, Any]


def sort_classes(content: Content) -> None:
    content["classes"].sort(key=lambda entry: entry["name"])


def swap_raw_ids(content: Content) -> None:
    first, second = content["classes"][:2]
    first["raw"], second["raw"] = second["raw"], first["raw"]
    raw = content["raw"]
    raw[10], raw[11] = raw[11], raw[10]


CHANGES = [(sort_classes, "class 0 was car .* is bicycle"), (swap_raw_ids, "raw id of class 0 was 10 .* is 11")]


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """A user's file of classes."""
    file = tmp_path / "my.yaml"
    file.write_bytes(resource("datasets", "semantic_kitti", "labels.yaml").read_bytes())
    return file


@pytest.fixture
def config(tiny_config: Config, classes: Path) -> Config:
    dataset = {"name": "scan_folder", "classes": str(classes)}
    return replace(tiny_config, data=replace(tiny_config.data, dataset=dataset))


@pytest.fixture
def run(config: Config) -> Run:
    experiment = Experiment(config)
    return Run.of(experiment, experiment.make_network(), torch.device("cpu"))


def change(file: Path, how: Callable[[Content], None]) -> None:
    content = yaml.safe_load(file.read_text())
    how(content)
    file.write_text(yaml.safe_dump(content, sort_keys=False))


def as_checkpoint(run: Run, folder: Path, patch: pytest.MonkeyPatch) -> Path:
    write_weights(run, folder / "run.pt")
    return folder / "run.pt"


def as_card(run: Run, folder: Path, patch: pytest.MonkeyPatch) -> Path:
    known = {"config": write_config(run.config), **stored_classes(run.label_map)}
    return pack("a", run.network.state_dict(), folder / "card", FACTS | known).folder


def as_export(run: Run, folder: Path, patch: pytest.MonkeyPatch) -> Path:
    known = json.loads(json.dumps(describe(run)))
    made = SimpleNamespace(description=known, device=torch.device("cpu"))
    patch.setattr(loading, "read_exported", lambda *_, **__: made)
    (folder / "a.onnx").touch()
    return folder / "a.onnx"


@pytest.mark.parametrize("write", [as_checkpoint, as_card, as_export])
@pytest.mark.parametrize(("how", "message"), CHANGES)
def test_a_run_is_not_loaded_with_other_classes(
    write: Any, how: Any, message: str, run: Run, classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(run, tmp_path, monkeypatch)
    assert Run.load(file, device="cpu").label_map.names == run.label_map.names
    change(classes, how)
    with pytest.raises(ConfigError, match=message):
        Run.load(file, device="cpu")


def test_another_dataset_may_have_other_raw_ids_but_no_other_classes(run: Run, classes: Path, tmp_path: Path) -> None:
    write_weights(run, tmp_path / "run.pt")
    other = tmp_path / "other.yaml"
    other.write_bytes(classes.read_bytes())
    change(other, swap_raw_ids)
    asked = [f"data.dataset={{name: scan_folder, classes: {other}}}"]
    assert Run.load(tmp_path / "run.pt", device="cpu", overrides=asked).label_map.raw_ids[0] == 11
    change(other, sort_classes)
    with pytest.raises(ConfigError, match=r"run\.pt: its classes are not those of the dataset"):
        Run.load(tmp_path / "run.pt", device="cpu", overrides=asked)


def test_checkpoints_without_classes_load_as_before(run: Run, classes: Path, tmp_path: Path) -> None:
    write_weights(run, tmp_path / "run.pt")
    state = read_checkpoint(tmp_path / "run.pt")
    assert (state.pop("classes")[0], state.pop("raw_ids")[0]) == ("car", 10)
    torch.save(state, tmp_path / "run.pt")
    change(classes, sort_classes)
    assert Run.load(tmp_path / "run.pt", device="cpu").label_map.names[0] == "bicycle"


@pytest.mark.parametrize(("how", "message"), CHANGES)
def test_a_training_is_not_resumed_with_other_classes(
    how: Any, message: str, tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_config.optim.steps, tiny_config.evaluation.every = 1, 0
    train(tiny_config)
    last = Path(tiny_config.runtime.out) / "last.pt"
    state = read_checkpoint(last)
    assert {"classes", "raw_ids"} <= set(state)
    file = tmp_path / "changed.yaml"
    file.write_bytes(resource("datasets", "semantic_kitti", "labels.yaml").read_bytes())
    change(file, how)
    changed = replace(Experiment(tiny_config).label_map, **vars_of(file))
    monkeypatch.setattr(Experiment, "label_map", changed)
    with pytest.raises(ConfigError, match=message):
        train(tiny_config, resume=True)


def vars_of(file: Path) -> Content:
    from rangeseg.labels import LabelMap

    read = LabelMap.read(file)
    return {name: getattr(read, name) for name in ("names", "raw_ids", "raw_names", "learning_map")}


def test_a_start_from_classes_in_another_order_keeps_the_last_layer_random(
    run: Run, config: Config, classes: Path, tmp_path: Path
) -> None:
    write_weights(run, tmp_path / "run.pt")
    change(classes, sort_classes)
    started = replace(config, runtime=replace(config.runtime, seed=1, initialise_from=str(tmp_path / "run.pt")))
    experiment = Experiment(started)
    network = experiment.make_network()
    last = network.classifier()
    assert last is not None
    before = [value.clone() for value in last.state_dict().values()]
    with pytest.warns(Notice, match="other classes or another order of them"):
        initialise(network, experiment)
    assert all(torch.equal(*pair) for pair in zip(before, last.state_dict().values(), strict=True))
    first = next(iter(network.state_dict().values()))
    assert torch.equal(first, next(iter(run.network.state_dict().values())))
