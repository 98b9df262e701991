"""A folder of scans that is written again holds the scans of the last call, and nothing of earlier ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import random_scan

from rangeseg.apps.gathered import gather
from rangeseg.apps.ssl_streets import TINY, make_streets
from rangeseg.data.kitti_poses import pose_of
from rangeseg.data.lists import natural_order
from rangeseg.data.pandaset import _pose
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.drive.kitti_poses import read_kitti_poses, write_kitti_poses
from rangeseg.drive.layouts import open_drive
from rangeseg.drive.trajectory import Trajectory
from rangeseg.scan_formats import unpack as unpacking
from rangeseg.scan_io import read_scan


def files_of(folder: Path, pattern: str) -> list[str]:
    return sorted(path.name for path in folder.glob(pattern))


class TestUnpack:
    @pytest.fixture
    def recordings(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, int | None]:
        """Name of a recording -> number of its clouds that are good before a damaged one, or None: all four are."""
        counts: dict[str, int | None] = {"long.bag": 4, "short.bag": 2, "none.bag": 0, "torn.bag": None}

        def clouds(path: Path, topic: str | None = None) -> tuple[int, Any]:
            xyz = random_scan(np.random.default_rng(len(path.name)), 50).xyz
            good = {axis: xyz[:, k] for k, axis in enumerate("xyz")} | {"intensity": np.full(50, 9, np.uint8)}
            count = counts[path.name]
            if count is None:
                return 4, iter([unpacking.Cloud({"x": xyz[:, 0]})])
            return count, iter([unpacking.Cloud(good)] * count)

        monkeypatch.setattr(unpacking, "clouds_of_bag", clouds)
        return counts

    def unpack(self, name: str, out: Path) -> list[str]:
        return [path.name for path in unpacking.unpack(Path(name), out)[1]]

    @pytest.mark.usefixtures("recordings")
    def test_a_shorter_recording_leaves_nothing_of_the_longer_one(self, tmp_path: Path) -> None:
        assert len(self.unpack("long.bag", tmp_path)) == 4
        for name in ("mine.npz", "7.npz", "labels/000003.label"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(b"")
        assert self.unpack("long.bag", tmp_path) == files_of(tmp_path, "0*.npz")
        assert self.unpack("short.bag", tmp_path) == files_of(tmp_path, "0*.npz") == ["000000.npz", "000001.npz"]
        assert '"recording": "short.bag"' in (tmp_path / "unpacked.json").read_text()
        assert self.unpack("none.bag", tmp_path) == files_of(tmp_path, "0*.npz") == []
        assert all((tmp_path / name).is_file() for name in ("mine.npz", "7.npz", "labels/000003.label"))

    @pytest.mark.usefixtures("recordings")
    def test_scans_that_no_record_lists_are_neither_removed_nor_mixed(self, tmp_path: Path) -> None:
        (tmp_path / "000002.npz").write_bytes(b"mine")
        with pytest.raises(ValueError, match=r"000002\.npz: .*unpacked\.json does not list it"):
            self.unpack("short.bag", tmp_path)
        assert files_of(tmp_path, "*") == ["000002.npz"]
        (tmp_path / "000002.npz").unlink()
        self.unpack("short.bag", tmp_path)
        (tmp_path / "000002.npz").write_bytes(b"mine")
        with pytest.raises(ValueError, match=r"000002\.npz"):
            self.unpack("long.bag", tmp_path)

    @pytest.mark.usefixtures("recordings")
    def test_a_recording_that_cannot_be_read_removes_nothing(self, tmp_path: Path) -> None:
        before = self.unpack("long.bag", tmp_path)
        with pytest.raises(ValueError, match=r"torn\.bag, cloud 0"):
            self.unpack("torn.bag", tmp_path)
        assert files_of(tmp_path, "0*.npz") == before

    def test_a_capture_that_was_killed_explains_its_scans(
        self, tmp_path: Path, recordings: dict[str, int | None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(unpacking, "clouds_of_capture", lambda path: (None, unpacking.clouds_of_bag(path)[1]))
        recordings |= {"long.pcap": 4, "short.pcap": 1}
        written = unpacking.unpack(Path("long.pcap"), tmp_path)[1]
        assert [next(written).name for _ in range(3)] == files_of(tmp_path, "0*.npz")
        assert self.unpack("short.pcap", tmp_path) == files_of(tmp_path, "0*.npz") == ["000000.npz"]


def write_drive(folder: Path, names: tuple[str, ...], seed: int = 0) -> Path:
    """Scans and poses; the remission and the pose of a scan are its number."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for name in names:
        scan = np.c_[random_scan(rng, 30).xyz, np.full(30, int(name.lstrip("a")))].astype("<f4")
        scan.tofile(folder / f"{name}.bin")
    return folder


