"""An experiment makes each part of its config once, and takes only classes that declare what is asked of them."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from rangeseg.catalog import BACK_PROJECTIONS, DATASETS, NETWORKS
from rangeseg.config import Config
from rangeseg.data.dataset import Dataset, ScanDataset
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.engine import experiment, inputs
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.training import train
from rangeseg.evaluation.backprojection import BackProjection
from rangeseg.networks.base import Network
from rangeseg.photos.dataset import PhotoDataset
from rangeseg.registry import ConfigError, build


class Plain:
    """A dataset, a back-projection and a perturbation that derives from nothing."""

    def __init__(self, **anything: Any) -> None: ...


class PlainNetwork(nn.Module):
    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(in_channels, num_classes, 1)


def test_training_builds_each_component_once(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    built: Counter[str] = Counter()

    def counting(table: Any, section: Any, path: str, **context: Any) -> Any:
        built[path] += 1
        return build(table, section, path, **context)

    for module in (experiment, inputs):
        monkeypatch.setattr(module, "build", counting)
    train(tiny_config)
    sources = built.pop("data.dataset")
    views = built.pop("data.augmentation")
    assert sources == 3  # labelled, unlabelled, validation
    assert views == 2  # labelled, unlabelled
    assert set(built) == {"data.projection", "network", "method", "perturbation", "evaluation.back_projection"}
    assert set(built.values()) == {1}


@pytest.mark.parametrize(
    ("section", "base"),
    [
        ("data.dataset", "ScanDataset"),
        ("network", "Network"),
        ("perturbation", "Perturbation"),
        ("evaluation.back_projection", "BackProjection"),
    ],
)
def test_a_class_without_its_base_is_refused(tiny_config: Config, section: str, base: str) -> None:
    *way, last = section.split(".")
    holder: Any = tiny_config
    for part in way:
        holder = getattr(holder, part)
    plain = "PlainNetwork" if section == "network" else "Plain"
    setattr(holder, last, {"name": f"{__name__}:{plain}"})
    made = Experiment(tiny_config)
    use = {
        "data.dataset": lambda: made.label_map,
        "network": lambda: made.make_network(5),
        "perturbation": lambda: made.perturbation,
        "evaluation.back_projection": lambda: made.back_projection,
    }
    with pytest.raises(ConfigError, match=rf"{section}\.name: .*{plain}.* must derive from .*{base}"):
        use[section]()


class WithoutSubset(SemanticKitti):
    """A dataset of version 0.1, whose list argument has the old name."""

    def __init__(self, root: str, split: str = "train", *, frames: Any = None, labels: bool = True) -> None:
        super().__init__(root, split, subset=frames, labels=labels)


def test_a_list_is_never_ignored_by_a_dataset_that_takes_none(tiny_config: Config, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("00/000000\n")
    tiny_config.data.dataset = {"name": f"{__name__}:WithoutSubset"}
    made = Experiment(tiny_config)
    assert len(made.open("train")) > 0
    with pytest.raises(ConfigError, match=r"WithoutSubset cannot open the list .*subset \(before version 0\.2: frames"):
        made.open("train", str(tmp_path / "list.txt"))


def test_the_list_with_labels_is_that_of_the_label_files(tiny_config: Config, tmp_path: Path) -> None:
    tiny_config.data.root = shutil.copytree(tiny_config.data.root, str(tmp_path / "copy"))
    made = Experiment(tiny_config)
    everything = made.open("train")
    assert isinstance(everything, SemanticKitti)
    assert made.open("train", "with_labels").names == everything.names
    everything.label_path(0).unlink()
    rest = made.open("train", "with_labels")
    assert rest.names == everything.names[1:]
    assert [rest.scan(index).label is not None for index in range(len(rest))] == [True] * (len(everything) - 1)
    tiny_config.data.labelled = "with_labels"
    tiny_config.optim.steps = 1
    assert train(tiny_config) is not None  # the scan without labels is an unlabelled one
    for index in range(1, len(everything)):
        everything.label_path(index).unlink()
    with pytest.raises(ValueError, match=r"none of the .* scans of split train has a label file"):
        made.open("train", "with_labels")


@pytest.mark.parametrize("name", list(DATASETS))
def test_datasets_declare_their_kind(name: str) -> None:
    found: Any = DATASETS[name]
    assert issubclass(found, Dataset)
    assert (found.kind, found.element) in {("scan", "point"), ("photograph", "pixel")}
    assert issubclass(found, PhotoDataset if found.kind == "photograph" else ScanDataset)
    assert found.suffixes
    assert found.folder


def test_networks_and_back_projections_derive_from_their_bases() -> None:
    assert all(issubclass(NETWORKS[name], Network) for name in NETWORKS)  # type: ignore[arg-type]
    assert all(issubclass(BACK_PROJECTIONS[name], BackProjection) for name in BACK_PROJECTIONS)  # type: ignore[arg-type]


def test_a_network_declares_nothing_by_default() -> None:
    class Bare(Network):
        def __init__(self) -> None:
            super().__init__()
            self.trained, self.frozen = nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False)

    network = Bare()
    assert network.stride == (1, 1)
    assert network.auxiliary_heads() == ()
    (part,) = network.parameter_groups().values()
    assert {id(p) for p in part} == {id(p) for p in network.trained.parameters()}
