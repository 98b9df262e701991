"""A recording in, the same recording with labels out; read back with the MCAP library and CDR decoded by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import random_scan
from numpy.typing import NDArray
from recordings import CLOUD, POSE, Cdr, messages_of_mcap, stamp, write_recording
from robot import check
from test_domain_check import street
from test_live import of_beams

from rangeseg import LabelMap, Segmenter, read_scan
from rangeseg.cli import main
from rangeseg.commands.console import RECORDINGS
from rangeseg.inference.autoware import CLASSES, INVALID, autoware_ids
from rangeseg.resources import resource
from rangeseg.scan_formats.recordings import FILES
from rangeseg.types import Scan

for needed in ("rosbags", "mcap"):
    pytest.importorskip(needed, reason="the extras bags and test are not installed")

POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4"), ("ring", "<u2"), ("time", "<f8")])
AUTOWARE = [("x", 0, 7), ("y", 4, 7), ("z", 8, 7), ("class_id", 12, 2), ("probability", 16, 7), ("entropy", 20, 7)]


def rows_of(scan: Scan, number: int) -> NDArray:
    rows = np.zeros(len(scan), POINT)
    for axis, name in enumerate("xyz"):
        rows[name] = scan.xyz[:, axis]
    rows["intensity"] = scan.remission
    rows["ring"] = np.arange(len(scan)) % 64
    rows["time"] = number + np.arange(len(scan)) / len(scan)
    return rows


def made_up(count: int = 3) -> list[NDArray]:
    rng = np.random.default_rng(4)
    scans = [rows_of(random_scan(rng, 900), number) for number in range(count)]
    scans[0]["x"][5] = np.nan  # no return
    return scans


def predicted(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["predict", "first-answer", *words, "--device", "cpu"]) == 0, capsys.readouterr().err
    return " ".join(capsys.readouterr().out.split())


def as_run(rows: NDArray) -> Scan:
    xyz = np.stack([rows[axis] for axis in "xyz"], 1)
    return Scan(xyz, rows["intensity"])


@pytest.mark.parametrize("real", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_mcap_keeps_all_it_had_and_gets_the_labels_in_autowares_layout(
    real: bool, segmenter: Segmenter, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of made-up scans, and of the 26 real ones of a KITTI drive."""
    scans = made_up()
    if real:
        root = request.getfixturevalue("data_root") / "kitti_unlabelled/sequences/33/velodyne"
        files = sorted(root.glob("*.bin"))
        assert len(files) == 26
        scans = [rows_of(read_scan(file), number) for number, file in enumerate(files)]
    write_recording(tmp_path / "drive_mcap", scans)
    (drive,) = (tmp_path / "drive_mcap").glob("*.mcap")
    out = tmp_path / "labelled.mcap"
    assert "of /points labelled in" in predicted([str(drive), "--out", str(out)], capsys)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drive_mcap", "labelled.mcap"]
    before, after = list(messages_of_mcap(drive)), list(messages_of_mcap(out))
    assert [one for one in after if one[0] != "/points/segmentation"] == before  # bytes, times, topics, order
    clouds = [(time, Cdr(raw).cloud()) for topic, time, raw in after if topic == "/points/segmentation"]
    table = autoware_ids(segmenter.label_map)
    for number, ((time, cloud), rows) in enumerate(zip(clouds, scans, strict=True)):
        assert (time, cloud["stamp"], cloud["frame"]) == (stamp(number) + 5_000_000, stamp(number), "velodyne_top")
        assert (cloud["fields"], cloud["step"], cloud["shape"]) == (AUTOWARE, 24, (1, len(rows)))
        for axis in "xyz":
            np.testing.assert_array_equal(cloud["points"][axis], rows[axis])
        found = segmenter(as_run(rows))
        np.testing.assert_array_equal(cloud["points"]["class_id"], table[found.labels])
        np.testing.assert_allclose(cloud["points"]["probability"], found.confidence, atol=1e-4)
        np.testing.assert_allclose(cloud["points"]["entropy"], found.entropy, atol=1e-3)
    if not real:
        lost = clouds[0][1]["points"][5]
        assert (lost["class_id"], lost["probability"], lost["entropy"]) == (INVALID, 0, 0)


