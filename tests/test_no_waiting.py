"""A step on a GPU neither waits for it nor mixes devices: all of it runs on tensors that have shapes and no values.

They stand for tensors on a GPU, and need none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from conftest import Layers
from lightning_fabric import Fabric
from lightning_fabric.accelerators import CPUAccelerator
from lightning_fabric.strategies import SingleDeviceStrategy
from perturbing import perturb
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rangeseg.catalog import METHODS, PERTURBATIONS
from rangeseg.config import Config
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.methods import CPS
from rangeseg.engine.trainer import Trainer
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


class OneDevice(TorchDispatchMode):
    """Refuses operations on both devices, and copies to the GPU that wait for all its work before."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        made = func(*args, **kwargs)
        if func is torch.ops.aten._to_copy.default:
            waits = tensors[0].is_cpu and made.is_meta and not kwargs.get("non_blocking")
            assert not waits, "a copy to the GPU waits; give non_blocking=True"
        elif any(tensor.is_meta for tensor in tensors):
            assert all(tensor.is_meta or not tensor.ndim for tensor in tensors), f"{func} mixes devices"
        return made


@pytest.fixture(autouse=True)
def noise_without_values(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A generator of the device cannot be had for this one, nor autocast."""
    monkeypatch.setattr("rangeseg.noise._generator_on", lambda generator, device: None)
    monkeypatch.setattr(torch, "autocast", lambda *arguments, **settings: nullcontext())
    with OneDevice():
        yield


def view() -> View:
    with torch.device("meta"):
        label = torch.empty(B, H, W, dtype=torch.int64)
        return View(torch.empty(B, C, H, W), torch.empty(B, H, W, dtype=torch.bool), label)


def network(_: int = 0) -> Network:
    with torch.device("meta"):
        return Layers(nn.Conv2d(C, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Conv2d(6, K, 1))


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


STEPS: list[dict[str, Any]] = [{"method": {"name": name}} for name in METHODS]
STEPS += [{"optim": {"clip": 1.0, "accumulate": 2, "name": "sgd"}, "teacher": {"mode": "train", "buffers": "own"}}]
STEPS += [{"supervised": {"lovasz": 1.0, "boundary": 1.0, "focal_gamma": 2.0, "class_weights": "inverse"}}]
STEPS += [{"supervised": {"ohem_ratio": 0.2, "range_weight_m": 100.0}, "optim": {"name": "adam"}}]


@pytest.mark.parametrize("settings", STEPS, ids=str)
def test_no_step_waits(
    tiny_config: Config, settings: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for section, values in settings.items():
        for key, value in values.items():
            part = getattr(tiny_config, section)
            if isinstance(part, dict):
                part[key] = value
            else:
                setattr(part, key, value)
    experiment = Experiment(tiny_config)
    monkeypatch.setattr(CPUAccelerator, "setup_device", lambda *arguments: None)
    fabric = Fabric(strategy=SingleDeviceStrategy(torch.device("meta"), CPUAccelerator()))
    with torch.utils._python_dispatch._disable_current_modes():
        trainer = Trainer(
            fabric, experiment.make_network(), experiment.perturbation, tiny_config, experiment.class_weights,
            experiment.method, experiment.labelled_mix,
        )  # fmt: skip
    losses = trainer.train_step(view(), (view(), view()))
    assert all(loss.is_meta for loss in losses.values())


def test_a_value_that_is_read_back_would_show() -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        float(view().image.sum())


def test_mixed_devices_and_a_copy_that_waits_would_show() -> None:
    with pytest.raises(AssertionError, match="mixes devices"):
        view().image[..., torch.zeros(2, dtype=torch.int64)]
    with pytest.raises(AssertionError, match="waits"):
        torch.zeros(2).to("meta")
