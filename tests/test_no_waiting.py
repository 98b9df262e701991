"""Nothing in a step reads a value back from the device: all of it runs on tensors that have shapes and no values."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rangeseg.catalog import METHODS, PERTURBATIONS
from rangeseg.engine.methods import CBST, CPS
from rangeseg.losses import CONSISTENCY_KINDS, confidence_rate, consistency_loss, cross_entropy, lovasz_softmax
from rangeseg.perturbations import Channels, Perturbed, Teacher
from rangeseg.registry import build
from rangeseg.teacher import EmaTeacher
from rangeseg.types import View

B, C, H, W, K = 2, 5, 16, 32, 4
NAMED = Channels(("range", "x", "y", "z", "remission"), (20.0, 0.5, -0.1, -1.0, 0.5), (3.0, 9.0, 9.0, 1.0, 0.2))
COLORS = Channels(("red", "green", "blue", "x", "y"), (0.5,) * 5, (0.2,) * 5)
SECTIONS: dict[str, dict[str, Any]] = {
    "combined": {"first": {"name": "cutmix", "complement": True}, "then": [{"name": "jitter"}, {"name": "vat"}]},
    "one_of": {"parts": [{"name": "cutmix"}, {"name": "lasermix"}]},
    "several": {"parts": [{"name": "cutmix", "sampler": "reference"}, {"name": "lasermix"}]},
    "polarmix": {"copies": 3},
}


@pytest.fixture(autouse=True)
def noise_without_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator of the device cannot be had for this one."""

    def draw(generator: torch.Generator, shape: Any, device: Any) -> Tensor:
        return torch.empty(shape, device=device)

    for module in ("masks.cow", "perturbations.jitter", "perturbations.vat"):
        monkeypatch.setattr(f"rangeseg.{module}.normal", draw)
    monkeypatch.setattr("rangeseg.perturbations.jitter.uniform", draw)
    monkeypatch.setattr(torch, "autocast", lambda *arguments, **settings: nullcontext())  # there is none for it, either


def view() -> View:
    with torch.device("meta"):
        label = torch.empty(B, H, W, dtype=torch.int64)
        return View(torch.empty(B, C, H, W), torch.empty(B, H, W, dtype=torch.bool), label)


def network(_: int = 0) -> nn.Module:
    return nn.Sequential(nn.Conv2d(C, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Conv2d(6, K, 1)).to("meta")


@pytest.mark.parametrize("kind", CONSISTENCY_KINDS)
@pytest.mark.parametrize("name", PERTURBATIONS)
def test_no_perturbation_and_no_loss_waits(name: str, kind: str) -> None:
    student = network()
    section = {"name": name} | SECTIONS.get(name, {})
    perturbation = build(
        PERTURBATIONS, section, "p", wrap=name != "affine", channels=COLORS if name == "color" else NAMED,
        things=(1,), logits=kind.startswith("logits"), labels=not kind.startswith("logits"),
    )  # fmt: skip
    made: Perturbed = perturbation(torch.Generator().manual_seed(0), view(), view(), student, EmaTeacher(student))
    loss = consistency_loss(
        student(made.image), made.target, made.valid, kind=kind, target_logits=made.target_logits, confidence="pixel"
    )
    loss.backward()
    assert loss.is_meta
    assert confidence_rate(made.target, made.valid).is_meta


@pytest.mark.parametrize("name", METHODS)
def test_no_strategy_waits(name: str) -> None:
    strategy = METHODS[name]()
    student = strategy.make_network(network)
    teacher = EmaTeacher(student)
    logits, label = strategy.supervised(student, view())
    (cross_entropy(logits, label, weight=torch.empty(K, device="meta")) + lovasz_softmax(logits, label)).backward()

    def pose(asked: Teacher) -> Perturbed:
        return Perturbed(view().image, asked(view().image), None, view().valid)

    logits, question = strategy.unsupervised(pose, student, student, teacher, 0.5)
    consistency_loss(logits, question.target, question.valid).backward()
    teacher.update(student, 3)
    assert (len(logits) == 2 * B) == isinstance(strategy, CPS)
    assert question.target.is_meta
    assert isinstance(strategy, CBST) or len(question.target) == len(logits)


def test_a_value_that_is_read_back_would_show() -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        float(view().image.sum())