@pytest.mark.parametrize("name", ["drive.bag", "drive_db3", "drive_mcap"])
def test_own_fields_with_labels_and_the_cloud_without_some_classes(
    name: str, segmenter: Segmenter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from rosbags import rosbag1, rosbag2
    from rosbags.typesys import Stores, get_typestore

    scans, ros1 = made_up(), name.endswith(".bag")
    drive = write_recording(tmp_path / name, scans)
    out = tmp_path / ("out.bag" if ros1 else "out")
    words = [str(drive), "--out", str(out), "--layout", "fields", "--filter", "road", "car", "--drop-input"]
    predicted(words, capsys)
    store = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_HUMBLE)
    decode = store.deserialize_ros1 if ros1 else store.deserialize_cdr
    with (rosbag1 if ros1 else rosbag2).Reader(out) as reader:
        messages = [(one.topic, one.msgtype, time, raw) for one, time, raw in reader.messages()]
    counts = {topic: sum(one[0] == topic for one in messages) for topic in {one[0] for one in messages}}
    assert counts == {"/pose": 3, "/points/segmentation": 3, "/points/filtered": 3}
    assert {one[1] for one in messages} == {CLOUD, POSE}
    clouds = {
        topic: [decode(raw, CLOUD) for one, _, _, raw in messages if one == topic]
        for topic in counts
        if "po" in topic and topic != "/pose"
    }
    for number, rows in enumerate(scans):
        found = segmenter(as_run(rows))
        whole, rest = clouds["/points/segmentation"][number], clouds["/points/filtered"][number]
        assert {(one.header.stamp.sec, one.header.stamp.nanosec) for one in (whole, rest)} == {
            divmod(stamp(number), 10**9)
        }
        assert [field.name for field in whole.fields] == [*POINT.names, "label", "confidence", "entropy"]  # type: ignore[misc]
        bytes_of = np.asarray(whole.data).reshape(len(rows), whole.point_step)
        assert bytes_of[:, : POINT.itemsize].tobytes() == rows.tobytes()
        places = {field.name: field.offset for field in whole.fields}
        label = bytes_of[:, places["label"] :][:, :2].copy().view("<u2")[:, 0]
        np.testing.assert_array_equal(label, segmenter.label_map.to_raw(found.labels))
        confidence = bytes_of[:, places["confidence"] :][:, :4].copy().view("<f4")[:, 0]
        np.testing.assert_allclose(confidence, found.confidence, atol=1e-4)
        kept = ~np.isin(found.names, ["road", "car"])
        assert 0 < kept.sum() < len(rows)
        assert np.asarray(rest.data).tobytes() == rows[kept].tobytes()


def test_a_cloud_without_a_return_stays_and_has_no_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scans = made_up()
    scans[1] = scans[1][:0]
    for axis in "xyz":
        scans[2][axis] = 0
    write_recording(tmp_path / "drive_mcap", scans, poses=False)
    predicted([str(tmp_path / "drive_mcap"), "--out", str(tmp_path / "out")], capsys)
    (out,) = (tmp_path / "out").glob("*.mcap")
    clouds = [Cdr(raw).cloud()["points"] for topic, _, raw in messages_of_mcap(out) if "seg" in topic]
    assert [len(cloud) for cloud in clouds] == [900, 0, 900]
    assert set(clouds[2]["class_id"]) == {INVALID}


def test_what_is_wrong_is_said_and_nothing_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drive = write_recording(tmp_path / "drive_mcap", made_up(), topic="/lidar")

    def error(*words: str) -> str:
        assert main(["predict", str(drive), "--out", str(tmp_path / "out"), "--device", "cpu", *words]) == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == left
        return " ".join(capsys.readouterr().err.split())

    left = ["drive_mcap"]
    assert "no point clouds on /front; choose a topic of /lidar" in error("--topic", "/front")
    assert "no class 'raod' to filter. Did you mean 'road'?" in error("--filter", "raod")
    assert "ROS 1 and ROS 2 do not mix" in error("--out", str(tmp_path / "out.bag"))
    assert "has no range for remission" in error("--fields", "remission=range")
    assert "predict labels one recording at a time" in error("--split", "val")
    (tmp_path / "out").mkdir()
    left = ["drive_mcap", "out"]
    assert "already exists" in error()
    (file,) = drive.glob("*.mcap")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    (tmp_path / "out").rmdir()
    left = ["drive_mcap"]
    assert "drive_mcap" in error()
    scan = tmp_path / "a.npy"
    np.save(scan, np.ones((10, 4)))
    assert main(["predict", str(scan), "--filter", "car"]) == 1
    assert "--filter: only for recordings" in capsys.readouterr().err


