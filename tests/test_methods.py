"""Teachers, students and targets of each method."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from conftest import Layers
from torch import Tensor, nn

from rangeseg.catalog import METHODS
from rangeseg.config import Config, read_config
from rangeseg.engine.checkpoint import read_checkpoint
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.methods import CBST, CPS, FixMatch, Pair, class_balanced, class_thresholds
from rangeseg.engine.optimizer import parameter_groups
from rangeseg.engine.training import train
from rangeseg.inference.run import Run
from rangeseg.networks import create_network
from rangeseg.networks.base import Network
from rangeseg.notices import Notice
from rangeseg.registry import ConfigError
from rangeseg.teacher import EmaTeacher, pseudo_labels
from rangeseg.types import PseudoLabelled, View

K, B, H, W = 4, 2, 8, 16


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(seed: int) -> Network:
    torch.manual_seed(seed)
    return Layers(nn.Conv2d(5, 6, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(6, K, 1))


def image(seed: int = 1) -> Tensor:
    return torch.randn(B, 5, H, W, generator=rng(seed))


def view() -> View:
    return View(image(), torch.ones(B, H, W, dtype=torch.bool), torch.zeros(B, H, W, dtype=torch.int64))


def test_the_mean_teacher_asks_the_average() -> None:
    student = network(0)
    teacher = EmaTeacher(network(1))
    assert METHODS["mean_teacher"]().teachers(student, teacher) == (teacher,)


def test_fixmatch_asks_the_student_as_it_is() -> None:
    student = network(0)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    (teacher,) = FixMatch().teachers(student, EmaTeacher(network(1)))
    (views,) = pseudo_labels(teacher, view())
    assert not views.target.requires_grad
    assert student.training
    assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())  # no trace
    student.eval()
    torch.testing.assert_close(views.target, student(image()).softmax(1).detach())


def test_cps_crosses_the_predictions() -> None:
    made = CPS().make_network(network)
    assert isinstance(made, Pair)
    assert not torch.equal(made.first[0].weight, made.second[0].weight)
    teachers = CPS().teachers(made, EmaTeacher(made))
    assert [teacher.network for teacher in teachers] == [made.second, made.first]
    logits = made(image(), image())
    assert logits.shape == (2 * B, K, H, W)
    logits[:B].sum().backward()
    assert made.first[0].weight.grad is not None
    assert made.second[0].weight.grad is None or not made.second[0].weight.grad.any()
    made.eval()
    logits, label = CPS().supervised(made, view())
    assert torch.equal(logits, torch.cat([made.first(image()), made.second(image())]))
    assert label.shape == (2 * B, H, W)
    assert torch.equal(made(image()), made.first(image()))


def test_a_pair_declares_all_that_its_networks_declare() -> None:
    """What a pair does not pass on has the default of `Network`, whatever its networks declare."""
    declared = {name for name in vars(Network) if not name.startswith("_")} - {"stride", "weak_heads"}
    assert declared <= vars(Pair).keys()
    made = CPS().make_network(encoded)
    assert (made.stride, made.least_views) == (made.first.stride, 2)
    names = {id(weight): name for name, weight in made.named_parameters()}
    groups = {part: {names[id(weight)] for weight in weights} for part, weights in made.parameter_groups().items()}
    assert groups["backbone"] == {name for name in names.values() if ".backbone." in name}
    assert groups["head"] == set(names.values()) - groups["backbone"]
    groups = parameter_groups(made, 0.1, {"backbone": 0.5})  # raises if a weight is missing or listed twice
    assert [group["multiplier"] for group in groups] == [0.5, 0.5, 1, 1]


def test_the_classifier_of_a_pair_is_that_of_both_networks() -> None:
    settings: dict[str, Any] = {"in_channels": 5, "num_classes": K, "width": 8}
    made = CPS().make_network(lambda number: cast(Network, create_network("fidnet", **settings)))
    both = [*made.first.classifier().parameters(), *made.second.classifier().parameters()]
    assert both
    assert [id(weight) for weight in made.classifier().parameters()] == [id(weight) for weight in both]
    assert CPS().make_network(network).classifier() is None


def encoded(number: int) -> Network:
    """A network whose backbone may have a learning rate of its own, and that needs two views."""
    torch.manual_seed(number)
    return cast(Network, create_network("pspnet", in_channels=3, num_classes=K, width=8, encoder="resnet18"))


def test_cps_of_a_single_network_says_what_it_needs() -> None:
    with pytest.raises(ValueError, match="CPS trains a Pair, not a Layers"):
        CPS().teachers(network(0), EmaTeacher(network(1)))


def answers(seed: int = 3) -> tuple[Tensor, Tensor]:
    """Probabilities that prefer class 0, never give class 3, and validity."""
    logits = 2 * torch.randn(B, K, 32, 64, generator=rng(seed)) + torch.tensor([2.0, 0.0, -1.0, -50.0])[:, None, None]
    return logits.softmax(1), torch.rand(B, 32, 64, generator=rng(seed + 1)) < 0.8


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 1.0])
def test_thresholds_leave_the_share_of_each_class(share: float) -> None:
    target, valid = answers()
    threshold = class_thresholds(target, valid, share, bins=1000).numpy()
    q = target.movedim(1, -1)[valid].double().numpy()
    label, sure = q.argmax(1), q.max(1)
    for c in range(3):
        ranked = np.sort(sure[label == c])[::-1]
        exact = ranked[int(np.ceil(share * len(ranked))) - 1]
        assert exact - 1 / 1000 - 1e-6 <= threshold[c] <= exact + 1e-6
    assert threshold[3] == 2


def test_pseudo_labels_are_balanced() -> None:
    target, valid = answers()
    question = PseudoLabelled(torch.zeros(B, 1, 32, 64), target, None, valid)
    made = class_balanced(question, 0.3)
    k = class_thresholds(target, valid, 0.3).double().numpy()
    ratio = target.double().numpy() / k[:, None, None]
    clear = np.abs(ratio.max(1) - 1) > 1e-5
    np.testing.assert_array_equal((made.valid.numpy())[clear], (valid.numpy() & (ratio.max(1) >= 1))[clear])
    np.testing.assert_array_equal(made.target.argmax(1).numpy(), ratio.argmax(1))
    assert set(made.target.unique().tolist()) == {0.0, 1.0}
    assert (made.target.sum(1) == 1).all()
    kept = torch.bincount(made.target.argmax(1)[made.valid], minlength=K).double()
    plain = torch.bincount(target.argmax(1)[valid & (target.amax(1) > 0.9)], minlength=K).double()
    assert kept[1] / kept[0] > plain[1] / plain[0]  # one threshold for all favours the class that is easy
    assert kept[3] == 0


def test_the_share_grows_with_the_training() -> None:
    counts = []
    for progress in (0.0, 0.5, 1.0):
        target, valid = answers()

        selected = CBST().select(PseudoLabelled(image(), target, None, valid), progress)
        counts.append(int(selected.valid.sum()))
    assert counts == sorted(counts)
    assert counts[0] < counts[2]


@pytest.mark.parametrize("bad", [{"start": 0.0}, {"end": 1.5}, {"bins": 0}])
def test_bad_settings_show_when_the_config_is_read(tiny_config: Config, bad: dict[str, Any]) -> None:
    tiny_config.method = {"name": "cbst"} | bad
    with pytest.raises(ConfigError, match=r"method: CBST got .*; give"):
        assert Experiment(tiny_config).method is None


@pytest.mark.parametrize("name", [name for name in METHODS if name != "mean_teacher"])
def test_every_method_trains_resumes_and_is_read_back(tiny_config: Config, tmp_path: Path, name: str) -> None:
    tiny_config.method, tiny_config.consistency.kind = {"name": name}, "ce"
    tiny_config.optim.steps, tiny_config.runtime.checkpoint_every = 2, 1
    states = []
    for stop in (False, True):
        tiny_config.runtime.out = str(tmp_path / str(stop))
        if stop:
            tiny_config.optim.schedule = "constant"
            whole, tiny_config.optim.steps = tiny_config.optim.steps, 1
            train(tiny_config)
            tiny_config.optim.steps = whole
            with pytest.warns(Notice, match="remaining steps .*optim.steps: 1 there, 2 here"):
                train(tiny_config, resume=True)
        else:
            tiny_config.optim.schedule = "constant"
            train(tiny_config)
        states.append(read_checkpoint(tmp_path / str(stop) / "last.pt")["teacher"])
    if name != "cbst":  # whose share depends on how long the training is to be
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    start = Experiment(tiny_config).make_network(19).state_dict()
    assert any(not torch.equal(start[key], value) for key, value in states[0].items())
    run = Run.load(tmp_path / "False", device="cpu")
    assert run.network(torch.zeros(1, 5, 16, 64)).shape == (1, 19, 16, 64)


@pytest.mark.parametrize("name", ["cutmix", "classmix", "polarmix"])
def test_labelled_views_are_mixed_with_unlabelled_ones(tiny_config: Config, name: str) -> None:
    tiny_config.consistency.pair, tiny_config.perturbation = "labelled", {"name": name}
    result = train(tiny_config)
    assert result is not None
    assert np.isfinite(result["mean_iou"])


@pytest.mark.parametrize("name", ["cutout", "geometric", "identity", "vat"])
def test_unlabelled_views_that_would_not_be_learnt_are_refused(tiny_config: Config, name: str) -> None:
    tiny_config.consistency.pair, tiny_config.perturbation = "labelled", {"name": name}
    with pytest.raises(ConfigError, match=rf"consistency\.pair: .*but {name} does not mix views.* Choose"):
        train(tiny_config)
    tiny_config.supervised.mix, tiny_config.supervised.mix_with = {"lasermix": {}}, "unlabelled"
    assert train(tiny_config) is not None  # learns them in the mix


@pytest.mark.parametrize(
    "perturbation",
    [
        {"name": "color"},
        {"name": "compose", "before": [{"name": "color"}], "first": {"name": "cutmix"}},
        {"name": "sequential", "parts": [{"name": "cutmix"}, {"name": "geometric", "roll": False, "mirror": 0}]},
    ],
)
def test_perturbations_that_cannot_change_the_views_are_refused(
    tiny_config: Config, perturbation: dict[str, Any]
) -> None:
    tiny_config.perturbation = perturbation
    with pytest.raises(ConfigError, match=rf"perturbation\.name: {perturbation['name']}.* has no effect"):
        train(tiny_config)
    tiny_config.consistency.weight = 0.0
    assert train(tiny_config) is not None  # does not use it


@pytest.mark.parametrize("kind", ["logits_var", "logits_smoothl1"])
def test_hard_labels_of_cbst_are_no_targets_of_logits(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"consistency\.kind: .*with method\.name: cbst choose ce"):
        read_config("mini_kitti+cbst+cutmix", ["data.root=.", f"consistency.kind={kind}"])


@pytest.mark.parametrize("name", ["fixmatch", "cps"])
def test_statistics_that_nothing_updates_are_refused(tiny_config: Config, name: str) -> None:
    tiny_config.teacher.buffers, tiny_config.teacher.mode = "own", "train"
    tiny_config.method = {"name": name}
    with pytest.raises(ConfigError, match=rf"teacher\.buffers: own .*the method {name} does not predict with"):
        train(tiny_config)


class Bare(Network):
    """A network of a user's own that declares nothing."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, num_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.conv(image)


@pytest.mark.parametrize("name", METHODS)
def test_a_network_without_a_stride_trains_by_every_method(tiny_config: Config, name: str) -> None:
    tiny_config.method, tiny_config.consistency.kind = {"name": name}, "ce"
    tiny_config.network = {"name": "test_methods:Bare"}
    tiny_config.optim.steps = 1
    assert train(tiny_config) is not None
