"""Reading photographs and label images: what is there, and a clear word about what is not."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rangeseg.labels import LabelMap
from rangeseg.photos.io import (
    read_color_labels,
    read_image,
    read_label_image,
    read_photo,
    read_size,
    write_label_image,
)
from rangeseg.resources import resource
from rangeseg.types import IGNORE, Photo

CLASSES = LabelMap.read(resource("datasets", "camvid", "labels.yaml"))


def noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape, np.uint8)


def test_a_photo_is_what_the_files_hold(tmp_path: Path, rng: np.random.Generator) -> None:
    image, raw = noise(rng, 5, 7, 3), rng.integers(0, 12, (5, 7), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    Image.fromarray(raw).save(tmp_path / "l.png")
    photo = read_photo(tmp_path / "a.png", labels=tmp_path / "l.png", label_map=CLASSES)
    np.testing.assert_array_equal(photo.image, image)
    assert photo.label is not None
    np.testing.assert_array_equal(photo.label, np.where(raw == 11, IGNORE, raw))
    assert read_photo(tmp_path / "a.png").label is None


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_other_eight_bit_modes_become_rgb(tmp_path: Path, rng: np.random.Generator, mode: str) -> None:
    grey = noise(rng, 6, 4)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    (Image.fromarray(grey).convert("RGB") if mode == "CMYK" else Image.fromarray(grey)).convert(mode).save(path)
    np.testing.assert_array_equal(read_image(path), np.stack([grey] * 3, axis=2))


def test_of_a_palette_label_the_indices_are_read_not_the_colours(tmp_path: Path) -> None:
    raw = np.array([[0, 1], [2, 255]], np.uint8)
    picture = Image.fromarray(raw)
    picture.putpalette([7, 7, 7] * 256)
    picture.save(tmp_path / "l.png")
    with Image.open(tmp_path / "l.png") as opened:
        assert opened.mode == "P"
    np.testing.assert_array_equal(read_label_image(tmp_path / "l.png"), raw)


def test_sixteen_bit_labels_keep_their_ids(tmp_path: Path) -> None:
    raw = np.array([[0, 300], [65535, 2]], np.uint16)
    Image.fromarray(raw).save(tmp_path / "l.png")
    np.testing.assert_array_equal(read_label_image(tmp_path / "l.png"), raw)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 0.9])
def test_a_file_cut_short_is_named(tmp_path: Path, rng: np.random.Generator, suffix: str, share: float) -> None:
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(noise(rng, 40, 50, 3)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=rf"cut\.{suffix}: .*give an 8-bit image"):
        read_image(path)


def test_a_damaged_byte_never_gives_another_error(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "bad.png"
    Image.fromarray(noise(rng, 8, 9)).save(path)
    content = path.read_bytes()
    damaged = 0
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            read_label_image(path)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017 - some damage is none to a reader
            damaged += 1
    assert damaged > len(content) // 2


def write(path: Path, array: np.ndarray, mode: str | None = None) -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path)
    return path


def test_wrong_kinds_of_files_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    image, labels = write(tmp_path / "a.png", noise(rng, 4, 6, 3)), write(tmp_path / "l.png", noise(rng, 4, 6) % 11)
    with pytest.raises(ValueError, match=r"nowhere\.png: no such file"):
        read_image(tmp_path / "nowhere.png")
    with pytest.raises(ValueError, match=r"a\.png: is PNG of mode RGB; give a PNG of raw ids"):
        read_label_image(image)
    with pytest.raises(ValueError, match=r"l\.jpg: is JPEG of mode L"):
        read_label_image(write(tmp_path / "l.jpg", noise(rng, 4, 6)))
    with pytest.raises(ValueError, match=r"deep\.png: is PNG of mode I;16; give an 8-bit image"):
        read_image(write(tmp_path / "deep.png", np.zeros((3, 3), np.uint16)))
    with pytest.raises(ValueError, match="without a label map"):
        read_photo(image, labels=labels)
    with pytest.raises(ValueError, match=r"s\.png: 6 x 4 pixels of labels .* for the 4 x 6 of \S+a\.png"):
        read_photo(image, labels=write(tmp_path / "s.png", np.zeros((6, 4), np.uint8)), label_map=CLASSES)
    with pytest.raises(ValueError, match=r"u\.png: 24 labels have raw ids that CamVid does not know: 12"):
        read_photo(image, labels=write(tmp_path / "u.png", np.full((4, 6), 12, np.uint8)), label_map=CLASSES)


@pytest.mark.parametrize(
    ("image", "label", "said"),
    [
        (np.zeros((3, 4), np.uint8), None, r"give uint8 of \(H, W, 3\)"),
        (np.zeros((3, 4, 3), np.float32), None, "is float32"),
        (np.zeros((0, 4, 3), np.uint8), None, "has no pixels"),
        (np.zeros((3, 4, 3), np.uint8), np.zeros((4, 3), int), r"of shape \(4, 3\) for an image of 3 x 4"),
        (np.zeros((3, 4, 3), np.uint8), np.zeros((3, 4)), "is float64"),
    ],
)
def test_a_photo_is_checked_at_birth(image: np.ndarray, label: np.ndarray | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Photo(image, label)


@pytest.mark.parametrize("most", [256, 65536])
def test_a_label_image_is_read_as_it_was_written(tmp_path: Path, rng: np.random.Generator, most: int) -> None:
    raw = rng.integers(0, most, (6, 9), np.uint16)
    raw[0, 0] = most - 1
    write_label_image(tmp_path / "deep" / "l.png", raw.astype(np.int64))
    np.testing.assert_array_equal(read_label_image(tmp_path / "deep" / "l.png"), raw)
    assert read_size(tmp_path / "deep" / "l.png") == (6, 9)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["l.png"]


def test_a_palette_shows_colours_and_keeps_ids(tmp_path: Path) -> None:
    raw = np.array([[0, 2], [1, 255]])
    colors = np.arange(768).reshape(256, 3).astype(np.uint8)
    write_label_image(tmp_path / "l.png", raw, colors)
    np.testing.assert_array_equal(read_label_image(tmp_path / "l.png"), raw)
    with Image.open(tmp_path / "l.png") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), colors[raw])


@pytest.mark.parametrize(
    ("name", "raw", "palette", "said"),
    [
        ("l.jpg", np.zeros((2, 2), int), None, r"l\.jpg: unknown extension '\.jpg'; the name must end in \.png"),
        ("l.png", np.zeros((2, 2)), None, r"labels are float64 of shape \(2, 2\)"),
        ("l.png", np.zeros((2, 2, 3), int), None, r"of shape \(2, 2, 3\)"),
        ("l.png", np.full((2, 2), -1), None, "range from -1 to -1; give 0 to 65535"),
        ("l.png", np.full((2, 2), 256), np.zeros((256, 3), np.uint8), "range from 256 to 256; give 0 to 255"),
    ],
)
def test_what_is_no_label_image_is_not_written(
    tmp_path: Path, name: str, raw: np.ndarray, palette: np.ndarray | None, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        write_label_image(tmp_path / name, raw, palette)
    assert not list(tmp_path.iterdir())


def test_labels_in_colours_are_the_ids_of_their_colours(tmp_path: Path, rng: np.random.Generator) -> None:
    colors = {0: (0, 0, 0), 7: (1, 0, 0), 300: (0, 0, 1), 5: (1, 0, 0)}
    raw = rng.choice([0, 5, 300], (6, 5))
    painted = write(tmp_path / "l.png", np.array([[colors[i] for i in row] for row in raw.tolist()], np.uint8))
    np.testing.assert_array_equal(read_color_labels(painted, colors), raw)  # of 5 and 7, of one colour, the lowest
    with pytest.raises(ValueError, match=r"l\.png: colours \(0, 0, 1\) have no class"):
        read_color_labels(painted, {0: (0, 0, 0), 5: (1, 0, 0)})
    grey = write(tmp_path / "g.png", raw.astype(np.uint16))
    np.testing.assert_array_equal(read_color_labels(grey, colors), raw)
    with pytest.raises(
        ValueError, match=r"l\.jpg: is JPEG of mode RGB; give a PNG of raw ids, or of the classes' colours"
    ):
        read_color_labels(write(tmp_path / "l.jpg", np.zeros((4, 4, 3), np.uint8)), colors)


def test_sizes_of_what_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    for name, said in (("a.png", "give an image, and copy it again"), ("b.png", "no such file")):
        with pytest.raises(ValueError, match=rf"{name}: .*{said}"):
            read_size(tmp_path / name)


def test_a_png_whose_last_rows_are_damaged_is_refused(tmp_path: Path) -> None:
    """Pillow stops reading when it has all pixels, before the check sum."""
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 12, (40, 50)).astype(np.uint8)).save(path)
    whole, silent = path.read_bytes(), 0
    for at in range(len(whole) - 40, len(whole) - 16):
        path.write_bytes(whole[:at] + b"147483647" + whole[at:])
        with Image.open(path) as image, suppress(OSError, SyntaxError):
            image.load()
            silent += 1
        with pytest.raises(ValueError, match=r"a\.png: "):
            read_label_image(path)
    assert silent > 0, "Pillow alone finds all of it: check no sums"


def test_a_picture_that_expands_enormously_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.zeros((100, 100), np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for read in (read_label_image, read_image, read_size):
        with pytest.raises(ValueError, match=r"a\.png: Image size \(10000 pixels\) exceeds"):
            read(tmp_path / "a.png")