def test_clouds_that_do_not_fit_the_run_end_the_command_as_scans_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scans = [rows_of(street(number), number) for number in range(3)]
    for rows in scans[:2]:
        rows["z"] *= -1
    drive = write_recording(tmp_path / "drive_mcap", scans)
    words = ["predict", "first-answer", str(drive), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main(words) == 1
    assert "2 of 3 scans do not fit this run" in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "out" / "metadata.yaml").is_file()
    assert "2 of 3 scans do not fit this run" in predicted([*words[2:], "--overwrite", "--anyway"], capsys)


@pytest.mark.filterwarnings("ignore:.*does not fit this run")
def test_beams_that_the_first_clouds_of_a_recording_lack_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def rows(count: int, number: int) -> NDArray:
        scan = of_beams(count)
        made = rows_of(scan, number)
        made["ring"] = scan.ring
        return made

    drive = write_recording(tmp_path / "drive_mcap", [rows(8, k) for k in range(10)] + [rows(16, 10)], poses=False)
    assert "11 clouds of /points labelled" in predicted(
        [str(drive), "--out", str(tmp_path / "out"), "--anyway"], capsys
    )
    assert main(["unpack", str(drive), "--out", str(tmp_path / "scans")]) == 0
    last = read_scan(tmp_path / "scans" / "000010.npz")
    assert set(last.ring) == set(range(16))
    assert last.xyz[last.ring == 0, 2].mean() > last.xyz[last.ring == 15, 2].mean()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--confidence"], "--confidence: not for recordings"),
        (["--partial"], "--partial: not for recordings"),
        (["--layout", "fields", "--class-ids", "train"], "--class-ids train: only for --layout autoware"),
    ],
)
def test_options_without_effect_on_a_recording_are_refused(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drive = write_recording(tmp_path / "drive_mcap", made_up(1))
    assert main(["predict", "first-answer", str(drive), "--out", str(tmp_path / "out"), *words]) == 1
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_overwrite_replaces_a_recording_but_no_other_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drive, out = write_recording(tmp_path / "drive_mcap", made_up(1)), tmp_path / "out"
    for _ in range(2):
        predicted([str(drive), "--out", str(out), "--overwrite"], capsys)
    (out / "metadata.yaml").unlink()
    assert main(["predict", str(drive), "--out", str(out), "--overwrite"]) == 1
    out = out.rename(tmp_path / "out.mcap")
    assert main(["predict", str(drive), "--out", str(out), "--overwrite"]) == 1
    assert list(out.iterdir())


@pytest.mark.parametrize(
    ("source", "out"),
    [
        ("drive.bag", "drive.bag"),
        ("drive_mcap", "drive_mcap"),
        ("drive_mcap", "link"),
        ("drive_mcap/*.mcap", "drive_mcap"),
    ],
)
def test_the_input_is_not_replaced_by_its_copy(
    source: str, out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drive = write_recording(tmp_path / source.split("/")[0], made_up(1))
    (tmp_path / "link").symlink_to(drive)
    before = {file: file.read_bytes() for file in (drive.iterdir() if drive.is_dir() else [drive])}
    words = ["predict", "first-answer", str(next(tmp_path.glob(source))), "--out", str(tmp_path / out)]
    assert main([*words, "--overwrite", "--drop-input"]) == 1
    assert "is the input, lies in it or contains it. Choose another --out" in " ".join(capsys.readouterr().err.split())
    assert all(file.read_bytes() == content for file, content in before.items())


def test_a_folder_of_scans_may_be_named_as_a_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drive, scans = write_recording(tmp_path / "drive.bag", made_up(1)), tmp_path / "scans.bag"
    assert main(["unpack", str(drive), "--out", str(scans)]) == 0
    predicted([str(scans), "--out", str(tmp_path / "out"), "--anyway"], capsys)
    assert (tmp_path / "out" / "000000.label").is_file()


@pytest.mark.parametrize("ending", sorted(RECORDINGS))
def test_a_file_that_is_there_is_named_or_replaced(
    ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(FILES) == RECORDINGS
    drive, out = (
        write_recording(tmp_path / ("drive.bag" if ending == ".bag" else "drive_mcap"), made_up(1)),
        tmp_path / f"out{ending}",
    )
    predicted([str(drive), "--out", str(out)], capsys)
    assert main(["predict", str(drive), "--out", str(out)]) == 1
    assert f"{out.name}: already exists. Give another name, or --overwrite" in capsys.readouterr().err.replace("\n", "")
    predicted([str(drive), "--out", str(out), "--overwrite"], capsys)


def test_autowares_table_has_a_class_for_every_class_of_the_scan_datasets() -> None:
    names = ["semantic_kitti", "nuscenes", "pandaset", "rellis3d", "semantic_poss", "waymo"]
    maps = {name: LabelMap.read(resource("datasets", name, "labels.yaml")) for name in names}
    for label_map in maps.values():
        ids = autoware_ids(label_map)
        assert (ids[: label_map.num_classes] < len(CLASSES)).all()
        assert (ids[label_map.num_classes :] == INVALID).all()
    kitti = {
        name: CLASSES[autoware_ids(maps["semantic_kitti"])[k]] for k, name in enumerate(maps["semantic_kitti"].names)
    }
    assert {kitti[name] for name in ("road", "sidewalk", "parking", "terrain", "other-ground")} == {"flat_surface"}
    assert (kitti["car"], kitti["person"], kitti["bicyclist"]) == ("car", "pedestrian", "bicycle")
    with pytest.raises(ValueError, match=r"no class of Autoware corresponds to .*--class-ids train"):
        autoware_ids(LabelMap.read(resource("datasets", "ade20k", "labels.yaml")))


def test_unpack_keeps_stamps_frames_and_all_fields(tmp_path: Path) -> None:
    scans = made_up()
    drive = write_recording(tmp_path / "drive_db3", scans)
    assert main(["unpack", str(drive), "--out", str(tmp_path / "scans")]) == 0
    for number, rows in enumerate(scans):
        path = tmp_path / "scans" / f"{number:06d}.npz"
        with np.load(path) as arrays:
            assert (int(arrays["stamp_ns"]), str(arrays["frame_id"])) == (stamp(number), "velodyne_top")
            np.testing.assert_array_equal(arrays["time"], rows["time"])
            np.testing.assert_array_equal(arrays["intensity"], rows["intensity"])
            assert "ring" in arrays
        np.testing.assert_array_equal(read_scan(path).xyz, as_run(rows).xyz)
        np.testing.assert_array_equal(read_scan(path).remission, rows["intensity"])


@pytest.mark.slow
@pytest.mark.parametrize("ros1", [False, True])
def test_a_drive_comes_back_from_either_ros_as_it_went_in(ros1: bool, data_root: Path, tmp_path: Path) -> None:
    """Three real scans; `python tests/robot.py DRIVE FOLDER` does whole drives."""
    told = check(data_root / "kitti_unlabelled/sequences/33", tmp_path, ros1=ros1, most=3)
    assert "3 scans" in told


def test_a_recording_is_read_by_the_columns_of_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_recording(tmp_path / "drive_db3", made_up(1))
    dataset = "data.dataset={name: scan_folder, classes: semantic_kitti, fields: {remission: reflectivity}}"
    words = ["predict", "first-answer", str(tmp_path / "drive_db3"), "--out", str(tmp_path / "out_db3"), dataset]
    assert main([*words, "--device", "cpu"]) == 1
    assert "has no reflectivity for remission" in " ".join(capsys.readouterr().err.split())
    assert "of /points labelled in" in predicted([*words[2:], "--fields", "remission=intensity"], capsys)


def test_messages_without_fields_and_points_get_no_labels(
    segmenter: Segmenter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A driver sends them before the first turn, and when the sensor is off."""
    nothing, first, second = np.zeros(0, np.dtype([])), *made_up(2)
    drive, out = write_recording(tmp_path / "drive_mcap", [nothing, first, nothing, second]), tmp_path / "labelled.mcap"
    predicted([str(drive), "--out", str(out), "--layout", "fields"], capsys)
    found = [Cdr(raw).cloud() for topic, _, raw in messages_of_mcap(out) if topic == "/points/segmentation"]
    assert [one["shape"] for one in found] == [(1, 0), (1, len(first)), (1, 0), (1, len(second))]
    raw = segmenter.label_map.to_raw(segmenter(as_run(second)).labels)
    np.testing.assert_array_equal(found[3]["points"]["label"], raw)
    assert main(["unpack", str(drive), "--out", str(tmp_path / "scans")]) == 0
    assert sorted(path.name for path in (tmp_path / "scans").glob("*.npz")) == ["000001.npz", "000003.npz"]
    assert capsys.readouterr().err.count("it is left out") == 2
