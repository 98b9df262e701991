"""What published LiDAR rows need: scores of pixels, torch's end of one-cycle, decay of all weights, their batches."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rangeseg.cli import main
from rangeseg.config import Config, read_config
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.optimizer import make_optimizer, parameter_groups, rate_multiplier
from rangeseg.engine.training import train
from rangeseg.inference.run import Run
from rangeseg.types import IGNORE

ROWS = {"semantic_kitti": (8, 45000, 1000), "scribble_kitti": (8, 45000, 1000), "nuscenes": (16, 60000, 1200)}


def test_pixels_are_scored_as_the_labels_of_the_points_they_show(
    tiny_config: Config, tiny_kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_config.optim.steps, tiny_config.optim.lr, tiny_config.consistency.weight = 40, 1e-2, 0.0
    tiny_config.teacher.decay = 0.5
    train(tiny_config)
    out = tmp_path / "scores.json"
    assert main(["evaluate", tiny_config.runtime.out, "--level", "pixel", "--json", str(out)]) == 0
    assert "pixel level: mIoU" in capsys.readouterr().out
    found = json.loads(out.read_text())

    run, counts = Run.load(tiny_config.runtime.out, device="cpu"), np.zeros((19, 19))
    source = run.experiment.open("val")
    for index in range(len(source)):
        scan = source.item(index)
        image = run.experiment.input.projection(scan)
        view = image.view(tuple(run.config.data.channels), tuple(run.config.data.mean), tuple(run.config.data.std))
        with torch.no_grad():
            answer = run.network(view.image[None]).argmax(1)[0].numpy()
        for y, x in np.argwhere(image.point_index >= 0):
            truth = int(scan.label[image.point_index[y, x]])
            if truth != IGNORE:
                counts[answer[y, x], truth] += 1
    present = counts.sum(0) > 0
    union = counts.sum(0) + counts.sum(1) - np.diag(counts)
    iou = np.diag(counts)[present] / union[present]
    assert found["pixels"]["mean_iou"] == pytest.approx(iou.mean(), abs=1e-3)  # fused BatchNorm may turn a tie
    assert found["pixels"]["accuracy"] == pytest.approx(np.trace(counts) / counts.sum(), abs=2e-3)
    assert iou.mean() > 0.05
    assert found["mean_iou"] != found["pixels"]["mean_iou"]
    assert main(["evaluate", tiny_config.runtime.out, "--json", str(out)]) == 0
    assert "pixels" not in json.loads(out.read_text())
    assert "pixel level" not in capsys.readouterr().out


def test_photographs_have_no_other_pixels(photo_config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    train(photo_config)
    assert main(["evaluate", photo_config.runtime.out, "--level", "pixel"]) == 1
    assert "at their original pixels" in capsys.readouterr().err


def test_one_cycle_is_torchs_with_its_end(tiny_config: Config) -> None:
    optim = tiny_config.optim
    optim.steps, optim.one_cycle_end, optim.lr = 200, 4e-6, 1e-3
    weight = torch.nn.Parameter(torch.zeros(1))
    theirs = torch.optim.AdamW([weight], lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(theirs, 1e-3, total_steps=201, pct_start=60 / 200)
    for step in range(201):
        rate = 1e-3 * rate_multiplier(optim, step)
        assert rate == pytest.approx(theirs.param_groups[0]["lr"], rel=0.03, abs=1e-8)
        if step < 200:
            theirs.step()
            schedule.step()
    assert rate == pytest.approx(4e-9)
    optim.schedule = "poly"
    assert rate_multiplier(optim, 0) == 1


def test_all_weights_decay_or_those_of_more_than_one_dimension(tiny_config: Config) -> None:
    network = Experiment(tiny_config).make_network()
    some, all_ = (parameter_groups(network, 0.01, decay_all=flag) for flag in (False, True))
    assert [group["weight_decay"] for group in some] == [0.01, 0.0]
    assert [group["weight_decay"] for group in all_] == [0.01, 0.01]
    tiny_config.optim.decay_all = True
    assert {group["weight_decay"] for group in make_optimizer(network, tiny_config.optim).param_groups} == {0.01}


@pytest.mark.parametrize("method", ["supervised", "cutmix", "lasermix_loop"])
@pytest.mark.parametrize("dataset", ROWS)
def test_rows_have_the_released_loops_numbers(dataset: str, method: str) -> None:
    config = read_config(f"{dataset}/published+{method}", ["data.root=x"])
    batch, steps, every = ROWS[dataset]
    assert config.evaluation.every == every  # the best of these is kept
    assert (config.optim.lr, config.optim.clip, config.teacher.decay) == (1e-3, 10, 0.99)
    assert (config.data.batch_labelled, config.data.batch_unlabelled, config.optim.steps) == (batch, batch, steps)
    assert config.data.augmentation["rotate_deg"] == 45
    assert (config.optim.one_cycle_end, config.optim.decay_all, config.optim.weight_decay) == (4e-6, True, 0.01)
    assert batch // config.optim.accumulate == 4
    assert config.runtime.out.startswith(f"runs/{dataset}/published/")
    plain = read_config(f"{dataset}+{method}", ["data.root=x"])
    assert (config.network, config.supervised, config.teacher) == (plain.network, plain.supervised, plain.teacher)
