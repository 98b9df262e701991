"""Photographs that a camera turned, label images by their palette's colours, and modes that hold no raw ids."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from rangeseg.labels import LabelMap
from rangeseg.notices import Notice
from rangeseg.photos.camvid import CamVid
from rangeseg.photos.folder import PhotoFolder
from rangeseg.photos.io import read_image, read_photo, read_size
from rangeseg.resources import resource

VOC = LabelMap.read(resource("datasets", "pascal_voc", "labels.yaml"))


def save(path: Path, image: np.ndarray, orientation: int | None = None) -> Path:
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.fromarray(image).save(path, exif=exif)
    return path


@pytest.fixture
def picture(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (6, 9, 3), np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_upright_and_so_is_its_size(orientation: int, picture: np.ndarray, tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", picture, orientation)
    with Image.open(path) as image:
        expected = np.array(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read_image(path), expected)
    assert read_size(path) == expected.shape[:2]


@pytest.mark.parametrize(("orientation", "turn"), [(3, "180"), (6, "90"), (8, "270")])
def test_labels_of_a_turned_photograph_need_the_same_tag(
    orientation: int, turn: str, picture: np.ndarray, tmp_path: Path
) -> None:
    """At 180 degrees sizes agree, and every label would be on the wrong half."""
    labels = np.arange(54, dtype=np.uint8).reshape(6, 9) % 21
    photo = save(tmp_path / "a.png", picture, orientation)
    plain = save(tmp_path / "plain.png", labels)
    with pytest.raises(ValueError, match=rf"a\.png: its EXIF tag Orientation is {orientation} \(turned by {turn} deg"):
        read_photo(photo, labels=plain, label_map=VOC)
    with pytest.raises(ValueError, match=rf"plain\.png is {orientation}|that of .*b\.png is {orientation}"):
        read_photo(
            save(tmp_path / "b0.png", picture), labels=save(tmp_path / "b.png", labels, orientation), label_map=VOC
        )
    both = read_photo(photo, labels=save(tmp_path / "both.png", labels, orientation), label_map=VOC)
    assert both.label is not None
    plainly = read_photo(save(tmp_path / "c.png", picture), labels=plain, label_map=VOC)
    assert plainly.label is not None
    turned = np.rot90(np.dstack([plainly.image, plainly.label]), {3: 2, 6: 3, 8: 1}[orientation])
    np.testing.assert_array_equal(np.dstack([both.image, both.label]), turned)


def painted(path: Path, raw: np.ndarray, order: np.ndarray) -> Path:
    """Raw ids as a palette PNG whose index k stands for the id order[k], in VOC's colours."""
    colors = np.zeros((256, 3), np.uint8)
    for index, one in enumerate(order):
        colors[index] = VOC.raw_colors.get(int(one), (224, 224, 192))
    image = Image.fromarray(np.argsort(order).astype(np.uint8)[raw])
    image.putpalette(colors.tobytes())
    image.save(path)
    return path


def test_a_palette_in_another_order_goes_by_colour_and_says_so(
    picture: np.ndarray, tmp_path: Path, rng: np.random.Generator
) -> None:
    raw = rng.integers(0, 21, (6, 9))
    raw[0, :5] = [0, 1, 2, 3, 255]
    photo = save(tmp_path / "a.png", picture)
    order = np.arange(256)
    order[:21] = rng.permutation(21)
    for name, wanted in (("usual", np.arange(256)), ("other", order)):
        path = painted(tmp_path / f"{name}.png", raw, wanted)
        if name == "other":
            with pytest.warns(
                Notice, match=r"other\.png: its palette has the classes' colours at indices that are not"
            ):
                label = read_photo(photo, labels=path, label_map=VOC).label
        else:
            label = read_photo(photo, labels=path, label_map=VOC).label
        np.testing.assert_array_equal(label, VOC.to_train(raw))


def test_a_palette_that_tells_nothing_leaves_the_indices(picture: np.ndarray, tmp_path: Path) -> None:
    """A grey ramp, and colours of no class."""
    raw = np.arange(54).reshape(6, 9) % 21
    photo = save(tmp_path / "a.png", picture)
    ramp, odd = np.repeat(np.arange(256), 3), np.arange(768) % 251
    for palette in (ramp, odd):
        image = Image.fromarray(raw.astype(np.uint8))
        image.putpalette(palette.astype(np.uint8).tobytes())
        image.save(tmp_path / "l.png")
        label = read_photo(photo, labels=tmp_path / "l.png", label_map=VOC).label
        np.testing.assert_array_equal(label, VOC.to_train(raw))


