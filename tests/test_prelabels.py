"""Pre-labels for people: other programs open them, and what is corrected comes back, and only that."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from test_propagate import BUILDING, CAR, ROAD, labels_at, truth_of, write_street

from rangeseg.cli import main
from rangeseg.drive.corrections import read_corrected, read_done, write_true
from rangeseg.drive.layouts import Drive, open_drive
from rangeseg.drive.prelabels import FORMS, Start, write_prelabels
from rangeseg.drive.request import Request, make_task
from rangeseg.scan_formats.labelled import write_columns
from rangeseg.scan_formats.pcd import columns_of_pcd
from rangeseg.scan_formats.ply import columns_of_ply
from rangeseg.scan_io import read_labels, read_scan, write_labels

POINTS, NUMBERS = 1500, (1, 3)
OWN = slice(0, 20)
"""Points whose label was a person's before."""


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Drive:
    return open_drive(write_street(tmp_path_factory.mktemp("street"), scans=5, labelled=()))


def start_of(number: int) -> Start:
    rng = np.random.default_rng(number)
    label = rng.choice([0, CAR, ROAD, BUILDING], POINTS).astype(np.uint32)
    label[OWN] = CAR + (7 << 16)
    own = np.zeros(POINTS, bool)
    own[OWN] = True
    return Start(label, np.where(label, rng.uniform(0, 1, POINTS), 0).astype(np.float32), own)


def write(folder: Path, form: str, drive: Drive, numbers: Sequence[int] = NUMBERS) -> Path:
    starts = [(number, start_of(number)) for number in numbers]
    origin = {"drive": str(drive.root / "sequences" / drive.name), "scene": None, "dataset": None}
    assert len(list(write_prelabels(folder, form, drive, drive.own_poses(), starts, origin))) == len(numbers)
    return folder


def file_of(folder: Path, form: str, number: int) -> Path:
    return folder / "labels" / f"{number:06d}.label" if form == "point_labeler" else folder / f"{number:06d}.{form}"


def columns_of(path: Path) -> dict[str, np.ndarray]:
    read = columns_of_ply if path.suffix == ".ply" else columns_of_pcd
    return {name: column.copy() for name, column in read(path).items()}


def save(path: Path, columns: dict[str, np.ndarray]) -> None:
    write_columns(path, columns, np.zeros(len(columns["x"]), np.uint8))


def change(folder: Path, form: str, number: int, places: np.ndarray, raw: int) -> None:
    """What a person does in the program."""
    path = file_of(folder, form, number)
    if form == "point_labeler":
        label = np.fromfile(path, "<u4")
        label[places] = raw
        label.tofile(path)
        return
    columns = columns_of(path)
    columns["scalar_label" if form == "ply" else "label"][places] = raw
    save(path, columns)


@pytest.mark.parametrize("form", FORMS)
def test_only_what_a_person_changed_or_checked_counts(form: str, drive: Drive, tmp_path: Path) -> None:
    folder = write(tmp_path / "in", form, drive)
    untouched = list(read_corrected(folder, drive, done=()))
    assert [one.changed for one in untouched] == [0, 0]
    for one, number in zip(untouched, NUMBERS, strict=True):
        np.testing.assert_array_equal(one.true, start_of(number).own)
        np.testing.assert_array_equal(one.label, start_of(number).label)
    places = np.arange(100, 160)
    change(folder, form, 1, places, BUILDING)
    was = start_of(1).label[places] != BUILDING
    first, second = read_corrected(folder, drive, done=("000003",))
    assert first.changed == was.sum() > 30
    np.testing.assert_array_equal(np.flatnonzero(first.true), [*range(20), *places[was]])
    assert (first.label[places] == BUILDING).all()
    assert second.true.all()
    np.testing.assert_array_equal(second.label, start_of(3).label)
    kept = write_true(drive, tmp_path / "out", first), write_true(drive, tmp_path / "out", second)
    assert kept == (20 + was.sum(), np.count_nonzero(start_of(3).label))
    written = labels_at(tmp_path / "out", 1)
    assert np.flatnonzero(written).tolist() == [*range(20), *places[was]]
    semantic, instance = read_labels(tmp_path / "out" / "sequences" / "05" / "labels" / "000001.label")
    assert set(instance[OWN]) == {7}
    assert set(semantic[OWN]) == {CAR}


