"""Photographs through the same trainer, evaluation and commands as scans."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from perturbing import perturb
from PIL import Image
from torch import nn

from rangeseg import Segmenter
from rangeseg.catalog import PERTURBATIONS
from rangeseg.cli import main
from rangeseg.config import Config, config_from, write_config
from rangeseg.engine.checkpoint import read_checkpoint
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.inputs import PhotoInput, ScanInput
from rangeseg.engine.run_logger import read_metrics
from rangeseg.engine.training import train
from rangeseg.evaluation.metrics import ConfusionMatrix
from rangeseg.labels import LabelMap
from rangeseg.losses import consistency_loss
from rangeseg.networks.base import Network
from rangeseg.perturbations import Channels, Identity
from rangeseg.photos.io import read_photo
from rangeseg.photos.padded_image import PhotoPadding
from rangeseg.photos.panels import photo_panels
from rangeseg.registry import ConfigError
from rangeseg.resources import resource
from rangeseg.teacher import EmaTeacher
from rangeseg.types import IGNORE, Photo, View
from rangeseg.vis.panels import colorise


def test_the_dataset_decides_which_of_the_two_it_is(photo_config: Config, tiny_config: Config) -> None:
    photos, scans = Experiment(photo_config).input, Experiment(tiny_config).input
    assert isinstance(photos, PhotoInput)
    assert isinstance(scans, ScanInput)
    assert (photos.wrap, scans.wrap) == (False, True)
    assert photos.rasteriser((4, 8)) == PhotoPadding(divisor=(4, 8))


def test_a_sensor_that_sees_a_part_of_the_turn_is_no_cylinder(tiny_config: Config) -> None:
    tiny_config.data.projection |= {"fov_left_deg": 60.0, "fov_right_deg": -60.0}
    assert Experiment(tiny_config).input.wrap is False
    assert Experiment(tiny_config).make_network(5).wrap is False
    assert Experiment(tiny_config).perturbation.wrap is False


def test_network_and_perturbation_know_a_photo_is_flat_and_coloured(photo_config: Config) -> None:
    network = Experiment(photo_config).make_network(11)
    assert network.in_channels == 3
    assert network.wrap is False
    photo_config.perturbation = {"name": f"{__name__}:Noted"}
    perturbation = Experiment(photo_config).perturbation
    assert perturbation.wrap is False
    assert perturbation.channels == Channels(("red", "green", "blue"), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Noted(Identity):
    """What a perturbation is told."""

    wrap: bool
    channels: Channels


@pytest.mark.parametrize("name", ["cutmix", "cutout", "identity"])
def test_photos_train_and_are_scored_on_their_own_pixels(photo_config: Config, name: str) -> None:
    photo_config.perturbation = {"name": name}
    result = train(photo_config)
    assert result is not None
    assert result["by_distance"] == {}
    assert 0 <= result["mean_iou"] <= 1
    rows = read_metrics(Path(photo_config.runtime.out) / "metrics.csv")
    losses = [value for _, key, value in rows if key in ("supervised", "consistency")]
    assert len(losses) == 8
    assert np.isfinite(losses).all()


NESTED = {
    "compose": {"before": [{"name": "color"}], "first": {"name": "cutmix"}, "then": [{"name": "affine"}]},
    "one_of": {"parts": [{"name": "cowmix"}, {"name": "classmix"}]},
    "all_of": {"parts": [{"name": "cutmix"}, {"name": "polarmix", "copies": 2}]},
    "sequential": {"parts": [{"name": "cutmix"}, {"name": "range_union"}]},
}


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_every_perturbation_asks_about_photographs(photo_config: Config, name: str) -> None:
    photo_config.perturbation = {"name": name} | NESTED.get(name, {})
    views = Experiment(photo_config).views(Experiment(photo_config).open("train"), augment=True)
    rng = np.random.default_rng(0)
    a, b = (View.stack([views.view(index, rng) for index in pair]) for pair in ((0, 1), (1, 0)))
    network = Experiment(photo_config).make_network(11)
    perturbation = Experiment(photo_config).perturbation
    asked = perturb(perturbation, torch.Generator().manual_seed(0), a, b, EmaTeacher(network))
    assert asked.image.shape[1:] == (3, 16, 24)
    assert torch.isfinite(asked.image).all()
    assert (asked.image.movedim(1, -1)[~asked.valid] == 0).all()
    loss = consistency_loss(network(asked.image), asked.target, asked.valid, threshold=0.0)
    loss.backward()
    assert torch.isfinite(loss)


def test_a_replayed_run_ends_with_the_same_bits_for_any_number_of_workers(photo_config: Config, tmp_path: Path) -> None:
    one = train(photo_config)
    photo_config.runtime.out, photo_config.runtime.workers = str(tmp_path / "again"), 2
    assert train(photo_config) == one
    a, b = (read_checkpoint(tmp_path / name / "last.pt") for name in ("run", "again"))
    assert all(torch.equal(a["teacher"][key], b["teacher"][key]) for key in a["teacher"])


class Perfect(Network):
    """Reads the class from the redness, and only images its stride divides."""

    stride = (8, 16)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        assert image.shape[-2] % 8 == image.shape[-1] % 16 == 0
        red = (image[:, 0] * 0.229 + 0.485) * 255 / 20
        return nn.functional.one_hot(red.round().long().clamp(0, 10), 11).movedim(-1, 1)


def test_perfect_predictions_score_one(photo_config: Config) -> None:
    network = Perfect()
    views = Experiment(photo_config).views(Experiment(photo_config).open("test"), stride=network.stride)
    matrix = ConfusionMatrix(11)
    for one in Experiment(photo_config).segment(network, views, range(len(views)), "cpu"):
        assert one.sample.label is not None
        matrix.update(one.elements, one.sample.label)
    assert matrix.mean_iou() == 1


def test_photographs_may_be_read_smaller_than_they_are_scored(photo_config: Config, tiny_config: Config) -> None:
    photo_config.evaluation.scale = 0.5
    views = Experiment(photo_config).views(Experiment(photo_config).open("test"))
    sample = views.sample(0)
    assert sample.view.image.shape[1:] == (15, 22)
    assert sample.label is not None
    assert sample.label.shape == (30 * 44,)
    places = sample.raster.back_project(np.arange(15 * 22).reshape(15, 22)).reshape(30, 44)
    np.testing.assert_array_equal(places, np.arange(15 * 22).reshape(15, 22).repeat(2, 0).repeat(2, 1))
    tiny_config.evaluation.scale = 0.5
    with pytest.raises(ConfigError, match=r"evaluation\.scale: 0\.5 resizes photographs"):
        assert Experiment(tiny_config).input is None


def test_windows_change_no_run_of_a_network_of_single_pixels(photo_config: Config, tmp_path: Path) -> None:
    photo_config.network = {"name": f"{__name__}:Pixelwise"}
    train(photo_config)
    run, results = photo_config.runtime.out, []
    for window in ([], ["evaluation.window={size: [16, 24], overlap: 0.5}"]):
        assert main(["evaluate", run, "--json", str(tmp_path / "e.json"), "--device", "cpu", "--trust", *window]) == 0
        results.append(json.loads((tmp_path / "e.json").read_text()))
    (one, other) = (result.pop("reliability")["ece"] for result in results)
    assert one == pytest.approx(other, abs=1e-6)
    assert results[0] == results[1]


class Pixelwise(Network):
    """A linear map of each pixel's channels."""

    stride = (1, 1)

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, num_classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.conv(image)
        return logits


