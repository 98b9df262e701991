"""Deep supervision: auxiliary heads learn from labels, and nothing else asks them. And starting from another run."""

from __future__ import annotations

import copy
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from test_mean_teacher import K, random_view, same, trainer, views, weights
from torch import Tensor, nn

from rangeseg.config import Config, config_from_yaml, write_config
from rangeseg.engine.checkpoint import read_checkpoint
from rangeseg.engine.class_weights import class_weights
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.initialise import _of_classes, initialise
from rangeseg.engine.methods import Pair
from rangeseg.engine.supervision import range_weight, supervised_loss
from rangeseg.engine.trainer import Trainer
from rangeseg.engine.training import train
from rangeseg.inference.run import Run
from rangeseg.losses import boundary_loss, cross_entropy, focal_loss, lovasz_softmax, ohem_cross_entropy
from rangeseg.notices import Notice
from rangeseg.perturbations import CutMix
from rangeseg.registry import ConfigError
from rangeseg.weights import shipped

CENET: dict[str, Any] = {"name": "cenet", "width": 8, "blocks": [1, 1, 1]}


@pytest.fixture
def deep_config(tiny_config: Config) -> Config:
    tiny_config.network = dict(CENET)
    tiny_config.supervised.auxiliary = 0.5
    return tiny_config


def head_weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in weights(network).items() if "auxiliary" in name}


def test_the_loss_of_each_head_is_added_with_its_weight(deep_config: Config) -> None:
    made = trainer(deep_config)
    made.network.eval()  # so that asking twice gives the same
    view = random_view(1)
    logits, heads = made.network(view.image, auxiliary=True)
    assert len(heads) == 2
    parts = [cross_entropy(part, view.label) + lovasz_softmax(part, view.label) for part in (logits, *heads)]
    expected = parts[0] + 0.5 * (parts[1] + parts[2])
    torch.testing.assert_close(made.supervised_loss(view)["supervised"], expected)


@pytest.mark.parametrize("parts", [1, 2])
def test_labels_move_the_heads_and_consistency_does_not(deep_config: Config, parts: int) -> None:
    deep_config.optim.accumulate, deep_config.optim.weight_decay = parts, 0.0
    made = trainer(deep_config)
    asked: list[bool] = []
    for head in made.network.auxiliary:
        head.register_forward_hook(lambda *_: asked.append(True))
    before = head_weights(made.network)
    made.train_step(random_view(1), views())
    assert len(asked) == 2 * parts  # each head, for each part of the labelled batch
    assert not any(torch.equal(before[name], value) for name, value in head_weights(made.network).items())
    made.consistency_loss(torch.Generator(), *views())["consistency"].backward()
    made.teacher(random_view(2).image)
    assert len(asked) == 2 * parts


def test_the_teacher_averages_the_heads_too(deep_config: Config) -> None:
    made = trainer(deep_config)
    before = head_weights(made.teacher.network)
    made.train_step(random_view(1), views())
    after, student = head_weights(made.teacher.network), head_weights(made.network)
    assert after
    for name, value in before.items():
        torch.testing.assert_close(after[name], 0.99 * value + 0.01 * student[name])


def test_without_a_weight_heads_stay_as_they_were_and_change_nothing(deep_config: Config) -> None:
    deep_config.supervised.auxiliary = 0.0
    with_heads = Experiment(deep_config).make_network(K)
    deep_config.network["auxiliary"] = False
    without = Experiment(deep_config).make_network(K)
    without.load_state_dict({name: v for name, v in with_heads.state_dict().items() if "auxiliary" not in name})
    before, results = head_weights(with_heads), []
    for network in (with_heads, without):
        made = trainer(deep_config, network=network)
        made.train_step(random_view(1), views())
        results.append((weights(made.network), weights(made.teacher.network)))
    assert same(before, head_weights(with_heads))
    assert len(before) == 4
    for with_them, plain in zip(*results, strict=True):
        assert same(plain, with_them)


def test_a_weight_without_heads_is_refused_with_the_cure(tiny_config: Config) -> None:
    tiny_config.supervised.auxiliary = 1.0
    with pytest.raises(ConfigError, match=r"supervised\.auxiliary: 1\.0 .* this FIDNet has none\. Set it to 0, or use"):
        Experiment(tiny_config).make_network(K)


