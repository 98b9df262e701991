"""A drive into a recording, the recording labelled by the command, and what comes out read by others' libraries.

python tests/robot.py DRIVE FOLDER [first-answer]     DRIVE: sequences/SS of KITTI's layout, perhaps with poses.txt

The .mcap is read by MCAP's own library, a ROS 1 bag by rosbags. FOLDER gets the recordings and is told to be empty.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recordings import CLOUD, Cdr, messages_of_mcap, stamp, write_recording

from rangeseg.cli import main

POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4"), ("ring", "<u2"), ("time", "<f8")])


def rows_of(file: Path, number: int) -> NDArray:
    """A scan as a driver publishes it: with a ring and a time, which a network does not read."""
    table = np.fromfile(file, "<f4").reshape(-1, 4)
    rows = np.zeros(len(table), POINT)
    for name, column in zip(("x", "y", "z", "intensity"), table.T, strict=True):
        rows[name] = column
    rows["ring"], rows["time"] = np.arange(len(table)) % 64, number + np.linspace(0, 0.1, len(table))
    return rows


def clouds_of(path: Path) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """(topic, recorded at, cloud) of a recording's clouds."""
    if path.suffix == ".mcap":
        for topic, time, raw in messages_of_mcap(path):
            if topic != "/pose":
                yield topic, time, Cdr(raw).cloud()
        return
    from rosbags.rosbag1 import Reader
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC)
    with Reader(path) as reader:
        for connection, time, raw in reader.messages():
            if connection.msgtype == CLOUD:
                cloud = store.deserialize_ros1(raw, CLOUD)
                kinds = {7: "f4", 2: "u1", 4: "u2", 8: "f8"}
                named = {"names": [f.name for f in cloud.fields], "formats": [kinds[f.datatype] for f in cloud.fields]}
                named |= {"offsets": [f.offset for f in cloud.fields], "itemsize": cloud.point_step}
                at, points = cloud.header.stamp, np.frombuffer(cloud.data.tobytes(), np.dtype(named))
                told = {"stamp": at.sec * 10**9 + at.nanosec, "frame": cloud.header.frame_id, "points": points}
                yield connection.topic, time, told


def check(drive: Path, folder: Path, *, ros1: bool = False, most: int | None = None, run: str = "first-answer") -> str:
    """Record, label, read back and compare, point by point.

    Raises:
        AssertionError: a cloud, a point, a time stamp or a frame id is another.
    """
    scans = [rows_of(file, k) for k, file in enumerate(sorted((drive / "velodyne").glob("*.bin"))[:most])]
    poses = drive / "poses.txt"
    recording = write_recording(folder / ("drive.bag" if ros1 else "drive_mcap"), scans, poses=poses.is_file())
    (source,) = [recording] if ros1 else recording.glob("*.mcap")
    out = folder / f"labelled{source.suffix}"
    assert main(["predict", run, str(source), "--out", str(out), "--device", "cpu", "--filter", "car"]) == 0
    found: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for topic, time, cloud in clouds_of(out):
        found.setdefault(topic, []).append((time, cloud))
    assert sorted(found) == ["/points", "/points/filtered", "/points/segmentation"]
    for topic, clouds in found.items():
        assert len(clouds) == len(scans), topic
        for number, ((time, cloud), rows) in enumerate(zip(clouds, scans, strict=True)):
            told = (time, cloud["stamp"], cloud["frame"])
            assert told == (stamp(number) + 5_000_000, stamp(number), "velodyne_top"), topic
            points = cloud["points"]
            if topic == "/points":
                assert points.tobytes() == rows.tobytes()
            elif topic == "/points/filtered":
                cars = found["/points/segmentation"][number][1]["points"]["class_id"] == 0
                assert points.tobytes() == rows[~cars].tobytes()
            else:
                assert all((points[axis] == rows[axis]).all() for axis in "xyz")
                assert (points["probability"] >= 0).all()
    total = sum(map(len, scans))
    return f"{source.suffix}: {len(scans)} scans, {total} points, stamps, frames and points equal"


if __name__ == "__main__":
    for ros1 in (False, True):
        sys.stdout.write(
            f"{check(Path(sys.argv[1]), Path(sys.argv[2]), ros1=ros1, run=(*sys.argv[3:], 'first-answer')[0])}\n"
        )