def test_a_later_round_adds_to_the_first(drive: Drive, tmp_path: Path) -> None:
    for name, places, raw in (("a", np.arange(100, 200), BUILDING), ("b", np.arange(150, 300), ROAD)):
        folder = write(tmp_path / name, "pcd", drive)
        change(folder, "pcd", 1, places, raw)
        write_true(drive, tmp_path / "out", next(read_corrected(folder, drive, ())))
    label, start = labels_at(tmp_path / "out", 1), start_of(1).label
    expected = np.where(start_of(1).own, CAR, 0)
    for places, raw in ((slice(100, 200), BUILDING), (slice(150, 300), ROAD)):
        expected[places] = np.where(start[places] != raw, raw, expected[places])
    np.testing.assert_array_equal(label, expected)


def test_a_label_taken_away_is_none(drive: Drive, tmp_path: Path) -> None:
    folder = write(tmp_path / "in", "point_labeler", drive)
    change(folder, "point_labeler", 1, np.arange(10), 0)
    write_true(drive, tmp_path / "out", next(read_corrected(folder, drive, ())))
    assert np.flatnonzero(labels_at(tmp_path / "out", 1)).tolist() == [*range(10, 20)]


def test_all_labels_taken_away_are_none(drive: Drive, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = write(tmp_path / "in", "point_labeler", drive, numbers=(1,)), tmp_path / "out"
    write_labels(out / drive.scans[1].label_path, np.full(POINTS, CAR, np.uint32))
    change(folder, "point_labeler", 1, np.arange(POINTS), 0)
    assert main(["corrected", str(folder), "--out", str(out), "--done", "all"]) == 0
    assert not labels_at(out, 1).any()
    assert "No label was changed" not in " ".join(capsys.readouterr().out.split())


def test_names_of_scans_may_have_spaces(tmp_path: Path) -> None:
    scans, street = tmp_path / "my", write_street(tmp_path / "k", scans=2, labelled=())
    (scans / "labels").mkdir(parents=True)
    for number in range(2):
        shutil.copy(street / "velodyne" / f"{number:06d}.bin", scans / f"scan {number}.bin")
    for name in ("poses.txt", "calib.txt"):
        shutil.copy(street / name, scans)
    folder = tmp_path / "in"
    list(write_prelabels(folder, "pcd", open_drive(scans), open_drive(scans).own_poses(), [(1, start_of(1))], {}))
    (folder / "done.txt").write_text("scan 1  # checked\n")
    assert read_done(folder) == ("scan 1",)
    write_labels(scans / "labels/scan 1.label", truth_of(street, 1).astype(np.uint32))
    (tmp_path / "list.txt").write_text("scan 1\n")
    assert make_task(Request(scans, tmp_path, labelled=(str(tmp_path / "list.txt"),))).labelled == (1,)


@pytest.mark.parametrize("form", ["ply", "pcd"])
def test_points_may_be_left_out_and_come_in_another_order(form: str, drive: Drive, tmp_path: Path) -> None:
    """As CloudCompare leaves them after cutting, merging and saving: every field in float32, ascii or double too."""
    folder = write(tmp_path / "in", form, drive)
    path = file_of(folder, form, 1)
    columns, order = columns_of(path), np.random.default_rng(0).permutation(POINTS)[:1000]
    save(path, {name: column[order] for name, column in columns.items()})
    one = next(read_corrected(folder, drive, done=("000001",)))
    assert one.changed == 0
    np.testing.assert_array_equal(np.flatnonzero(one.true), np.sort(order))
    np.testing.assert_array_equal(one.label, start_of(1).label)
    save(path, {name: column.astype(np.float64) for name, column in columns.items() if "point" not in name})
    assert next(read_corrected(folder, drive, done=())).changed == 0


def test_ply_is_read_by_open3d_and_written_back(drive: Drive, tmp_path: Path) -> None:
    o3d = pytest.importorskip("open3d", reason="the extra view is not installed")
    folder, scan = write(tmp_path, "ply", drive), drive.read(drive.scans[1].file)
    path = file_of(folder, "ply", 1)
    cloud = o3d.t.io.read_point_cloud(str(path))
    np.testing.assert_array_equal(cloud.point.positions.numpy(), scan.xyz)
    np.testing.assert_array_equal(cloud.point["scalar_label"].numpy()[:, 0], start_of(1).label & 0xFFFF)
    label = cloud.point["scalar_label"].numpy().copy()
    label[50:60] = ROAD
    cloud.point["scalar_label"] = o3d.core.Tensor(label)
    assert o3d.t.io.write_point_cloud(str(path), cloud)
    one = next(read_corrected(folder, drive, ()))
    assert (one.label[50:60] == ROAD).all()
    assert one.changed == np.count_nonzero(start_of(1).label[50:60] != ROAD)


def test_ply_is_read_by_plyfile_and_written_back_as_text(drive: Drive, tmp_path: Path) -> None:
    plyfile = pytest.importorskip("plyfile", reason="plyfile, under the GPL, is not installed")
    folder, scan = write(tmp_path, "ply", drive), drive.read(drive.scans[1].file)
    path = file_of(folder, "ply", 1)
    vertex = plyfile.PlyData.read(path, mmap=False)["vertex"]  # it is written over below
    np.testing.assert_array_equal(np.stack([vertex[axis] for axis in "xyz"], 1), scan.xyz)
    np.testing.assert_array_equal(vertex["scalar_label"], start_of(1).label & 0xFFFF)
    np.testing.assert_array_equal(vertex["scalar_confidence"], start_of(1).confidence)
    np.testing.assert_array_equal(vertex["scalar_point"], np.arange(POINTS))
    vertex["scalar_label"][50:60] = ROAD
    plyfile.PlyData([plyfile.PlyElement.describe(vertex.data, "vertex")], text=True).write(path)
    one = next(read_corrected(folder, drive, ()))
    assert (one.label[50:60] == ROAD).all()
    assert one.changed == np.count_nonzero(start_of(1).label[50:60] != ROAD)


def test_pcd_is_read_by_open3d(drive: Drive, tmp_path: Path) -> None:
    o3d = pytest.importorskip("open3d", reason="the extra view is not installed")
    path = file_of(write(tmp_path, "pcd", drive), "pcd", 1)
    cloud = o3d.t.io.read_point_cloud(str(path))
    np.testing.assert_array_equal(cloud.point["label"].numpy()[:, 0], start_of(1).label & 0xFFFF)
    np.testing.assert_array_equal(cloud.point["confidence"].numpy()[:, 0], start_of(1).confidence)
    np.testing.assert_array_equal(read_scan(path).xyz, drive.read(drive.scans[1].file).xyz)


def test_point_labeler_finds_scans_and_poses_as_it_looks_for_them(drive: Drive, tmp_path: Path) -> None:
    """It lists velodyne/ by name, takes row i of poses.txt for file i, and turns it by calib.txt's Tr, in float32."""
    folder = write(tmp_path, "point_labeler", drive)
    files = sorted((folder / "velodyne").iterdir())
    rows = np.loadtxt(folder / "poses.txt", dtype=np.float32, ndmin=2)
    assert len(files) == len(rows) == len(NUMBERS)
    line = (folder / "calib.txt").read_text().split("\n")[0]
    assert line.startswith("Tr: ")
    to_camera = np.vstack([np.array(line[4:].split(" "), np.float32).reshape(3, 4), [0, 0, 0, 1]])
    world = []
    for file, row in zip(files, rows, strict=True):
        pose = np.linalg.inv(to_camera) @ np.vstack([row.reshape(3, 4), [0, 0, 0, 1]]) @ to_camera
        points = np.fromfile(file, np.float32).reshape(-1, 4)
        label = np.fromfile(folder / "labels" / f"{file.stem}.label", np.uint32)
        assert len(label) == len(points)
        world.append(points[:, :3] @ pose[:3, :3].T + pose[:3, 3])
    own = drive.own_poses().poses
    assert np.abs(world[0] - drive.read(drive.scans[1].file).xyz).max() < 1e-5  # the first is where the tool begins
    second = drive.read(drive.scans[3].file).xyz + (own[3] - own[1])[:3, 3]
    assert np.abs(world[1] - second).max() < 1e-4
    labels = {int(one.findtext("id", "")): one for one in ElementTree.parse(folder / "labels.xml").getroot()}
    assert set(labels) == set(drive.label_map.raw_names)
    assert labels[CAR].findtext("name") == "car"
    assert labels[252].findtext("root") == "car"
    assert all(len(one.findtext("color", "").split()) == 3 for one in labels.values())


def test_done_is_a_list_that_people_write(drive: Drive, tmp_path: Path) -> None:
    folder = write(tmp_path, "ply", drive)
    assert read_done(folder) == ()
    assert read_done(folder, ["all"]) == ("000001", "000003")
    (folder / "done.txt").write_bytes(b"\xef\xbb\xbf" + (folder / "done.txt").read_bytes())  # as some editors save it
    assert read_done(folder) == ()
    (folder / "done.txt").write_text((folder / "done.txt").read_text() + "000003  # all but the trees\n")
    assert read_done(folder) == ("000003",)
    assert set(read_done(folder, ["000001"])) == {"000001", "000003"}
    with pytest.raises(ValueError, match=r"has no scan 000002 to mark as done\. The scans are 000001, 000003"):
        read_done(folder, ["000002"])


def test_damaged_files_are_told_of(drive: Drive, tmp_path: Path) -> None:
    folder = write(tmp_path / "in", "ply", drive)
    path = file_of(folder, "ply", 1)
    whole = columns_of(path)

    def error(**columns: np.ndarray) -> str:
        save(path, {name: column for name, column in (whole | columns).items() if len(column)})
        with pytest.raises(ValueError, match="000001") as caught:
            list(read_corrected(folder, drive, ()))
        return str(caught.value)

    none = np.empty(0)
    assert "has no scalar field label, only x, y, z, confidence" in error(scalar_label=none)
    assert "label must contain only integers" in error(scalar_label=whole["scalar_label"] + np.float32(0.5))
    assert "label must contain only integers" in error(scalar_label=np.full(POINTS, np.nan, np.float32))
    assert "point must contain only integers from 0 to 1499" in error(scalar_point=whole["scalar_point"] + 1)
    assert "contains some points twice" in error(scalar_point=np.zeros(POINTS, np.float32))
    assert "scan 000001: 1500 labels have raw ids that SemanticKITTI does not know: 999" in error(
        scalar_label=np.full(POINTS, 999, np.float32)
    )
    save(path, {name: column[:9] for name, column in whole.items() if name != "scalar_point"})
    with pytest.raises(ValueError, match="9 of 1500 points and no scalar field point"):
        list(read_corrected(folder, drive, ()))
    save(path, whole)
    (folder / "start" / "000001.npz").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"000001\.npz: cannot be read"):
        list(read_corrected(folder, drive, ()))
    with pytest.raises(ValueError, match="Give a folder written by rangeseg suggest --prelabel"):
        read_done(tmp_path)


