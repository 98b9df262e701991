"""Recomputed BatchNorm statistics."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Layers
from torch import nn

from rangeseg.config import Config
from rangeseg.engine.checkpoint import read_checkpoint
from rangeseg.engine.methods import CPS
from rangeseg.engine.training import train
from rangeseg.engine.update_bn import update_bn


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Dropout(0.9), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def test_statistics_are_the_mean_over_the_batches_without_dropout(generator: torch.Generator) -> None:
    images = [3 + torch.randn(2, 3, 4, 5, generator=generator) for _ in range(3)]
    counted = network()
    counted.train()
    counted[1].eval()
    modes = [module.training for module in counted.modules()]
    update_bn(counted, iter(images))
    values = np.stack([image.double().numpy().transpose(1, 0, 2, 3).reshape(3, -1) for image in images])
    np.testing.assert_allclose(counted[1].running_mean, values.mean(2).mean(0), rtol=1e-5)
    np.testing.assert_allclose(counted[1].running_var, values.var(2, ddof=1).mean(0), rtol=1e-5)
    assert [module.training for module in counted.modules()] == modes
    assert [counted[1].momentum, counted[4].momentum] == [0.1, 0.1]
    weights = dict(network().named_parameters())
    assert all(torch.equal(weights[name], value) for name, value in counted.named_parameters())


def test_counting_one_batch_makes_eval_mode_answer_as_train_mode(generator: torch.Generator) -> None:
    image = torch.randn(64, 3, 8, 8, generator=generator)
    counted = network()[1:]
    trained = copy.deepcopy(counted).train()(image)
    update_bn(counted, [image])
    torch.testing.assert_close(counted.eval()(image), trained, rtol=1e-3, atol=1e-3)


def test_no_batches_leave_the_statistics() -> None:
    counted = network()
    counted[1].running_mean.fill_(7)
    update_bn(counted, [])
    assert (counted[1].running_mean == 7).all()


def test_a_norm_that_no_batch_reaches_keeps_its_statistics(generator: torch.Generator) -> None:
    """For example that of a pair's second network, which predicts targets in eval mode if a training starts from it."""
    pair = CPS().make_network(lambda number: Layers(*network()))
    pair.train()(*torch.randn(2, 2, 3, 4, 5, generator=generator))
    before = {name: value.clone() for name, value in pair.state_dict().items()}
    update_bn(pair, [torch.randn(2, 3, 4, 5, generator=generator)])
    changed = {name for name, value in pair.state_dict().items() if not torch.equal(before[name], value)}
    assert changed == {f"first.{layer}.running_{what}" for layer in (1, 4) for what in ("mean", "var")}


def test_what_cannot_be_counted_leaves_modes_and_momenta() -> None:
    counted = network()
    with pytest.raises(ValueError, match="more than 1 value"):
        update_bn(counted, [torch.randn(1, 3, 1, 1)])
    assert counted.training
    assert counted[1].momentum == 0.1


def test_only_the_end_of_a_training_counts_and_only_statistics_change(tiny_config: Config, tmp_path: Path) -> None:
    states = []
    for number in (0, 2):
        config = copy.deepcopy(tiny_config)
        config.teacher.update_bn, config.runtime.out = number, str(tmp_path / str(number))
        train(config)
        states.append(read_checkpoint(tmp_path / str(number) / "last.pt"))
    plain, counted = states
    assert all(torch.equal(plain["network"][name], value) for name, value in counted["network"].items())
    for name, value in counted["teacher"].items():
        assert torch.equal(plain["teacher"][name], value) != (".running_" in name or "num_batches" in name), name
