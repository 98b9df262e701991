"""Every shipped config reads, is complete, and builds all its parts; test_paper_configs.py has the paper's table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_nuscenes import SWEEPS_BETWEEN, TRAINVAL, write_nuscenes

from rangeseg.catalog import DATASETS
from rangeseg.config import Config, read_config
from rangeseg.config.shipped import shipped_configs
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.fabric import make_fabric
from rangeseg.engine.initialise import initialise
from rangeseg.engine.inputs import ScanInput
from rangeseg.engine.optimizer import make_optimizer
from rangeseg.engine.trainer import Trainer
from rangeseg.engine.training_data import TrainingData
from rangeseg.registry import ConfigError
from rangeseg.resources import resource
from rangeseg.types import View
from rangeseg.weights import shipped

PAPER = {"pascal_voc", "cityscapes", "isic2017", "ade20k"}
PARTS = ("methods/", "networks/")
"""Configs that are joined to a dataset's; they are tried on the small SemanticKITTI."""
CONFIGS = [name if not name.startswith(PARTS) else f"mini_kitti+{name}" for name in shipped_configs()]
CONFIGS = [words for words in CONFIGS if words.partition("/")[0] not in PAPER]
METHODS = ("supervised", "mean_teacher", "cutout", "cutmix")
TO_BE_DRAWN = {f"train_{share}pct_uniform" for share in (1, 10, 20, 50)}
"""Lists of nuScenes that need its tables, which are not ours to ship."""
SHARES = {"1": 191, "10": 1913, "20": 3826, "50": 9565}


def read(words: str, *overrides: str) -> Config:
    return read_config(words, ["data.root=somewhere", *overrides])


@pytest.mark.parametrize("words", CONFIGS)
def test_a_config_builds(words: str) -> None:
    config = read(words)
    experiment = Experiment(config)
    with torch.device("meta"):
        network = experiment.make_network()
    if isinstance(experiment.input, ScanInput):
        assert experiment.input.size[1] == config.data.projection["width"]
    assert experiment.back_projection is experiment.back_projection
    assert experiment.perturbation is experiment.perturbation
    weights = experiment.class_weights
    assert weights is None or len(weights) == experiment.label_map.num_classes
    make_optimizer(network, replace(config.optim, lr_multipliers={}))
    if config.data.labelled not in ("all", "none", "with_labels"):
        name, listed = config.data.dataset["name"], config.data.labelled
        if name == "nuscenes" and listed in TO_BE_DRAWN:
            listed = listed.replace("uniform", "scenes")
        folder = getattr(DATASETS[name], "folder", name)
        assert resource("datasets", folder, "splits", f"{listed}.txt").is_file()


@pytest.mark.parametrize("words", [words for words in CONFIGS if read(words).runtime.initialise_from in shipped()])
def test_the_shipped_network_from_which_a_config_starts_fits_it(words: str) -> None:
    experiment = Experiment(read(words))
    initialise(experiment.make_network(), experiment)


@pytest.mark.parametrize("method", ["supervised", "cutout", "cutmix", "cutmix_color"])
def test_a_config_of_photographs_takes_two_real_steps(method: str, data_root: Path, tmp_path: Path) -> None:
    small = ["network.width=4", "data.batch_labelled=2"]
    small += ["data.batch_unlabelled=2", "optim.steps=2", "evaluation.every=0", "runtime.log_every=1"]
    small += [f"data.root={data_root / 'camvid'}", f"runtime.out={tmp_path / 'run'}", "runtime.accelerator=cpu"]
    config = read_config(f"camvid+{method}", small)
    data = TrainingData.open(Experiment(config))
    assert (len(data.labelled), len(data.unlabelled), len(data.validation)) == (46, 367, 101)
    trainer = Trainer(
        make_fabric(config.runtime), Experiment(config).make_network(11), Experiment(config).perturbation, config
    )
    rng = np.random.default_rng(0)
    for step in range(2):
        views = [
            View.stack([part.view(step, rng), part.view(step + 9, rng)])
            for part in (data.labelled, data.unlabelled, data.unlabelled)
        ]
        trainer.step = step
        losses = trainer.train_step(views[0], None if config.consistency.weight == 0 else (views[1], views[2]))
        assert all(torch.isfinite(loss) for loss in losses.values())
    assert ("consistency" in losses) == (method != "supervised")


def test_no_config_names_a_folder_of_one_machine() -> None:
    assert not [name for name, path in shipped_configs().items() if "shared" in path.read_text()]


@pytest.mark.parametrize("dataset", ["semantic_kitti", "scribble_kitti", "nuscenes", "mini_kitti"])
def test_runs_of_other_methods_and_labels_do_not_share_a_folder(dataset: str) -> None:
    runs = [
        read(f"{dataset}+{method}", f"data.labelled=train_{share}pct_uniform", f"runtime.seed={seed}").runtime.out
        for method in METHODS
        for share in SHARES
        for seed in (0, 1)
    ]
    assert len(set(runs)) == len(METHODS) * len(SHARES) * 2
    assert read("semantic_kitti+cutmix").runtime.out == "runs/semantic_kitti/fidnet_cutmix_10pct_uniform"
    assert read("mini_kitti+fixmatch+classmix", "data.label_fraction=0.002").runtime.out.endswith("fixmatch_all_0.002")


