"""The SemanticKITTI source, and sparse labels on top of one."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from conftest import random_scan
from numpy.typing import NDArray

from rangeseg.catalog import DATASETS
from rangeseg.data.dataset import ScanSource
from rangeseg.data.semantic_kitti import SemanticKitti, read_list
from rangeseg.data.sparse import SparseLabels
from rangeseg.projection.range_image import RangeImage
from rangeseg.projection.spherical import SphericalProjection
from rangeseg.registry import build
from rangeseg.scan_io import write_labels
from rangeseg.types import IGNORE, Scan

PROJECTION = SphericalProjection(height=32, width=128, fov_up_deg=3.0, fov_down_deg=-25.0)


@pytest.fixture
def root(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Three training, one validation and one test sequence of two or three small scans."""
    for sequence, frames in {"00": 3, "02": 2, "10": 2, "08": 2, "11": 2}.items():
        folder = tmp_path / "sequences" / sequence
        (folder / "velodyne").mkdir(parents=True)
        for frame in range(frames):
            points = rng.uniform(-20, 20, (30, 4)).astype(np.float32)
            (folder / "velodyne" / f"{frame:06d}.bin").write_bytes(points.tobytes())
            if sequence != "11":
                write_labels(folder / "labels" / f"{frame:06d}.label", rng.choice([0, 10, 252, 40], 30))
    return tmp_path


TRAIN = ("00/000000", "00/000001", "00/000002", "02/000000", "02/000001", "10/000000", "10/000001")


def test_splits_in_order(root: Path) -> None:
    assert SemanticKitti(root).names == TRAIN
    assert SemanticKitti(root, "val").names == ("08/000000", "08/000001")
    assert SemanticKitti(root, "test").names == ("11/000000", "11/000001")
    source: ScanSource = SemanticKitti(root)
    assert len(source) == 7
    assert source.name(3) == "02/000000"
    assert source.label_map.num_classes == 19


def test_scan_is_the_file_of_its_name(root: Path) -> None:
    source = SemanticKitti(root)
    for index in range(len(source)):
        scan = source.scan(index)
        sequence, frame = source.name(index).split("/")
        assert source.scan_path(index) == root / "sequences" / sequence / "velodyne" / f"{frame}.bin"
        assert np.array_equal(scan.xyz, np.fromfile(source.scan_path(index), "<f4").reshape(-1, 4)[:, :3])
        raw = np.fromfile(source.label_path(index), "<u4")
        assert np.array_equal(scan.label, source.label_map.to_train(raw))


def test_the_folder_above_dataset_will_do(root: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (root / "sequences").rename(tmp_path / "dataset" / "sequences")
    assert SemanticKitti(tmp_path).names == SemanticKitti(tmp_path / "dataset").names == TRAIN


def test_only_some_sequences(root: Path) -> None:
    assert SemanticKitti(root, sequences=["10", "02"]).names == TRAIN[3:]
    assert SemanticKitti(root, sequences=[2]).names == TRAIN[3:5]  # YAML reads 02 as a number
    with pytest.raises(ValueError, match="Sequences 08 are not in split train; use 00, 01"):
        SemanticKitti(root, sequences=["08"])
    with pytest.raises(ValueError, match=r"sequences 01 have no velodyne/ folder"):
        SemanticKitti(root, sequences=["00", "01"])


def test_only_some_frames(root: Path) -> None:
    names = ("10/000001", "00/000002")
    listed = root / "list.txt"
    listed.write_text("# two scans\n\n10/000001  # one\n00/000002\n")
    assert SemanticKitti(root, subset=listed).names == SemanticKitti(root, subset=str(listed)).names == names[::-1]
    assert SemanticKitti(root, subset=names).names == SemanticKitti(root).select(names).names == names[::-1]
    assert np.array_equal(SemanticKitti(root).select(names).scan(1).xyz, SemanticKitti(root).scan(6).xyz)
    whole = SemanticKitti(root)
    whole.select(names)
    assert whole.names == TRAIN


def test_frames_that_are_not_there(root: Path) -> None:
    with pytest.raises(ValueError, match=r"2 of 3 listed scans do not exist: 00/000009, 08/000000\. Name"):
        SemanticKitti(root, subset=["00/000000", "08/000000", "00/000009"])
    with pytest.raises(ValueError, match="the list names no scan"):
        SemanticKitti(root).select([])
    with pytest.raises(ValueError, match=r"none\.txt: cannot be read"):
        SemanticKitti(root, subset="none.txt")


def test_a_list_of_scans_that_are_not_there_is_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("00/000009\n")
    with pytest.raises(ValueError, match=r"mine\.txt: in .*: 1 of 1 listed scans do not exist"):
        SemanticKitti(root, subset=tmp_path / "mine.txt")


@pytest.mark.parametrize("line", ["00-000001", "000001", "00/000001/2", "a/b", "00/000001.bin", "00/poses/000001.bin"])
def test_lists_of_something_else(tmp_path: Path, line: str) -> None:
    (tmp_path / "list.txt").write_text(f"00/000000\n{line}\n")
    with pytest.raises(ValueError, match=rf"list\.txt, line 2: '{line}' is not a scan; write SS/FFFFFF"):
        read_list(tmp_path / "list.txt")


def test_published_lists_are_read_as_they_are(root: Path, tmp_path: Path) -> None:
    names = SemanticKitti(root).names
    lines = {
        "it2.txt": [*names[:2], names[0]],
        "lim3d.txt": [f"data_odometry_velodyne/dataset/sequences/{n[:2]}/velodyne/{n[3:]}.bin" for n in names[:2]],
        "labels.txt": [f"{n[:2]}/labels/{n[3:]}.label" for n in names[:2]],
    }
    for file, written in lines.items():
        (tmp_path / file).write_bytes("\r\n".join([*written, ""]).encode())
        assert SemanticKitti(root, subset=tmp_path / file).names == names[:2], file
    (tmp_path / "list.txt").write_text("sequences/00/velodyne/999999.bin\n")
    with pytest.raises(ValueError, match=r"1 of 1 listed scans do not exist: 00/999999"):
        SemanticKitti(root, subset=tmp_path / "list.txt")


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"\xff\xfe"])
def test_lists_of_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(ValueError, match=r"list\.txt: "):
        read_list(tmp_path / "list.txt")


