"""The weak head: what it learns, what it leaves alone, and that nothing of it is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_tiny_config
from test_carried import carried, with_data  # noqa: F401 # a fixture
from test_mean_teacher import random_view, same, trainer, weights
from test_networks import CHANNELS, CLASSES, REDUCED
from torch import nn

from rangeseg.config import Config, config_from
from rangeseg.engine.checkpoint import read_checkpoint
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.stopping import Stopped
from rangeseg.engine.trainer import Trainer
from rangeseg.engine.training import train
from rangeseg.engine.training_data import TrainingData
from rangeseg.inference.run import Run
from rangeseg.losses import cross_entropy, lovasz_softmax
from rangeseg.networks import NETWORKS, create_network
from rangeseg.networks.base import Network
from rangeseg.networks.weak_head import weak_logits
from rangeseg.registry import ConfigError
from rangeseg.types import IGNORE, View

SMALL: dict[str, dict[str, Any]] = REDUCED | {
    "deeplab_v2": {"layers": 50, "width": 8},
    "deeplab_v3plus": {"layers": 50, "width": 8},
    "pspnet": {"encoder": "resnet50", "width": 8},
    "unet": {"encoder": "resnet50", "width": 8},
    "rangevit": {"dim": 24, "depth": 1, "heads": 2, "stem": 8, "hidden": 8},
}


@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_network_can_have_one_which_leaves_its_logits_alone(name: str, generator: torch.Generator) -> None:
    torch.manual_seed(0)
    network = create_network(name, in_channels=CHANNELS, num_classes=CLASSES, **small(name)).eval()
    image = torch.randn(2, CHANNELS, 64, 96, generator=generator)
    before = network(image)
    network.add_weak_head(6)
    (head,) = network.weak_heads()
    assert torch.equal(network(image), before)
    with weak_logits([head]):
        strong, weak = network(image).chunk(2)
    torch.testing.assert_close(strong, before)
    assert weak.shape == before.shape
    assert (weak - strong).abs().max() > 0.01
    assert not any(
        key.startswith("weak_head")
        for key in create_network(name, in_channels=CHANNELS, num_classes=CLASSES, **small(name)).state_dict()
    )


def small(name: str) -> dict[str, Any]:
    return SMALL.get(name, {})


class Silent(Network):
    """Does not say which layer makes its logits."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(5, 19, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layer(image)


@pytest.fixture
def weak_config(tiny_config: Config, carried: Path) -> Config:  # noqa: F811
    config = with_data(tiny_config, carried=str(carried), carried_as="weak_head")
    config.supervised.weak_width = 8
    return config


def half_carried(seed: int) -> View:
    """A view whose labels are a person's on the left, and were carried with weights on the right."""
    view = random_view(seed)
    weight = torch.rand(view.label.shape, generator=torch.Generator().manual_seed(seed)) * 0.9 + 0.1
    return replace(view, carried=weight * (torch.arange(64) >= 32))


def test_a_network_that_names_no_classifier_is_refused(weak_config: Config) -> None:
    with pytest.raises(ConfigError, match=r"data\.carried_as: Silent does not name the layer .* Override classifier"):
        trainer(weak_config, network=Silent())


@pytest.mark.parametrize("method", ["mean_teacher", "fixmatch", "cps", "cbst"])
def test_the_strong_head_learns_own_labels_and_the_weak_one_carried_ones(weak_config: Config, method: str) -> None:
    weak_config.method = {"name": method}
    weak_config.supervised.carried_weight = 0.3
    made = method_trainer(weak_config)
    made.network.eval()  # so that asking twice gives the same
    view = half_carried(1)
    own = view.label.masked_fill(view.carried > 0, IGNORE)
    other = view.label.masked_fill(view.carried == 0, IGNORE)
    networks = [made.network.first, made.network.second] if method == "cps" else [made.network]
    strong, weak = [], []
    for network in networks:
        with weak_logits(network.weak_heads()):
            first, second = network(view.image).chunk(2)
        strong.append(first)
        weak.append(second)
    count, s, w = len(networks), torch.cat(strong), torch.cat(weak)
    own, other, pixel = (part.repeat(count, 1, 1) for part in (own, other, view.carried))
    of_weak = 0.3 * (cross_entropy(w, other, pixel=pixel) + lovasz_softmax(w, other, pixel))
    losses = made.supervised_loss(view)
    torch.testing.assert_close(losses["carried"], of_weak)
    torch.testing.assert_close(losses["supervised"], cross_entropy(s, own) + lovasz_softmax(s, own) + of_weak)
    losses["supervised"].backward()
    assert all(parameter.grad is not None for parameter in made.network.parameters())


