"""Which scans, poses and classes carried labels come from: names of several drives, their order, and what changed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from test_nuscenes import MINI, write_nuscenes
from test_propagate import labels_at, truth_of, write_street
from test_trajectory import turned

from rangeseg.apps.corrected import run_corrected
from rangeseg.apps.propagate_config import requests_of
from rangeseg.apps.suggest import prelabel, suggest
from rangeseg.cli import main
from rangeseg.config import Config, read_config
from rangeseg.data.lists import natural_order
from rangeseg.drive.carry import CLICK_RULES, WHOLE_RULES
from rangeseg.drive.kitti_poses import write_kitti_poses
from rangeseg.drive.layouts import open_drive
from rangeseg.drive.prelabels import Start, write_prelabels
from rangeseg.drive.propagate import propagate
from rangeseg.drive.request import Request, make_task
from rangeseg.drive.trajectory import Trajectory
from rangeseg.inference.pseudo_labels import Votes
from rangeseg.resources import resource
from rangeseg.scan_io import write_labels


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """Three scans of the drive 05; the first two are labelled."""
    return write_street(tmp_path / "k", scans=3, labelled=(0, 1))


class TestRecord:
    """A folder is continued only with what its labels were carried with."""

    def refused(self, request: Request) -> str:
        with pytest.raises(ValueError, match="Give --overwrite or another --out") as caught:
            list(propagate(make_task(request)))
        return str(caught.value)

    def test_other_poses_are_refused(self, street: Path, tmp_path: Path) -> None:
        request = Request(street, tmp_path / "out")
        list(propagate(make_task(request)))
        before = labels_at(tmp_path / "out", 2)
        poses = np.array([turned(0, x=float(x)) for x in (0, 1, 9)])
        better = Trajectory(("000000", "000001", "000002"), poses)
        write_kitti_poses(tmp_path / "better", better)
        assert "carried with other poses." in self.refused(replace(request, poses=tmp_path / "better"))
        write_kitti_poses(street, better)
        assert "carried with other poses." in self.refused(request)
        list(propagate(make_task(request), overwrite=True))
        assert (labels_at(tmp_path / "out", 2) != before).any()

    def test_poses_of_another_drive_with_the_same_names_are_refused(self, street: Path, tmp_path: Path) -> None:
        """`rangeseg poses` writes to the folder `poses` by default, so a second drive replaces the first."""
        other = tmp_path / "other" / "sequences" / "04"
        shutil.copytree(street, other)
        for file in (other / "velodyne").glob("*.bin"):
            (np.fromfile(file, "<f4") * np.float32(0.999)).tofile(file)
        poses = tmp_path / "poses"
        assert main(["poses", str(other), "--out", str(poses)]) == 0
        request = Request(street, tmp_path / "out", poses=poses)
        with pytest.raises(ValueError, match=r"poses of other scans \(drive 04, 3 scans\), not of 05 in"):
            make_task(request)
        make_task(replace(request, drive=other))
        assert main(["poses", str(street), "--out", str(poses)]) == 0
        (street / "velodyne" / "000000.bin").unlink()
        make_task(request)  # the other scans are the same
        (poses / "poses_of.json").write_text("{")
        with pytest.raises(ValueError, match=r"poses_of.json: cannot be read"):
            make_task(request)

    def test_other_classes_and_names_are_refused(self, street: Path, tmp_path: Path) -> None:
        poses = np.array([turned(0, x=float(x)) for x in (0, 1, 2, 2)])
        write_kitti_poses(tmp_path / "poses", Trajectory(("000000", "000001", "000002", "000003"), poses))
        request = Request(street, tmp_path / "out", poses=tmp_path / "poses")
        list(propagate(make_task(request)))
        classes = yaml.safe_load(resource("datasets", "semantic_kitti", "labels.yaml").read_text("utf-8"))
        classes["moving"] = classes["moving"][1:]
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(classes))
        said = self.refused(replace(request, dataset=str(tmp_path / "mine.yaml")))
        assert "carried with other raw ids or moving objects of the classes." in said
        (street / "velodyne" / "000002.bin").rename(street / "velodyne" / "000003.bin")
        assert "carried with other names of the scans." in self.refused(request)

    def test_a_folder_of_an_older_version_is_refused_in_clear_words(self, street: Path, tmp_path: Path) -> None:
        request = Request(street, tmp_path / "out")
        list(propagate(make_task(request)))
        path = tmp_path / "out/sequences/05/propagate.json"
        record = json.loads(path.read_text())
        path.write_text(json.dumps({key: record[key] for key in ("rules", "exclude", "labelled", "contents")}))
        assert "may have been carried with other names of the scans and poses" in self.refused(request)
        assert "which an older version did not record" in self.refused(request)

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_labels_of_people_are_not_overwritten(self, overwrite: bool, street: Path, tmp_path: Path) -> None:
        mine = tmp_path / "out/sequences/05/labels/000002.label"
        write_labels(mine, np.full(1500, 30, np.uint32))
        before = mine.read_bytes()
        with pytest.raises(ValueError, match=r"000002\.label: is not known to be of propagate .* 1 such label files"):
            list(propagate(make_task(Request(street, tmp_path / "out")), overwrite=overwrite))
        assert mine.read_bytes() == before
        assert not (tmp_path / "out/sequences/05/propagate.json").exists()

    def test_labels_without_a_record_are_carried_again(self, street: Path, tmp_path: Path) -> None:
        """Without the record, nobody knows from which labels they were carried."""
        request = Request(street, tmp_path / "out")
        list(propagate(make_task(request)))
        (tmp_path / "out/sequences/05/propagate.json").unlink()
        with pytest.raises(ValueError, match="there are 3 such label files"):
            list(propagate(make_task(request)))
        assert list(propagate(make_task(request), overwrite=True)) == [0, 1, 2]


class TestOrder:
    def test_numbers_are_in_order_by_value(self) -> None:
        assert sorted(["10", "9", "100", "8"], key=natural_order) == ["8", "9", "10", "100"]
        assert sorted(["1.2", "1.15", "1.1"], key=natural_order) == ["1.1", "1.15", "1.2"]  # time stamps
        padded = [f"a/{number:06d}.bin" for number in (0, 1, 9, 10, 99, 100000)]
        assert sorted(padded, key=natural_order) == padded

    @pytest.mark.parametrize("layout", ["scans", "velodyne"])
    def test_names_without_zeros_have_their_own_poses(self, layout: str, street: Path, tmp_path: Path) -> None:
        """As many rows as scans: row i is the pose of the i-th scan in time."""
        home = tmp_path / "own" / layout
        home.mkdir(parents=True)
        for number in range(3):
            shutil.copy(street / "velodyne" / f"{number:06d}.bin", home / f"scan{number + 8}.bin")
        poses = np.array([turned(0, x=float(number)) for number in range(3)])
        write_kitti_poses(home.parent, Trajectory(("a", "b", "c"), poses))
        drive = open_drive(home if layout == "scans" else home.parent)
        assert drive.names == ("scan8", "scan9", "scan10")
        assert drive.own_poses().positions[:, 0].tolist() == [0, 1, 2]

    def test_the_tool_for_labels_takes_rows_in_the_order_of_text(self, street: Path, tmp_path: Path) -> None:
        for number in (2, 1, 0):
            (street / "velodyne" / f"{number:06d}.bin").rename(street / "velodyne" / f"{number + 8}.bin")
        drive = open_drive(street)
        points = len(drive.read(drive.scans[0].file))
        empty = Start(np.zeros(points, np.uint32), np.zeros(points, np.float32), np.zeros(points, bool))
        poses = np.array([turned(0, x=float(number)) for number in range(3)])
        timed = Trajectory(drive.names, poses, np.arange(3.0))
        list(write_prelabels(tmp_path / "p", "point_labeler", drive, timed, [(n, empty) for n in range(3)], {}))
        files = sorted(path.stem for path in (tmp_path / "p/velodyne").iterdir())
        assert files == ["10", "8", "9"]
        assert np.loadtxt(tmp_path / "p/poses.txt")[:, 3].tolist() == [0, -2, -1]  # metres from scan 10


class TestLists:
    """A list of several drives labels only the scans of each drive."""

    def labelled(self, drive: Path, *named: str, scene: str | None = None) -> list[str]:
        task = make_task(Request(drive, Path("out"), labelled=named, scene=scene))
        return [task.drive.names[number] for number in task.labelled]

    def written(self, folder: Path, *lines: str) -> str:
        (folder / "list.txt").write_text("\n".join(lines))
        return str(folder / "list.txt")

    def test_scans_of_other_drives_are_skipped(self, street: Path, tmp_path: Path) -> None:
        listed = self.written(tmp_path, "05/000001", "04/000000", "00/000009")
        assert self.labelled(street, listed) == ["000001"]
        assert self.labelled(street, self.written(tmp_path, "000000")) == ["000000"]
        assert self.labelled(street, "05/000001", "000000") == ["000000", "000001"]
        assert self.labelled(street, "05") == ["000000", "000001"]

    @pytest.mark.parametrize(("lines", "words"), [
        (["04/000000"], r"list\.txt: lists no scan of the drive 05\. Names look like 05/000000"),
        (["05/000001", "05/000009"], "05: has no scan 000009"),
        (["000001", "00001"], "05: has no scan 00001"),
    ])  # fmt: skip
    def test_a_list_without_this_drive_is_an_error(
        self, lines: list[str], words: str, street: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(ValueError, match=words):
            self.labelled(street, self.written(tmp_path, *lines))

    def test_a_named_scan_of_another_drive_is_an_error(self, street: Path) -> None:
        with pytest.raises(ValueError, match="05: has no scan 01/000001, which is of the drive 01"):
            self.labelled(street, "01/000001")

    def test_nuscenes_lists_scenes_scans_and_tokens(self, tmp_path: Path) -> None:
        root = write_nuscenes(tmp_path / "n", "v1.0-mini", MINI)
        drive = open_drive(root, scene="scene-0061")
        keys = [entry for entry in drive.scans if drive.labels_of(entry) is not None]
        names = [entry.name for entry in keys]
        poses = Trajectory(drive.names, np.tile(np.eye(4), (len(drive.scans), 1, 1)))
        write_kitti_poses(tmp_path / "poses", poses, a_row_each=True)
        for lines, expected in (
            (["scene-0061", "scene-0553"], names),
            ([f"scene-0061/{names[0]}", "scene-0553/1"], names[:1]),
            ([keys[0].tokens[0], keys[1].tokens[1], "0" * 32], names[:2]),
        ):
            request = Request(root, Path("out"), labelled=(self.written(tmp_path, *lines),), poses=tmp_path / "poses")
            task = make_task(replace(request, scene="scene-0061"))
            assert [task.drive.names[number] for number in task.labelled] == expected

    def test_a_folder_named_scans_has_the_name_around_it(self, street: Path, tmp_path: Path) -> None:
        shutil.copytree(street / "velodyne", tmp_path / "a/scans")
        shutil.copytree(street / "labels", tmp_path / "a/labels")
        shutil.copy(street / "poses.txt", tmp_path / "a")
        shutil.copy(street / "calib.txt", tmp_path / "a")
        assert self.labelled(tmp_path / "a/scans", self.written(tmp_path, "a/000001", "b/000000")) == ["000001"]


class TestPosesOfDrives:
    """One folder of poses is of one drive."""

    @pytest.fixture
    def config(self, street: Path, tmp_path: Path) -> Config:
        shutil.copytree(street, street.parent / "06")
        (tmp_path / "some.txt").write_text("05/000000\n06/000001\n")
        words = [f"data.root={street.parent.parent}", f"data.labelled={tmp_path / 'some.txt'}", "optim.steps=1"]
        return read_config("mini_kitti", [*words, "runtime.out=."])

    def test_each_drive_has_its_own(self, config: Config, street: Path, tmp_path: Path) -> None:
        for name, x in (("05", 1.0), ("06", 2.0)):
            poses = np.array([turned(0, x=x * number) for number in range(3)])
            write_kitti_poses(tmp_path / "poses" / name, Trajectory(("a", "b", "c"), poses))
        usual = Request(Path(), tmp_path / "out", poses=tmp_path / "poses")
        tasks = [make_task(one) for one in requests_of(config, usual)]
        assert [task.poses.positions[1, 0] for task in tasks] == [1, 2]
        found = [Votes(1, tmp_path / "poses").poses_of(task.drive, 2) for task in tasks]
        assert [poses.positions[1, 0] for poses in found] == [1, 2]

    def test_those_of_one_drive_are_not_those_of_two(self, config: Config, street: Path, tmp_path: Path) -> None:
        usual = Request(Path(), tmp_path / "out", poses=street)
        with pytest.raises(ValueError, match=r"05: missing\. The data have 2 drives, so --poses is a folder"):
            requests_of(config, usual)
        votes, drive = Votes(1, street), open_drive(street)
        with pytest.raises(ValueError, match="The data have 2 drives"):
            votes.poses_of(drive, 2)
        assert len(votes.poses_of(drive, 1)) == 3
        (tmp_path / "some.txt").write_text("05/000000\n")
        assert [one.poses for one in requests_of(config, usual)] == [street]

    @pytest.mark.parametrize(("words", "option"), [
        ({"labelled": ("000000",)}, "--labelled"), ({"labels": Path("x")}, "--labels"), ({"scene": "x"}, "--scene")
    ])  # fmt: skip
    def test_labels_of_one_drive_are_refused(self, words: dict, option: str, config: Config) -> None:
        with pytest.raises(ValueError, match=f"{option} is for one drive, but --config"):
            requests_of(config, Request(Path(), Path("out"), **words))


def test_a_link_keeps_the_name_of_its_drive(street: Path, tmp_path: Path) -> None:
    """Pre-labels of my/sequences/00 come back as labels of 00, whatever the link's target is named."""
    home = tmp_path / "my/sequences/00"
    home.parent.mkdir(parents=True)
    home.symlink_to(street)
    request = Request(home, Path(), labels=tmp_path / "none")
    found = suggest(request, 1)
    list(prelabel(request, found, tmp_path / "given", "point_labeler"))
    (path,) = (tmp_path / "given/labels").iterdir()
    truth_of(street, int(path.stem)).astype("<u4").tofile(path)
    list(run_corrected(tmp_path / "given", tmp_path / "corrected", done=["all"]))
    assert [path.name for path in (tmp_path / "corrected/sequences").iterdir()] == ["00"]


