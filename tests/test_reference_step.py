"""The `reference` preset against the paper's step, derived again in NumPy float64: boxes, loss, gradients, averages."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Layers
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from rangeseg.config import Config, config_from, config_from_yaml, read_config, write_config
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.trainer import Trainer
from rangeseg.masks import reference_box_mask
from rangeseg.types import IGNORE, View

Array = NDArray[Any]
C, F, K, B, H, W = 5, 6, 4, 3, 12, 20
LR, DECAY, THRESHOLD, MOMENTUM, EPSILON = 0.05, 0.99, 0.97, 0.1, 1e-5


@dataclass
class Net:
    """1x1 convolution, BatchNorm in train mode, ReLU, 1x1 convolution; on (P, C) pixels."""

    w1: Array
    gain: Array
    bias: Array
    mean: Array
    var: Array
    w2: Array

    @classmethod
    def of(cls, module: nn.Sequential) -> Net:
        norm, state = module[1], lambda tensor: tensor.detach().double().numpy().copy()
        w1, w2 = (state(module[i].weight)[:, :, 0, 0].T for i in (0, 3))
        return cls(w1, *(state(t) for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var)), w2)

    def forward(self, x: Array) -> Array:
        """(P, C) -> (P, K) logits; running statistics move."""
        self.x, h = x, x @ self.w1
        mean, var = h.mean(0), h.var(0)
        self.mean += MOMENTUM * (mean - self.mean)
        self.var += MOMENTUM * (var * len(h) / (len(h) - 1) - self.var)
        self.scale = 1 / np.sqrt(var + EPSILON)
        self.normal = (h - mean) * self.scale
        self.active = np.maximum(self.normal * self.gain + self.bias, 0)
        return self.active @ self.w2

    def backward(self, slope: Array) -> dict[str, Array]:
        """d loss / d logits -> the gradients of the weights, for the last `forward`."""
        d = slope @ self.w2.T * (self.active > 0)
        e = d * self.gain
        h = self.scale * (e - e.mean(0) - self.normal * (e * self.normal).mean(0))
        return {
            "w1": self.x.T @ h, "gain": (d * self.normal).sum(0), "bias": d.sum(0), "w2": self.active.T @ slope,
        }  # fmt: skip


def softmax(logits: Array) -> Array:
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def pixels(image: torch.Tensor) -> Array:
    return image.double().numpy().transpose(0, 2, 3, 1).reshape(-1, image.shape[1])


def boxes(rng: np.random.RandomState, low: float, high: float) -> Array:
    """The default sampler, one box: area uniform, aspect log-uniform, sides and position rounded half to even."""
    p = np.array([rng.uniform(low, high) for _ in range(B)])
    u = np.array([rng.uniform(0, 1) for _ in range(B)])
    place = np.array([[rng.uniform(0, 1) for _ in range(2)] for _ in range(B)])
    mask = np.zeros((B, H, W))
    for i in range(B):
        tall, wide = round(p[i] ** u[i] * H), round(p[i] ** (1 - u[i]) * W)
        y, x = round((H - tall) * place[i, 0]), round((W - wide) * place[i, 1])
        mask[i, y : y + tall, x : x + wide] = 1
    return mask


def step(student: Net, teacher: Net, labelled: View, a: View, b: View, m: Array, mode: str) -> tuple[float, float, Net]:
    """One step of the paper's code by plain gradient descent: losses, and the student; the teacher is moved."""
    truth, counted = labelled.label.numpy().ravel(), (labelled.label != IGNORE).numpy().ravel()
    p = softmax(student.forward(pixels(labelled.image)))
    supervised = -np.log(p[counted, truth[counted]]).mean()
    slope = (p - np.eye(K)[truth * counted]) * counted[:, None] / counted.sum()
    grads = student.backward(slope)

    m = m.reshape(-1, 1)
    valid_a, valid_b = (view.valid.double().numpy().reshape(-1, 1) for view in (a, b))
    if mode == "mix":
        t0, t1 = teacher.forward(pixels(a.image)), teacher.forward(pixels(b.image))
        x, t = pixels(a.image) * (1 - m) + pixels(b.image) * m, t0 * (1 - m) + t1 * m
        mask = valid_a * (1 - m) + valid_b * m
    else:
        t, x, mask = teacher.forward(pixels(a.image)), pixels(a.image) * m, m * valid_a
    q, p = softmax(t), softmax(student.forward(x))
    assert (np.abs(q.max(1) - THRESHOLD) > 1e-5).all()  # float32 decides alike
    share = (q.max(1) >= THRESHOLD).mean()
    weight = mask[:, 0] * share / len(p)
    consistency = (weight * ((p - q) ** 2).sum(1)).sum()
    d = 2 * (p - q) * weight[:, None]
    slope = p * (d - (d * p).sum(1, keepdims=True))
    for name, grad in student.backward(slope).items():
        grads[name] = grads[name] + grad
    for name, grad in grads.items():
        setattr(student, name, getattr(student, name) - LR * grad)
    for name in ("w1", "gain", "bias", "mean", "var", "w2"):
        setattr(teacher, name, DECAY * getattr(teacher, name) + (1 - DECAY) * getattr(student, name))
    return float(supervised), float(consistency), student