def test_corrections_are_never_overwritten(drive: Drive, tmp_path: Path) -> None:
    write(tmp_path / "in", "ply", drive)
    with pytest.raises(ValueError, match="contains pre-labels that people may have corrected"):
        write(tmp_path / "in", "point_labeler", drive)
    (tmp_path / "begun" / "velodyne").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"begun: contains other files\. Give a new folder"):
        write(tmp_path / "begun", "point_labeler", drive)
    with pytest.raises(ValueError, match="Unknown form las of pre-labels; choose from point_labeler, ply, pcd"):
        write(tmp_path / "new", "las", drive)
    labels = write(tmp_path / "labels", "point_labeler", drive) / "labels"
    write_labels(labels / "000001.label", np.zeros(7, np.uint32))
    with pytest.raises(ValueError, match="7 labels for 1500 points"):
        list(read_corrected(tmp_path / "labels", drive, ()))


class TestCommand:
    def test_from_suggestion_to_carried_labels(self, tmp_path: Path) -> None:
        """One scan is suggested, a person labels its two walls, and `propagate` carries them to all others."""
        home = write_street(tmp_path / "k", scans=7, labelled=())
        given, labels, out = (tmp_path / name for name in ("given", "labels", "out"))
        assert main(["suggest", str(home), "--count", "1", "--prelabel", str(given)]) == 0
        (path,) = (given / "labels").iterdir()
        assert not np.fromfile(path, np.uint32).any()  # nobody knew anything
        number = int(path.stem)
        truth_of(home, number).astype("<u4").tofile(path)
        assert main(["corrected", str(given), "--out", str(labels)]) == 0
        np.testing.assert_array_equal(labels_at(labels, number), truth_of(home, number))
        assert main(["propagate", str(home), "--labels", str(labels), "--out", str(out)]) == 0
        for other in range(7):
            label = labels_at(out, other)
            assert np.mean(label != 0) > 0.6
            assert (label[label != 0] == truth_of(home, other)[label != 0]).all()

    def test_carried_labels_are_a_start_as_sure_as_their_neighbours(self, tmp_path: Path) -> None:
        home = write_street(tmp_path / "k", scans=7, labelled=(3,))
        carried, given = tmp_path / "carried", tmp_path / "given"
        assert main(["propagate", str(home), "--out", str(carried)]) == 0
        words = ["--count", "1", "--prelabel", str(given), "--form", "pcd", "--carried", str(carried)]
        assert main(["suggest", str(home), *words]) == 0
        (path,) = given.glob("*.pcd")
        columns = columns_of_pcd(path)
        np.testing.assert_array_equal(columns["label"], labels_at(carried, int(path.stem)))
        there = columns["label"] != 0
        assert np.mean(there) > 0.5
        assert (columns["confidence"][there] > 0.6).all()
        assert (columns["confidence"][~there] == 0).all()

    def test_options_of_prelabels_are_not_ignored(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        home = write_street(tmp_path / "k", scans=3, labelled=())

        def error(*words: str) -> str:
            assert main(["suggest", str(home), "--count", "1", *words]) == 1
            return " ".join(capsys.readouterr().err.split())

        assert "--carried: only with --prelabel OUT" in error("--carried", str(tmp_path))
        assert "--form: only with --prelabel OUT" in error("--form", "ply")
        typo = ["--prelabel", str(tmp_path / "given"), "--carried", str(tmp_path / "typo")]
        assert "typo: has no labels of the 3 scans" in error(*typo)
        assert not (tmp_path / "given").exists()

    def test_a_networks_labels_are_a_start_with_its_confidence(self, tiny_kitti: Path, tmp_path: Path) -> None:
        home, given = tiny_kitti / "sequences" / "00", tmp_path / "given"
        poses = tmp_path / "poses"
        poses.mkdir()
        (poses / "poses.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n" * 3)
        (poses / "calib.txt").write_text("Tr: 1 0 0 0 0 1 0 0 0 0 1 0\n")
        words = ["--poses", str(poses), "--labels", str(tmp_path), "--run", "first-answer", "--device", "cpu"]
        assert main(["suggest", str(home), *words, "--count", "1", "--prelabel", str(given), "--form", "ply"]) == 0
        (path,) = given.glob("*.ply")
        columns = columns_of_ply(path)
        assert (columns["scalar_label"] != 0).mean() > 0.9
        sure = columns["scalar_confidence"]
        assert ((sure > 0) & (sure <= 1))[columns["scalar_label"] != 0].all()

    def test_what_is_wrong_is_said(self, drive: Drive, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        folder = write(tmp_path / "in", "ply", drive)

        def said(*words: str, code: int = 1) -> str:
            assert main(["corrected", *words]) == code
            both = capsys.readouterr()
            return " ".join((both.err if code else both.out).split())

        assert "Give another output folder" in said(str(folder), "--out", str(folder))
        assert "has no scan 9 to mark as done" in said(str(folder), "--out", str(tmp_path / "o"), "--done", "9")
        assert "2 scans have labels below" in said(str(folder), "--out", str(tmp_path / "o"), "--done", "all", code=0)
        other = write_street(tmp_path / "k", scans=2, labelled=())
        assert "scan 000003 is not in the drive 05. Give the drive with --drive" in said(
            str(folder), "--out", str(tmp_path / "o"), "--drive", str(other)
        )
