"""Pascal VOC 2012: its layout with and without SBD's labels, its classes on the real files, broken copies."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rangeseg.photos.pascal_voc import PascalVOC
from rangeseg.types import IGNORE

REAL = ("2007_000032", "2007_000033", "2007_000039", "2007_000042")


def palette(size: int = 256) -> np.ndarray:
    """VOC's colours: bits 0, 3, 6 of an id are the highest of red, bits 1, 4, 7 of green, bits 2, 5 of blue."""
    bits = np.arange(size)[:, None] >> np.arange(9) & 1
    return (bits.reshape(size, 3, 3).transpose(0, 2, 1) @ [128, 64, 32]).astype(np.uint8)


def write_voc(root: Path, *, augmented: bool = True) -> Path:
    """Photographs a, b, c; a and b in train (labels of class 1), c in val, all but c also SBD's (class 2)."""
    home = root / "VOCdevkit" / "VOC2012"
    lists = home / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (home / "JPEGImages").mkdir()
    for name in "abc":
        Image.new("RGB", (4, 3), (9, 9, 9)).save(home / "JPEGImages" / f"{name}.jpg")
    for folder, names, raw in (("SegmentationClass", "abc", 1), ("SegmentationClassAug", "b", 2)):
        if augmented or raw == 1:
            (home / folder).mkdir()
            for name in names:
                Image.fromarray(np.full((3, 4), raw, np.uint8)).save(home / folder / f"{name}.png")
    (lists / "train.txt").write_text("a\nb\n")
    (lists / "val.txt").write_text("c\n")
    (lists / "test.txt").write_text("c\n")
    if augmented:
        (lists / "train_aug.txt").write_text(
            "".join(f"/JPEGImages/{n}.jpg /SegmentationClassAug/{n}.png\n" for n in "ba")
        )
    return root


@pytest.fixture(scope="session")
def voc_files(data_root: Path) -> Path:
    return data_root / "voc" / "VOCdevkit" / "VOC2012"


@pytest.fixture
def real_voc(voc_files: Path, tmp_path: Path) -> Path:
    """The real pairs, which come without lists, beside a list of them."""
    home = tmp_path / "VOCdevkit" / "VOC2012"
    (home / "ImageSets" / "Segmentation").mkdir(parents=True)
    for folder in ("JPEGImages", "SegmentationClass"):
        (home / folder).symlink_to(voc_files.resolve() / folder)
    (home / "ImageSets" / "Segmentation" / "train.txt").write_text("\n".join(REAL) + "\n")
    return tmp_path


def label_of(source: PascalVOC, index: int) -> np.ndarray:
    label = source.photo(index).label
    assert label is not None
    return label


def test_the_classes() -> None:
    classes = PascalVOC.read_label_map()
    assert (classes.num_classes, classes.names[0], classes.names[15], classes.names[20]) == (
        21,
        "background",
        "person",
        "tvmonitor",
    )
    np.testing.assert_array_equal(classes.colors, palette(21))
    assert classes.raw_colors[255] == tuple(palette()[255])
    assert classes.to_train([0, 20, 255]).tolist() == [0, 20, IGNORE]
    assert classes.to_raw([0, 20, IGNORE]).tolist() == [0, 20, 255]
    assert classes.things == tuple(range(1, 21))


def test_the_real_files(real_voc: Path) -> None:
    source = PascalVOC(real_voc)
    assert source.names == REAL
    for index, name in enumerate(source.names):
        photo, label = source.photo(index), label_of(source, index)
        with Image.open(source.pair(index).label or "") as picture:
            assert picture.mode == "P"
            assert (label == IGNORE).any()
            table = np.array(picture.getpalette(), np.uint8).reshape(-1, 3)
            np.testing.assert_array_equal(source.label_map.colors, table[:21])
            shown = np.asarray(picture.convert("RGB"))
        assert label.shape == photo.image.shape[:2], name
        known = label != IGNORE
        np.testing.assert_array_equal(source.label_map.colors[label[known]], shown[known])
    assert source.label_map.names.index("aeroplane") in label_of(source, 0)


def test_raw_id_pngs_give_the_labels_of_palette_pngs(voc_files: Path, real_voc: Path, tmp_path: Path) -> None:
    home = real_voc / "VOCdevkit" / "VOC2012"
    expected = [label_of(PascalVOC(real_voc), index) for index in range(4)]
    (home / "SegmentationClassAug").mkdir()
    for name in REAL:
        with Image.open(voc_files / "SegmentationClass" / f"{name}.png") as picture:
            Image.fromarray(np.asarray(picture)).save(home / "SegmentationClassAug" / f"{name}.png")
    (home / "ImageSets" / "Segmentation" / "train_aug.txt").write_text("\n".join(REAL))
    source = PascalVOC(real_voc)
    assert all("Aug" in str(source.pair(index).label) for index in range(4))
    for index, label in enumerate(expected):
        np.testing.assert_array_equal(label_of(source, index), label)