def view(seed: int, *, labelled: bool) -> View:
    rng = torch.Generator().manual_seed(seed)
    valid = torch.rand(B, H, W, generator=rng) < 0.8
    label = torch.randint(K, valid.shape, generator=rng).where(valid & torch.tensor(labelled), IGNORE)
    return View(torch.randn(B, C, H, W, generator=rng) * valid[:, None], valid, label)


def network() -> Layers:
    torch.manual_seed(0)
    made = Layers(nn.Conv2d(C, F, 1, bias=False), nn.BatchNorm2d(F), nn.ReLU(), nn.Conv2d(F, K, 1, bias=False))
    with torch.no_grad():
        made[3].weight.mul_(6)  # so that the teacher is sure of some pixels and unsure of others
    return made


def config(**perturbation: Any) -> Config:
    return config_from(
        [
            {"consistency": {"kind": "kld", "normalise": "valid"}, "teacher": {"decay": 0.5}, "data": {"root": "."}},
            {
                "preset": "reference",
                "perturbation": perturbation,
                "optim": {"name": "sgd", "lr": LR, "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}
                | {"steps": 5},
                "runtime": {"out": "nowhere"},
            },
        ]
    )  # fmt: skip


def made(chosen: Config) -> Trainer:
    """A trainer whose student disagrees with its teacher."""
    trainer = Trainer(Fabric(accelerator="cpu", devices=1), network(), Experiment(chosen).perturbation, chosen)
    with torch.no_grad():
        for weight in trainer.network.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(4)), alpha=0.5)
    return trainer


@pytest.mark.parametrize(
    ("mode", "area", "section"),
    [("mix", (0.5, 0.5), {"name": "cutmix", "area": 0.5}), ("zero", (0.0, 1.0), {"name": "cutout"})],
)
def test_steps_are_the_papers(mode: str, area: tuple[float, float], section: dict[str, Any]) -> None:
    chosen = config(**section)
    trainer = made(chosen)
    student, teacher = Net.of(trainer.network), Net.of(trainer.teacher.network)
    for number in range(3):
        labelled, a, b = (
            view(10 * number, labelled=True),
            view(10 * number + 1, labelled=False),
            view(9, labelled=False),
        )
        generator = torch.Generator().manual_seed(zlib.crc32(f"{chosen.runtime.seed}/{number}/0".encode()))
        rng = np.random.RandomState(int(torch.randint(2**32, (), generator=generator)))
        supervised, consistency, student = step(student, teacher, labelled, a, b, boxes(rng, *area), mode)
        losses = trainer.train_step(labelled, (a, b))
        trainer.step += 1
        assert consistency > 1e-3
        assert losses["supervised"].item() == pytest.approx(supervised, rel=1e-5)
        assert losses["consistency"].item() == pytest.approx(consistency, rel=1e-4)
        for ours, theirs in ((trainer.network, student), (trainer.teacher.network, teacher)):
            for name, value in vars(Net.of(ours)).items():  # weights moved by the gradients, and running statistics
                np.testing.assert_allclose(value, getattr(theirs, name), rtol=2e-4, atol=2e-6, err_msg=name)


def test_the_defaults_differ_from_the_papers_step() -> None:
    """The preset is not idle: without it the same step has another loss."""
    losses = []
    for preset in ("reference", "none"):
        chosen = config(name="cutmix")
        if preset == "none":
            chosen = config_from([{"data": {"root": "."}, "optim": {"steps": 5}, "runtime": {"out": "nowhere"}}])
        views = view(1, labelled=False), view(2, labelled=False)
        losses.append(made(chosen).train_step(view(0, labelled=True), views)["consistency"].item())
    assert abs(losses[0] - losses[1]) > 1e-3