def method_trainer(config: Config) -> Trainer:
    from lightning_fabric import Fabric

    experiment = Experiment(config)
    return Trainer(Fabric(accelerator="cpu"), experiment.make_network(), experiment.perturbation, config,
                   method=experiment.method)  # fmt: skip


def test_with_auxiliary_heads_too(weak_config: Config) -> None:
    weak_config.network = {"name": "cenet", "width": 8, "blocks": [1, 1, 1]}
    weak_config.supervised.auxiliary = 0.5
    made = trainer(weak_config)
    made.train_step(half_carried(1), None)
    assert all(p.grad is not None for p in made.network.parameters())


def test_carried_labels_do_not_move_the_classifier_and_consistency_not_the_weak_head(weak_config: Config) -> None:
    weak_config.optim.weight_decay = 0.0
    made = trainer(weak_config)
    before, view = weights(made.network), half_carried(1)
    carried_only = replace(view, label=view.label.masked_fill(view.carried == 0, IGNORE))
    made.train_step(carried_only, None)
    after = weights(made.network)
    assert same({k: v for k, v in before.items() if "classify" in k}, after)
    assert not same({k: v for k, v in before.items() if "weak_head.layers.0" in k}, after)
    made = trainer(weak_config)
    before = weights(made.network)
    empty = replace(view, label=torch.full_like(view.label, IGNORE))
    made.train_step(empty, (random_view(2, labelled=False), random_view(3, labelled=False)))
    after = weights(made.network)
    assert same({k: v for k, v in before.items() if "weak_head" in k and "running" not in k and "num_" not in k}, after)
    assert not same({k: v for k, v in before.items() if "classify" in k}, after)


def test_the_weak_head_is_in_the_checkpoints_student_alone_and_resumed(weak_config: Config, tmp_path: Path) -> None:
    weak_config.runtime.out = str(tmp_path / "whole")
    whole = train(weak_config)
    weak_config.runtime.out = str(tmp_path / "stopped")
    save = Trainer.save

    def stop_here(self: Trainer, path: Path) -> None:
        save(self, path)
        if self.step == 2:
            raise Stopped("here", 15)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "save", stop_here)
        with pytest.raises(Stopped):
            train(weak_config)
    assert train(weak_config, resume=True) == whole
    states = [read_checkpoint(tmp_path / name / "last.pt") for name in ("whole", "stopped")]
    for part in ("network", "teacher"):
        assert same(states[0][part], states[1][part])
    assert any("weak_head" in key for key in states[0]["network"])
    assert not any("weak_head" in key for key in states[0]["teacher"])
    run = Run.load(tmp_path / "whole", device="cpu")
    assert not run.network.weak_heads()


@pytest.mark.parametrize("more", [{"consistency": {"weight": 0.0}}, {"consistency": {"pair": "labelled"}},
                                  {"data": {"carried_as": "both", "carried_weight": "all"}},
                                  {"method": {"name": "cps"}}, {"optim": {"accumulate": 2}}])  # fmt: skip
def test_it_trains_in_every_way(tiny_kitti: Path, carried: Path, tmp_path: Path, more: dict[str, Any]) -> None:  # noqa: F811
    from dataclasses import asdict

    base = make_tiny_config(tiny_kitti, tmp_path)
    config = config_from([asdict(base), {"data": {"carried": str(carried), "carried_as": "weak_head"}}, more])
    config.optim.steps = 2
    result = train(config)
    assert result is not None
    assert np.isfinite(result["mean_iou"])


