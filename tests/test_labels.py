"""SemanticKITTI's classes as published, and what a label map must do with any classes."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import yaml

from rangeseg.labels import LabelMap
from rangeseg.resources import resource
from rangeseg.types import IGNORE

FILE = resource("datasets", "semantic_kitti", "labels.yaml")
CLASSES = LabelMap.read(FILE)

# The official learning_map: id 0 is unlabelled, class c is our train id c - 1.
OFFICIAL = {
    0: 0, 1: 0, 52: 0, 99: 0, 10: 1, 252: 1, 11: 2, 15: 3, 18: 4, 258: 4, 13: 5, 16: 5, 20: 5, 256: 5, 257: 5, 259: 5,
    30: 6, 254: 6, 31: 7, 253: 7, 32: 8, 255: 8, 40: 9, 60: 9, 44: 10, 48: 11, 49: 12, 50: 13, 51: 14, 70: 15, 71: 16,
    72: 17, 80: 18, 81: 19,
}  # fmt: skip
OFFICIAL_INVERSE = [0, 10, 11, 15, 18, 20, 30, 31, 32, 40, 44, 48, 49, 50, 51, 70, 71, 72, 80, 81]
PUBLISHED_WEIGHTS = [
    *(22.93, 857.6, 715.1, 316.0, 356.2, 747.6, 887.2, 963.9, 5.005, 63.62),
    *(6.900, 203.9, 7.480, 13.63, 3.734, 142.1, 12.64, 259.4, 619.0),
]


def test_the_official_classes() -> None:
    assert CLASSES.num_classes == len(CLASSES.names) == 19
    assert (CLASSES.names[0], CLASSES.names[8], CLASSES.names[18]) == ("car", "road", "traffic-sign")
    assert len(CLASSES.raw_names) == 34
    assert {raw: (c - 1) % 256 for raw, c in OFFICIAL.items()} == dict(CLASSES.learning_map)
    assert [0, *CLASSES.raw_ids] == OFFICIAL_INVERSE
    assert CLASSES.raw_names[252] == "moving-car"


def test_colours_are_rgb_and_different() -> None:
    assert CLASSES.colors.shape == (19, 3)
    assert CLASSES.colors.dtype == np.uint8
    colour = dict(zip(CLASSES.names, CLASSES.colors.tolist(), strict=True))
    assert colour["car"] == [100, 150, 245]
    assert colour["building"] == [255, 200, 0]
    assert colour["traffic-sign"] == [255, 0, 0]
    assert len(np.unique(CLASSES.colors, axis=0)) == 19


def test_class_weights_are_the_published_ones() -> None:
    np.testing.assert_allclose(CLASSES.class_weights(), PUBLISHED_WEIGHTS, rtol=5e-4)
    np.testing.assert_allclose(CLASSES.class_weights(0.0), 1 / CLASSES.frequencies)
    ignored = 0.031502
    assert CLASSES.frequencies.sum() + ignored == pytest.approx(1, abs=1e-4)


def test_official_splits_and_scan_counts() -> None:
    scans = {split: sum(CLASSES.scan_counts[s] for s in sequences) for split, sequences in CLASSES.splits.items()}
    assert scans == {"train": 19130, "val": 4071, "test": 20351}
    everything = [sequence for sequences in CLASSES.splits.values() for sequence in sequences]
    assert sorted(everything) == sorted(CLASSES.scan_counts) == [f"{i:02d}" for i in range(22)]


def test_sensor_is_what_a_projection_takes() -> None:
    assert CLASSES.sensor == {"height": 64, "width": 2048, "fov_up_deg": 3.0, "fov_down_deg": -25.0}
    assert isinstance(CLASSES.sensor["height"], int)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int32, np.int64])
def test_to_train_of_every_raw_id(dtype: type) -> None:
    train = CLASSES.to_train(np.array([*OFFICIAL], dtype))
    assert train.dtype == np.uint8
    assert train.tolist() == [c - 1 if c else IGNORE for c in OFFICIAL.values()]


def test_to_train_leaves_instances_out_even_if_read_as_signed() -> None:
    raw = np.array([65535 << 16 | 252, 32768 << 16 | 10, 1 << 16], np.uint32)
    assert CLASSES.to_train(raw).tolist() == CLASSES.to_train(raw.view(np.int32)).tolist() == [0, 0, IGNORE]


def test_every_unknown_raw_id_is_an_error() -> None:
    known = 0
    for raw in range(1 << 16):
        if raw in OFFICIAL:
            known += 1
        elif raw < 400 or raw % 997 == 0:
            with pytest.raises(ValueError, match=rf"1 labels have raw ids .* know: {raw} "):
                CLASSES.to_train([raw])
    assert known == 34


def test_there_and_back() -> None:
    train = np.array([*range(19), IGNORE], np.uint8)
    assert np.array_equal(CLASSES.to_train(CLASSES.to_raw(train)), train)
    assert CLASSES.to_raw(train).tolist() == [*OFFICIAL_INVERSE[1:], 0]
    assert CLASSES.to_raw(train.astype(np.int64)).dtype == np.uint32
    assert CLASSES.to_raw(np.zeros((2, 3), np.int64)).shape == CLASSES.to_train(np.zeros((2, 3), int)).shape == (2, 3)


@pytest.mark.parametrize("wrong", [-1, 19, 254, 256, 1000])
def test_to_raw_refuses_what_is_no_train_id(wrong: int) -> None:
    with pytest.raises(
        ValueError, match=rf"1 labels are not train ids of SemanticKITTI: {wrong}\. Give 0 to 18, or 255"
    ):
        CLASSES.to_raw([0, wrong, IGNORE])


@pytest.mark.parametrize("convert", [CLASSES.to_raw, CLASSES.to_train])
def test_fractions_are_no_labels(convert: object) -> None:
    with pytest.raises(ValueError, match="ids are float64; give integers"):
        convert([1.0])


def test_travels_to_other_processes() -> None:
    CLASSES.to_train([10])
    other = pickle.loads(pickle.dumps(CLASSES))
    assert other.to_train([10, 81]).tolist() == [0, 18]


def write(path: Path, **changes: object) -> Path:
    usual = {"moving": None} if "raw" in changes else {}  # the raw ids of SemanticKITTI that move
    content = yaml.safe_load(FILE.read_text()) | usual | changes
    path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
    return path


def test_other_classes_of_ones_own(tmp_path: Path) -> None:
    classes = [{"name": "ground", "color": [1, 2, 3], "raw": 5, "frequency": 0.75}]
    raw = {0: {"name": "void", "class": "ignore"}, 5: {"name": "floor", "class": "ground"}}
    mine = LabelMap.read(write(tmp_path / "labels.yaml", dataset="mine", classes=classes, raw=raw))
    assert mine.to_train([5, 0, 5]).tolist() == [0, IGNORE, 0]
    assert mine.to_raw([0, IGNORE]).tolist() == [5, 0]
    assert mine.things == ()
    with pytest.raises(ValueError, match="mine does not know: 10"):
        mine.to_train([10])


GROUND = {"name": "ground", "color": [1, 2, 3], "raw": 5, "frequency": 0.75}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": None}, "lacks 'classes'"),
        ({"sensor": {"height": 64}}, "lacks 'width'"),
        ({"classes": []}, "not classes"),
        ({"classes": [GROUND], "raw": {5: {"name": "floor", "class": "grund"}}}, "'grund'"),
        ({"classes": [GROUND], "raw": {4: {"name": "floor", "class": "ground"}}}, "raw id 5 of class 'ground'"),
        ({"classes": [GROUND, GROUND | {"raw": 6}], "raw": {5: {"name": "floor", "class": "ground"}}}, "same name"),
        (
            {"classes": [GROUND | {"color": [1, 2]}], "raw": {5: {"name": "a", "class": "ground"}}},
            r"color \[1, 2\] is no",
        ),
        (
            {"classes": [GROUND | {"color": [1, 2, 300]}], "raw": {5: {"name": "a", "class": "ground"}}},
            r"color \[1, 2, 300\] is no",
        ),
        ({"classes": [GROUND | {"raw": 70000}], "raw": {70000: {"name": "a", "class": "ground"}}}, "16 bits"),
        ({"raw": [1, 2]}, "labels.yaml"),
        ({"splits": {"train": "ab"}}, r"splits is \{'train': 'ab'\}; give lists of names"),
        ({"splits": {"train": [7]}}, "give lists of names, .* quotes around names that are numbers"),
        ({"splits": ["train"]}, "give lists of names"),
        ({"scan_counts": {0: 4541}}, r"scan_counts has 0: 4541; .*quotes around names that are numbers"),
        ({"scan_counts": {"0": 4541}}, r"scan_counts has '0': 4541; give whole numbers for names of splits"),
        ({"split_counts": {"trian": 9}}, "split_counts has 'trian': 9"),
        ({"split_counts": {"train": "many"}}, "split_counts has 'train': 'many'"),
        ({"moving": "12"}, "moving is '12'; give a list of the ids under raw"),
        ({"moving": ["252"]}, r"moving is \['252'\]; give a list of the ids under raw"),
        ({"moving": [252, 2525]}, r"moving is \[252, 2525\]; give a list of the ids under raw"),
        ({"movin": [252]}, "'movin' is not a key; did you mean 'moving'"),
        ({"classes": [GROUND | {"things": True}]}, "'things' is not a key of a class"),
        ({"classes": [GROUND | {"name": False}]}, "the name False in a class is not text; put quotes around it"),
        ({"raw": {5: {"name": 5, "class": "ground"}}}, "the name 5 in a raw id is not text"),
        ({"raw": {5: {"name": "floor", "class": "ground", "moving": True}}}, "'moving' is not a key of a raw id"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, changes: dict, said: str) -> None:
    path = write(tmp_path / "wrong.yaml", **changes)
    with pytest.raises(ValueError, match=said) as caught:
        LabelMap.read(path)
    assert str(caught.value).startswith(str(path))


def test_an_id_or_a_key_that_occurs_twice_is_named_with_its_line(tmp_path: Path) -> None:
    """YAML would use the last one: the labels of the raw id would have another class."""
    path, text = tmp_path / "wrong.yaml", FILE.read_text()
    path.write_text(text + "  40: {name: again, class: car}\n")
    count = len(text.splitlines()) + 1
    with pytest.raises(ValueError, match=rf"wrong\.yaml: line {count}: 40 occurs twice; keep one of them"):
        LabelMap.read(path)
    path.write_text(f"base: &base {{a: 1}}\n{text}more: {{<<: *base, a: 2}}\n")  # a merged key may occur again
    assert LabelMap.read(path).names == LabelMap.read(FILE).names


@pytest.mark.parametrize("content", [b"", b"[1, 2", b"\xff\xfe\x00", b"just text"])
def test_files_that_are_no_label_map(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "wrong.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=r"wrong\.yaml"):
        LabelMap.read(tmp_path / "wrong.yaml")


def test_missing_file() -> None:
    with pytest.raises(ValueError, match=r"nowhere\.yaml: cannot be read \(No such file"):
        LabelMap.read("nowhere.yaml")


def test_missing_resource_says_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"ships no datasets/semantic_kitty/labels\.yaml.*there is: .*semantic_kitti"):
        resource("datasets", "semantic_kitty", "labels.yaml")


def test_every_raw_id_of_the_real_files_is_known(scans_root: Path) -> None:
    found: set[int] = set()
    for path in scans_root.glob("sequences/*/labels/*.label"):
        found |= set(np.unique(np.fromfile(path, "<u4") & 0xFFFF).tolist())
    assert len(found) > 10
    assert found <= set(CLASSES.raw_names)


def test_frequencies_may_be_unknown_but_not_some_of_them(tmp_path: Path) -> None:
    classes = [{"name": "ground", "color": [1, 2, 3], "raw": 5}, {"name": "roof", "color": [4, 5, 6], "raw": 6}]
    raw = {5: {"name": "floor", "class": "ground"}, 6: {"name": "roof", "class": "roof"}}
    unknown = LabelMap.read(write(tmp_path / "labels.yaml", dataset="mine", classes=classes, raw=raw))
    assert unknown.frequencies is None
    with pytest.raises(ValueError, match=r"mine's labels\.yaml has no class frequencies; set class_weights"):
        unknown.class_weights()
    classes[0]["frequency"] = 0.5
    with pytest.raises(ValueError, match="lacks 'frequency'"):
        LabelMap.read(write(tmp_path / "labels.yaml", classes=classes, raw=raw))


def test_a_raw_ids_colour_is_its_own_or_its_classs(tmp_path: Path) -> None:
    raw = {
        0: {"name": "void", "class": "ignore", "color": [9, 8, 7]},
        4: {"name": "lawn", "class": "ground"},
        5: {"name": "floor", "class": "ground"},
    }
    mine = LabelMap.read(write(tmp_path / "labels.yaml", classes=[GROUND], raw=raw))
    assert mine.raw_colors == {5: (1, 2, 3), 0: (9, 8, 7)}
    raw[0]["color"] = [9, 8]
    with pytest.raises(ValueError, match=r"color \[9, 8\] is no"):
        LabelMap.read(write(tmp_path / "labels.yaml", classes=[GROUND], raw=raw))