@pytest.mark.parametrize(("clicks", "rules"), [(None, WHOLE_RULES), (300, CLICK_RULES)])
def test_points_without_a_return_do_not_make_clicks(clicks: int | None, rules: object, tmp_path: Path) -> None:
    """An organised cloud has a point for each beam, returned or not: only returns can have labels."""
    plain = write_street(tmp_path / "plain", scans=2, labelled=(0,), clicks=clicks)
    list(propagate(make_task(Request(plain, tmp_path / "expected"))))
    home = write_street(tmp_path / "k", scans=2, labelled=(0,), clicks=clicks)
    for number in range(2):
        path = home / "velodyne" / f"{number:06d}.bin"
        np.concatenate([np.fromfile(path, "<f4"), np.zeros(4 * 3000, "<f4")]).tofile(path)
    raw = np.fromfile(home / "labels/000000.label", "<u4")
    if clicks is None:
        raw[::5] = 0  # the person left these out on purpose
        raw.tofile(plain / "labels/000000.label")
        list(propagate(make_task(Request(plain, tmp_path / "expected")), overwrite=True))
    write_labels(home / "labels/000000.label", np.concatenate([raw, np.zeros(3000, np.uint32)]))
    task = make_task(Request(home, tmp_path / "out"))
    assert task.rules == rules
    list(propagate(task))
    for number in range(2):
        np.testing.assert_array_equal(
            labels_at(tmp_path / "out", number)[:1500], labels_at(tmp_path / "expected", number)
        )
    assert len(truth_of(home, 0)) == 4500