def test_missing_folders_say_what_was_looked_for(root: Path) -> None:
    with pytest.raises(ValueError, match=r"elsewhere: neither \S+elsewhere/sequences nor \S+dataset/sequences exists"):
        SemanticKitti(root / "elsewhere")
    with pytest.raises(ValueError, match="has no split 'valid'; use train, val, test"):
        SemanticKitti(root, "valid")
    (root / "sequences" / "08").rename(root / "sequences" / "07")
    with pytest.raises(ValueError, match="no sequence of split val found; looked for SS/velodyne with SS 08"):
        SemanticKitti(root, "val")


def test_sequences_without_scans(root: Path) -> None:
    for path in (root / "sequences" / "08" / "velodyne").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"sequences 08 have no scans in velodyne/"):
        SemanticKitti(root, "val")


def test_labels_are_hidden_or_demanded(root: Path) -> None:
    assert SemanticKitti(root, "test").scan(0).label is None
    assert SemanticKitti(root, labels=False).scan(0).label is None
    SemanticKitti(root).label_path(0).unlink()
    with pytest.raises(ValueError, match=r"labels/000000\.label: the labels of \S+000000\.bin are missing\. Unpack"):
        SemanticKitti(root).scan(0)
    assert SemanticKitti(root, labels=False).scan(0).label is None
    assert SemanticKitti(root).scan(1).label is not None


def test_sources_travel_to_other_processes(root: Path) -> None:
    source = pickle.loads(pickle.dumps(SparseLabels(SemanticKitti(root), PROJECTION, 0.5, 0)))
    assert source.name(0) == "00/000000"


def test_the_real_scans(kitti_root: Path) -> None:
    train, val = SemanticKitti(kitti_root), SemanticKitti(kitti_root, "val")
    assert (len(train), len(val)) == (35, 5)
    for source in (train, val):
        for index in range(len(source)):
            scan = source.scan(index)
            assert len(scan) > 100_000
            assert scan.label.shape == (len(scan),)
            assert set(np.unique(scan.label)) <= {*range(19), IGNORE}


class Made:
    """A source of made scans that counts nothing and hides nothing."""

    label_map = SemanticKitti.read_label_map()

    def __init__(self, scans: list[Scan]) -> None:
        self.scans = scans

    def __len__(self) -> int:
        return len(self.scans)

    def name(self, index: int) -> str:
        return f"00/{index:06d}"

    def scan(self, index: int) -> Scan:
        return self.scans[index]


@pytest.fixture
def made(rng: np.random.Generator) -> Made:
    return Made([random_scan(rng) for _ in range(4)])


def labelled_pixels(scan: Scan) -> set[tuple[int, int]]:
    image = PROJECTION(scan)
    there = scan.label != IGNORE
    return set(zip(image.row[there].tolist(), image.col[there].tolist(), strict=True))


