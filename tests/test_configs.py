"""Every shipped config reads, is complete, and builds all its parts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rangeseg.config import Config, read_config
from rangeseg.engine.experiment import (
    class_weights,
    lookup_label_map,
    make_back_projection,
    make_network,
    make_perturbation,
    make_projection,
)
from rangeseg.engine.optimizer import make_optimizer
from rangeseg.resources import resource

CONFIGS = sorted(resource("configs").rglob("*.yaml"))
SHARES = {"1": 191, "10": 1913, "20": 3826, "50": 9565}


def read(path: Path) -> Config:
    return read_config(path, ["data.root=somewhere"])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_config_builds(path: Path) -> None:
    config = read(path)
    label_map = lookup_label_map(config)
    with torch.device("meta"):
        make_network(config, label_map.num_classes)
    projection = make_projection(config)
    assert projection.width == config.data.projection["width"]
    make_back_projection(config)
    make_perturbation(config)
    class_weights(config, label_map)
    make_optimizer(torch.nn.Linear(1, 1), config.optim)
    if config.data.labelled is not None:
        assert resource("datasets", "semantic_kitti", "splits", f"{config.data.labelled}.txt").is_file()


@pytest.mark.parametrize(
    "path", [p for p in CONFIGS if p.stem != "base"], ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_runs_do_not_share_a_folder(path: Path) -> None:
    assert Path(read(path).runtime.out).name == path.stem


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("method", ["supervised", "mean_teacher", "cutout", "cutmix"])
def test_methods_differ_in_nothing_but_the_method(method: str, share: str) -> None:
    folder = resource("configs", "semantic_kitti")
    one, base = read(folder / f"{method}_{share}pct.yaml"), read(folder / f"cutmix_{share}pct.yaml")
    assert one.data.labelled == f"train_{share}pct_uniform"
    for section in ("data", "network", "optim", "teacher", "supervised", "evaluation"):
        assert getattr(one, section) == getattr(base, section)


def test_the_full_network_is_the_published_one_but_for_the_class_of_the_unlabelled() -> None:
    config = read(resource("configs", "semantic_kitti") / "base.yaml")
    count = sum(p.numel() for p in make_network(config, 20).parameters())
    assert count == 6_054_420
