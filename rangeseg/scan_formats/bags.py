"""Point clouds in recordings: ROS 1 bags, ROS 2 bags (folder, .db3, .mcap), through rosbags: the extra `bags`.

PointCloud2 and Livox's CustomMsg are decoded with their published layouts. Other message types of a recording can be
unknown. Shapes: N points.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rangeseg.files import plain_file
from rangeseg.scan_formats.point_cloud2 import CLOUD, columns_of_cloud

BAG = b"#ROSBAG V"

READ = (".mcap", ".db3", ".yaml")
"""Endings of the files in a ROS 2 bag's folder that are read."""

LIVOX = ("livox_ros_driver/msg/CustomMsg", "livox_ros_driver2/msg/CustomMsg", "livox_interfaces/msg/CustomMsg")
LIVOX_MESSAGE = """std_msgs/Header header
uint64 timebase
uint32 point_num
uint8 lidar_id
uint8[3] rsvd
CustomPoint[] points"""
LIVOX_POINT = """uint32 offset_time
float32 x
float32 y
float32 z
uint8 reflectivity
uint8 tag
uint8 line"""
LIVOX_COLUMNS = {
    "x": "f4", "y": "f4", "z": "f4", "reflectivity": "u1", "tag": "u1", "line": "u1", "offset_time": "u4"
}  # fmt: skip
"""Fields of a point: line is the laser of the sensor, reflectivity is 0 to 255, offset_time is in nanoseconds."""


@dataclass(frozen=True)
class Cloud:
    """The columns of a point cloud, and values from the header of the message.

    Args:
        columns: (N,) each, by name.
        stamp_ns: time of the measurement, nanoseconds; None: unknown.
        frame_id: coordinate frame; None: unknown.
    """

    columns: dict[str, NDArray]
    stamp_ns: int | None = None
    frame_id: str | None = None


class LivoxCloud(Protocol):
    """A CustomMsg of Livox's drivers."""

    header: Any
    points: list[Any]


def clouds_of_bag(path: Path, topic: str | None = None) -> tuple[int, Iterator[Cloud]]:
    """The point clouds of one topic, in the order of their time.

    Args:
        path: a ``.bag``, ``.mcap`` or ``.db3`` file, or the folder of a ROS 2 bag.
        topic: name of the topic; required if several topics have point clouds.

    Returns:
        The number of clouds, and the columns and header of each.

    Raises:
        ImportError: rosbags is not installed.
        ValueError: the recording cannot be read, has no such topic, or is damaged (possibly after some scans).
    """
    with opened(path) as reader:
        found = [(one.topic, one.msgtype, one.msgcount) for one in reader.connections]
    clouds = [(name, count) for name, kind, count in found if kind in (CLOUD, *LIVOX)]
    topics = sorted({name for name, _ in clouds})
    chosen = topics[0] if topic is None and len(topics) == 1 else topic
    if not topics:
        others = ", ".join(sorted({f"{name} ({kind})" for name, kind, _ in found})) or "none at all"
        raise ValueError(
            f"{path}: has no topic of point clouds (PointCloud2 or Livox's CustomMsg); its topics are: {others}. "
            "Record the sensor's point clouds, or unpack another recording."
        )
    if chosen not in topics:
        raise ValueError(
            f"{path}: has {f'no point clouds on {topic}' if topic else f'{len(topics)} topics of point clouds'}; "
            f"choose a topic of {', '.join(topics)}."
        )
    return sum(count for name, count in clouds if name == chosen), _clouds(path, str(chosen))


def _clouds(path: Path, topic: str) -> Iterator[Cloud]:
    for kind, message in messages_of_bag(path, topic):
        if kind not in (CLOUD, *LIVOX):
            continue
        try:
            columns = columns_of_cloud(message) if kind == CLOUD else columns_of_livox(message)
        except ValueError as error:
            raise damaged(path, error) from error
        stamp = message.header.stamp
        yield Cloud(columns, int(stamp.sec) * 10**9 + int(stamp.nanosec), str(message.header.frame_id))


def topics_of_bag(path: Path) -> dict[str, str]:
    """Topic of a recording -> type of its messages, for example ``nav_msgs/msg/Odometry``.

    Raises:
        ImportError: rosbags is not installed.
        ValueError: it cannot be read.
    """
    with opened(path) as reader:
        return {one.topic: one.msgtype for one in reader.connections}


def messages_of_bag(path: Path, topic: str) -> Iterator[tuple[str, Any]]:
    """The type and the content of each message of one topic, in the order of their time.

    Raises:
        ImportError: rosbags is not installed.
        ValueError: it cannot be read or is damaged, which may show only after some messages.
    """
    with opened(path) as reader:  # raises a helpful error if rosbags is missing
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore

        store = get_typestore(Stores.ROS1_NOETIC if path.suffix == ".bag" else Stores.ROS2_HUMBLE)
        for livox in LIVOX:
            point = livox.replace("CustomMsg", "CustomPoint")
            store.register(get_types_from_msg(LIVOX_POINT, point) | get_types_from_msg(LIVOX_MESSAGE, livox))
        decode = store.deserialize_ros1 if path.suffix == ".bag" else store.deserialize_cdr
        for connection, _, raw in reader.messages([one for one in reader.connections if one.topic == topic]):
            yield connection.msgtype, decode(raw, connection.msgtype)


def stamp_of(message: Any) -> float:
    """Time of the measurement from the header of a message, seconds."""
    stamp = message.header.stamp
    return float(stamp.sec + stamp.nanosec * 1e-9)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A reader of rosbags; its errors become ValueErrors that name the file."""
    try:
        from rosbags import rosbag1, rosbag2
    except ImportError as error:
        raise ImportError(f"{path}: reading recordings needs rosbags: pip install 'rangeseg[bags]'.") from error
    try:
        for file in [one for one in path.iterdir() if one.suffix in READ] if path.is_dir() else [path]:
            plain_file(file)
        if path.suffix == ".bag" and not _begins_with(path, BAG):  # rosbags looks for the end of the first line
            raise ValueError("it does not begin as a bag does")
        with (rosbag1 if path.suffix == ".bag" else rosbag2).Reader(path) as reader:
            yield reader
    except GeneratorExit:
        raise
    except Exception as error:
        raise damaged(path, error) from error


def _begins_with(path: Path, word: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(word)) == word


def damaged(path: Path, error: Exception) -> ValueError:
    """The error for a recording that cannot be read."""
    reason = f"{type(error).__name__}: {error}"
    return ValueError(f"{path}: not a complete recording ({reason}); copy it again, or repair it with ROS.")


def columns_of_livox(cloud: LivoxCloud) -> dict[str, NDArray]:
    """Decode a CustomMsg of Livox's drivers: x, y, z in metres, reflectivity of 0 to 255, tag, line and time, (N,)."""
    return {
        name: np.array([getattr(point, name) for point in cloud.points], kind) for name, kind in LIVOX_COLUMNS.items()
    }
