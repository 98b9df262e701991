"""Photographs of real datasets through training and `predict`, whose files are those that the benchmarks take."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from test_pascal_voc import REAL, palette, real_voc, voc_files  # noqa: F401 - two of them are fixtures

from rangeseg.cli import main
from rangeseg.config import Config, config_from, write_config
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.fabric import make_fabric
from rangeseg.engine.trainer import Trainer
from rangeseg.engine.training_data import TrainingData
from rangeseg.inference.predict import find_tasks
from rangeseg.photos.cityscapes import Cityscapes
from rangeseg.photos.io import read_label_image, read_size
from rangeseg.registry import ConfigError
from rangeseg.types import View


def changed(config: Config, **sections: dict) -> Config:
    return config_from([OmegaConf.create(OmegaConf.to_container(OmegaConf.structured(config))), sections])


@pytest.fixture
def cityscapes(data_root: Path, tmp_path: Path) -> Path:
    """The real photographs as split train, and one of them again as split val."""
    for kind in ("leftImg8bit", "gtFine"):
        real = (data_root / "cityscapes" / kind / "train").resolve()
        (tmp_path / "cs" / kind / "val" / "aachen").mkdir(parents=True)
        (tmp_path / "cs" / kind / "train").symlink_to(real)
        for path in sorted((real / "aachen").glob("aachen_000001*")):
            (tmp_path / "cs" / kind / "val" / "aachen" / path.name).symlink_to(path)
    return tmp_path / "cs"


def two_steps(config: Config) -> None:
    """Take two training steps on a config's own data, and go through every part of it."""
    data = TrainingData.open(Experiment(config))
    classes = Experiment(config).label_map.num_classes
    trainer = Trainer(
        make_fabric(config.runtime), Experiment(config).make_network(classes), Experiment(config).perturbation, config
    )
    rng = np.random.default_rng(0)
    for step in range(2):
        views = [
            View.stack([part.view(step % len(part), rng)]) for part in (data.labelled, data.unlabelled, data.unlabelled)
        ]
        trainer.step = step
        losses = trainer.train_step(views[0], (views[1], views[2]))
        assert {"supervised", "consistency"} <= set(losses)
        assert all(torch.isfinite(loss) for loss in losses.values())


def test_voc_takes_two_real_steps(photo_config: Config, real_voc: Path, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "labelled.txt").write_text(f"{REAL[2]}\n")
    (real_voc / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation" / "val.txt").write_text(f"{REAL[0]}\n")
    data = {"root": str(real_voc), "dataset": {"name": "pascal_voc"}, "labelled": str(tmp_path / "labelled.txt")}
    two_steps(changed(photo_config, data=data | {"augmentation": {"crop": [64, 64]}}))


def test_cityscapes_takes_two_real_steps_at_half_resolution(photo_config: Config, cityscapes: Path) -> None:
    data = {"root": str(cityscapes), "dataset": {"name": "cityscapes", "half": True}}
    config = changed(photo_config, data=data | {"augmentation": {"crop": [64, 128]}})
    two_steps(config)
    assert Experiment(config).open("val").photo(0).image.shape == (512, 1024, 3)  # type: ignore[union-attr]


def train_small(config: Config, tmp_path: Path, *changes: str, steps: int = 1) -> str:
    (tmp_path / "config.yaml").write_text(write_config(config))
    assert main(["train", str(tmp_path / "config.yaml"), f"optim.steps={steps}", "evaluation.every=0", *changes]) == 0
    return config.runtime.out


def write_photos(root: Path, size: tuple[int, int], names: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(root / name)


def test_voc_predictions_are_palette_pngs(photo_config: Config, real_voc: Path, tmp_path: Path) -> None:  # noqa: F811
    lists = real_voc / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation"
    for split in ("val", "test"):
        (lists / f"{split}.txt").write_text("\n".join(REAL[:2]))
    config = changed(photo_config, data={"root": str(real_voc), "dataset": {"name": "pascal_voc"}})
    run, out = train_small(config, tmp_path), tmp_path / "out"
    arguments = ["predict", run, "--split", "test", "--out", str(out), "--device", "cpu"]
    assert main([*arguments, "--zip", str(tmp_path / "s.zip"), "--partial"]) == 0
    assert sorted(path.name for path in out.iterdir() if path.name[0] != ".") == [f"{name}.png" for name in REAL[:2]]
    for name in REAL[:2]:
        with Image.open(out / f"{name}.png") as picture:
            ids = np.asarray(picture)
            assert picture.mode == "P"
            np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), palette()[ids])
        assert ids.shape == read_size(real_voc / "VOCdevkit" / "VOC2012" / "JPEGImages" / f"{name}.jpg")
        assert ids.max() < 21
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        assert sorted(archive.namelist()) == [f"{name}.png" for name in REAL[:2]]


