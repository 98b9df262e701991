"""PandaSet, RELLIS-3D, ScribbleKITTI, SemanticPOSS and folders of one's own scans; laws of every dataset of scans."""

from __future__ import annotations

import gzip
import json
import pickle
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from rangeseg.cli import main
from rangeseg.config import Config, config_from, write_config
from rangeseg.data.pandaset import PandaSet
from rangeseg.data.rellis3d import Rellis3D
from rangeseg.data.scan_folder import ScanFolder
from rangeseg.data.scribble_kitti import ScribbleKitti
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.data.semantic_poss import SemanticPOSS
from rangeseg.data.waymo import Waymo
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.training import train
from rangeseg.engine.training_data import TrainingData
from rangeseg.inference.labelled_files import LabelledScanFiles
from rangeseg.inference.predict import find_tasks
from rangeseg.labels import LabelMap
from rangeseg.registry import ConfigError
from rangeseg.resources import resource
from rangeseg.scan_io import READERS, read_labels, read_scan, write_labels
from rangeseg.types import IGNORE

RNG = np.random.default_rng(0)


def targets(source: Any) -> list[str]:
    """The paths of a split's predictions in the output folder."""
    tasks = find_tasks([], source.prediction_files(source.label_map, {}), source)
    return [task.target.as_posix() for task in tasks]


def write_scan(path: Path, points: int = 20, scale: float = 1.0) -> np.ndarray:
    table = RNG.uniform(1, 30, (points, 4)).astype("<f4")
    table[:, 3] = RNG.integers(0, 256, points) * np.float32(scale)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(table.tobytes())
    return table