def test_commands_score_and_draw_photographs(
    photo_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(write_config(photo_config))
    run, root = photo_config.runtime.out, Path(photo_config.data.root)
    assert main(["train", str(tmp_path / "config.yaml")]) == 0
    assert main(["evaluate", run, "--json", str(tmp_path / "e.json"), "--device", "cpu"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "val, 4 photographs, every pixel" in printed
    assert "10 m" not in printed
    again, trained = (json.loads(path.read_text()) for path in (tmp_path / "e.json", Path(run) / "evaluation.json"))
    assert again["iou"] == trained["iou"]
    assert again["photographs"] == 4
    image, labels = root / "val" / "v_0000.png", root / "valannot" / "v_0000.png"
    shown = ["show", str(image), "--labels", str(labels)]
    assert main([*shown, "--run", run, "--png", str(tmp_path / "a.png")]) == 0
    assert main([*shown, "--dataset", "camvid", "--prediction", str(labels), "--png", str(tmp_path / "b.png")]) == 0
    with Image.open(tmp_path / "b.png") as picture:
        assert not (np.asarray(picture) == (226, 39, 44)).all(axis=-1).any()  # nothing is wrong, so nothing is red
    assert main(["show", str(image), "--dataset", "camvid"]) == 1
    assert "--png FILE" in capsys.readouterr().err
    segmenter = Segmenter.load(run, device="cpu")
    labelled = segmenter(read_photo(image))
    assert labelled.shape == (30 * 44,)
    assert labelled.max() < 11


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"data": {"channels": ["range", "green", "blue"]}},
            r"data\.channels: photographs have no channel range\. Write",
        ),
        ({"data": {"mean": [0.5]}}, "data: view got mean of shape"),
        ({"data": {"label_fraction": 0.5}}, r"data\.label_fraction: 0\.5 is only possible for scans"),
        ({"data": {"carried": "folder"}}, r"data\.carried: folder: only labels of scans can be carried"),
        ({"data": {"projection": {"height": 32}}}, r"data\.projection: photographs have no projection\. Leave it out"),
        ({"data": {"augmentation": {"rotate_x": 1}}}, r"data\.augmentation\.rotate_x: unknown key"),
        ({"data": {"augmentation": {"crop": "large"}}}, r"data\.augmentation\.crop: expected"),
        ({"data": {"augmentation": {"transpose": 0.5}}}, "give a square crop"),
        ({"evaluation": {"back_projection": {"name": "knn"}}}, "'knn' needs ranges"),
        ({"data": {"labelled": "train_1pct"}}, "neither a file nor a list shipped for camvid: train_12.5pct_uniform"),
        ({"evaluation": {"split": "vall"}}, "CamVid has no split 'vall'"),
    ],
)
def test_what_only_scans_have_is_refused_before_training(photo_config: Config, change: dict, said: str) -> None:
    layer = OmegaConf.structured(photo_config)
    with pytest.raises(ConfigError, match=said):
        train(config_from([OmegaConf.create(OmegaConf.to_container(layer)), change]))
    assert not (Path(photo_config.runtime.out) / "last.pt").exists()


