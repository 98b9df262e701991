"""What runs on a GPU is what runs on a CPU: networks, perturbations, losses, steps, labels of points."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import random_scan
from perturbing import perturb
from test_networks import CASES
from test_networks import CHANNELS as NETWORK_CHANNELS
from test_networks import make as make_reduced
from test_perturbations import make, views
from test_perturbations import network as small_network

from rangeseg.catalog import PERTURBATIONS
from rangeseg.config import Config
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.fabric import make_fabric
from rangeseg.engine.trainer import Trainer
from rangeseg.engine.training import train
from rangeseg.inference.run import Run
from rangeseg.inference.scoring import open_views, score_run
from rangeseg.inference.segmenter import Segmenter
from rangeseg.losses import CONSISTENCY_KINDS, consistency_loss, cross_entropy, lovasz_softmax
from rangeseg.masks import box_mask
from rangeseg.mixing import mix, mix_probabilities
from rangeseg.networks.fusion import fuse_conv_bn
from rangeseg.teacher import EmaTeacher
from rangeseg.types import View

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

DRAWN_ON_THE_DEVICE = {"cowmix", "cowout", "jitter", "vat", "combined", "several"}
"""Those whose noise is another on a GPU (DESIGN 16)."""


@pytest.fixture(autouse=True)
def float32_throughout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


@pytest.mark.parametrize(("name", "more"), CASES)
def test_a_network_answers_as_on_a_cpu(name: str, more: dict, generator: torch.Generator) -> None:
    network = make_reduced(name, more).eval()
    size = [4 * step for step in network.stride]
    image = torch.randn(2, NETWORK_CHANNELS, *size, generator=generator)
    with torch.no_grad():
        expected = network(image)
        found = copy.deepcopy(network).to("cuda", memory_format=torch.channels_last)(image.cuda()).cpu()
        fused = fuse_conv_bn(copy.deepcopy(network).to("cuda", memory_format=torch.channels_last), image.shape[1:])
        assert {parameter.device.type for parameter in fused.parameters()} == {"cuda"}
        again = fused(image.cuda()).cpu()
    for one in (found, again):
        torch.testing.assert_close(one, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_perturbation_asks_the_same(name: str) -> None:
    if name == "color":
        pytest.skip(reason="is of photographs")
    found = []
    for device in ("cpu", "cuda"):
        student = small_network().to(device)
        a, b, rng = views(1).to(device), views(2).to(device), torch.Generator().manual_seed(5)
        asked = perturb(make(name), rng, a, b, EmaTeacher(student))
        assert asked.image.device.type == asked.target.device.type == asked.valid.device.type == device
        found.append(asked)
    cpu, gpu = found
    assert gpu.image.isfinite().all()
    if name not in DRAWN_ON_THE_DEVICE:
        assert torch.equal(cpu.valid, gpu.valid.cpu())
        torch.testing.assert_close(gpu.image.cpu(), cpu.image, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(gpu.target.cpu(), cpu.target, rtol=1e-4, atol=1e-5)


def test_mixes_are_chosen_alike(generator: torch.Generator) -> None:
    mask, a, b = box_mask(generator, 2, 16, 32), views(1), views(2)
    cpu, gpu = mix(a, b, mask), mix(a.to("cuda"), b.to("cuda"), mask.cuda())
    for field in ("image", "valid", "label"):
        assert torch.equal(getattr(gpu, field).cpu(), getattr(cpu, field))
    p, q = (torch.randn(2, 4, 16, 32, generator=generator).softmax(1) for _ in "pq")
    assert torch.equal(mix_probabilities(p.cuda(), q.cuda(), mask.cuda()).cpu(), mix_probabilities(p, q, mask))


def test_losses_and_their_gradients_are_the_same(generator: torch.Generator) -> None:
    logits, other = (torch.randn(2, 4, 16, 32, generator=generator) for _ in "ab")
    label, valid = torch.randint(4, (2, 16, 32), generator=generator), views(1).valid
    losses = {
        "cross_entropy": lambda x, put: cross_entropy(x, put(label)),
        "lovasz": lambda x, put: lovasz_softmax(x, put(label)),
    } | {
        kind: lambda x, put, kind=kind: consistency_loss(
            x, put(other).softmax(1), put(valid), kind=kind, threshold=0.3, target_logits=put(other)
        )
        for kind in CONSISTENCY_KINDS
    }
    for name, loss in losses.items():
        gradients = []
        for device in ("cpu", "cuda"):
            x = logits.to(device).clone().requires_grad_()
            value = loss(x, lambda tensor, device=device: tensor.to(device))
            value.backward()
            gradients.append(torch.cat([x.grad.flatten().cpu(), value.detach().cpu()[None]]))
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


def test_a_step_moves_student_and_teacher_alike(tiny_config: Config) -> None:
    labelled = replace_labels(views(3))
    ends = []
    for accelerator in ("cpu", "cuda"):
        config = copy.deepcopy(tiny_config)
        config.runtime.accelerator = accelerator
        config.network |= {"azimuth_stride": 1}
        trainer = Trainer(
            make_fabric(config.runtime), Experiment(config).make_network(4), Experiment(config).perturbation, config
        )
        put = [view.to(trainer.fabric.device) for view in (labelled, views(1), views(2))]
        losses = trainer.train_step(put[0], (put[1], put[2]))
        ends.append((losses, trainer.network.state_dict(), trainer.teacher.network.state_dict()))
    for cpu, gpu in zip(*ends, strict=True):
        for key, value in cpu.items():
            torch.testing.assert_close(
                gpu[key].cpu(), value, rtol=1e-2, atol=2e-4, msg=lambda text, key=key: key + text
            )


def replace_labels(view: View) -> View:
    label = torch.randint(4, view.valid.shape, generator=torch.Generator().manual_seed(7))
    return View(view.image, view.valid, label.masked_fill(~view.valid, 255))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_run_trains_resumes_and_labels_points_alike_on_both(tiny_config: Config, precision: str) -> None:
    tiny_config.runtime.accelerator, tiny_config.runtime.precision = "cuda", precision
    tiny_config.runtime.channels_last, tiny_config.runtime.workers = True, 2
    stopped = copy.deepcopy(tiny_config)
    result = train(tiny_config)
    assert result is not None
    folder = Path(tiny_config.runtime.out)
    stopped.optim.steps += 2
    train(stopped, resume=True)
    scan = random_scan(np.random.default_rng(3))
    labels = {}
    for device in ("cpu", "cuda"):
        segmenter = Segmenter.load(folder, device=device, overrides=["runtime.precision=32-true"])
        labels[device] = segmenter(scan)
        many = list(segmenter.stream([scan] * 5, batch=2))
        assert len(many) == 5
        assert np.mean(np.stack(many) == labels[device]) > 0.99
    assert np.mean(labels["cpu"] == labels["cuda"]) > 0.99
    run = Run.load(folder, device="cuda")
    assert run.config.runtime.precision == precision
    assert 0 <= score_run(run, open_views(run)).overall.mean_iou() <= 1
    assert not replace(run).network.training
