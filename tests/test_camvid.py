"""CamVid: its layout, its classes on the real files, its lists, and what a broken copy is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import write_camvid

from rangeseg.apps.split import draw_nested_lists, write_lists
from rangeseg.data.lists import read_names
from rangeseg.labels import LabelMap
from rangeseg.photos.camvid import CamVid
from rangeseg.resources import resource
from rangeseg.types import IGNORE

SHIPPED = resource("datasets", "camvid", "splits")
COUNTS = {"train": 367, "val": 101, "test": 233}


@pytest.fixture(scope="session")
def camvid_root(data_root: Path) -> Path:
    return data_root / "camvid"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_camvid(tmp_path / "camvid", photos=3)


def test_the_classes() -> None:
    classes = CamVid.read_label_map()
    assert (classes.num_classes, classes.names[0], classes.names[3], classes.names[10]) == (
        11,
        "sky",
        "road",
        "bicyclist",
    )
    assert classes.raw_ids == tuple(range(11))
    assert classes.learning_map[11] == IGNORE
    assert classes.sensor is None
    train = np.array([*range(11), IGNORE], np.uint8)
    assert classes.to_raw(train).tolist() == [*range(11), 11]
    np.testing.assert_array_equal(classes.to_train(classes.to_raw(train)), train)
    assert len(np.unique(classes.colors, axis=0)) == 11


@pytest.mark.parametrize("split", COUNTS)
def test_the_real_files(camvid_root: Path, split: str) -> None:
    source = CamVid(camvid_root, split)
    assert len(source) == COUNTS[split]
    assert list(source.names) == sorted(set(source.names))
    photo = source.photo(len(source) // 2)
    assert photo.image.shape == (360, 480, 3)
    assert photo.label is not None
    assert photo.label.shape == (360, 480)
    assert photo.label[photo.label != IGNORE].max() < 11
    assert all(pair.label is not None and pair.label.is_file() for pair in map(source.pair, range(len(source))))


def test_the_frequencies_are_those_of_the_training_annotations(camvid_root: Path) -> None:
    source = CamVid(camvid_root, "train")
    counts = np.zeros(256)
    for index in range(len(source)):
        label = source.photo(index).label
        assert label is not None
        counts += np.bincount(label.reshape(-1), minlength=256)
    np.testing.assert_allclose(source.label_map.frequencies, counts[:11] / counts.sum(), atol=1e-9)


def test_real_sky_is_above_real_road(camvid_root: Path) -> None:
    photo = CamVid(camvid_root, "train").photo(0)
    rows = [np.argwhere(photo.label == train_id)[:, 0].mean() for train_id in (0, 3)]
    assert rows[0] < 120 < 240 < rows[1]


@pytest.mark.parametrize(("percent", "count"), [("12.5", 46), ("25", 92)])
def test_the_shipped_lists_are_those_of_the_command(
    camvid_root: Path, tmp_path: Path, percent: str, count: int
) -> None:
    path = SHIPPED / f"train_{percent}pct_uniform.txt"
    source = CamVid(camvid_root, "train", subset=path)
    assert len(source) == count
    assert path.read_text().startswith(f"# CamVid: {count} of 367 training photographs, labelled.\n")
    drawn = draw_nested_lists(CamVid(camvid_root, "train").names, [float(percent) / 100], 0)
    assert tuple(drawn.values()) == (source.names,)
    (written,) = write_lists(tmp_path, fractions=[float(percent) / 100], dataset="camvid", root=camvid_root)
    assert written.name == path.name
    assert CamVid(camvid_root, "train", subset=written).names == source.names


def test_the_small_list_is_within_the_larger_and_shows_every_class(camvid_root: Path) -> None:
    lists = (SHIPPED / f"train_{share}pct_uniform.txt" for share in ("12.5", "25"))
    source, larger = (CamVid(camvid_root, "train", subset=path) for path in lists)
    assert set(source.names) < set(larger.names)
    seen = {int(i) for index in range(len(source)) for i in np.unique(source.photo(index).label)}  # type: ignore[arg-type]
    assert seen - {IGNORE} == set(range(11))


def test_labels_are_read_only_where_asked(root: Path) -> None:
    (root / "trainannot" / "v_0001.png").unlink()
    assert CamVid(root, labels=False).photo(1).label is None
    assert CamVid(root).photo(0).label is not None
    with pytest.raises(ValueError, match=r"trainannot/v_0001\.png: the labels of \S+train/v_0001\.png are missing"):
        CamVid(root).photo(1)


def test_photographs_are_chosen_by_name(root: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("# two\nv_0002\n\nv_0000  # first\n")
    assert CamVid(root, subset=tmp_path / "list.txt").names == ("v_0000", "v_0002")
    assert CamVid(root, subset=["v_0001"]).name(0) == "v_0001"
    with pytest.raises(ValueError, match=r"1 of 2 listed photographs do not exist: v_9\. Name photographs of split"):
        CamVid(root, subset=["v_0001", "v_9"])
    with pytest.raises(ValueError, match="the list names no photograph"):
        CamVid(root, subset=[])
    (tmp_path / "list.txt").write_text("two words\n")
    with pytest.raises(ValueError, match=r"list\.txt: in \S+: 1 of 1 listed photographs do not exist: two words"):
        CamVid(root, subset=tmp_path / "list.txt")


@pytest.mark.parametrize("name", ["two words", "a#1", "#a b"])
def test_any_name_of_a_file_can_be_listed(name: str, root: Path, tmp_path: Path) -> None:
    """Before, `a#1` in a list was the photograph `a`."""
    for folder in ("train", "trainannot"):
        for path in (root / folder).glob("v_0001.*"):
            path.rename(path.with_stem(name))
    (tmp_path / "list.txt").write_text(f"# one\n{name}  # a comment\n")
    if name.startswith("#"):
        with pytest.raises(ValueError, match="lists no photograph"):
            CamVid(root, subset=tmp_path / "list.txt")
    else:
        assert CamVid(root, subset=tmp_path / "list.txt").names == (name,)


def test_what_is_not_there_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="CamVid has no split 'valid'; use train, val, test"):
        CamVid(root, "valid")
    with pytest.raises(ValueError, match=r"nowhere/train: no such folder"):
        CamVid(tmp_path / "nowhere")
    (root / "train" / "v_0000.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"several files have the name v_0000"):
        CamVid(root)
    for path in (root / "train").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"contains no photographs of split train; see datasets/camvid/README\.md"):
        CamVid(root)


def test_blocks_and_counts_are_for_scans(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"v_0000 is not a scan of a sequence; draw by frame"):
        write_lists(tmp_path, dataset="camvid", root=root, by="block")
    with pytest.raises(
        ValueError, match="CamVid has no scan_counts, so its names are unknown; give the dataset's root"
    ):
        write_lists(tmp_path, dataset="camvid")


def test_a_class_cannot_be_what_ignore_is_written_as(tmp_path: Path) -> None:
    text = resource("datasets", "camvid", "labels.yaml").read_text().replace("ignore: 11", "ignore: 3")
    (tmp_path / "labels.yaml").write_text(text)
    with pytest.raises(ValueError, match="raw id 3 has a class; set ignore to a raw id without a class"):
        LabelMap.read(tmp_path / "labels.yaml")


def test_a_list_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.txt: cannot be read"):
        read_names(tmp_path / "none.txt", pattern=".", what="thing", form="X", example="x")