def with_poses(folder: Path, numbers: tuple[int, ...]) -> Path:
    rows = "".join(f"1 0 0 {number} 0 1 0 0 0 0 1 0\n" for number in numbers)
    (folder / "poses.txt").write_text(rows)
    (folder / "calib.txt").write_text("Tr: 1 0 0 0 0 1 0 0 0 0 1 0\n")
    return folder


class TestGathered:
    def test_other_scans_are_an_error_that_names_them(self, tmp_path: Path) -> None:
        root, a = tmp_path / "gathered", write_drive(tmp_path / "a", ("1", "2", "3"))
        b = write_drive(tmp_path / "b", ("1", "2", "3"), seed=1)
        written = list(gather([a], root))
        before = [path.read_bytes() for path in written]
        with pytest.raises(ValueError, match=rf"differ in folder of 00 \({a}; now {b}\)\. .*another --out"):
            list(gather([b], root))
        with pytest.raises(ValueError, match=r"differ in folder of 01 \(None; now .*b\), scans of 01"):
            list(gather([a, b], root))
        assert [path.read_bytes() for path in gather([a], root)] == before
        shutil.copy(a / "3.bin", a / "4.bin")
        shutil.rmtree(root)  # what was trained on the old scans is still there
        with pytest.raises(ValueError, match=r"gathered\.json: the existing scans differ in scans of 00\. "):
            list(gather([a], root))
        (a / "4.bin").unlink()
        assert [path.read_bytes() for path in gather([a], root)] == before

    def test_paths_in_any_spelling_name_the_same_scans(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        root, a = tmp_path / "gathered", write_drive(tmp_path / "a", ("1", "2"))
        (tmp_path / "link").symlink_to(a)
        monkeypatch.chdir(tmp_path)
        assert len([*gather([a], root)]) == 2
        for spelling in (Path("a"), tmp_path / "b" / ".." / "a", tmp_path / "link"):
            assert len([*gather([spelling], root)]) == 2

    def test_scans_of_unknown_origin_are_refused(self, tmp_path: Path) -> None:
        a = write_drive(tmp_path / "a", ("1",))
        write_drive(tmp_path / "gathered" / "sequences" / "03" / "velodyne", ("000005",))
        with pytest.raises(ValueError, match=r"000005\.bin: .*gathered\.json does not list it"):
            list(gather([a], tmp_path / "gathered"))

    @pytest.mark.parametrize("linked", [False, True])
    def test_scans_are_in_the_order_of_their_numbers_and_keep_their_poses(self, tmp_path: Path, linked: bool) -> None:
        folder = with_poses(write_drive(tmp_path / "a", ("a8", "a9", "a10")), (8, 9, 10))
        if linked:
            (tmp_path / "link").symlink_to(folder)
            folder = tmp_path / "link"
        files = list(gather([folder], tmp_path / "gathered"))
        assert [read_scan(path).remission[0] for path in files] == [8, 9, 10]
        poses = open_drive(tmp_path / "gathered" / "sequences" / "00").own_poses().poses
        assert poses[:, 0, 3].tolist() == [8, 9, 10]


def test_a_dataset_has_the_scans_of_a_drive_in_the_same_order(tmp_path: Path) -> None:
    home = tmp_path / "sequences" / "00"
    write_drive(home / "velodyne", ("8", "9", "10"))
    assert open_drive(home).names == ("8", "9", "10")
    assert SemanticKitti(tmp_path, labels=False).names == ("00/8", "00/9", "00/10")


def test_numbers_in_names_are_compared_as_numbers() -> None:
    names = ["10", "9", "a10", "a9b", "a9", "08", "8", "", "a"]
    assert sorted(names, key=natural_order) == ["", "08", "8", "9", "10", "a", "a9", "a9b", "a10"]


def test_the_benchmark_does_not_take_other_streets_for_its_own(tmp_path: Path) -> None:
    write_drive(tmp_path / "sequences" / "00" / "velodyne", ("000003",))
    with pytest.raises(ValueError, match=r"holds scans, but no streets\.json"):
        next(make_streets(TINY, tmp_path))


def test_times_belong_to_the_poses_beside_them(tmp_path: Path) -> None:
    poses = np.tile(np.eye(4), (2, 1, 1))
    timed, plain = Trajectory(("0", "1"), poses, np.array([1.0, 2.0])), Trajectory(("0", "1"), poses)
    (tmp_path / "times.txt").write_text("3\n4\n")  # the user's, of scans without poses
    write_kitti_poses(tmp_path, plain)
    assert read_kitti_poses(tmp_path, ("0", "1")).times.tolist() == [3, 4]  # type: ignore[union-attr]
    write_kitti_poses(tmp_path, timed)
    with pytest.raises(ValueError, match=r"times\.txt: contains the times of earlier poses"):
        write_kitti_poses(tmp_path, plain)


def test_poses_that_are_written_again_are_read_again(tmp_path: Path) -> None:
    """Also the row of a scan that is added, within one process."""
    scans = write_drive(with_poses(tmp_path, (8, 9)) / "velodyne", ("0", "1"))
    assert pose_of(scans / "1.bin").matrix[0, 3] == 9  # type: ignore[union-attr] # it has a pose
    with_poses(tmp_path, (8, 19, 20))
    assert pose_of(scans / "1.bin").matrix[0, 3] == 19  # type: ignore[union-attr]
    (scans / "1.bin").rename(scans / "2.bin")
    assert pose_of(scans / "2.bin").matrix[0, 3] == 20  # type: ignore[union-attr]


def test_poses_of_pandaset_that_are_written_again_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "poses.json"
    for x in (1.0, 2.5):
        turn = {"w": 1.0, "x": 0.0, "y": 0.0, "z": 0.0}
        path.write_text(json.dumps([{"heading": turn, "position": {"x": x, "y": 0.0, "z": 0.0}}]))
        assert _pose(tmp_path / "00.pkl.gz")[1][0] == x


class TestStreets:
    @pytest.fixture(autouse=True)
    def _needs_open3d(self) -> None:
        pytest.importorskip("open3d", reason="streets are cast with Open3D (extra view)")

    def write(self, out: Path, scans: int = 2, *, keep: bool = False, **options: object) -> list[str]:
        from rangeseg.data.synthesise import synthesise

        given: dict[str, Any] = {"sensor": "vlp16", "firings": 8, "scans_per_street": 2} | options
        list(synthesise(out, ["00"], scans=scans, keep=keep, **given))
        home = out / "sequences" / "00"
        names = files_of(home / "velodyne", "*")
        assert files_of(home / "labels", "*") == [name.replace(".bin", ".label") for name in names]
        assert len((home / "poses.txt").read_text().splitlines()) == len(names)
        return names

    def test_fewer_scans_leave_nothing_of_the_others(self, tmp_path: Path) -> None:
        assert len(self.write(tmp_path, 3)) == 3
        mine = tmp_path / "sequences" / "00" / "predictions" / "000002.label"
        mine.parent.mkdir()
        mine.write_bytes(b"")
        assert self.write(tmp_path, 2, sensor="hdl32e") == ["000000.bin", "000001.bin"]
        assert mine.is_file()
        assert len(SemanticKitti(tmp_path, "train")) == 2

    def test_a_stopped_call_leaves_no_poses_of_other_scans(self, tmp_path: Path) -> None:
        from rangeseg.data.synthesise import synthesise

        self.write(tmp_path)
        stopped = synthesise(tmp_path, "00", scans=2, sensor="vlp16", firings=8, scans_per_street=2, seed=1)
        next(stopped)
        stopped.close()
        home = tmp_path / "sequences" / "00"
        assert files_of(home / "velodyne", "*") == ["000000.bin"]
        assert not (home / "poses.txt").exists()

    def test_kept_scans_have_the_same_settings(self, tmp_path: Path) -> None:
        yaml = tmp_path / "mine.yaml"
        shutil.copy(Path(__file__).parents[1] / "datasets" / "sensors" / "vlp16.yaml", yaml)
        self.write(tmp_path)
        home = tmp_path / "sequences" / "00" / "velodyne"
        before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(home.iterdir())]
        others = {"seed": 1, "sensor": "hdl32e", "spacing_m": 5.0, "firings": 9, "kind": "residential"}
        others |= {"scans_per_street": 1, "compensated": False}
        for name, value in others.items():
            with pytest.raises(ValueError, match=rf"synthesised\.json: .* differ in .*{name}.*leave out --keep"):
                self.write(tmp_path, keep=True, **{name: value})
        with pytest.raises(ValueError, match=r"differ in number of scans \(2; now 1\)"):
            self.write(tmp_path, 1, keep=True)
        assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(home.iterdir())] == before
        assert len(self.write(tmp_path, 3, keep=True, sensor=str(yaml))) == 3  # the same sensor, and one scan more
        assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(home.iterdir())][:2] == before

    @pytest.mark.parametrize("keep", [False, True])
    def test_scans_of_unknown_origin_are_refused(self, tmp_path: Path, keep: bool) -> None:
        place = write_drive(tmp_path / "sequences" / "00" / "velodyne", ("000000",)) / "000000.bin"
        before = place.read_bytes()
        with pytest.raises(ValueError, match=r"000000\.bin: .*synthesised\.json does not list it"):
            self.write(tmp_path, keep=keep)
        assert place.read_bytes() == before