@pytest.mark.parametrize(
    ("settings", "mean", "spread"),
    [  # measured with the paper's own sampler: 20,000 draws at 321 x 321; 3 boxes of a fixed aspect cover too little
        ({"area": 0.5}, 0.5, 0.001),
        ({"area": (0.0, 1.0)}, 0.502, 0.29),
        ({"area": 0.5, "boxes": 3, "aspect": "fixed"}, 0.144, None),
    ],
)
def test_the_sampler_has_the_statistics_of_the_papers(
    settings: dict[str, Any], mean: float, spread: float | None
) -> None:
    rng = np.random.RandomState(12345)
    area = reference_box_mask(rng, 1500, 321, 321, **settings).double().mean((1, 2))
    assert area.mean().item() == pytest.approx(mean, abs=0.02 if spread == 0.29 else 0.005)
    if spread is not None:
        assert area.std().item() == pytest.approx(spread, rel=0.15)


def test_the_samplers_boxes_leave_the_image_as_the_papers_do() -> None:
    """58 % of the masks are empty, and the last corner is masked far more often than the first."""
    rng = np.random.RandomState(12345)
    mask = reference_box_mask(rng, 3000, 64, 64, area=0.5, aspect="fixed", inside=False)
    empty = (~mask.any(2).any(1)).double().mean().item()
    assert empty == pytest.approx(0.58, abs=0.04)
    assert mask[:, -1, -1].double().mean() > 0.08
    assert mask[:, 0, 0].double().mean() < 0.005


def test_sizes_are_drawn_for_both_sides_or_for_one() -> None:
    rng = np.random.RandomState(1)
    square = reference_box_mask(rng, 20, 50, 100, area=(0.2, 0.6), by="size", aspect="fixed").double()
    rows, columns = square.amax(2).sum(1), square.amax(1).sum(1)
    assert ((rows * 2 - columns).abs() <= 1).all()
    free = reference_box_mask(rng, 20, 50, 100, area=(0.2, 0.6), by="size").double()
    rows, columns = free.amax(2).sum(1), free.amax(1).sum(1)
    assert ((rows * 2 - columns).abs() > 1).any()
    for sides, whole in ((rows, 50), (columns, 100)):
        assert sides.min() >= 0.2 * whole - 1
        assert sides.max() <= 0.6 * whole + 1


def test_a_preset_lies_above_the_base_and_below_its_own_file(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "data: {root: r}\nconsistency: {kind: kld}\nruntime: {out: o}\noptim: {steps: 1}"
    )
    (tmp_path / "one.yaml").write_text("base: base.yaml\npreset: reference\nteacher: {decay: 0.9}")
    made = read_config(tmp_path / "one.yaml")
    assert made.consistency.kind == "var"
    assert made.consistency.normalise == "all"
    assert made.teacher.mode == "train"
    assert made.teacher.decay == 0.9
    assert read_config(tmp_path / "base.yaml", ["preset=reference"]).consistency.kind == "var"
    assert config_from_yaml(write_config(made)) == made


def test_the_last_preset_decides(tmp_path: Path) -> None:
    """`none` leaves out what a lower preset has set, and not only its sampler."""
    base = {"data": {"root": "r"}, "consistency": {"kind": "kld"}, "runtime": {"out": "o"}, "optim": {"steps": 1}}
    paper = {"preset": "reference", "teacher": {"decay": 0.9}}
    none, again = {"preset": "none"}, {"preset": "reference"}
    assert config_from([base, paper, none]) == config_from([base, {"teacher": {"decay": 0.9}}])
    assert config_from([base, paper, none, again]) == config_from([base, paper, again])
    assert config_from([base, paper, {"optim": {"lr": 0.5}}]).teacher.mode == "train"


@pytest.mark.parametrize("wrong", [{"boxes": 0}, {"by": "width"}, {"aspect": "free"}, {"area": 1.5}], ids=str)
def test_words_and_numbers_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=rf"reference_box_mask got {next(iter(wrong))}="):
        reference_box_mask(np.random.RandomState(0), 1, 8, 8, **wrong)