@pytest.mark.parametrize("fraction", [0.002, 0.1, 1.0])
def test_sparse_labels_are_those_of_that_many_pixels(made: Made, fraction: float) -> None:
    sparse = SparseLabels(made, PROJECTION, fraction, seed=0)
    for index in range(len(made)):
        full, scan = made.scan(index), sparse.scan(index)
        image = PROJECTION(full)
        kept = labelled_pixels(scan)
        assert len(kept) == max(1, round(fraction * image.valid.sum()))
        inside = np.array([pixel in kept for pixel in zip(image.row.tolist(), image.col.tolist(), strict=True)])
        assert np.array_equal(scan.label, np.where(inside, full.label, IGNORE))
        assert np.array_equal(scan.xyz, full.xyz)
        assert (full.label != IGNORE).all()  # the source's own are untouched


def test_sparse_labels_do_not_depend_on_the_order_of_access(made: Made) -> None:
    first, second = (SparseLabels(made, PROJECTION, 0.1, seed=3) for _ in range(2))
    forward = [first.scan(index).label for index in range(4)]
    backward = [second.scan(index).label for index in reversed(range(4))][::-1]
    again = [first.scan(index).label for index in range(4)]
    for a, b, c in zip(forward, backward, again, strict=True):
        assert np.array_equal(a, b)
        assert np.array_equal(a, c)
    assert not np.array_equal(forward[0], SparseLabels(made, PROJECTION, 0.1, seed=4).scan(0).label)


def test_sparse_labels_are_drawn_once(made: Made) -> None:
    calls = []

    def counting(scan: Scan) -> RangeImage:
        calls.append(scan)
        return PROJECTION(scan)

    sparse = SparseLabels(made, counting, 0.1, seed=0)
    for _ in range(3):
        sparse.scan(1)
    assert len(calls) == 1


def test_points_without_return_are_never_labelled(made: Made) -> None:
    xyz = made.scans[0].xyz.copy()
    xyz[::2] = np.nan
    xyz[1::4] = 0
    made.scans[0] = Scan(xyz, made.scans[0].remission, label=made.scans[0].label)
    label = SparseLabels(made, PROJECTION, 1.0, seed=0).scan(0).label
    assert np.array_equal(label != IGNORE, np.isfinite(xyz).all(1) & xyz.any(1))


@pytest.mark.parametrize("fraction", [0.002, 0.1, 0.5, 1.0])
def test_labels_spread_by_classes_are_as_many_and_equal_in_number(made: Made, fraction: float) -> None:
    """No class has two labels more than another one that has pixels left."""
    made.scans = [replace(scan, label=np.minimum(cast(NDArray, scan.label), 4)) for scan in made.scans]
    sparse = SparseLabels(made, PROJECTION, fraction, 0, "classes")
    for index in range(len(made)):
        full, image = made.scan(index), PROJECTION(made.scan(index))
        nearest = full.label[image.point_index[image.valid]]
        kept = (sparse.scan(index).label != IGNORE)[image.point_index[image.valid]]
        assert kept.sum() == max(1, round(fraction * image.valid.sum()))
        given = np.bincount(nearest[kept], minlength=5)
        left = np.bincount(nearest[~kept], minlength=5) > 0
        assert given.max() - min(given[left], default=given.max()) <= 1


def test_labels_spread_by_classes_leave_out_what_has_no_class(made: Made) -> None:
    label = made.scans[0].label.copy()
    label[100:] = IGNORE
    made.scans[0] = replace(made.scans[0], label=label)
    sparse = SparseLabels(made, PROJECTION, 1.0, 0, "classes").scan(0).label
    image = PROJECTION(made.scans[0])
    seen = (image.row >= 0) & (label[image.point_index[image.row, image.col]] != IGNORE)
    assert np.array_equal(sparse != IGNORE, (label != IGNORE) & seen)


def test_another_spread_is_refused(made: Made) -> None:
    with pytest.raises(ValueError, match="give pixels or classes"):
        SparseLabels(made, PROJECTION, 0.1, 0, "objects")


@pytest.mark.parametrize("fraction", [0, -0.1, 1.5, float("nan")])
def test_fractions_outside_are_refused(made: Made, fraction: float) -> None:
    with pytest.raises(ValueError, match="give a share in"):
        SparseLabels(made, PROJECTION, fraction, 0)


def test_sparse_labels_need_labels(made: Made, rng: np.random.Generator) -> None:
    scan = random_scan(rng)
    made.scans[0] = Scan(scan.xyz, scan.remission)
    with pytest.raises(ValueError, match="00/000000: has no labels"):
        SparseLabels(made, PROJECTION, 0.1, 0).scan(0)


def test_a_single_sequence_is_not_read_digit_by_digit(root: Path) -> None:
    for one in ("02", "2", 2):
        assert SemanticKitti(root, sequences=one).names == TRAIN[3:5]
    assert SemanticKitti(root, sequences="10").names == TRAIN[5:]
    section = {"name": "semantic_kitti", "sequences": "10"}
    assert build(DATASETS, section, "data.dataset", root=str(root), split="train").names == TRAIN[5:]