def test_cps_supervises_the_heads_of_both_networks(deep_config: Config) -> None:
    deep_config.method, deep_config.consistency.kind = {"name": "cps"}, "ce"
    network = Experiment(deep_config).make_network(K)
    assert isinstance(network, Pair)
    made = Trainer(
        Fabric(accelerator="cpu", devices=1), network, CutMix(), deep_config, None, Experiment(deep_config).method
    )
    before = head_weights(network)
    made.train_step(random_view(1), views())
    assert len(before) == 8
    assert not any(torch.equal(before[name], value) for name, value in head_weights(network).items())
    view = random_view(1)
    network.eval()
    logits, heads = network(view.image, view.image, auxiliary=True)
    first, second = network.first(view.image, auxiliary=True), network.second(view.image, auxiliary=True)
    assert torch.equal(logits, torch.cat([first[0], second[0]]))
    for ours, a, b in zip(heads, first[1], second[1], strict=True):
        assert torch.equal(ours, torch.cat([a, b]))


def test_a_run_with_heads_resumes_bit_exactly_and_is_read_back(deep_config: Config, tmp_path: Path) -> None:
    deep_config.optim.schedule, deep_config.optim.steps = "constant", 2
    states = []
    for stops in (False, True):
        deep_config.runtime.out = str(tmp_path / str(stops))
        if stops:
            deep_config.optim.steps = 1
            train(deep_config)
            deep_config.optim.steps = 2
        with pytest.warns(Notice, match="optim.steps: 1 there, 2 here") if stops else nullcontext():
            train(deep_config, resume=stops)
        states.append(read_checkpoint(tmp_path / str(stops) / "last.pt"))
    for part in ("network", "teacher"):
        assert same(states[0][part], states[1][part])
    run = Run.load(tmp_path / "True", device="cpu")
    assert run.network(torch.zeros(1, 5, 16, 64)).shape == (1, 19, 16, 64)
    assert same(states[0]["teacher"], weights(run.network))


