"""Cityscapes: its layout, its classes against the real files and the official scripts, half resolution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rangeseg.photos.cityscapes import Cityscapes
from rangeseg.photos.io import read_image, read_label_image
from rangeseg.types import IGNORE

CLASSES = Cityscapes.read_label_map()
ROAD, SKY = CLASSES.names.index("road"), CLASSES.names.index("sky")


@pytest.fixture(scope="session")
def cityscapes_root(data_root: Path) -> Path:
    return data_root / "cityscapes"


def write_cityscapes(root: Path) -> Path:
    """Two cities of split train, one of val, and a photograph of split test with labels that mean nothing."""
    for split, city, raw in (("train", "ulm", 7), ("train", "bonn", 23), ("val", "lindau", 33), ("test", "berlin", 3)):
        for kind, picture in (
            ("leftImg8bit", Image.new("RGB", (8, 4), (raw, 0, 0))),
            ("gtFine", Image.new("L", (8, 4), raw)),
        ):
            suffix = "leftImg8bit" if kind == "leftImg8bit" else "gtFine_labelIds"
            folder = root / kind / split / city
            folder.mkdir(parents=True)
            picture.save(folder / f"{city}_000000_000019_{suffix}.png")
    (root / "gtFine" / "train" / "ulm" / "ulm_000000_000019_gtFine_color.png").write_bytes(b"not read")
    return root


def test_the_classes() -> None:
    assert CLASSES.num_classes == 19
    assert CLASSES.raw_ids == (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
    assert sorted(CLASSES.learning_map) == list(range(34))
    assert CLASSES.to_raw(CLASSES.to_train(np.arange(34))).tolist() == [
        i if i in CLASSES.raw_ids else 0 for i in range(34)
    ]
    assert len(np.unique(CLASSES.colors, axis=0)) == 19
    assert [CLASSES.names[i] for i in CLASSES.things][:2] == ["person", "rider"]


def test_the_classes_are_those_of_the_official_scripts() -> None:
    labels = pytest.importorskip("cityscapesscripts.helpers.labels", reason="cityscapesscripts is not installed").labels
    official = {label.id: label for label in labels if label.id >= 0}
    assert dict(CLASSES.raw_names) == {raw: label.name for raw, label in official.items()}
    for raw, label in official.items():
        train = CLASSES.learning_map[raw]
        assert train == (IGNORE if label.ignoreInEval else label.trainId)
        if train != IGNORE:
            assert tuple(CLASSES.colors[train]) == label.color
            assert (train in CLASSES.things) == label.hasInstances


def test_the_real_files(cityscapes_root: Path) -> None:
    source = Cityscapes(cityscapes_root)
    assert source.names == tuple(f"aachen_{number:06d}_000019" for number in range(6))
    photo = source.photo(5)
    assert photo.image.shape == (1024, 2048, 3)
    assert photo.label is not None
    raw = read_label_image(source.pair(5).label or "")
    np.testing.assert_array_equal(photo.label != IGNORE, np.isin(raw, CLASSES.raw_ids))
    rows = [np.argwhere(photo.label == train)[:, 0].mean() for train in (SKY, ROAD)]
    assert rows[0] < 400 < 600 < rows[1]


def test_half_of_the_real_files_is_the_papers(cityscapes_root: Path) -> None:
    source = Cityscapes(cityscapes_root, half=True)
    pair, photo = source.pair(2), source.photo(2)
    blocks = read_image(pair.file).reshape(512, 2, 1024, 2, 3).astype(np.float64)
    np.testing.assert_array_equal(photo.image, np.floor(blocks.mean(axis=(1, 3))))
    raw = read_label_image(pair.label or "").reshape(512, 2, 1024, 2)
    votes = np.stack([(raw == i).sum(axis=(1, 3)) for i in range(34)])
    np.testing.assert_array_equal(photo.label, CLASSES.to_train(votes.argmax(axis=0)))
    assert (votes.max(axis=0) < 4).any()  # somewhere there was something to decide
    assert Cityscapes(cityscapes_root, half=True, labels=False).photo(2).label is None


def test_photographs_are_those_of_the_split_in_the_order_of_their_names(tmp_path: Path) -> None:
    root = write_cityscapes(tmp_path)
    source = Cityscapes(root)
    assert source.names == ("bonn_000000_000019", "ulm_000000_000019")
    labels = [source.photo(index).label for index in range(2)]
    assert [int(label.max()) for label in labels if label is not None] == [SKY, ROAD]
    assert Cityscapes(root, subset=["ulm_000000_000019"]).names == ("ulm_000000_000019",)
    assert Cityscapes(root, "test").photo(0).label is None
    assert Cityscapes.prediction_name(source.pair(0).file) == "bonn_000000_000019_pred_labelIds.png"


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"leftImg8bit/train: no such folder; unpack leftImg8bit_trainvaltest\.zip"):
        Cityscapes(tmp_path)
    root = write_cityscapes(tmp_path)
    with pytest.raises(ValueError, match="Cityscapes has no split 'train_extra'; use train, val, test"):
        Cityscapes(root, "train_extra")
    for path in (root / "gtFine" / "val" / "lindau").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"lindau_000000_000019_gtFine_labelIds\.png: the labels of .* are missing"):
        Cityscapes(root, "val").photo(0)
    Image.new("RGB", (7, 4)).save(Cityscapes(root, "val").pair(0).file)
    with pytest.raises(ValueError, match=r"lindau_000000_000019_leftImg8bit\.png: 4 x 7 pixels .* cannot be halved"):
        Cityscapes(root, "val", half=True, labels=False).photo(0)
    for path in (root / "leftImg8bit" / "val" / "lindau").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"contains no photographs of split val; see datasets/cityscapes/README\.md"):
        Cityscapes(root, "val")
