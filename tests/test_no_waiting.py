"""Nothing in a step reads a value back from the device: all of it runs on tensors that have shapes and no values."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from conftest import Layers
from perturbing import perturb
from torch import Tensor, nn

from rangeseg.catalog import METHODS, PERTURBATIONS
from rangeseg.engine.methods import CPS
from rangeseg.losses import CONSISTENCY_KINDS, confidence_rate, consistency_loss, cross_entropy, lovasz_softmax
from rangeseg.mixing import concat
from rangeseg.networks.base import Network
from rangeseg.perturbations import Channels
from rangeseg.registry import build
from rangeseg.teacher import EmaTeacher, pseudo_labels
from rangeseg.types import View

B, C, H, W, K = 2, 5, 16, 32, 4
NAMED = Channels(("range", "x", "y", "z", "remission"), (20.0, 0.5, -0.1, -1.0, 0.5), (3.0, 9.0, 9.0, 1.0, 0.2))
COLORS = Channels(("red", "green", "blue", "x", "y"), (0.5,) * 5, (0.2,) * 5)
SECTIONS: dict[str, dict[str, Any]] = {
    "compose": {"first": {"name": "cutmix", "complement": True}, "then": [{"name": "jitter"}, {"name": "vat"}]},
    "one_of": {"parts": [{"name": "cutmix"}, {"name": "lasermix"}]},
    "all_of": {"parts": [{"name": "cutmix", "sampler": "reference"}, {"name": "lasermix"}]},
    "polarmix": {"copies": 3},
    "sequential": {"parts": [{"name": "cutmix"}, {"name": "range_union"}, {"name": "range_paste"}]},
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


def network(_: int = 0) -> Network:
    return Layers(nn.Conv2d(C, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Conv2d(6, K, 1)).to("meta")


@pytest.mark.parametrize("kind", CONSISTENCY_KINDS)
@pytest.mark.parametrize("name", PERTURBATIONS)
def test_no_perturbation_and_no_loss_waits(name: str, kind: str) -> None:
    student = network()
    section = {"name": name} | SECTIONS.get(name, {})
    perturbation = build(
        PERTURBATIONS, section, "p", wrap=name != "affine", channels=COLORS if name == "color" else NAMED,
        things=(1,), tails=(1,),
    )  # fmt: skip
    logits, rng = kind.startswith("logits"), torch.Generator().manual_seed(0)
    made = perturb(perturbation, rng, view(), view(), EmaTeacher(student), logits=logits, labels=not logits)
    loss = consistency_loss(
        student(made.image), made.target, made.valid, kind=kind, target_logits=made.target_logits, confidence="pixel"
    )
    loss.backward()
    assert loss.is_meta
    assert confidence_rate(made.target, made.valid).is_meta


@pytest.mark.parametrize("name", METHODS)
def test_no_method_waits(name: str) -> None:
    method = METHODS[name]()
    student = method.make_network(network)
    teacher = EmaTeacher(student)
    logits, label = method.supervised(student, view())
    (cross_entropy(logits, label, weight=torch.empty(K, device="meta")) + lovasz_softmax(logits, label)).backward()

    targets = [pseudo_labels(one, view())[0] for one in method.teachers(student, teacher)]
    logits = student(*(views.image for views in targets))
    selected = method.select(concat(targets), 0.5)
    consistency_loss(logits, selected.target, selected.valid).backward()
    teacher.update(student, 3)
    assert (len(logits) == 2 * B) == isinstance(method, CPS)
    assert selected.target.is_meta
    assert len(selected.target) == len(logits)


def test_a_value_that_is_read_back_would_show() -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        float(view().image.sum())