def test_a_crop_is_needed_to_train(photo_config: Config) -> None:
    photo_config.data.augmentation = {}
    with pytest.raises(ConfigError, match=r"data\.augmentation\.crop: missing"):
        train(photo_config)


def test_panels_show_photo_label_prediction_and_errors(rng: np.random.Generator) -> None:
    label_map = LabelMap.read(resource("datasets", "camvid", "labels.yaml"))
    label = rng.integers(0, 11, (40, 60)).astype(np.uint8)
    label[:5] = IGNORE
    photo = Photo(rng.integers(0, 256, (40, 60, 3), np.uint8), label)
    prediction = np.where(label == 3, 4, label)
    sheet = photo_panels(photo, prediction, label_map=label_map, columns=60)
    assert (sheet == (226, 39, 44)).all(axis=-1).sum() == (label == 3).sum()
    assert sheet.shape[1] == 120
    for picture in (photo.image, colorise(label, label_map), colorise(prediction, label_map)):
        assert _contains(sheet, picture)
    large = photo_panels(Photo(np.zeros((300, 2000, 3), np.uint8)), label_map=label_map, columns=500)
    assert large.shape[1] == 500
    with pytest.raises(ValueError, match="give one id per pixel"):
        photo_panels(photo, prediction[1:], label_map=label_map)


def _contains(sheet: np.ndarray, picture: np.ndarray) -> bool:
    height, width = picture.shape[:2]
    return any(
        np.array_equal(sheet[top : top + height, left : left + width], picture)
        for top in range(len(sheet) - height + 1)
        for left in (0, width)
    )