class TestScanFolder:
    YAML = """
dataset: mine
splits: {splits}
classes:
  - {{name: road, color: [10, 20, 30], raw: 1}}
  - {{name: grass, color: [40, 50, 60], raw: 300}}
raw:
  0: {{name: void, class: ignore}}
  1: {{name: road, class: road}}
  300: {{name: grass, class: grass}}
"""
    RAW = np.array([0, 1, 300, 300, 1])

    def classes(self, root: Path, splits: str = "{train: [train]}") -> str:
        (root / "classes.yaml").write_text(self.YAML.format(splits=splits))
        return str(root / "classes.yaml")

    def test_scans_and_labels_by_patterns(self, tmp_path: Path) -> None:
        for name in ("b/2", "a/1", "a/0"):
            write_scan(tmp_path / "scans" / f"{name}.bin", 5)
            write_labels(tmp_path / "labels" / f"{name}.label", self.RAW)
        (tmp_path / "scans" / "notes.txt").write_text("no scan")
        np.save(tmp_path / "scans" / "b" / "3.npy", np.ones((5, 4), np.float32))
        source = ScanFolder(tmp_path, classes=self.classes(tmp_path), scans="scans/**/*")
        assert source.names == ("a/0", "a/1", "b/2", "b/3")
        label = source.scan(1).label
        assert label is not None
        assert label.tolist() == [IGNORE, 0, 1, 1, 0]
        with pytest.raises(
            ValueError, match=r"3\.label: the labels of .* are missing.*open the scans with labels=False"
        ):
            source.scan(3)
        assert (
            ScanFolder(tmp_path, classes=self.classes(tmp_path), scans="scans/**/*", labels=False).scan(3).label is None
        )

    @pytest.mark.parametrize("dtype", ["uint16", "uint32"])
    def test_labels_of_bare_integers(self, tmp_path: Path, dtype: str) -> None:
        for split in ("one", "two"):
            write_scan(tmp_path / split / "x" / "0.bin", 5)
            (tmp_path / split / "x" / "0.ids").write_bytes(
                self.RAW.astype(f"<{dtype[0]}{np.dtype(dtype).itemsize}").tobytes()
            )
        settings: dict[str, Any] = {
            "scans": "{split}/**/*.bin",
            "label_scans": "{split}/{name}.ids",
            "label_dtype": dtype,
        }
        classes = self.classes(tmp_path, "{train: [one], val: [two]}")
        for split in ("train", "val"):
            label = ScanFolder(tmp_path, split, classes=classes, **settings).scan(0).label
            assert label is not None
            assert label.tolist() == [IGNORE, 0, 1, 1, 0]
        wrong = ScanFolder(tmp_path, classes=classes, **(settings | {"label_dtype": "uint8"}))
        with pytest.raises(ValueError, match=r"0\.ids: \d+ labels for 5 points"):
            wrong.scan(0)
        with pytest.raises(ValueError, match="so they would share all scans"):
            ScanFolder(tmp_path, classes=classes, scans="one/**/*.bin")

    def test_a_name_in_a_list_is_a_scan_first_and_a_folder_if_there_is_no_such_scan(self, tmp_path: Path) -> None:
        for name in ("d1", "d1/0", "d1/1", "d2/0"):
            write_scan(tmp_path / "scans" / f"{name}.bin", 5)
        write_labels(tmp_path / "labels" / "d1.label", self.RAW)
        source = ScanFolder(tmp_path, classes=self.classes(tmp_path), scans="scans/**/*")
        assert source.select(["d1"]).names == source.with_labels().names == ("d1",)
        assert source.select(["d2", "d1"]).names == ("d1", "d2/0")
        (tmp_path / "list.txt").write_text("d1\n")
        assert ScanFolder(
            tmp_path, classes=self.classes(tmp_path), scans="scans/**/*", subset=tmp_path / "list.txt"
        ).names == ("d1",)

    def test_predictions_of_a_split_have_the_names_of_the_scans(self, tmp_path: Path) -> None:
        for name in ("a/0.bin", "a/1.pcd.bin", "b/0.bin", "sequences/08/velodyne/0.bin"):
            write_scan(tmp_path / name, 5)
        deep = ScanFolder(tmp_path, classes=self.classes(tmp_path, "{train: [.]}"), scans="{split}/**/*")
        assert targets(deep) == ["a/0.label", "a/1.label", "b/0.label", "sequences/08/predictions/0.label"]
        flat = ScanFolder(tmp_path, classes=self.classes(tmp_path, "{train: [a]}"), scans="{split}/*.bin")
        assert targets(flat) == ["0.label", "1.pcd.label"]
        files = LabelledScanFiles(deep.label_map, deep.read, tuple(READERS), ending=".ply")
        assert [target.as_posix() for _, target in files.of_split(deep)][:2] == ["a/0.ply", "a/1.ply"]

    def test_what_is_wrong_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"give patterns like 'scans/\*\.pcd' and 'labels/\{name\}\.label'"):
            ScanFolder(tmp_path, classes=self.classes(tmp_path), scans="scans")
        with pytest.raises(ValueError, match="contains no scans of split train"):
            ScanFolder(tmp_path, classes=self.classes(tmp_path))
        with pytest.raises(ValueError, match="set classes to the path of a labels"):
            ScanFolder.read_label_map()
        for splits in ({"train": "ab"}, {"train": [7]}, {"train": None}, "ab"):
            with pytest.raises(ValueError, match=r"splits is .*; give lists of names"):
                ScanFolder(tmp_path, classes="semantic_kitti", splits=cast(Any, splits))