def test_the_augmented_list_is_taken_where_it_and_its_labels_are_there(tmp_path: Path) -> None:
    source = PascalVOC(write_voc(tmp_path / "aug"))
    assert source.names == ("b", "a")  # in the order of the list, on which permutations stand
    assert [int(label_of(source, index).max()) for index in range(2)] == [2, 1]  # SBD has no label of a
    plain = PascalVOC(write_voc(tmp_path / "plain", augmented=False))
    assert plain.names == ("a", "b")
    assert [int(label_of(plain, index).max()) for index in range(2)] == [1, 1]


def test_the_augmented_list_is_found_where_the_papers_code_keeps_it(tmp_path: Path) -> None:
    root = write_voc(tmp_path)
    sets = root / "VOCdevkit" / "VOC2012" / "ImageSets"
    (sets / "SegmentationAug").mkdir()
    (sets / "Segmentation" / "train_aug.txt").rename(sets / "SegmentationAug" / "train_aug.txt")
    assert PascalVOC(root).names == ("b", "a")
    assert PascalVOC(root, train_list="train_aug").names == ("b", "a")


def test_half_of_the_augmented_split_is_refused_and_never_the_small_one_in_its_place(tmp_path: Path) -> None:
    root = write_voc(tmp_path)
    home = root / "VOCdevkit" / "VOC2012"
    named = home / "ImageSets" / "Segmentation" / "train_aug.txt"
    content = named.read_bytes()
    named.unlink()
    with pytest.raises(ValueError, match=r"has SegmentationClassAug, but not its list train_aug\.txt in ImageSets/"):
        PascalVOC(root)
    named.write_bytes(content)
    shutil.rmtree(home / "SegmentationClassAug")
    with pytest.raises(ValueError, match=r"has train_aug\.txt, but not SegmentationClassAug"):
        PascalVOC(root)
    assert PascalVOC(root, train_list="train").names == ("a", "b")


def test_the_official_list_is_the_same_in_every_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = write_voc(tmp_path / "voc") / "VOCdevkit" / "VOC2012"
    monkeypatch.chdir(home)
    official = Path("ImageSets/Segmentation/train.txt")
    Path("linked.txt").symlink_to(official)
    for root in (home, Path(), Path("../VOC2012")):
        for named in (official, official.absolute(), Path("JPEGImages/..") / official, Path("linked.txt")):
            source = PascalVOC(root, train_list=str(named))
            assert int(label_of(source, 1).max()) == 1, (root, named)  # VOC's label of b, not SBD's


def test_the_training_list_can_be_named(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "voc")
    official = PascalVOC(root, train_list="train")
    assert official.names == ("a", "b")
    assert int(label_of(official, 1).max()) == 1
    (tmp_path / "mine.txt").write_text("b\n")
    assert PascalVOC(root, train_list=str(tmp_path / "mine.txt")).names == ("b",)
    assert PascalVOC(root, train_list="train_aug.txt").names == ("b", "a")
    with pytest.raises(
        ValueError, match=r"train_all\.txt: cannot be read .* has test\.txt, train\.txt, train_aug\.txt"
    ):
        PascalVOC(root, train_list="train_all")
    assert PascalVOC(root, "val", train_list="train_all").names == ("c",)  # it is of split train alone


@pytest.mark.parametrize("inner", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_root_may_be_any_of_the_folders(tmp_path: Path, inner: str) -> None:
    assert PascalVOC(write_voc(tmp_path) / inner, "val").names == ("c",)


def test_labels_of_the_test_split_are_not_looked_for(tmp_path: Path) -> None:
    root = write_voc(tmp_path)
    assert int(label_of(PascalVOC(root, "val"), 0).max()) == 1
    assert PascalVOC(root, "test").photo(0).label is None
    assert PascalVOC(root, labels=False).photo(0).label is None


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"no JPEGImages in \S+VOCdevkit/VOC2012, .* give the folder that holds VOCdevkit"
    ):
        PascalVOC(tmp_path)
    root = write_voc(tmp_path)
    lists = root / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation"
    with pytest.raises(ValueError, match="has no split 'trainval'; use train, val, test"):
        PascalVOC(root, "trainval")
    (lists / "val.txt").write_text("c\na\nc\n")
    with pytest.raises(ValueError, match="the list of split val names c twice"):
        PascalVOC(root, "val")
    (lists / "val.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"contains no photographs of split val; see datasets/pascal_voc/README\.md"):
        PascalVOC(root, "val")
    (lists / "val.txt").write_text("absent\n")
    with pytest.raises(ValueError, match=r"SegmentationClass/absent\.png: the labels of .* are missing"):
        PascalVOC(root, "val").photo(0)
    with pytest.raises(ValueError, match=r"JPEGImages/absent\.jpg: no such file"):
        PascalVOC(root, "val", labels=False).photo(0)
