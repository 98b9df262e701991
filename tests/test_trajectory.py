"""Poses: KITTI's, PandaSet's, nuScenes', a recording's and kiss-icp's, and what a trajectory must be."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from test_nuscenes import MINI, write_nuscenes

from rangeseg.cli import main
from rangeseg.data.kitti_poses import pose_of
from rangeseg.data.pandaset import _read_table
from rangeseg.drive.kitti_poses import PUBLISHED_TR, read_kitti_poses, read_tr, write_kitti_poses
from rangeseg.drive.layouts import open_drive
from rangeseg.drive.other_poses import PANDASET_SENSOR, read_odometry
from rangeseg.drive.registration import register
from rangeseg.drive.trajectory import Trajectory, between, rigid


def turned(degrees: float, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    half = np.deg2rad(degrees) / 2
    return rigid([np.cos(half), 0, 0, np.sin(half)], [x, y, z])


def curve(count: int, step: float = 1.0) -> np.ndarray:
    """A drive along a circle."""
    pose, poses = np.eye(4), []
    for _ in range(count):
        poses.append(pose)
        pose = pose @ turned(3, step)
    return np.array(poses)


def names(numbers: range | list[int]) -> tuple[str, ...]:
    return tuple(f"{number:06d}" for number in numbers)


@pytest.mark.parametrize("tr", ["0 0 0 0 0 0 0 0 0 0 0 0", "1 0 0 0 0 1 0 0 0 0 9 0", "1 0 0 0 0 1 0 0 0 0 nan 0"])
def test_a_tr_that_is_no_motion_is_named(tmp_path: Path, tr: str) -> None:
    """Not the poses, which it would bend."""
    path = tmp_path / "calib.txt"
    path.write_text(f"Tr: {tr}\n")
    with pytest.raises(ValueError, match=r"calib\.txt: Tr is not a rigid motion"):
        read_tr(path)


class TestTrajectory:
    def test_what_is_no_trajectory_is_refused(self) -> None:
        poses = curve(3)
        for broken, words in (
            (np.full_like(poses, np.nan), "not a rigid motion"),
            (poses * 2, "not a rigid motion"),
            (poses * [[1], [1], [-1], [1]], "not a rigid motion"),  # a mirror
            (poses[:2], r"give \(3, 4, 4\)"),
        ):
            with pytest.raises(ValueError, match=words):
                Trajectory(names(range(3)), broken)
        with pytest.raises(ValueError, match="the same name"):
            Trajectory(("a", "a", "b"), poses)
        with pytest.raises(ValueError, match="decrease"):
            Trajectory(names(range(3)), poses, np.array([0.0, 2.0, 1.0]))
        with pytest.raises(ValueError, match=r"give \(3,\)"):
            Trajectory(names(range(3)), poses, np.array([0.0]))

    def test_selection_follows_the_names(self) -> None:
        whole = Trajectory(names(range(4)), curve(4), np.arange(4.0))
        some = whole.select(["000001", "000003"])
        np.testing.assert_array_equal(some.poses, whole.poses[[1, 3]])
        np.testing.assert_array_equal(some.times, [1, 3])
        with pytest.raises(ValueError, match="1 of 1 scans have no pose; the first is 000009"):
            whole.select(["000009"])

    def test_between_two_poses_the_turn_is_even(self) -> None:
        """By the matrix exponential: a quarter of a turn about any axis, composed four times, is the turn."""
        rng = np.random.default_rng(0)
        for _ in range(20):
            first, second = (rigid(rng.normal(size=4), rng.normal(size=3)) for _ in range(2))
            quarter = between(first[None], second[None], np.array([0.25]))[0]
            step = first[:3, :3].T @ quarter[:3, :3]
            np.testing.assert_allclose(first[:3, :3] @ np.linalg.matrix_power(step, 4), second[:3, :3], atol=1e-6)
            np.testing.assert_allclose(quarter[:3, 3], 0.75 * first[:3, 3] + 0.25 * second[:3, 3], atol=1e-12)

    @pytest.mark.parametrize("degrees", [0.03, 90.0, 179.9, 180.0])
    def test_a_share_of_one_is_the_second_pose_with_four_digits_too(self, degrees: float) -> None:
        rng = np.random.default_rng(0)
        for _ in range(5):
            axis = rng.normal(size=3)
            half, first = np.radians(degrees) / 2, rigid(rng.normal(size=4), (0, 0, 0))
            turn = rigid([np.cos(half), *(np.sin(half) * axis / np.linalg.norm(axis))], (0, 0, 0))
            one, two = np.round(first, 4), np.round(first @ turn, 4)
            np.testing.assert_allclose(between(one[None], two[None], np.ones(1))[0], two, atol=3e-4)

    def test_poses_at_times(self) -> None:
        whole = Trajectory(("a", "b"), np.array([turned(0), turned(40, x=2)]), np.array([10.0, 12.0]))
        found = whole.at([10.0, 10.5, 12.0], ["p", "q", "r"])
        np.testing.assert_allclose(found.poses, [turned(0), turned(10, x=0.5), turned(40, x=2)], atol=1e-9)
        with pytest.raises(ValueError, match="1 of 2 scans were taken before the first pose"):
            whole.at([9.0, 11.0], ["p", "q"])

    def test_metres_travelled(self) -> None:
        np.testing.assert_allclose(Trajectory(names(range(5)), curve(5, 2.0)).travelled(), [0, 2, 4, 6, 8], atol=1e-9)


class TestKitti:
    def test_static_places_stay_where_they_are(self, kitti_root: Path) -> None:
        """The law of poses: the same wall, seen from two places, is one wall."""
        scipy = pytest.importorskip("scipy.spatial", reason="scipy is not installed")

        drive = open_drive(kitti_root / "sequences" / "00")
        trajectory = drive.own_poses()
        first, last = (drive.read(drive.scans[i].file).xyz.astype(float) for i in (0, 4))

        def far(poses: np.ndarray) -> float:
            placed = [xyz @ pose[:3, :3].T + pose[:3, 3] for xyz, pose in zip((first, last), poses, strict=True)]
            return float(np.median(scipy.cKDTree(placed[0]).query(placed[1][::20])[0]))

        assert far(trajectory.poses[[0, 4]]) < 0.1
        assert far(trajectory.poses[[0, 4]]) < 0.5 * far(trajectory.poses[[4, 0]])
        assert trajectory.times is not None
        np.testing.assert_allclose(np.diff(trajectory.times), 0.2074, atol=1e-3)
        step = trajectory.positions[4] - trajectory.positions[0]
        assert step[0] > 5
        assert abs(step[1:]).max() < 0.5  # ahead is x

    @pytest.mark.parametrize("focal", PUBLISHED_TR)
    def test_tr_is_the_files_or_the_published_one(self, tmp_path: Path, focal: float) -> None:
        path = tmp_path / "calib.txt"
        path.write_text(f"P0: {focal:.6e} 0 0 0 0 0 0 0 0 0 0 0\n")
        tr = read_tr(path)
        np.testing.assert_allclose(tr[:3, :3] @ tr[:3, :3].T, np.eye(3), atol=1e-6)
        np.testing.assert_allclose(tr[2, :3], [1, 0, 0], atol=0.05)  # the camera looks ahead
        path.write_text(f"P0: {focal:.6e} 0 0 0 0 0 0 0 0 0 0 0\nTr: 1 0 0 5 0 1 0 6 0 0 1 7\n")
        np.testing.assert_array_equal(read_tr(path)[:3, 3], [5, 6, 7])
        path.write_text("P0: 1.0 0 0\n")
        with pytest.raises(ValueError, match=r"calib\.txt: has neither a line Tr with 12 numbers nor a P0"):
            read_tr(path)

    @pytest.mark.parametrize("numbers", [[0, 1, 2], [0, 2, 4, 6], [3, 4, 9]])
    def test_what_is_written_is_read(self, tmp_path: Path, numbers: list[int]) -> None:
        written = Trajectory(names(numbers), curve(len(numbers)), np.array(numbers) / 10)
        write_kitti_poses(tmp_path, written)
        rows = (tmp_path / "poses.txt").read_text().splitlines()
        assert ["nan" in row for row in rows] == [number < numbers[0] for number in range(numbers[-1] + 1)]
        read = read_kitti_poses(tmp_path, written.names)
        np.testing.assert_allclose(read.poses, written.poses, atol=1e-9)
        np.testing.assert_allclose(read.times, written.times, atol=1e-9)  # type: ignore[arg-type]

    def test_no_pose_is_invented_for_a_scan_outside_those_with_poses(self, tmp_path: Path) -> None:
        for first, last, refused in (
            (3, 9, "3 of 10 scans have no pose; the first is 000000, the last 000002"),
            (0, 7, "2 of 10 scans have no pose; the first is 000008, the last 000009"),
        ):
            count = last - first + 1
            write_kitti_poses(tmp_path, Trajectory(names(range(first, last + 1)), curve(count), np.arange(1.0 * count)))
            with pytest.raises(ValueError, match=refused):
                read_kitti_poses(tmp_path, names(range(10)))
            read = read_kitti_poses(tmp_path, names(range(first, last + 1)))
            np.testing.assert_allclose(read.poses, curve(count), atol=1e-9)

    def test_as_many_rows_as_scans_are_not_theirs_if_the_numbers_do_not_fit(self, tmp_path: Path) -> None:
        """The poses of scans 0 to 6 are as many as scans 3 to 9."""
        write_kitti_poses(tmp_path, Trajectory(names(range(7)), curve(7)))
        with pytest.raises(ValueError, match="has 7 rows for as many scans, 000003 to 000009, but row i"):
            read_kitti_poses(tmp_path, names(range(3, 10)))
        rows = (tmp_path / "poses.txt").read_text()
        (tmp_path / "poses.txt").write_text(3 * f"{' '.join(12 * ['nan'])}\n" + rows)  # as the error says
        np.testing.assert_allclose(read_kitti_poses(tmp_path, names(range(3, 10))).poses, curve(7), atol=1e-9)

    def test_names_that_are_no_numbers_have_a_row_each(self, tmp_path: Path) -> None:
        for kept in (("a", "c"), ("1532402927647951", "1532402927697000")):
            written = Trajectory(kept, curve(2))
            write_kitti_poses(tmp_path, written)
            np.testing.assert_allclose(read_kitti_poses(tmp_path, kept).poses, written.poses, atol=1e-9)

    def test_times_of_other_scans_are_not_taken_for_theirs(self, tmp_path: Path) -> None:
        """Three rows of poses in the order of three scans, but a time for each of 300 scans."""
        scans = tmp_path / "scans"
        scans.mkdir()
        write_kitti_poses(tmp_path, Trajectory(("000000", "000100", "000200"), curve(3)))
        (tmp_path / "times.txt").write_text("".join(f"{row / 10}\n" for row in range(300)))
        with pytest.raises(ValueError, match=r"times\.txt: 300 rows for 3 poses"):
            read_kitti_poses(tmp_path, ("000000", "000100", "000200"))
        assert read_kitti_poses(tmp_path, ("000000", "000001")).times == pytest.approx([0, 0.1])  # row i is of number i
        for name in ("000000", "000100", "000200"):
            np.ones(4, np.float32).tofile(scans / f"{name}.bin")
        found = [pose_of(scans / f"{name}.bin") for name in ("000000", "000100")]
        assert [pose.time_s for pose in found if pose] == [0, None]

    def test_what_is_wrong_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"has no poses\.txt"):
            read_kitti_poses(tmp_path, names([0]))
        write_kitti_poses(tmp_path, Trajectory(names(range(3)), curve(3)))
        with pytest.raises(ValueError, match="1 of 2 scans have no pose; the first is 000007"):
            read_kitti_poses(tmp_path, names([1, 7]))
        (tmp_path / "poses.txt").write_text("1 2 3\n")
        with pytest.raises(ValueError, match="rows of 3 numbers"):
            read_kitti_poses(tmp_path, names([0]))
        (tmp_path / "poses.txt").write_text("1 0 0 0 0 5 0 0 0 0 1 0\n")
        with pytest.raises(ValueError, match=r"poses\.txt: The pose of scan 000000 is not a rigid motion"):
            read_kitti_poses(tmp_path, names([0]))


class TestOthers:
    def test_pandaset_points_come_back_to_the_world(self, data_root: Path) -> None:
        pytest.importorskip("pandas", reason="the extra pandaset is not installed")
        drive = open_drive(data_root / "pandaset" / "official" / "001")
        pose = drive.own_poses().poses[0]
        xyz = drive.read(drive.scans[0].file).xyz.astype(float)
        table = _read_table(drive.scans[0].file, ("x", "y", "z", "d"))
        world = np.stack([table[axis] for axis in "xyz"], axis=1)[table["d"] == 0]
        np.testing.assert_allclose(xyz @ pose[:3, :3].T + pose[:3, 3], world, atol=1e-4)
        np.testing.assert_allclose(np.linalg.det(PANDASET_SENSOR), 1)

    def test_nuscenes_poses_are_ego_times_sensor(self, tmp_path: Path) -> None:
        root = write_nuscenes(tmp_path, "v1.0-mini", MINI)
        tables = root / "v1.0-mini"
        sensor, rows = turned(90, z=1.8), json.loads((tables / "sample_data.json").read_text())
        sensors = [{"token": "s", "translation": [0, 0, 1.8], "rotation": [np.sqrt(0.5), 0, 0, np.sqrt(0.5)]}]
        egos = []
        for number, row in enumerate(rows):
            row |= {"calibrated_sensor_token": "s", "ego_pose_token": f"e{number}"}
            quaternion = [np.cos(number / 50), 0, 0, np.sin(number / 50)]
            egos.append({"token": f"e{number}", "translation": [float(number), 0, 0], "rotation": quaternion})
        for name, content in (("sample_data", rows), ("calibrated_sensor", sensors), ("ego_pose", egos)):
            (tables / f"{name}.json").write_text(json.dumps(content, indent=0))
        drive = open_drive(root, scene="scene-0061")
        found = drive.own_poses()
        number_of = {str(row["timestamp"]): number for number, row in enumerate(rows) if "LIDAR" in row["filename"]}
        for name, pose in zip(found.names, found.poses, strict=True):
            ego = egos[number_of[name]]
            np.testing.assert_allclose(pose, rigid(ego["rotation"], ego["translation"]) @ sensor, atol=1e-12)
        assert found.times is not None
        assert (np.diff(found.times) > 0).all()
        with pytest.raises(ValueError, match=r"a drive of nuScenes is one scene\. Name it with --scene: scene-0061"):
            open_drive(root)
        (tables / "ego_pose.json").write_text("[]")
        with pytest.raises(ValueError, match=r"ego_pose\.json: has no row for scan"):
            drive.own_poses()

    def test_a_recordings_odometry(self, tmp_path: Path) -> None:
        bag = write_bag(tmp_path / "bag")
        found, lacking = read_odometry(bag, None, None)
        assert found.names == ("000001", "000002")
        assert lacking == ("000000",)  # before the first message of odometry
        np.testing.assert_allclose(found.positions[:, 0], [0.5, 1.5], atol=1e-9)
        mounted, _ = read_odometry(bag, "/odom", "/lidar", turned(0, z=2.0))
        np.testing.assert_allclose(mounted.positions[:, 2], [2, 2])
        with pytest.raises(ValueError, match="has no odometry on /lidar; choose one of /odom"):
            read_odometry(bag, "/lidar", None)

    def test_registration_finds_the_way(self, kitti_root: Path) -> None:
        pytest.importorskip("kiss_icp", reason="the extra poses is not installed")
        drive = open_drive(kitti_root / "sequences" / "07")
        found = register((drive.read(entry.file) for entry in drive.scans), drive.names)
        true = drive.own_poses().positions
        assert np.abs(found.positions - (true - true[0])).max() < 0.25

    def test_without_kiss_icp_one_line_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "kiss_icp.config", None)
        with pytest.raises(ImportError, match=r"pip install 'rangeseg\[poses\]'"):
            register([], ())


class TestCommand:
    def test_poses_are_written_and_drawn(self, kitti_root: Path, tmp_path: Path) -> None:
        drive = kitti_root / "sequences" / "04"
        assert main(["poses", str(drive), "--out", str(tmp_path), "--png", str(tmp_path / "path.png")]) == 0
        expected = open_drive(drive).own_poses()
        read = read_kitti_poses(tmp_path, expected.names)
        np.testing.assert_allclose(read.poses, expected.poses, atol=1e-6)
        assert (tmp_path / "path.png").stat().st_size > 1000

    def test_clouds_without_a_pose_are_named(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["poses", str(write_bag(tmp_path / "bag")), "--out", str(tmp_path / "poses")]) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert "1 of 3 clouds have no pose" in said
        assert "the first is 000000, the last 000000" in said
        with pytest.raises(ValueError, match="1 of 3 scans have no pose"):
            read_kitti_poses(tmp_path / "poses", names(range(3)))

    def test_what_is_wrong_is_said(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        def error(*words: str) -> str:
            assert main(["poses", *words, "--out", str(tmp_path / "o")]) == 1
            return " ".join(capsys.readouterr().err.split())

        assert "is not a folder" in error(str(tmp_path / "absent"))
        assert "has no scans" in error(str(tmp_path))
        assert "is not a recording with odometry" in error(str(tmp_path), "--by", "odometry")
        assert "is a recording" in error(str(tmp_path / "a.mcap"), "--by", "kiss-icp")
        for option in ("--topic", "--cloud-topic", "--extrinsics"):
            assert f"{option} is only for a recording" in error(str(tmp_path), option, "x")
        for option in ("--scene", "--fields"):
            assert f"{option} is not for a recording" in error(str(tmp_path / "a.mcap"), option, "unit=mm")

    def test_only_nuscenes_has_scenes(
        self, tiny_kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        home, out = str(tiny_kitti / "sequences" / "00"), ["--out", str(tmp_path)]
        for words in (
            ["poses", home],
            ["propagate", home, *out],
            ["suggest", home],
            ["predict", "--drive", home, *out],
        ):
            assert main([*words, "--scene", "scene-0061"]) == 1
            assert "is no root of nuScenes (with v1.0-*), so it has no scene scene-0061" in " ".join(
                capsys.readouterr().err.split()
            )

    def test_a_datasets_own_calibration_is_not_lost(
        self, tiny_kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        home = tmp_path / "sequences" / "00"
        home.mkdir(parents=True)
        (home / "velodyne").symlink_to(tiny_kitti / "sequences" / "00" / "velodyne")
        (home / "poses.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n" * 3)
        (home / "calib.txt").write_text("P0: 718.856\nTr: 0 -1 0 0 0 0 -1 0 1 0 0 0\n")
        before = (home / "calib.txt").read_text()
        assert main(["poses", str(home), "--out", str(home)]) == 1
        assert "own calib.txt, which would be lost" in " ".join(capsys.readouterr().err.split())
        assert (home / "calib.txt").read_text() == before
        shutil.copytree(home / "velodyne", home / "scans")  # the poses of a folder scans lie above it
        (home / "velodyne").unlink()
        assert main(["poses", str(home / "scans"), "--out", str(home)]) == 1
        assert "own calib.txt, which would be lost" in " ".join(capsys.readouterr().err.split())
        assert (home / "calib.txt").read_text() == before


def write_bag(path: Path) -> Path:
    """Odometry at 1, 2 and 3 s, a metre ahead each; clouds at 0.5, 1.5 and 2.5 s."""
    pytest.importorskip("rosbags", reason="the extra bags is not installed")
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    kinds = {name.rsplit("/", 1)[1]: kind for name, kind in store.types.items() if not name.startswith("std_msgs")}
    kinds["Header"] = store.types["std_msgs/msg/Header"]

    def head(seconds: float) -> object:
        return kinds["Header"](kinds["Time"](int(seconds), int(seconds % 1 * 1e9)), "x")

    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        odometry, clouds = "nav_msgs/msg/Odometry", "sensor_msgs/msg/PointCloud2"
        at, seen = (
            writer.add_connection(topic, kind, typestore=store)
            for topic, kind in (("/odom", odometry), ("/lidar", clouds))
        )
        for number in range(3):
            place = kinds["Point"](float(number), 0.0, 0.0)
            pose = kinds["Pose"](place, kinds["Quaternion"](0.0, 0.0, 0.0, 1.0))
            zero = kinds["Vector3"](0.0, 0.0, 0.0)
            with_covariance = kinds["PoseWithCovariance"](pose, np.zeros(36))
            twist = kinds["TwistWithCovariance"](kinds["Twist"](zero, zero), np.zeros(36))
            message = store.types[odometry](head(1.0 + number), "base", with_covariance, twist)
            writer.write(at, number, store.serialize_cdr(message, odometry))
            cloud = store.types[clouds](head(0.5 + number), 1, 0, [], False, 4, 0, np.empty(0, np.uint8), True)
            writer.write(seen, number, store.serialize_cdr(cloud, clouds))
    return path
