"""A config's data as torch datasets, and the modules of the documentation that train on them."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_tiny_config
from documents import ROOT, blocks
from torch.utils.data import DataLoader

from rangeseg import IGNORE, torch_data
from rangeseg.config import Config
from rangeseg.engine.experiment import Experiment
from rangeseg.types import Sample, View


@pytest.fixture
def config(tiny_kitti: Path, tmp_path: Path) -> Config:
    return make_tiny_config(tiny_kitti, tmp_path)


def test_labelled_views_are_batched_with_their_labels(config: Config) -> None:
    data = torch_data(config)
    (batch,) = DataLoader(data.labelled, 3, collate_fn=data.collate)
    assert isinstance(batch, View)
    assert batch.image.shape == (3, 5, 16, 64)
    assert (batch.label[~batch.valid] == IGNORE).all()
    assert (batch.label != IGNORE).any()
    assert len(list(data.labelled)) == 3


def test_unlabelled_pairs_have_no_labels_and_differ(config: Config) -> None:
    data = torch_data(config)
    torch.manual_seed(1)
    first, second = next(iter(DataLoader(data.unlabelled, 3, collate_fn=data.collate)))
    assert first.image.shape == second.image.shape == (3, 5, 16, 64)
    assert (first.label == IGNORE).all()
    assert not torch.equal(first.image, second.image)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_seed_of_torch_decides_the_augmentation(config: Config, workers: int) -> None:
    data = torch_data(config)

    def images(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        loader = DataLoader(data.labelled, 3, collate_fn=data.collate, num_workers=workers)
        return torch.cat([batch.image for batch in loader])

    assert torch.equal(images(5), images(5))
    assert not torch.equal(images(5), images(6))


def test_samples_lead_back_to_their_points(config: Config, tiny_kitti: Path) -> None:
    data = torch_data(config)
    loader = DataLoader(data.evaluation, collate_fn=data.collate)
    assert len(loader) == 2
    for number, (view, (sample,)) in enumerate(loader):
        assert isinstance(sample, Sample)
        raw = np.fromfile(tiny_kitti / f"sequences/08/labels/{number:06d}.label", "<u4")
        np.testing.assert_array_equal(sample.label, data.label_map.to_train(raw))
        assert view.image.shape == (1, 5, 16, 64)
        assert sample.raster.back_project(view.label[0].numpy()).shape == raw.shape


def test_files_can_be_named(config: Config, tiny_kitti: Path) -> None:
    scan = tiny_kitti / "sequences/00/velodyne/000001.bin"
    label = tiny_kitti / "sequences/00/labels/000001.label"
    data = torch_data(config, labelled=[(scan, label)], unlabelled=[scan, str(scan)], evaluation=[scan])
    assert (len(data.labelled), len(data.unlabelled), len(data.evaluation)) == (1, 2, 1)
    assert (data.labelled[0].label != IGNORE).any()
    assert (data.unlabelled[0][0].label == IGNORE).all()
    assert data.evaluation[0].label is None
    image = Experiment(config).input.projection(data.evaluation.views.source.scan(0))
    assert data.evaluation[0].view.valid.numpy().sum() == image.valid.sum()


def test_what_is_wrong_is_said(config: Config, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.bin: no such file"):
        torch_data(config, unlabelled=[tmp_path / "nowhere.bin"]).unlabelled  # noqa: B018
    with pytest.raises(ValueError, match="No files were named"):
        torch_data(config, unlabelled=[]).unlabelled  # noqa: B018
    with pytest.raises(ValueError, match="overrides can only be used with the name"):
        torch_data(config, ["optim.lr=1"])
    with pytest.raises(TypeError, match="collate got int"):
        torch_data(config).collate([1, 2])
    with pytest.raises(IndexError, match="index 3 is out of range for 3 items"):
        torch_data(config).labelled[3]


def test_a_share_of_the_labels_is_also_kept_of_named_files(config: Config, tiny_kitti: Path) -> None:
    config.data.label_fraction = 0.02
    folder = tiny_kitti / "sequences/00"
    pair = (folder / "velodyne/000001.bin", folder / "labels/000001.label")
    view = torch_data(config, labelled=[pair]).labelled[0]
    assert 0 < (view.label != IGNORE).sum() < 0.04 * view.valid.sum()


@pytest.mark.slow
def test_the_lightning_module_of_the_page_learns(
    tiny_kitti: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pytorch_lightning", reason="pytorch-lightning is not installed")
    (block,) = (one for one in blocks(ROOT / "docs/python.md") if one.file == "my_lightning.py")
    (tmp_path / "my_lightning.py").write_text(block.text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train_10pct_uniform").write_text("00/000000\n00/000002\n")
    small = "data.projection={name: spherical, height: 16, width: 64, fov_up_deg: 6.0, fov_down_deg: -28.0}"
    overrides = [f"data.root={tiny_kitti}", "data.labelled=train_10pct_uniform", small]
    quiet = {name: False for name in ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on workers
        module = importlib.import_module("my_lightning")
        torch.manual_seed(3)
        once = module.fit(overrides, max_epochs=1, max_steps=1, accelerator="cpu", **quiet)
        torch.manual_seed(3)
        longer = module.fit(overrides, max_epochs=4, max_steps=4, accelerator="cpu", **quiet)
    assert (once.global_step, longer.global_step) == (1, 4)
    pairs = zip(once.student.parameters(), longer.student.parameters(), strict=True)
    assert any(not torch.equal(one, other) for one, other in pairs)
