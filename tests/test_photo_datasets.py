"""ISIC 2017, ADE20K and one's own folder of photographs; laws of every dataset of photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rangeseg.apps.split import draw_nested_lists
from rangeseg.catalog import DATASETS
from rangeseg.config import config_from
from rangeseg.data.lists import read_names
from rangeseg.engine.experiment import Experiment
from rangeseg.inference.predict import find_tasks
from rangeseg.labels import LabelMap
from rangeseg.photos.ade20k import ADE20K
from rangeseg.photos.dataset import PhotoDataset
from rangeseg.photos.folder import PhotoFolder
from rangeseg.photos.isic2017 import ISIC2017
from rangeseg.photos.pascal_context import PascalContext
from rangeseg.resources import resource
from rangeseg.types import IGNORE, Photo

PHOTOGRAPHS = ["camvid", "pascal_voc", "cityscapes", "isic2017", "ade20k", "pascal_context"]
SCANS = ["pandaset", "rellis3d", "semantic_poss", "waymo"]


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


@pytest.mark.parametrize("name", [*PHOTOGRAPHS, *SCANS])
def test_every_dataset_has_classes_and_says_where_it_is_from(name: str) -> None:
    label_map = LabelMap.read(resource("datasets", name, "labels.yaml"))
    readme = " ".join(resource("datasets", name, "README.md").read_text().split())
    assert all(heading in readme for heading in ("## Download", "## Contents of this folder", "## Licence"))
    assert (label_map.sensor is None) == (name in PHOTOGRAPHS)
    train = np.arange(label_map.num_classes)
    np.testing.assert_array_equal(label_map.to_train(label_map.to_raw(train)), train)
    assert label_map.ignore_raw not in label_map.raw_ids
    assert (label_map.frequencies is None) == ("no class frequencies" in readme)
    assert DATASETS[name].read_label_map().names == label_map.names  # type: ignore[attr-defined]


@pytest.fixture
def isic(tmp_path: Path) -> Path:
    mask = np.zeros((20, 30), np.uint8)
    mask[5:15, 10:20] = 255
    for name in ("ISIC_0000001", "ISIC_0000000"):
        data = tmp_path / "ISIC-2017_Training_Data"
        save(data / f"{name}.jpg", np.full((20, 30, 3), 99, np.uint8))
        save(data / f"{name}_superpixels.png", np.zeros((20, 30, 3), np.uint8))
        save(tmp_path / "ISIC-2017_Training_Part1_GroundTruth" / f"{name}_segmentation.png", mask)
    return tmp_path


def test_photographs_with_labels_are_those_whose_masks_exist(isic: Path) -> None:
    (isic / "ISIC-2017_Training_Part1_GroundTruth" / "ISIC_0000000_segmentation.png").unlink()
    assert ISIC2017(isic).with_labels().names == ("ISIC_0000001",)


def test_isic_reads_masks_of_0_and_255(isic: Path) -> None:
    source = ISIC2017(isic)
    assert source.names == ("ISIC_0000000", "ISIC_0000001")
    photo = source.photo(0)
    assert photo.image.shape == (20, 30, 3)
    assert photo.label is not None
    assert np.argwhere(photo.label == 1).min(axis=0).tolist() == [5, 10]
    assert np.bincount(photo.label.reshape(-1)).tolist() == [500, 100]
    assert source.label_map.names == ("skin", "lesion")


def test_isic_squashes_masks_by_the_majority_of_their_area(isic: Path) -> None:
    photo = ISIC2017(isic, side=4).photo(1)
    assert photo.image.shape == (4, 4, 3)
    assert (photo.image == ISIC2017(isic).photo(1).image[0, 0]).all()
    # the lesion covers rows 1..3 of 4 and columns 4/3..8/3 of 4: two thirds of each of the two columns
    assert photo.label is not None
    assert photo.label.tolist() == [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]


def test_isic_says_what_is_wrong(isic: Path) -> None:
    with pytest.raises(ValueError, match="side is 0; give at least 1 pixel, or leave side out"):
        ISIC2017(isic, side=0)
    with pytest.raises(ValueError, match=r"ISIC-2017_Validation_Data: no such folder"):
        ISIC2017(isic, "val")
    masks = isic / "ISIC-2017_Training_Part1_GroundTruth"
    save(masks / "ISIC_0000000_segmentation.png", np.full((20, 30), 7, np.uint8))
    with pytest.raises(
        ValueError, match=r"ISIC_0000000_segmentation\.png: 600 labels have raw ids .* does not know: 7"
    ):
        ISIC2017(isic).photo(0)
    save(masks / "ISIC_0000000_segmentation.png", np.ones((20, 30), np.uint8))
    for side in (None, 4):
        with pytest.raises(ValueError, match=r"ISIC_0000000_segmentation\.png: 600 labels .* does not know: 1 "):
            ISIC2017(isic, side=side).photo(0)
    (masks / "ISIC_0000001_segmentation.png").unlink()
    with pytest.raises(ValueError, match=r"ISIC_0000001_segmentation\.png: the labels of .* are missing"):
        ISIC2017(isic).photo(1)


@pytest.mark.parametrize("inner", ["", "ADEChallengeData2016"])
def test_ade20k_maps_1_to_150_and_leaves_0_out(tmp_path: Path, inner: str) -> None:
    home = tmp_path / "ADEChallengeData2016"
    raw = np.arange(151, dtype=np.uint8).reshape(1, -1)
    for part, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        save(home / "images" / part / f"{name}.jpg", np.zeros((1, 151, 3), np.uint8))
        save(home / "annotations" / part / f"{name}.png", raw)
    for split, name in (("train", "ADE_train_00000001"), ("val", "ADE_val_00000001")):
        source = ADE20K(tmp_path / inner, split)
        assert source.names == (name,)
        label = source.photo(0).label
        assert label is not None
        assert label[0].tolist() == [IGNORE, *range(150)]
    with pytest.raises(ValueError, match="ADE20K has no split 'test'; use train, val"):
        ADE20K(tmp_path, "test")


def test_pascal_context_maps_1_to_59_and_leaves_0_out(tmp_path: Path) -> None:
    home = tmp_path / "VOCdevkit" / "VOC2010"
    for name in ("2008_000002", "2008_000003"):
        save(home / "JPEGImages" / f"{name}.jpg", np.zeros((1, 60, 3), np.uint8))
        save(home / "SegmentationClassContext" / f"{name}.png", np.arange(60, dtype=np.uint8).reshape(1, -1))
    lists = home / "ImageSets" / "SegmentationContext"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2008_000003\n2008_000002\n")
    for root in (tmp_path, tmp_path / "VOCdevkit", home):
        source = PascalContext(root)
        assert source.names == ("2008_000003", "2008_000002")
        label = source.photo(1).label
        assert label is not None
        assert label[0].tolist() == [IGNORE, *range(59)]
    with pytest.raises(ValueError, match=r"val\.txt: cannot be read .* has train\.txt; unpack VOC's lists"):
        PascalContext(tmp_path, "val")
    with pytest.raises(ValueError, match=r"no JPEGImages in .*VOC2010"):
        PascalContext(lists)


@pytest.mark.parametrize(("percent", "count"), [("6.25", 1263), ("12.5", 2526)])
def test_ade20ks_lists_are_those_of_the_command(percent: str, count: int) -> None:
    names = [f"ADE_train_{number:08d}" for number in range(1, 20211)]
    path = resource("datasets", "ade20k", "splits", f"train_{percent}pct_uniform.txt")
    listed = read_names(path, pattern=r"\S+", what="photograph", form="NAME", example=names[0])
    assert len(listed) == count
    assert listed == draw_nested_lists(names, [float(percent) / 100], 0)[float(percent) / 100]
    assert path.read_text().startswith(f"# ADE20K: {count} of 20210 training photographs, labelled.\n")


YAML = """
dataset: mine
splits: {splits}
classes:
  - {{name: road, color: [10, 20, 30], raw: 1}}
  - {{name: grass, color: [40, 50, 60], raw: 300}}