def test_a_palette_with_some_colours_of_classes_is_refused_as_in_rgb(picture: np.ndarray, tmp_path: Path) -> None:
    colors = np.array([[255, 255, 255], VOC.raw_colors[0], VOC.raw_colors[3], VOC.raw_colors[9]], np.uint8)
    index = np.arange(54).reshape(6, 9) % 4
    photo, painted_labels = save(tmp_path / "a.png", picture), save(tmp_path / "rgb.png", colors[index])
    image = Image.fromarray(index.astype(np.uint8))
    image.putpalette(colors.tobytes())
    image.save(tmp_path / "l.png")
    for labels in (painted_labels, tmp_path / "l.png"):
        said = rf"{labels.name}: .*\(255, 255, 255\).* have no class[;.] [gG]ive each a raw id with this color"
        with pytest.raises(ValueError, match=said):
            PhotoFolder.read(photo, labels, label_map=VOC)
    with pytest.raises(ValueError, match=r"l\.png: .* at index 1, .*\(255, 255, 255\) at index 0 have no class"):
        read_photo(photo, labels=tmp_path / "l.png", label_map=VOC)


def test_a_palette_of_raw_ids_may_have_another_colour_for_void(picture: np.ndarray, tmp_path: Path) -> None:
    """The colours of the classes are at their ids, and 255 is white or not in the palette."""
    raw = np.arange(54).reshape(6, 9) % 21
    raw[0, :3] = 255
    photo = save(tmp_path / "a.png", picture)
    classes = np.array([VOC.raw_colors[k] for k in range(21)], np.uint8)
    for size in (235, 0):
        rest = np.full((size, 3), 255, np.uint8)
        image = Image.fromarray(raw.astype(np.uint8))
        image.putpalette(np.concatenate([classes, rest]).tobytes())
        image.save(tmp_path / "l.png")
        label = PhotoFolder.read(photo, tmp_path / "l.png", label_map=VOC).label
        np.testing.assert_array_equal(label, VOC.to_train(raw))


def test_a_folder_of_ones_own_goes_by_colour_too(picture: np.ndarray, tmp_path: Path) -> None:
    raw = np.arange(54).reshape(6, 9) % 21
    order = np.r_[np.arange(20, -1, -1), np.arange(21, 256)]
    photo, labels = save(tmp_path / "a.png", picture), painted(tmp_path / "l.png", raw, order)
    with pytest.warns(Notice, match="labels are read by colour"):
        label = PhotoFolder.read(photo, labels, label_map=VOC).label
    np.testing.assert_array_equal(label, VOC.to_train(raw))


def test_real_palettes_are_in_order(data_root: Path) -> None:
    """Every VOC label there is, and CamVid's, are read without a word; their indices are the ids."""
    camvid = CamVid(data_root / "camvid", "val")
    assert all(camvid.photo(index).label is not None for index in range(3))
    for path in (data_root / "voc").rglob("SegmentationClass/*.png"):
        photo = path.parents[1] / "JPEGImages" / f"{path.stem}.jpg"
        with Image.open(path) as image:
            raw = np.array(image)
        np.testing.assert_array_equal(read_photo(photo, labels=path, label_map=VOC).label, VOC.to_train(raw))


@pytest.mark.parametrize(
    ("mode", "said"),
    [("RGBA", "alpha channel"), ("LA", "alpha channel"), ("1", "the raw id as the value of each pixel")],
)
@pytest.mark.parametrize("read", ["photo", "folder"])
def test_modes_without_raw_ids_are_refused_with_the_cure(
    mode: str, said: str, read: str, picture: np.ndarray, tmp_path: Path
) -> None:
    photo = save(tmp_path / "a.png", picture)
    Image.new(mode, (9, 6)).save(tmp_path / "l.png")
    reads: dict[str, Any] = {
        "photo": lambda: read_photo(photo, labels=tmp_path / "l.png", label_map=VOC),
        "folder": lambda: PhotoFolder.read(photo, tmp_path / "l.png", label_map=VOC),
    }
    with pytest.raises(ValueError, match=rf"l\.png: is PNG of mode {re.escape(mode)}, .*{said}"):
        reads[read]()
