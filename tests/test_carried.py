"""Training on carried labels: which scans and labels are read, and what the student is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rangeseg.config import Config, config_from, read_config
from rangeseg.data.carried import CarriedLabels
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.training_data import TrainingData
from rangeseg.registry import ConfigError
from rangeseg.scan_io import write_labels
from rangeseg.types import IGNORE

ROAD, BUILDING = 40, 50


@pytest.fixture
def carried(tiny_kitti: Path, tmp_path: Path) -> Path:
    """Labels for two of the three scans: of the first half of their points, a third of these near."""
    for name in ("000000", "000002"):
        raw = np.full(1500, BUILDING, np.uint32)
        raw[750:] = 0
        home = tmp_path / "carried" / "sequences" / "00"
        write_labels(home / "labels" / f"{name}.label", raw)
        distance = np.where(np.arange(1500) < 250, 0.1, 0.4).astype(np.float16)
        kind = np.where(raw == 0, 0, 2).astype(np.uint8)
        kind[600] = 1
        (home / "evidence").mkdir(exist_ok=True)
        rests = {"neighbours": np.full(1500, 3, np.uint8), "agreement": np.ones(1500, np.float16)}
        rests["scans"] = np.full(1500, 1, np.int16)
        np.savez(home / "evidence" / f"{name}.npz", distance=distance, kind=kind, **rests)
    return tmp_path / "carried"


def test_scans_have_the_labels_that_were_carried(tiny_kitti: Path, carried: Path) -> None:
    whole = SemanticKitti(tiny_kitti, labels=False)
    source = CarriedLabels(whole, tiny_kitti, carried)
    assert [source.name(index) for index in range(len(source))] == ["00/000000", "00/000002"]
    building = source.label_map.names.index("building")
    for index in range(2):
        label = source.scan(index).label
        assert label is not None
        assert (label[:750] == building).all()
        assert (label[750:] == IGNORE).all()
    near = CarriedLabels(whole, tiny_kitti, carried, within_m=0.2).scan(0).label
    assert near is not None
    assert np.flatnonzero(near == building).tolist() == [*range(250), 600]
    every = CarriedLabels(whole, tiny_kitti, carried, every=True)
    assert len(every) == 3
    assert (every.scan(1).label == IGNORE).all()


def test_what_is_wrong_is_said(tiny_kitti: Path, carried: Path, tmp_path: Path) -> None:
    whole = SemanticKitti(tiny_kitti, labels=False)
    with pytest.raises(ValueError, match=r"missing\. None of the 3 scans has carried labels.*rangeseg propagate"):
        CarriedLabels(whole, tiny_kitti, tmp_path)
    (carried / "sequences/00/evidence/000000.npz").unlink()
    with pytest.raises(ValueError, match=r"000000\.npz: cannot be read"):
        CarriedLabels(whole, tiny_kitti, carried, within_m=0.2).scan(0)


def with_data(config: Config, **data: object) -> Config:
    return replace(config, data=replace(config.data, **data))  # type: ignore[arg-type]


def test_one_word_makes_them_the_labels(tiny_config: Config, carried: Path) -> None:
    """`data.label_fraction` and `data.labelled` are for the dataset's labels; carried ones stay whole, of all scans."""
    listed = carried / "one.txt"
    listed.write_text("00/000001\n")
    config = with_data(tiny_config, carried=str(carried), label_fraction=0.01, labelled=str(listed))
    data = TrainingData.open(Experiment(config))
    assert len(data.labelled) == 2
    assert len(data.unlabelled) == 3
    view = data.labelled.view(0, np.random.default_rng(0))
    assert set(view.label.unique().tolist()) == {12, IGNORE}
    assert (view.label != IGNORE).sum() > 100
    assert (data.unlabelled.view(0, np.random.default_rng(0)).label == IGNORE).all()


def test_one_word_makes_them_the_teachers_answers(tiny_config: Config, carried: Path) -> None:
    config = with_data(tiny_config, carried=str(carried), carried_as="targets")
    data = TrainingData.open(Experiment(config))
    assert len(data.labelled) == 3
    views = [data.unlabelled.view(index, np.random.default_rng(0)) for index in range(3)]
    assert [sorted(view.label.unique().tolist()) for view in views] == [[12, IGNORE], [IGNORE], [12, IGNORE]]
    labelled = data.labelled.view(1, np.random.default_rng(0)).label
    assert len(labelled.unique()) > 3


def test_the_student_is_told_the_label_where_one_was_carried(tiny_config: Config, carried: Path) -> None:
    from lightning_fabric import Fabric

    from rangeseg.engine.trainer import Trainer
    from rangeseg.types import View

    for way in ("labels", "targets"):
        config = with_data(tiny_config, carried=str(carried), carried_as=way)
        experiment = Experiment(config)
        data = TrainingData.open(experiment)
        fabric = Fabric(accelerator="cpu")
        trainer = Trainer(fabric, experiment.make_network(), experiment.perturbation, config)
        view = View.stack([data.unlabelled.view(index, np.random.default_rng(0)) for index in (0, 1)])
        target, _ = trainer.targets(trainer.teacher, view, view)
        asked = trainer.teacher(view.image)
        known = (view.label != IGNORE)[:, None].expand_as(asked)
        torch.testing.assert_close(target.target[~known], asked[~known])
        certain = torch.nn.functional.one_hot(view.label.where(known[:, 0], 0), 19).movedim(-1, 1).float()
        assert known.any() == (way == "targets")
        torch.testing.assert_close(target.target[known], certain[known])


def test_labels_have_no_logits() -> None:
    words = [{"data": {"root": "x", "carried_as": "targets"}, "consistency": {"kind": "logits_var"},
              "optim": {"steps": 1}, "runtime": {"out": "x"}}]  # fmt: skip
    with pytest.raises(ConfigError, match=r"this kind needs logits .* with data\.carried_as: targets"):
        config_from(words)


def test_each_way_has_a_run_folder_of_its_own() -> None:
    base = ["data.root=x", "data.carried=y"]
    words = ["supervised", "cutmix+carried_weak_head", "cutmix+carried_targets", "cutmix+carried_both", "cutmix"]
    folders = {read_config(f"mini_kitti/drives+{word}", base).runtime.out for word in words}
    assert len(folders | {read_config("mini_kitti/drives+supervised", base[:1]).runtime.out}) == 6
    assert "runs/mini_kitti/drives/foldnet_cutmix_mini_scenes_carried_both" in folders