NUSCENES = [f"nuscenes+{method}" for method in METHODS]
NUSCENES += ["nuscenes/ring+cutmix", "nuscenes/ring+supervised", "nuscenes/sweeps+cutmix"]


@pytest.mark.parametrize("words", NUSCENES)
def test_a_config_of_nuscenes_takes_two_steps(words: str, tmp_path: Path) -> None:
    root = write_nuscenes(tmp_path / "nuscenes", "v1.0-trainval", TRAINVAL)
    (tmp_path / "list.txt").write_text("scene-0002\n")
    small = ["network.width=4", "network.blocks=[1,1,1,1]", "data.batch_labelled=2", "data.batch_unlabelled=2"]
    small += ["optim.steps=2", f"data.labelled={tmp_path / 'list.txt'}", f"data.root={root}"]
    small += [f"runtime.out={tmp_path / 'run'}", "runtime.accelerator=cpu", "runtime.precision=32-true"]
    config = read_config(words, small)
    data = TrainingData.open(Experiment(config))
    sweeps = 1 + SWEEPS_BETWEEN if "sweeps" in words else 1
    assert (len(data.labelled), len(data.unlabelled), len(data.validation)) == (2, 5 * sweeps, 3)
    trainer = Trainer(
        make_fabric(config.runtime), Experiment(config).make_network(16), Experiment(config).perturbation, config
    )
    rng = np.random.default_rng(0)
    for step in range(2):
        parts = (data.labelled, data.unlabelled, data.unlabelled)
        views = [View.stack([part.view(0, rng), part.view(1, rng)]) for part in parts]
        trainer.step = step
        losses = trainer.train_step(views[0], None if config.consistency.weight == 0 else (views[1], views[2]))
        assert all(torch.isfinite(loss) for loss in losses.values())
    assert ("consistency" in losses) == (not words.endswith("supervised"))


def test_a_list_that_must_be_drawn_says_so() -> None:
    with pytest.raises(ConfigError, match=r"is neither a file nor a list shipped for nuscenes: .*nuscenes/README\.md"):
        TrainingData.open(Experiment(read("nuscenes+cutmix")))


def test_cenets_stages_follow_each_other() -> None:
    stages = [read(f"semantic_kitti/cenet_{width}") for width in (512, 1024, 2048)]
    assert [stage.data.projection["width"] for stage in stages] == [512, 1024, 2048]
    assert [stage.runtime.initialise_from for stage in stages] == [None, *(s.runtime.out for s in stages[:2])]
    epochs = [stage.optim.steps * stage.data.batch_labelled / 19130 for stage in stages]
    assert epochs == pytest.approx([100, 30, 30], abs=0.05)
    for stage in stages[1:]:
        assert (stage.network, stage.supervised, stage.teacher) == (
            stages[0].network,
            stages[0].supervised,
            stages[0].teacher,
        )
        assert (stage.data.channels, stage.data.mean) == (stages[0].data.channels, stages[0].data.mean)
    assert sum(p.numel() for p in Experiment(stages[0]).make_network(20).parameters()) == 6_781_968


FULL = {
    "rangenet21_full": (24_712_980, 150, [12.12, 10.88, 0.23, -1.04, 0.21], [12.32, 11.47, 6.91, 0.86, 0.16]),
    "rangenet53_full": (50_377_364, 150, [12.12, 10.88, 0.23, -1.04, 0.21], [12.32, 11.47, 6.91, 0.86, 0.16]),
    "squeezeseg_full": (928_464, 150, [12.12, 10.88, 0.23, -1.04, 0.21], [12.32, 11.47, 6.91, 0.86, 0.16]),
    "salsanext_full": (6_711_572, 150, [12.12, 10.88, 0.23, -1.04, 0.21], [12.32, 11.47, 6.91, 0.86, 0.16]),
    "rangevit_full": (None, 60, [12.12, 10.88, 0.23, -1.04, 0.21], [12.32, 11.47, 6.91, 0.86, 0.16]),
    "cenet_2048": (
        6_781_968, 30, [11.71279, -0.1023471, 0.4952, -1.0545, 0.2877], [10.24, 12.295865, 9.4287, 0.8643, 0.1450]
    ),
    "fidnet_full": (6_054_420, 26, [0] * 5, [50, 50, 3, 1, 80]),
}  # fmt: skip
"""Parameters for K = 20, epochs, and what published weights were trained to read."""


@pytest.mark.parametrize("name", FULL)
def test_supervised_configs_are_the_published_networks_for_as_many_epochs(name: str) -> None:
    config = read(f"semantic_kitti/{name}")
    parameters, epochs, mean, std = FULL[name]
    with torch.device("meta"):
        count = sum(p.numel() for p in Experiment(config).make_network(20).parameters())
    assert parameters in (None, count)
    assert config.optim.steps * config.data.batch_labelled / 19130 == pytest.approx(epochs, abs=0.05)
    assert (config.data.mean, config.data.std, config.data.labelled) == (mean, std, "all")
    assert config.consistency.weight == 0


def test_the_full_network_is_the_published_one_but_for_the_class_of_the_unlabelled() -> None:
    config = read("semantic_kitti")
    count = sum(p.numel() for p in Experiment(config).make_network(20).parameters())
    assert count == 6_054_420