def score(prediction: Path, config: Config) -> np.ndarray:
    """IoU of each class in written PNGs against the label files, counted pixel by pixel in NumPy."""
    label_map, matrix = Experiment(config).label_map, np.zeros((256, 256))
    source = Cityscapes(config.data.root, "val")
    for path in prediction.glob("*.png"):
        name = path.name.removesuffix("_pred_labelIds.png")
        truth = source.photo(source.names.index(name)).label
        assert truth is not None
        np.add.at(matrix, (truth, label_map.to_train(read_label_image(path))), 1)
    seen = matrix[:19, :19]
    union = seen.sum(0) + seen.sum(1) - seen.diagonal()
    return np.where(seen.sum(1) > 0, seen.diagonal() / np.maximum(union, 1), np.nan)


def official_score(prediction: Path, root: Path) -> dict[str, float]:
    """Cityscapes' own evaluation of the PNGs."""
    module = "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling"
    evaluation = pytest.importorskip(module, reason="cityscapesscripts is not installed", exc_type=ImportError)
    arguments = evaluation.args
    arguments.evalInstLevelScore, arguments.JSONOutput, arguments.quiet = False, False, True
    arguments.predictionPath, arguments.predictionWalk = str(prediction), None
    truth = sorted(map(str, (root / "gtFine" / "val").glob("*/*_labelIds.png")))
    found = [evaluation.getPrediction(arguments, path) for path in truth]
    result: dict[str, float] = evaluation.evaluateImgLists(found, truth, arguments)["classScores"]
    return result


@pytest.mark.slow
@pytest.mark.parametrize("half", [False, True])
def test_cityscapes_predictions_score_the_same_when_read_by_others(
    photo_config: Config, cityscapes: Path, tmp_path: Path, half: bool
) -> None:
    data = {"root": str(cityscapes), "dataset": {"name": "cityscapes", "half": half}}
    config = changed(photo_config, data=data | {"augmentation": {"crop": [64, 128]}})
    run = train_small(config, tmp_path, "optim.lr=1e-2", "teacher.decay=0.5", "data.batch_labelled=2", steps=8)
    out = tmp_path / "out"
    assert main(["predict", run, "--split", "val", "--out", str(out), "--device", "cpu"]) == 0
    names = ["aachen_000001_000019_pred_labelIds.png"]
    assert sorted(path.name for path in out.glob("*.png")) == names
    assert all(read_size(out / name) == (1024, 2048) for name in names)
    mine = score(out, config)
    assert np.nanmax(mine) > 0.1  # not a comparison of nothing with nothing
    evaluated = json.loads((Path(run) / "evaluation.json").read_text())["iou"]
    if not half:  # training has scored the same photographs at their own resolution, but in a batch: near ties differ
        np.testing.assert_allclose([np.nan if v is None else v for v in evaluated.values()], mine, atol=1e-5)
    sizes = {}
    for flags in ([], ["--half-resolution"]):
        assert main(["evaluate", run, "--json", str(tmp_path / "e.json"), "--device", "cpu", *flags]) == 0
        iou = json.loads((tmp_path / "e.json").read_text())["iou"]
        sizes[bool(flags)] = np.array([np.nan if value is None else value for value in iou.values()])
    # a run of halved photographs is scored halved anyway
    assert np.array_equal(sizes[False], sizes[True], equal_nan=True) == half
    official, present = official_score(out, cityscapes), np.flatnonzero(~np.isnan(mine))
    known = Experiment(config).label_map.names
    np.testing.assert_allclose([official[known[train]] for train in present], mine[present], atol=1e-9)


def test_predictions_of_half_photographs_have_their_files_size(photo_config: Config, tmp_path: Path) -> None:
    config = changed(photo_config, data={"dataset": {"name": "cityscapes", "half": True}})
    files = Experiment(config).prediction_files
    write_photos(tmp_path / "in", (6, 8), ("ulm_000000_000019_leftImg8bit.png",))
    (task,) = find_tasks([tmp_path / "in"], files)
    photo = files.read(task.file)
    assert photo.image.shape == (3, 4, 3)
    labels = np.arange(12) % 19
    files.write(tmp_path / task.target, labels, photo, task.file)
    raw = read_label_image(tmp_path / task.target)
    expected = Experiment(config).label_map.to_raw(labels).reshape(3, 4).repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(raw, expected)
    assert files.problem(tmp_path / task.target, task.file) is None


