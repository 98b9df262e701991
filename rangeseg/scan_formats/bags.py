"""Point clouds in recordings: ROS 1 bags, ROS 2 bags (folder, .db3, .mcap), through rosbags: the extra `bags`.

PointCloud2 and Livox's CustomMsg are decoded, by their published layouts, so that a recording's other types need not be
known.
Shapes: N points.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

CLOUD = "sensor_msgs/msg/PointCloud2"
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
LIVOX_COLUMNS = {"x": "f4", "y": "f4", "z": "f4", "reflectivity": "u1", "tag": "u1", "line": "u1"}
"""What is taken of a point; line is the laser of the sensor, reflectivity 0 to 255."""
TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
"""NumPy's type of each of PointField's datatypes."""


class PointCloud2(Protocol):
    """The message, as ROS defines it."""

    height: int
    width: int
    fields: list[Any]
    is_bigendian: bool
    point_step: int
    row_step: int
    data: NDArray[np.uint8]


class LivoxCloud(Protocol):
    """A CustomMsg of Livox's drivers."""

    points: list[Any]


def clouds_of_bag(path: Path, topic: str | None = None) -> tuple[int, Iterator[dict[str, NDArray]]]:
    """The point clouds of one topic, in the order of their time.

    Args:
        path: a ``.bag``, ``.mcap`` or ``.db3`` file, or the folder of a ROS 2 bag.
        topic: its name; needed where there are several of point clouds.

    Returns:
        How many there are, and each one's columns by name, (N,).

    Raises:
        ImportError: rosbags is not installed.
        ValueError: it cannot be read or is damaged, which may show only after some scans, or has no such topic.
    """
    with _opened(path) as reader:
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


def _clouds(path: Path, topic: str) -> Iterator[dict[str, NDArray]]:
    for kind, message in messages_of_bag(path, topic):
        if kind == CLOUD:
            yield columns_of_cloud(message)
        elif kind in LIVOX:
            yield columns_of_livox(message)


def topics_of_bag(path: Path) -> dict[str, str]:
    """The topics of a recording -> the types of their messages, e.g. ``nav_msgs/msg/Odometry``.

    Raises:
        ImportError: rosbags is not installed.
        ValueError: it cannot be read.
    """
    with _opened(path) as reader:
        return {one.topic: one.msgtype for one in reader.connections}


def messages_of_bag(path: Path, topic: str) -> Iterator[tuple[str, Any]]:
    """The type and the content of each message of one topic, in the order of their time.

    Raises:
        ImportError: rosbags is not installed.
        ValueError: it cannot be read or is damaged, which may show only after some messages.
    """
    with _opened(path) as reader:  # before rosbags is imported: it says what is missing
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore

        store = get_typestore(Stores.ROS1_NOETIC if path.suffix == ".bag" else Stores.ROS2_HUMBLE)
        for livox in LIVOX:
            point = livox.replace("CustomMsg", "CustomPoint")
            store.register(get_types_from_msg(LIVOX_POINT, point) | get_types_from_msg(LIVOX_MESSAGE, livox))
        decode = store.deserialize_ros1 if path.suffix == ".bag" else store.deserialize_cdr
        for connection, _, raw in reader.messages([one for one in reader.connections if one.topic == topic]):
            yield connection.msgtype, decode(raw, connection.msgtype)


def stamp_of(message: Any) -> float:
    """When a message's content was measured, by its header: seconds."""
    stamp = message.header.stamp
    return float(stamp.sec + stamp.nanosec * 1e-9)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A reader of rosbags; whatever it cannot read is a ValueError that names the file."""
    try:
        from rosbags import rosbag1, rosbag2
    except ImportError as error:
        raise ImportError(f"{path}: reading recordings needs rosbags: pip install 'rangeseg[bags]'.") from error
    try:
        with (rosbag1 if path.suffix == ".bag" else rosbag2).Reader(path) as reader:
            yield reader
    except GeneratorExit:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"{path}: not a complete recording ({reason}); copy it again, or repair it with ROS."
        ) from error


def columns_of_cloud(cloud: PointCloud2) -> dict[str, NDArray]:
    """Decode a PointCloud2 message: the fields of one number a point.

    Args:
        cloud: H x W points, row after row.

    Returns:
        Each field's column, (N,), N = H * W.

    Raises:
        ValueError: its sizes contradict each other.
    """
    points, order = cloud.height * cloud.width, ">" if cloud.is_bigendian else "<"
    kept = [field for field in cloud.fields if field.datatype in TYPES and field.count <= 1]
    formats = [order + TYPES[field.datatype] for field in kept]
    ends = [field.offset + np.dtype(kind).itemsize for field, kind in zip(kept, formats, strict=True)]
    row = cloud.width * cloud.point_step
    step = cloud.row_step or row  # some drivers leave it 0
    data = np.ascontiguousarray(cloud.data, np.uint8)
    if max(ends, default=0) > cloud.point_step or row > step or cloud.height * step > data.size:
        raise ValueError(
            f"{cloud.height} x {cloud.width} points of {cloud.point_step} bytes do not fit {data.size} bytes, "
            f"or the fields do not fit the points"
        )
    if points == 0:
        return {field.name: np.empty(0, kind) for field, kind in zip(kept, formats, strict=True)}
    packed = data[: cloud.height * step].reshape(cloud.height, step)[:, :row].tobytes()
    offsets = [field.offset for field in kept]
    names = [field.name for field in kept]
    record = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": cloud.point_step})
    table = np.frombuffer(packed, record)
    return {name: table[name] for name in names}


def columns_of_livox(cloud: LivoxCloud) -> dict[str, NDArray]:
    """Decode a CustomMsg of Livox's drivers: x, y, z in metres, reflectivity of 0 to 255, tag and line, (N,) each."""
    return {
        name: np.array([getattr(point, name) for point in cloud.points], kind) for name, kind in LIVOX_COLUMNS.items()
    }