def test_kittis_scans_are_the_same_as_a_folder(scans_root: Path) -> None:
    source = SemanticKitti(scans_root, "val")
    patterns = {"scans": "sequences/{split}/velodyne/*.bin", "label_scans": "sequences/{split}/labels/{name}.label"}
    folder = ScanFolder(scans_root, "val", classes="semantic_kitti", splits={"val": ["08"]}, **patterns)
    assert [f"08/{name}" for name in folder.names] == list(source.names)
    one, other = source.scan(len(source) // 2), folder.scan(len(source) // 2)
    np.testing.assert_array_equal(one.xyz, other.xyz)
    np.testing.assert_array_equal(one.label, other.label)


@pytest.mark.parametrize("apart", [False, True])
def test_scribbles_are_for_training_and_dense_labels_for_validation(
    kitti_root: Path, tmp_path: Path, apart: bool
) -> None:
    for sequence, kind in (("00", "velodyne"), ("00", "labels"), ("08", "velodyne"), ("08", "labels")):
        (tmp_path / "sequences" / sequence).mkdir(parents=True, exist_ok=True)
        (tmp_path / "sequences" / sequence / kind).symlink_to((kitti_root / "sequences" / sequence / kind).resolve())
    scribbles = tmp_path / "sequences" / ("scribbles/00" if apart else "00/scribbles")
    dense = SemanticKitti(tmp_path, "train")
    rng = np.random.default_rng(0)
    for index in range(len(dense)):
        raw = read_labels(dense.label_path(index))[0]
        write_labels(scribbles / dense.label_path(index).name, np.where(rng.random(len(raw)) < 0.08, raw, 0))
    source = ScribbleKitti(tmp_path, "train")
    assert source.names == dense.names
    label, full = source.scan(0).label, dense.scan(0).label
    assert label is not None
    assert full is not None
    kept = label != IGNORE
    assert 0.05 < kept.mean() < 0.09
    np.testing.assert_array_equal(label[kept], full[kept])
    np.testing.assert_array_equal(
        ScribbleKitti(tmp_path, "val").scan(0).label, SemanticKitti(tmp_path, "val").scan(0).label
    )
    shutil.rmtree(scribbles)
    with pytest.raises(ValueError, match=r"scribbles.*000000\.label: the labels .* missing.*Unpack scribbles\.zip"):
        source.scan(0)


def test_scribbles_take_kittis_lists(kitti_root: Path, tiny_config: Config) -> None:
    tiny_config.data.root, tiny_config.data.dataset = str(kitti_root), {"name": "scribble_kitti"}
    assert len(Experiment(tiny_config).open("train", "mini_few_scenes", labels=False)) < len(
        Experiment(tiny_config).open("train")
    )


def test_poss_rows_are_those_of_the_tag_file(tmp_path: Path) -> None:
    tag = np.zeros((40, 1800), np.uint8)
    rows = np.sort(RNG.choice(40 * 1800, 50, replace=False))
    tag.reshape(-1)[rows] = 1
    for sequence in ("00", "02"):
        home = tmp_path / "sequences" / sequence
        table = write_scan(home / "velodyne" / "000001.bin", 50)
        write_labels(home / "labels" / "000001.label", np.resize([0, 4, 5, 22], 50))
        (home / "tag").mkdir()
        (home / "tag" / "000001.tag").write_bytes(tag.tobytes())
    scan = SemanticPOSS(tmp_path, "val").scan(0)
    assert scan.ring is not None
    assert scan.label is not None
    assert scan.ring.tolist() == (rows // 1800).tolist()
    assert scan.label[:4].tolist() == [IGNORE, 0, 0, 12]
    np.testing.assert_allclose(scan.remission, table[:, 3] / 255)
    (tmp_path / "sequences" / "02" / "tag" / "000001.tag").write_bytes(tag.tobytes()[:-1])
    with pytest.raises(ValueError, match=r"000001\.tag: marks \d+ of 71999 pixels for 50 points"):
        SemanticPOSS(tmp_path, "val").scan(0)
    shutil.rmtree(tmp_path / "sequences" / "02" / "tag")
    assert SemanticPOSS(tmp_path, "val").scan(0).ring is None


class TestRellis:
    @pytest.fixture
    def root(self, data_root: Path, tmp_path: Path) -> Path:
        """The real scan where the dataset has it."""
        real = data_root / "rellis3d" / "sequences" / "00"
        home = tmp_path / "Rellis-3D" / "00000"
        for kind, folder in (
            ("velodyne", "os1_cloud_node_kitti_bin"),
            ("labels", "os1_cloud_node_semantickitti_label_id"),
        ):
            home.mkdir(parents=True, exist_ok=True)
            (home / folder).symlink_to((real / kind).resolve())
        line = "00000/os1_cloud_node_kitti_bin/000104.bin 00000/os1_cloud_node_semantickitti_label_id/000104.label"
        (tmp_path / "pt_train.lst").write_text(line + "\n")
        return tmp_path

    def test_predictions_of_two_sequences_do_not_meet(self, root: Path) -> None:
        (root / "Rellis-3D" / "00001").symlink_to(root / "Rellis-3D" / "00000")
        (line,) = (root / "pt_train.lst").read_text().splitlines()
        (root / "pt_train.lst").write_text(line + "\n" + line.replace("00000/", "00001/"))
        assert targets(Rellis3D(root)) == ["00000/000104.label", "00001/000104.label"]

    def test_the_real_scan(self, root: Path) -> None:
        source = Rellis3D(root)
        assert source.names == ("00000/000104",)
        scan = source.scan(0)
        assert len(scan) == 131_072
        assert (scan.xyz == 0).all(axis=1).sum() == 53_364
        names = [source.label_map.names[train] for train in np.setdiff1d(scan.label, [IGNORE])]
        assert names == ["grass", "tree", "person", "fence", "bush", "concrete", "puddle", "mud"]

    def test_what_is_wrong_is_said(self, root: Path) -> None:
        with pytest.raises(ValueError, match=r"no pt_val\.lst here"):
            Rellis3D(root, "val")
        (root / "pt_val.lst").write_text("00000/000104.bin\n")
        with pytest.raises(ValueError, match=r"pt_val\.lst, line 1: '00000/000104\.bin' is not the path of a scan"):
            Rellis3D(root, "val")


class TestPandaSet:
    @pytest.fixture
    def root(self, data_root: Path, tmp_path: Path) -> Path:
        pytest.importorskip("pandas", reason="the extra pandaset is not installed")
        shutil.copytree(data_root / "pandaset" / "official", tmp_path / "p")
        return tmp_path / "p"

    def test_the_real_frame_is_as_it_was_converted(self, root: Path, data_root: Path) -> None:
        source = PandaSet(root)
        assert source.names == ("001/00",)
        scan = source.scan(0)
        converted = data_root / "pandaset" / "sequences" / "001"
        expected = read_scan(
            converted / "velodyne" / "000000.bin",
            labels=converted / "labels" / "000000.label",
            label_map=source.label_map,
        )
        np.testing.assert_allclose(scan.xyz, expected.xyz, atol=2e-5)
        np.testing.assert_allclose(scan.remission, expected.remission, atol=1e-6)
        np.testing.assert_array_equal(scan.label, expected.label)
        assert PandaSet(root, labels=False).scan(0).label is None

    def test_predictions_of_two_sequences_do_not_meet(self, root: Path) -> None:
        shutil.copytree(root / "001", root / "002")
        assert targets(PandaSet(root)) == ["001/00.label", "002/00.label"]

    def test_the_split_is_by_number(self, root: Path) -> None:
        with pytest.raises(ValueError, match="contains no scans of split val"):
            PandaSet(root, "val")
        (root / "001").rename(root / "010")
        assert PandaSet(root, "val").names == ("010/00",)

    def test_a_pickle_of_something_else_is_not_opened(self, root: Path) -> None:
        class Evil:
            def __reduce__(self) -> tuple:
                return (Path.write_text, (root / "owned", "yes"))

        scan = root / "001" / "lidar" / "00.pkl.gz"
        whole = scan.read_bytes()
        scan.write_bytes(gzip.compress(pickle.dumps(Evil())))
        with pytest.raises(ValueError, match=r"00\.pkl\.gz: not a PandaSet table \(it imports pathlib"):
            PandaSet(root).scan(0)
        assert not (root / "owned").exists()
        for size in (0, 10, len(whole) // 2, len(whole) - 1):
            scan.write_bytes(whole[:size])
            with pytest.raises(ValueError, match=r"00\.pkl\.gz"):
                PandaSet(root).scan(0)
        scan.write_bytes(whole)
        (root / "001" / "lidar" / "poses.json").write_text(json.dumps([]))
        with pytest.raises(ValueError, match=r"poses\.json: has 0 poses and none for 00\.pkl\.gz"):
            PandaSet(root).scan(0)

    @pytest.mark.filterwarnings("ignore:.*rangeseg fit-sensor")
    def test_a_network_trained_on_kitti_predicts_it(self, root: Path, tiny_config: Config, tmp_path: Path) -> None:
        (tmp_path / "config.yaml").write_text(write_config(tiny_config))
        run, out = tiny_config.runtime.out, tmp_path / "out"
        assert main(["train", str(tmp_path / "config.yaml")]) == 0
        other = [f"data.root={root}", "data.dataset.name=pandaset"]
        assert main(["predict", run, "--split", "train", "--out", str(out), "--device", "cpu", *other]) == 1
        sweep = data_of(root)
        assert main(["predict", run, str(sweep), "--out", str(out), "--device", "cpu", "--anyway"]) == 0
        assert len(read_labels(out / "000000.label")[0]) == 106_886


class TestWaymo:
    """On files written as the published format says."""

    ROWS, COLUMNS = 4, 12
    TURN = 0.4
    """Radians from the vehicle's axes to the sensor's."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        pytest.importorskip("pyarrow", reason="the extra waymo is not installed")
        cos, sin = np.cos(self.TURN), np.sin(self.TURN)
        extrinsic = [cos, -sin, 0, 1.4, sin, cos, 0, 0, 0, 0, 1, 2.1, 0, 0, 0, 1]
        calibration = {
            "[LiDARCalibrationComponent].extrinsic.transform": [[0.0] * 16, extrinsic],
            "[LiDARCalibrationComponent].beam_inclination.values": [[0.0], [-0.3, -0.2, -0.1, 0.05]],
        }
        self.write(tmp_path, "lidar_calibration", {"key.laser_name": [2, 1]} | calibration)
        rows = {"key.laser_name": [1, 2, 1], "key.frame_timestamp_micros": [200, 200, 100]}
        images = [self.image(time) for time in (200, 7, 100)]
        shapes = [[self.ROWS, self.COLUMNS, 4]] * 3
        self.write(tmp_path, "lidar", rows | self.values("[LiDARComponent]", images, shapes))
        classes = np.zeros((self.ROWS, self.COLUMNS, 2), np.int32)
        classes[..., 1] = np.arange(self.COLUMNS)
        labels = {"key.laser_name": [1], "key.frame_timestamp_micros": [200]}
        component = "[LiDARSegmentationLabelComponent]"
        self.write(tmp_path, "lidar_segmentation", labels | self.values(component, [classes], [list(classes.shape)]))
        return tmp_path

    def image(self, seed: int) -> np.ndarray:
        image = np.random.default_rng(seed).uniform(2, 60, (self.ROWS, self.COLUMNS, 4)).astype(np.float32)
        image[0, 0, 0], image[1, 2, 0] = -1, 0
        return image

    def values(self, component: str, images: list[np.ndarray], shapes: list[list[int]]) -> dict[str, list]:
        name = f"{component}.range_image_return1"
        return {f"{name}.values": [image.reshape(-1).tolist() for image in images], f"{name}.shape": shapes}

    def write(self, root: Path, component: str, columns: dict[str, list]) -> None:
        import pyarrow
        import pyarrow.parquet

        (root / "training" / component).mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.table(columns), root / "training" / component / "seg_1.parquet")

    def test_points_are_where_waymos_formula_puts_them(self, root: Path) -> None:
        source = Waymo(root)
        assert [source.name(index) for index in range(len(source))] == ["seg_1/200"]
        scan, image = source.scan(0), self.image(200)
        assert scan.ring is not None
        for row, inclination in enumerate((0.05, -0.1, -0.2, -0.3)):
            for column in range(self.COLUMNS):
                point, distance = row * self.COLUMNS + column, image[row, column, 0]
                assert scan.ring[point] == row
                if distance <= 0:
                    assert scan.xyz[point].tolist() == [0, 0, 0]
                    continue
                azimuth = np.pi - (column + 0.5) / self.COLUMNS * 2 * np.pi  # in the vehicle's axes
                across = distance * np.cos(inclination)
                expected = [across * np.cos(azimuth), across * np.sin(azimuth), distance * np.sin(inclination)]
                np.testing.assert_allclose(scan.xyz[point], expected, atol=1e-4)
                assert scan.remission[point] == pytest.approx(np.tanh(image[row, column, 1]), abs=1e-6)
        assert scan.label is not None
        assert scan.label.reshape(self.ROWS, -1)[2].tolist() == [IGNORE, *range(self.COLUMNS - 1)]

    def test_every_frame_has_those_without_classes_too(self, root: Path) -> None:
        source = Waymo(root, every_frame=True)
        assert [source.name(index) for index in range(len(source))] == ["seg_1/100", "seg_1/200"]
        assert source.scan(0).label is None
        assert source.scan(1).label is not None
        assert Waymo(root, labels=False).scan(0).label is None
        assert len(Waymo(root, every_frame=True, subset=["seg_1/100"])) == 1
        labelled = source.with_labels()
        assert [labelled.name(index) for index in range(len(labelled))] == ["seg_1/200"]
        with pytest.raises(ValueError, match="contains no classes for any of the 1 scans"):
            Waymo(root, every_frame=True, subset=["seg_1/100"]).with_labels()

    def test_what_is_wrong_is_said(self, root: Path) -> None:
        with pytest.raises(ValueError, match=r"validation.lidar_segmentation: holds no \.parquet files"):
            Waymo(root, "val")
        with pytest.raises(ValueError, match="cannot be predicted as a file"):
            Waymo(root).scan_path(0)
        source, lidar = Waymo(root), root / "training" / "lidar" / "seg_1.parquet"
        whole = lidar.read_bytes()
        for content in (b"", whole[: len(whole) // 2], b"PAR1"):
            lidar.write_bytes(content)
            with pytest.raises(ValueError, match=r"seg_1\.parquet: cannot be read as Waymo's parquet"):
                source.scan(0)
        self.write(root, "lidar", {"key.laser_name": [1], "key.frame_timestamp_micros": [200]})
        with pytest.raises(ValueError, match=r"seg_1\.parquet: .*(no column|cannot be read)"):
            source.scan(0)


@pytest.mark.parametrize("dataset", ["nuscenes", "pandaset", "rellis3d"])
def test_every_raw_id_has_its_place_in_kittis_classes(dataset: str) -> None:
    """The 19 classes in their order; every id of the dataset is listed, people are persons."""
    folder = resource("datasets", dataset)
    theirs = LabelMap.read(folder / "labels.yaml")
    ours = LabelMap.read(folder / "semantic_kitti_classes.yaml")
    assert ours.names == SemanticKitti.read_label_map().names
    known = sorted(raw for raw in theirs.raw_names if raw < 100)
    assert sorted(raw for raw in ours.raw_names if raw < 100) == known
    mapped = ours.to_train(np.array(known))
    for raw, train_id in zip(known, mapped.tolist(), strict=True):
        word = theirs.raw_names[raw].lower()
        if "pedestrian" in word and "area" not in word and train_id != IGNORE:
            assert ours.names[train_id] == "person"
        if "vegetation" in word:
            assert ours.names[train_id] == "vegetation"


def test_pandaset_is_scored_in_kittis_classes(data_root: Path) -> None:
    classes = resource("datasets", "pandaset", "semantic_kitti_classes.yaml")
    patterns = {"scans": "sequences/{split}/velodyne/*.bin", "label_scans": "sequences/{split}/labels/{name}.label"}
    source = ScanFolder(data_root / "pandaset", "val", classes=str(classes), **patterns)
    assert source.names[0] == "001/000000"
    assert source.label_map.names == SemanticKitti.read_label_map().names
    own = PandaSet.read_label_map()
    for index in range(len(source)):
        raw = read_labels(
            data_root / "pandaset" / "sequences" / f"{source.name(index).replace('/', '/labels/')}.label"
        )[0]
        label = source.scan(index).label
        assert label is not None
        assert (label != IGNORE).mean() > 0.5
        for name in ("car", "road", "building", "vegetation", "sidewalk"):
            mine, theirs = source.label_map.names.index(name), own.names.index(name)
            np.testing.assert_array_equal(label == mine, own.to_train(raw) == theirs)


class TestUnlabelledScansOfAnotherSensor:
    """`data.unlabelled_from`."""

    @pytest.fixture
    def other(self, data_root: Path) -> dict[str, Any]:
        dataset = {"name": "scan_folder", "classes": "pandaset", "splits": {"train": ["sequences"]}}
        return {"root": str(data_root / "pandaset"), "dataset": dataset | {"scans": "{split}/**/*.bin"}}

    def test_they_come_after_ones_own(self, tiny_config: Config, other: dict[str, Any]) -> None:
        own = len(TrainingData.open(Experiment(tiny_config)).unlabelled)
        tiny_config.data.unlabelled_from = [other]
        data = TrainingData.open(Experiment(tiny_config))
        assert len(data.unlabelled) == own + 8
        assert data.unlabelled.name(own) == "001/velodyne/000000"
        assert data.unlabelled.name(own - 1) == TrainingData.open(Experiment(tiny_config)).labelled.name(own - 1)
        view = data.unlabelled.view(own + 7, np.random.default_rng(0))
        assert (view.label == IGNORE).all()
        assert view.image.shape == data.labelled.view(0, np.random.default_rng(0)).image.shape
        tiny_config.data.unlabelled = "none"
        assert len(TrainingData.open(Experiment(tiny_config)).unlabelled) == 8

    @pytest.mark.filterwarnings("ignore:.*rangeseg fit-sensor")
    def test_training_on_them_runs(self, tiny_config: Config, other: dict[str, Any]) -> None:
        tiny_config.data.unlabelled, tiny_config.data.unlabelled_from = "none", [other]
        assert train(tiny_config) is not None

    def test_what_is_wrong_is_said(self, tiny_config: Config, other: dict[str, Any]) -> None:
        size = tiny_config.data.projection | {"height": tiny_config.data.projection["height"] * 2}
        for section, said in (
            (other | {"roots": "x"}, r"unlabelled_from\[0\]: unknown key roots"),
            ({"root": other["root"]}, r"unlabelled_from\[0\]\.dataset: missing"),
            (
                other | {"projection": size},
                r"unlabelled_from\[0\]\.projection: its range images have .* Give both the same size",
            ),
        ):
            tiny_config.data.unlabelled_from = [section]
            with pytest.raises(ConfigError, match=said):
                TrainingData.open(Experiment(tiny_config))
        tiny_config.data.unlabelled, tiny_config.data.unlabelled_from = "none", []
        with pytest.raises(ConfigError, match=r"data\.unlabelled: there is no unlabelled data"):
            TrainingData.open(Experiment(tiny_config))

    def test_a_part_of_a_turn_is_no_cylinder(self, tiny_config: Config, other: dict[str, Any]) -> None:
        front = tiny_config.data.projection | {"fov_left_deg": 30.0, "fov_right_deg": -30.0}
        tiny_config.data.unlabelled_from = [other | {"projection": front}]
        with pytest.raises(ConfigError, match=r"unlabelled_from\[0\]\.projection: its range images are no full turn"):
            TrainingData.open(Experiment(tiny_config))
        tiny_config.data.augmentation = {"columns": 32}
        assert not Experiment(tiny_config).input.wrap
        TrainingData.open(Experiment(tiny_config))


class TestLabelledScansOfAnotherSource:
    """`data.labelled_from`."""

    @pytest.fixture
    def other(self, tiny_config: Config) -> dict[str, Any]:
        return {"root": tiny_config.data.root, "dataset": {"name": "semantic_kitti"}, "split": "val"}

    def test_they_come_after_ones_own_with_labels(self, tiny_config: Config, other: dict[str, Any]) -> None:
        before = TrainingData.open(Experiment(tiny_config))
        tiny_config.data.labelled_from = [other]
        data = TrainingData.open(Experiment(tiny_config))
        added = len(data.validation)
        assert len(data.labelled) == len(before.labelled) + added
        assert len(data.unlabelled) == len(before.unlabelled)
        tiny_config.data.labelled = "none"
        alone = TrainingData.open(Experiment(tiny_config)).labelled
        assert [alone.name(k) for k in range(added)] == [data.validation.name(k) for k in range(added)]
        first, again = (
            views.view(k, np.random.default_rng(0)) for views, k in ((alone, 0), (data.labelled, len(before.labelled)))
        )
        assert (first.label != IGNORE).any()
        torch.testing.assert_close(first.image, again.image, rtol=0, atol=0)

    def test_training_on_nothing_else_runs(self, tiny_config: Config, other: dict[str, Any]) -> None:
        tiny_config.data.labelled, tiny_config.data.labelled_from = "none", [other]
        assert train(tiny_config) is not None

    def test_other_classes_are_refused(self, tiny_config: Config, data_root: Path) -> None:
        dataset = {"name": "scan_folder", "classes": "pandaset", "splits": {"train": ["sequences"]}}
        labels = {"scans": "{split}/**/*.bin", "label_scans": "{split}/{name}.label"}
        tiny_config.data.labelled_from = [{"root": str(data_root / "pandaset"), "dataset": dataset | labels}]
        with pytest.raises(ConfigError, match=r"pandaset: its classes are .* in the same order"):
            TrainingData.open(Experiment(tiny_config))

    def test_no_source_at_all_is_refused(self, tiny_config: Config) -> None:
        tiny_config.data.labelled = "none"
        with pytest.raises(ConfigError, match=r"there is no labelled data, .*\. Name sources in data\.labelled_from"):
            TrainingData.open(Experiment(tiny_config))


def data_of(root: Path) -> Path:
    """The real frame as a KITTI file."""
    scan = PandaSet(root, labels=False).scan(0)
    path = root / "000000.bin"
    path.write_bytes(np.c_[scan.xyz, scan.remission].astype("<f4").tobytes())
    return path


def test_configs_name_them(tmp_path: Path) -> None:
    config = config_from(
        [
            {
                "data": {"root": str(tmp_path), "dataset": {"name": "rellis3d"}},
                "runtime": {"out": "x"},
                "optim": {"steps": 1},
            }
        ]
    )
    with pytest.raises(ValueError, match=r"no pt_train\.lst"):
        Experiment(config).open("train")