raw:
  0: {{name: void, class: ignore, color: [0, 0, 0]}}
  1: {{name: road, class: road}}
  300: {{name: grass, class: grass}}
"""
RAW = np.array([[0, 1, 300], [300, 1, 0]])


def write_folder(root: Path, splits: str = "{train: [train]}") -> str:
    save(root / "images" / "b.png", np.zeros((2, 3, 3), np.uint8))
    save(root / "images" / "a.jpg", np.zeros((2, 3, 3), np.uint8))
    (root / "images" / "notes.txt").write_text("not read")
    save(root / "labels" / "a.png", RAW.astype(np.uint16))
    colors = {0: (0, 0, 0), 1: (10, 20, 30), 300: (40, 50, 60)}
    save(root / "labels" / "b.png", np.array([[colors[i] for i in row] for row in RAW.tolist()], np.uint8))
    (root / "classes.yaml").write_text(YAML.format(splits=splits))
    return str(root / "classes.yaml")


def test_a_folder_of_ones_own_by_ids_or_by_colours(tmp_path: Path) -> None:
    source = PhotoFolder(tmp_path, classes=write_folder(tmp_path))
    assert source.names == ("a", "b")
    assert source.label_map.names == ("road", "grass")
    for index in range(2):
        label = source.photo(index).label
        assert label is not None
        assert label.tolist() == [[IGNORE, 0, 1], [1, 0, IGNORE]]
    assert source.photo(1).image.shape == (2, 3, 3)


def test_patterns_tell_splits_and_suffixes(tmp_path: Path) -> None:
    classes = write_folder(tmp_path, "{train: [one, two], val: [three]}")
    for part in ("one", "two", "three"):
        save(tmp_path / part / "x" / f"{part}_rgb.png", np.zeros((2, 3, 3), np.uint8))
        save(tmp_path / "truth" / part / "x" / f"{part}.png", np.ones((2, 3), np.uint8))
    arguments = {"classes": classes, "images": "{split}/*/*_rgb.png", "label_images": "truth/{split}/{name}.png"}
    train, val = (PhotoFolder(tmp_path, split, **arguments) for split in ("train", "val"))
    assert (train.names, val.names) == (("one/x/one", "two/x/two"), ("x/three",))
    tasks = find_tasks([], train.prediction_files(train.label_map, {}), train)
    assert [task.target.as_posix() for task in tasks] == ["one/x/one_rgb.png", "two/x/two_rgb.png"]
    for source in (train, val):
        label = source.photo(0).label
        assert label is not None
        assert (label == 0).all()
    with pytest.raises(ValueError, match=r"is the same for splits train, val, .* Use \{split\} in it"):
        PhotoFolder(tmp_path, classes=classes)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"images": "images"}, "give patterns like"),
        ({"label_images": "labels/*.png"}, "give patterns like"),
        ({"classes": "nowhere.yaml"}, r"nowhere\.yaml: cannot be read"),
        ({"split": "val"}, "mine has no split 'val'; use train"),
        ({"images": "img/*"}, "contains no photographs of split train"),
    ],
)
def test_a_folder_says_what_is_wrong(tmp_path: Path, arguments: dict, said: str) -> None:
    arguments = {"root": tmp_path, "classes": write_folder(tmp_path)} | arguments
    with pytest.raises(ValueError, match=said):
        PhotoFolder(**arguments)


def test_two_photographs_of_one_name_and_colours_of_no_class(tmp_path: Path) -> None:
    classes = write_folder(tmp_path)
    save(tmp_path / "labels" / "b.png", np.full((2, 3, 3), 9, np.uint8))
    with pytest.raises(ValueError, match=r"b\.png: colours \(9, 9, 9\) have no class; give each a raw id with this"):
        PhotoFolder(tmp_path, classes=classes).photo(1)
    save(tmp_path / "images" / "b.jpg", np.zeros((2, 3, 3), np.uint8))
    with pytest.raises(ValueError, match="several photographs have the name b; keep one of each"):
        PhotoFolder(tmp_path, classes=classes)
    with pytest.raises(ValueError, match="photo_folder has no built-in classes; set classes"):
        PhotoFolder.read_label_map()


class InMemory(PhotoDataset):
    """Photographs that are no files, with what docs/extend.md lists."""

    @classmethod
    def read_label_map(cls) -> LabelMap:
        return LabelMap.read(resource("datasets", "camvid", "labels.yaml"))

    def __init__(self, root: str, split: str) -> None:
        self._shade = len(root + split)

    @property
    def label_map(self) -> LabelMap:
        return self.read_label_map()

    def __len__(self) -> int:
        return 2

    def name(self, index: int) -> str:
        return f"shade_{index}"

    def photo(self, index: int) -> Photo:
        return Photo(np.full((4, 6, 3), self._shade, np.uint8), np.zeros((4, 6), np.uint8), self.name(index))


def test_photographs_that_are_no_files_have_views_but_no_prediction_files() -> None:
    data = {"root": "here", "dataset": {"name": f"{__name__}:InMemory"}, "channels": ["red"], "mean": [0], "std": [1]}
    nearest = {"back_projection": {"name": "nearest"}}
    experiment = Experiment(config_from([{"data": data, "evaluation": nearest, "optim": {"steps": 1}}]))
    source = experiment.open("val")
    assert experiment.views(source).sample(1).name == "shade_1"
    with pytest.raises(ValueError, match="Photograph shade_0 is not stored in a separate file"):
        experiment.prediction_files.of_split(source)