def test_each_part_of_a_batch_has_own_and_carried_labels(weak_config: Config) -> None:
    """With fixed BatchNorm statistics and equally many labels per view, parts give the gradient of the whole batch."""
    weak_config.data.batch_labelled, weak_config.supervised.lovasz, weak_config.optim.clip = 4, 0.0, None
    generator = torch.Generator().manual_seed(1)
    label = torch.randint(0, 3, (6, 16, 64), generator=generator)
    was_carried = torch.zeros(label.shape).index_fill_(0, torch.tensor([4, 5]), 1)
    image = torch.randn(6, 5, 16, 64, generator=generator)
    batch = View(image, torch.ones_like(label, dtype=torch.bool), label, was_carried)
    results = []
    for parts in (1, 2):
        weak_config.optim.accumulate = parts
        made = trainer(weak_config)
        made.network.eval()
        losses = made.train_step(batch, None)
        results.append([*losses.values(), *(parameter.grad for parameter in made.network.parameters())])
    assert len(results[0]) == len(results[1])
    for whole, of_parts in zip(*results, strict=True):
        torch.testing.assert_close(of_parts, whole)


def test_without_a_folder_nothing_is_trained(tiny_config: Config) -> None:
    tiny_config.data.carried_as = "weak_head"
    with pytest.raises(ConfigError, match=r"data\.carried_as: weak_head needs carried labels; name their folder"):
        train(tiny_config)


def test_carried_views_come_beside_the_labelled_ones(weak_config: Config) -> None:
    data = TrainingData.open(Experiment(weak_config))
    assert data.carried is not None
    assert len(data.labelled) == 3
    assert len(data.carried) == 2
    view = data.carried.view(0, np.random.default_rng(0))
    assert view.carried is not None
    assert ((view.carried > 0) <= (view.label == 12)).all()
    assert (view.carried == 1).sum() > 100
    assert data.labelled.view(0, np.random.default_rng(0)).carried is None


@pytest.mark.parametrize(("words", "said"), [
    ({"supervised": {"mix": {"lasermix": {}}}}, r"supervised\.mix: a mix of labelled views does not record"),
    ({"data": {"carried_as": "targets"}, "consistency": {"weight": 0.0}}, r"data\.carried_as: targets needs unlabel"),
    ({"data": {"carried_where": "unsure"}}, r"data\.carried_where: unsure needs data\.carried_as=targets"),
    ({"supervised": {"carried_term": "own"}}, r"supervised\.carried_term: own needs data\.carried_as=labels"),
    ({"data": {"carried_as": "both"}, "consistency": {"kind": "logits_var"}}, r"with data\.carried_as: both"),
    ({"data": {"carried_as": "both"}, "consistency": {"weight": 0.0}}, r"data\.carried_as: both needs unlabelled"),
    ({"data": {"batch_labelled": 4, "batch_unlabelled": 4, "batch_carried": 3}, "optim": {"accumulate": 2}},
     r"optim\.accumulate: 2 does not divide data\.batch_carried, 3"),
    ({"data": {"labelled_from": [{"carried": "z"}]}}, r"labelled_from\[0\]\.carried: has no effect .*only with labels"),
    ({"data": {"carried_as": "targets", "labelled_from": [{}, {"carried": "z"}]}}, r"labelled_from\[1\]\.carried: has"),
    ({"data": {"unlabelled_from": [{"carried": "z"}]}}, r"unlabelled_from\[0\]\.carried: .*only with targets or both"),
    ({"data": {"carried_as": "labels", "unlabelled_from": [{"carried": "z"}]}}, r"has no effect .*=labels, but only"),
    ({"data": {"carried_as": "labels", "labelled_from": [{"carried": "z", "subset": "l.txt"}]}},
     r"data\.labelled_from\[0\]\.subset: has no effect"),
    ({"data": {"carried_as": "labels", "labelled": "none", "labelled_from": [{"carried": "none"}]}},
     r"data\.carried: is not read, because data\.labelled is none"),
    ({"data": {"carried_as": "targets", "unlabelled": "none", "unlabelled_from": [{}]}},
     r"data\.carried: is not read, because data\.unlabelled is none"),
    ({"data": {"carried": "none", "carried_as": "labels", "carried_weight": "all", "labelled_from": [{"carried": "z"}]},
      "supervised": {"mix": {"range_mix": {}}}}, r"supervised\.mix: a mix of labelled views does not record"),
])  # fmt: skip
def test_what_would_do_nothing_is_refused(words: dict[str, Any], said: str) -> None:
    base = {"data": {"root": "x", "carried": "y", "carried_as": "weak_head"}, "optim": {"steps": 1},
            "runtime": {"out": "x"}}  # fmt: skip
    with pytest.raises(ConfigError, match=said):
        config_from([base, words])