def test_predictions_of_folders_are_mended_and_refused(
    photo_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train_small(photo_config, tmp_path)
    write_photos(tmp_path / "in", (17, 23), ("a.png", "b.jpg"))
    write_photos(tmp_path / "in" / "deep", (40, 21), ("a.png",))
    out = tmp_path / "out"
    arguments = ["predict", run, str(tmp_path / "in"), "--out", str(out), "--device", "cpu"]
    assert main(arguments) == 0
    assert "3 photographs labelled in" in capsys.readouterr().out
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png")) == ["a.png", "b.png", "deep/a.png"]
    whole = {path: path.read_bytes() for path in out.rglob("*.png")}
    (out / "a.png").write_bytes(whole[out / "a.png"][:50])
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(out / "b.png")
    Image.fromarray(np.full((40, 21), 11, np.uint8)).save(out / "deep" / "a.png")
    assert main(arguments) == 0
    assert "(3 of them now)" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in out.rglob("*.png")} == whole
    assert main(arguments) == 0
    assert "(0 of them now)" in capsys.readouterr().out
    single = [str(tmp_path / "in" / "a.png"), str(tmp_path / "in" / "deep" / "a.png")]
    assert main(["predict", run, *single, "--out", str(out)]) == 1
    assert "would both be written to a.png" in " ".join(capsys.readouterr().err.split())
    assert main(["predict", run, *single[:1], str(tmp_path / "in" / "deep" / ".." / "a.png"), "--out", str(out)]) == 0
    assert "1 photographs labelled in" in capsys.readouterr().out
    assert main(["predict", run, str(tmp_path / "in" / "c.png"), "--out", str(out)]) == 1
    assert "no such file or folder. Give .jpg, .jpeg, .png files" in " ".join(capsys.readouterr().err.split())
    assert main(["predict", run, "--out", str(out)]) == 1
    assert "Give files or folders of photographs" in " ".join(capsys.readouterr().err.split())


def test_photographs_with_an_ending_in_large_letters_are_found(photo_config: Config, tmp_path: Path) -> None:
    photos = sorted((Path(photo_config.data.root) / "val").iterdir())
    (tmp_path / "photos").mkdir()
    for photo, name in zip(photos, ("a.png", "b.PNG"), strict=False):
        (tmp_path / "photos" / name).write_bytes(photo.read_bytes())
    found = find_tasks([tmp_path / "photos"], Experiment(photo_config).prediction_files)
    assert [task.file.name for task in found] == ["a.png", "b.PNG"]


def test_problems_of_predictions_are_named(photo_config: Config, tmp_path: Path) -> None:
    files = Experiment(photo_config).prediction_files
    write_photos(tmp_path, (5, 6), ("photo.png",))
    target, file = tmp_path / "t.png", tmp_path / "photo.png"
    assert files.problem(target, file) == "missing"
    target.write_bytes(b"half a file")
    assert "cannot identify" in str(files.problem(target, file))
    for raw, said in (
        (np.zeros((5, 7), np.uint8), r"5 x 7 pixels (rows x columns) for the 5 x 6 of"),
        (np.full((5, 6), 11, np.uint8), "raw ids [11] are not valid in the benchmark"),
    ):
        content = io.BytesIO()
        Image.fromarray(raw).save(content, "PNG")
        target.write_bytes(content.getvalue())
        assert said in str(files.problem(target, file))


def test_a_folder_of_ones_own_trains_scores_draws_and_predicts(photo_config: Config, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        write_photos(tmp_path / part / "images", (20, 30), ("a.png", "b.png"))
        (tmp_path / part / "labels").mkdir()
        for name in ("a", "b"):
            raw = rng.integers(1, 3, (20, 30), np.uint8)
            Image.fromarray(raw).save(tmp_path / part / "labels" / f"{name}.png")
    (tmp_path / "classes.yaml").write_text(
        """
dataset: mine
splits: {train: [train], val: [val]}
classes: [{name: x, color: [1, 2, 3], raw: 1}, {name: y, color: [4, 5, 6], raw: 2}]
raw: {1: {name: x, class: x}, 2: {name: y, class: y}}
"""
    )
    dataset = {"name": "photo_folder", "classes": str(tmp_path / "classes.yaml"), "images": "{split}/images/*"}
    dataset |= {"label_images": "{split}/labels/{name}.png"}
    config = changed(photo_config, data={"root": str(tmp_path), "dataset": dataset})
    run = train_small(config, tmp_path)
    assert main(["evaluate", run, "--device", "cpu"]) == 0
    assert main(["predict", run, "--split", "val", "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    assert set(np.unique(read_label_image(tmp_path / "out" / "a.png"))) <= {1, 2}
    image, labels = tmp_path / "val" / "images" / "a.png", tmp_path / "val" / "labels" / "a.png"
    assert (
        main(["show", str(image), "--labels", str(labels), "--run", run, "--png", str(tmp_path / "a_sheet.png")]) == 0
    )
    config.supervised.class_weights = "inverse"
    with pytest.raises(ConfigError, match=r"supervised\.class_weights: mine's labels\.yaml has no class frequencies"):
        assert Experiment(config).class_weights is None
    with pytest.raises(ConfigError, match=r"neither a file nor a list shipped for photo_folder: there are none"):
        Experiment(config).open("train", "train_10pct")
