"""Recordings that tests make up, and a reader of them that has nothing to do with rosbags' PointCloud2."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLOUD = "sensor_msgs/msg/PointCloud2"
POSE = "geometry_msgs/msg/PoseStamped"
DATATYPES = {"<f4": 7, "<u2": 4, "|u1": 2, "<f8": 8, "<u4": 6}
TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
T0 = 1_700_000_000_123_456_789


def stamp(number: int) -> int:
    """Of scan `number`, measured; it is recorded 5 ms later."""
    return T0 + number * 100_000_000


def write_recording(path: Path, scans: Sequence[NDArray], *, topic: str = "/points", poses: bool = True) -> Path:
    """Record arrays: ``.bag``, or a ROS 2 bag's folder of .mcap (its name ends in _mcap) or .db3.

    Args:
        path: of it.
        scans: structured arrays, one cloud each.
        topic: of the clouds.
        poses: a PoseStamped on /pose for each.
    """
    from rosbags import rosbag1, rosbag2
    from rosbags.typesys import Stores, get_typestore

    ros1 = path.suffix == ".bag"
    store = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_HUMBLE)
    encode = store.serialize_ros1 if ros1 else store.serialize_cdr
    plugin = rosbag2.StoragePlugin.MCAP if path.name.endswith("_mcap") else rosbag2.StoragePlugin.SQLITE3
    with rosbag1.Writer(path) if ros1 else rosbag2.Writer(path, version=9, storage_plugin=plugin) as writer:
        clouds = writer.add_connection(topic, CLOUD, typestore=store)
        pose = writer.add_connection("/pose", POSE, typestore=store) if poses else None
        for number, rows in enumerate(scans):
            message = cloud_message(store, rows, stamp(number), ros1)
            writer.write(clouds, stamp(number) + 5_000_000, bytes(encode(message, CLOUD)))
            if pose is not None:
                moved = pose_message(store, number, ros1)
                writer.write(pose, stamp(number) + 6_000_000, bytes(encode(moved, POSE)))
    return path


def header(store: Any, stamp_ns: int, frame: str, ros1: bool) -> Any:
    time = store.types["builtin_interfaces/msg/Time"](stamp_ns // 10**9, stamp_ns % 10**9)
    kind = store.types["std_msgs/msg/Header"]
    return kind(7, time, frame) if ros1 else kind(time, frame)


def cloud_message(store: Any, rows: NDArray, stamp_ns: int, ros1: bool = False) -> Any:
    field = store.types["sensor_msgs/msg/PointField"]
    places = rows.dtype.fields or {}
    fields = [field(name, places[name][1], DATATYPES[places[name][0].str], 1) for name in rows.dtype.names or ()]
    data = np.frombuffer(rows.tobytes(), np.uint8)
    head = header(store, stamp_ns, "velodyne_top", ros1)
    return store.types[CLOUD](head, 1, len(rows), fields, False, rows.itemsize, data.size, data, True)


def pose_message(store: Any, number: int, ros1: bool = False) -> Any:
    point = store.types["geometry_msgs/msg/Point"](1.5 * number, 0.1, 0.0)
    turn = store.types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
    pose = store.types["geometry_msgs/msg/Pose"](point, turn)
    return store.types[POSE](header(store, stamp(number), "map", ros1), pose)


class Cdr:
    """Little-endian CDR read by hand, as the OMG's document has it: a number is aligned to its size after 4 bytes."""

    def __init__(self, raw: bytes) -> None:
        assert raw[:2] == b"\0\1"
        self.raw, self.at = raw[4:], 0

    def number(self, form: str) -> int:
        size = struct.calcsize(form)
        self.at += -self.at % size
        (value,) = struct.unpack_from(f"<{form}", self.raw, self.at)
        self.at += size
        return int(value)

    def string(self) -> str:
        length = self.number("I")
        self.at += length
        return self.raw[self.at - length : self.at - 1].decode()

    def cloud(self) -> dict[str, Any]:
        seconds, nanoseconds, frame = self.number("i"), self.number("I"), self.string()
        told: dict[str, Any] = {"stamp": seconds * 10**9 + nanoseconds, "frame": frame}
        told["shape"] = (self.number("I"), self.number("I"))
        fields = [
            (self.string(), self.number("I"), self.number("B"), self.number("I")) for _ in range(self.number("I"))
        ]
        told["fields"] = [field[:3] for field in fields]
        assert self.number("B") == 0
        told["step"], row, size = self.number("I"), self.number("I"), self.number("I")
        assert row == told["step"] * told["shape"][1]
        kind = np.dtype(
            {
                "names": [name for name, *_ in fields],
                "formats": [TYPES[code] for _, _, code, _ in fields],
                "offsets": [offset for _, offset, *_ in fields],
                "itemsize": told["step"],
            }
        )
        told["points"] = np.frombuffer(self.raw[self.at : self.at + size], kind)
        assert self.number("B") in (0, 1) or True
        return told


def messages_of_mcap(path: Path) -> Iterator[tuple[str, int, bytes]]:
    """(topic, recorded at, bytes) of each message, by the library of MCAP's own makers."""
    from mcap.reader import make_reader

    with path.open("rb") as file:
        for _, channel, message in make_reader(file).iter_messages():
            yield channel.topic, message.log_time, message.data