@pytest.mark.slow
def test_a_compiled_network_is_asked_with_and_without_its_heads(
    deep_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def traced(self: nn.Module, compile: Any = nn.Module.compile) -> None:
        compile(self, backend="aot_eager")  # all of the compiler but its code, which another test has

    monkeypatch.setattr(nn.Module, "compile", traced)
    network, results = Experiment(deep_config).make_network(K), []
    for compiled in (False, True):
        deep_config.runtime.compile = compiled
        made = trainer(deep_config, network=copy.deepcopy(network))
        losses = made.train_step(random_view(1), views())
        results.append((losses, head_weights(made.network)))
    for name, loss in results[0][0].items():
        torch.testing.assert_close(results[1][0][name], loss, rtol=1e-3, atol=1e-4)
    for name, value in results[0][1].items():
        torch.testing.assert_close(results[1][1][name], value, rtol=1e-2, atol=2e-3)


PROGRAM = """
import sys, torch
from rangeseg.config import read_config
from rangeseg.engine import training
from rangeseg.engine.trainer import Trainer

path, out = sys.argv[1:]
fit, step = Trainer.fit, Trainer.train_step
first = []
def watched_step(self, *arguments):
    losses = step(self, *arguments)
    if not first:
        first.append({name: p.grad.clone() for name, p in self.network.named_parameters() if p.grad is not None})
    return losses
def watched(self, *arguments):
    fit(self, *arguments)
    state = {"network": self.network.state_dict(), "teacher": self.teacher.network.state_dict(), "grad": first[0]}
    torch.save(state, out + "/rank" + str(self.fabric.global_rank) + ".pt")
Trainer.fit, Trainer.train_step = watched, watched_step
if __name__ == "__main__":
    training.train(read_config(path))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("auxiliary", "consistency"), [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0)])
def test_two_processes_train_heads_alike(
    deep_config: Config, tmp_path: Path, auxiliary: float, consistency: float
) -> None:
    """DDP over gloo: no process waits for gradients of heads that nothing asked, and no gradient of theirs is lost."""
    deep_config.supervised.auxiliary, deep_config.consistency.weight = auxiliary, consistency
    deep_config.runtime.devices, deep_config.optim.accumulate = 2, 2
    deep_config.optim.steps, deep_config.optim.clip = 2, None
    (tmp_path / "c.yaml").write_text(write_config(deep_config))
    (tmp_path / "two.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "two.py"), str(tmp_path / "c.yaml"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "unused parameters" not in done.stderr  # nothing to look for, so nothing to warn of
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    for part in ("network", "teacher", "grad"):
        assert same(ranks[0][part], ranks[1][part])
    heads = {name: value for name, value in ranks[0]["grad"].items() if "auxiliary" in name}
    assert len(heads) == (4 if auxiliary else 0)
    assert all(value.abs().max() > 0 for value in heads.values())
    if auxiliary:
        assert all(value.isfinite().all() for value in ranks[0]["network"].values())


def test_the_consistency_loss_leaves_the_heads_gradient_as_the_labels_made_it(deep_config: Config) -> None:
    network, results = Experiment(deep_config).make_network(K), []
    for unlabelled in (None, views()):
        deep_config.optim.clip = None
        made = trainer(deep_config, network=copy.deepcopy(network))
        made.train_step(random_view(1), unlabelled)
        results.append([head.weight.grad for head in made.network.auxiliary])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


# ------------------------------------------------------------------------------------------------ the losses by config


def test_each_key_chooses_its_loss(tiny_config: Config) -> None:
    view = random_view(1)
    logits = torch.randn(2, K, 16, 64, generator=torch.Generator().manual_seed(3))
    y, settings = view.label, tiny_config.supervised
    settings.cross_entropy, settings.lovasz = 2.0, 0.0
    weight, factor = torch.linspace(0.5, 2, K), torch.rand(y.shape)
    expected = {
        "none": 2 * cross_entropy(logits, y, weight=weight),
        "focal_gamma": 2 * focal_loss(logits, y, gamma=1.5, weight=weight),
        "ohem_ratio": 2 * ohem_cross_entropy(logits, y, share=0.15, weight=weight, factor=factor),
        "boundary": 2 * cross_entropy(logits, y, weight=weight) + 0.7 * boundary_loss(logits, y),
        "lovasz": 2 * cross_entropy(logits, y, weight=weight) + 3.0 * lovasz_softmax(logits, y),
    }
    for key, value in {"none": 0, "focal_gamma": 1.5, "ohem_ratio": 0.15, "boundary": 0.7, "lovasz": 3.0}.items():
        changed = copy.copy(settings)
        if key != "none":
            setattr(changed, key, value)
        assert torch.equal(supervised_loss(changed, logits, y, weight, factor), expected[key]), key
    twice = torch.cat([logits, logits]), torch.cat([y, y])
    settings.ohem_ratio = 1.0  # a pair of networks has each label twice
    torch.testing.assert_close(
        supervised_loss(settings, *twice, weight, factor), supervised_loss(settings, logits, y, weight, factor)
    )


def test_far_pixels_count_by_their_range(tiny_config: Config) -> None:
    data, view = tiny_config.data, random_view(1)
    tiny_config.supervised.range_weight_m = 100.0
    factor = range_weight(tiny_config.supervised, Experiment(tiny_config).channels, view)
    index = data.channels.index("range")
    metres = view.image[:, index].double().numpy() * data.std[index] + data.mean[index]
    np.testing.assert_allclose(factor.numpy(), np.maximum(metres, 0) / 100, rtol=1e-5, atol=1e-6)


def test_log_weights_grow_slower_than_inverse_ones(tiny_config: Config) -> None:
    label_map = Experiment(tiny_config).label_map
    made = {}
    for kind in ("inverse", "log"):
        tiny_config.supervised.class_weights = kind
        weight = class_weights(tiny_config.supervised, label_map)
        assert weight is not None
        made[kind] = weight.double().numpy()
    np.testing.assert_allclose(made["inverse"], 1 / (label_map.frequencies + 0.001), rtol=1e-6)
    expected = np.log(1 + made["inverse"])
    np.testing.assert_allclose(made["log"], expected / expected.max(), rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("supervised.auxiliary=-1", r"supervised\.auxiliary: -1\.0 is out of range; give at least 0"),
        ("supervised.boundary=nan", r"supervised\.boundary: nan is out of range"),
        ("supervised.ohem_ratio=15", r"supervised\.ohem_ratio: 15\.0 is out of range"),
        ("supervised.ohem_ratio=0.1 supervised.focal_gamma=2", r"supervised\.focal_gamma: cannot be combined with"),
        ("supervised.range_weight_m=100", r"supervised\.range_weight_m: needs supervised"),
        (
            "supervised.range_weight_m=9 supervised.ohem_ratio=0.1 data.channels=[x] data.mean=[0.0] data.std=[1.0]",
            r"supervised\.range_weight_m: data\.channels must contain range",
        ),
        ("supervised.class_weights=logarithm", r"'logarithm' is not one of 'none', 'inverse', 'root', 'log'"),
    ],
)
def test_settings_that_mean_nothing_are_refused(tiny_config: Config, given: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_from_yaml(write_config(tiny_config), given.split())


def test_all_losses_together_train(deep_config: Config) -> None:
    settings = deep_config.supervised
    settings.boundary, settings.ohem_ratio, settings.range_weight_m, settings.class_weights = 1.0, 0.15, 100.0, "log"
    result = train(deep_config)
    assert result is not None
    assert np.isfinite(result["mean_iou"])


# ------------------------------------------------------------------------------------------------ from another run


def test_a_run_starts_from_the_teacher_of_another_at_another_size(deep_config: Config, tmp_path: Path) -> None:
    first = tmp_path / "first"
    deep_config.runtime.out = str(first)
    train(deep_config)
    teacher = read_checkpoint(first / "last.pt")["teacher"]
    deep_config.runtime.out, deep_config.data.projection["width"] = str(tmp_path / "second"), 128
    deep_config.runtime.initialise_from = str(first)
    began: list[dict[str, Tensor]] = []

    def watched(self: Trainer, *arguments: Any, fit: Any = Trainer.fit) -> None:
        began.extend((weights(self.network), weights(self.teacher.network)))
        fit(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "fit", watched)
        train(deep_config)
        for state in began:
            assert same(teacher, state)
        began.clear()
        shutil.rmtree(first)  # a run that goes on has weights of its own
        train(deep_config, resume=True)
    last = read_checkpoint(tmp_path / "second" / "last.pt")
    assert same(last["network"], began[0])
    assert not same(teacher, began[0])
    assert Run.load(tmp_path / "second", device="cpu").config.runtime.initialise_from == str(first)


def test_a_run_starts_from_a_shipped_network_by_its_name(tiny_config: Config) -> None:
    card = shipped()["any-lidar"].card
    known = config_from_yaml(card.config)
    tiny_config.network, tiny_config.data.channels = known.network, known.data.channels
    tiny_config.runtime.initialise_from = "any-lidar"
    experiment = Experiment(tiny_config)
    network = experiment.make_network()
    initialise(network, experiment)
    assert same(weights(network), shipped()["any-lidar"].state())
    tiny_config.runtime.initialise_from = "any-lida"
    with pytest.raises(ConfigError, match=r"runtime\.initialise_from: any-lida: no such .*any-lidar"):
        initialise(network, experiment)


def test_what_a_run_cannot_start_from_is_refused(deep_config: Config, tmp_path: Path) -> None:
    deep_config.optim.steps = 1
    deep_config.runtime.out = str(tmp_path / "first")
    train(deep_config)
    deep_config.runtime.out = str(tmp_path / "second")

    def refused(message: str, **changes: Any) -> None:
        config = copy.deepcopy(deep_config)
        config.runtime.initialise_from = str(tmp_path / "first")
        for path, value in changes.items():
            section, key = path.split("__")
            setattr(getattr(config, section), key, value)
        with pytest.raises(ConfigError, match=r"runtime\.initialise_from: .*" + message):
            train(config)

    refused("no such checkpoint", runtime__initialise_from=str(tmp_path / "none"))
    (tmp_path / "half.pt").write_bytes((tmp_path / "first" / "last.pt").read_bytes()[:1000])
    refused("not a complete checkpoint", runtime__initialise_from=str(tmp_path / "half.pt"))
    refused(r"has channels .*remission.* but data\.channels are", data__channels=["x", "range", "y", "z", "remission"])
    deep_config.network["width"] = 16
    refused("the network of .* is not that of this config: .*'width': 8.* there, .*'width': 16.* here. Use the same")
    deep_config.network["width"] = 8
    deep_config.method = {"name": "cps"}
    refused("is not that of this config: .*=mean_teacher there, .*=cps here. Use the same network. The method cps")


@pytest.mark.parametrize("name", ["semantic_poss", "nuscenes"])
def test_with_other_classes_all_but_the_last_layers_start_from_the_run(
    name: str, deep_config: Config, tmp_path: Path
) -> None:
    deep_config.optim.steps = 1
    deep_config.runtime.out = str(tmp_path / "first")
    train(deep_config)
    checkpoint = tmp_path / "first" / "last.pt"
    state = read_checkpoint(checkpoint)
    network = Experiment(deep_config).make_network()
    of_classes = _of_classes(network)
    assert 0 < len(of_classes) < len(state["teacher"]) / 2
    state["config"] = state["config"].replace("name: semantic_kitti", f"name: {name}")
    del state["classes"]  # as in checkpoints of version 0.2
    for key in of_classes:
        state["teacher"][key] = state["teacher"][key][:3]  # of fewer classes
    torch.save(state, checkpoint)
    deep_config.runtime.initialise_from = str(checkpoint)
    before = weights(network)
    with pytest.warns(Notice, match="was trained on other classes .*The last layer keeps its random initial weights"):
        initialise(network, Experiment(deep_config))
    after = weights(network)
    for key, value in after.items():
        assert torch.equal(value, before[key] if key in of_classes else state["teacher"][key])
    network.classifier = lambda: None  # type: ignore[method-assign]
    with (
        pytest.raises(ConfigError, match=r"does not name its last layer\. Override classifier\(\)"),
        pytest.warns(),
    ):
        initialise(network, Experiment(deep_config))
