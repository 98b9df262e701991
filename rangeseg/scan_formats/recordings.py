"""Reads and copies recordings message by message: ROS 1 bags, ROS 2 bags (folder, .db3, .mcap), through rosbags.

Only PointCloud2 is decoded here; messages of other types are copied as they are.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from rangeseg.scan_formats.bags import damaged, opened
from rangeseg.scan_formats.point_cloud2 import CLOUD, Points, points_of_cloud

FILES = (".bag", ".mcap", ".db3")
"""Suffixes of recordings; a ROS 2 bag may also be a folder with a metadata.yaml."""


def is_recording(path: Path) -> bool:
    """Whether a path is a recording: a file by its name, a folder by its content."""
    return (path / "metadata.yaml").is_file() if path.is_dir() else path.suffix in FILES


@dataclass(frozen=True)
class Message:
    """One message of a recording.

    Args:
        connection: its topic and type, from rosbags.
        time_ns: time of the recording, nanoseconds.
        raw: its bytes.
        path: path of the recording.
        decode: bytes of a point cloud -> the message.
    """

    connection: Any
    time_ns: int
    raw: bytes
    path: Path
    decode: Callable[[bytes], Any]

    @cached_property
    def cloud(self) -> Any:
        """The message of a point cloud.

        Raises:
            ValueError: the message is not a point cloud.
        """
        try:
            return self.decode(self.raw)
        except Exception as error:  # rosbags raises many kinds
            raise damaged(self.path, error) from error

    @cached_property
    def points(self) -> Points:
        """The points of a cloud.

        Raises:
            ValueError: the sizes in the message contradict each other.
        """
        try:
            return points_of_cloud(self.cloud)
        except ValueError as error:
            raise damaged(self.path, error) from error


@dataclass(frozen=True)
class Recording:
    """A recording and its selected topic.

    Args:
        path: path of the recording.
        topic: selected topic of point clouds.
        count: declared number of its messages.
        total: declared number of messages of all topics.
    """

    path: Path
    topic: str
    count: int
    total: int

    @staticmethod
    def find(path: Path, topic: str | None = None) -> Recording:
        """Open a recording and select its topic.

        Args:
            path: a ``.bag``, ``.mcap`` or ``.db3`` file, or the folder of a ROS 2 bag.
            topic: name of the topic; required if several topics have point clouds.

        Raises:
            ImportError: rosbags is not installed.
            ValueError: the recording cannot be read, or has no such topic.
        """
        with opened(path) as reader:
            clouds = [(one.topic, one.msgcount) for one in reader.connections if one.msgtype == CLOUD]
            total = sum(one.msgcount for one in reader.connections)
        topics = sorted({name for name, _ in clouds})
        chosen = topics[0] if topic is None and len(topics) == 1 else topic
        if not topics:
            raise ValueError(f"{path}: has no topics of point clouds; give another recording.")
        if chosen not in topics:
            found = f"no point clouds on {topic}" if topic else f"{len(topics)} topics of point clouds"
            raise ValueError(f"{path}: has {found}; choose a topic of {', '.join(topics)}.")
        return Recording(path, str(chosen), sum(count for name, count in clouds if name == chosen), total)

    def messages(self, *, others: bool) -> Iterator[Message]:
        """The clouds of the selected topic, and the messages of all other topics, in the order of time.

        Raises:
            ValueError: the recording is damaged (possibly after some messages).
        """
        store = _typestore(self.path)
        decode = store.deserialize_ros1 if self.path.suffix == ".bag" else store.deserialize_cdr
        with opened(self.path) as reader:
            chosen = [one for one in reader.connections if others or self.holds(one)]
            for connection, time_ns, raw in reader.messages(chosen):
                yield Message(connection, time_ns, raw, self.path, partial(decode, typename=CLOUD))

    def holds(self, connection: Any) -> bool:
        """Whether a message belongs to the selected topic."""
        return bool((connection.msgtype, connection.topic) == (CLOUD, self.topic))


class Writer:
    """A recording that is being written; `writing` makes it."""

    def __init__(self, bag: Any, path: Path) -> None:
        self._bag = bag
        self._ros1 = path.suffix == ".bag"
        self._store = _typestore(path)
        self._connections: dict[Any, Any] = {}

    def copy(self, message: Message) -> None:
        """Copy a message unchanged."""
        old = message.connection
        self._bag.write(self._connection((old.id, id(old.owner)), old, old.topic), message.time_ns, message.raw)

    def add(self, message: Message, topic: str, points: Points) -> None:
        """Write other points with the header and the time of a message."""
        encode = self._store.serialize_ros1 if self._ros1 else self._store.serialize_cdr
        connection = self._connection(topic, message.connection, topic)
        self._bag.write(connection, message.time_ns, encode(self._cloud(message, points), CLOUD))

    def _cloud(self, message: Message, points: Points) -> Any:
        """A message of other points with the header of this one."""
        cloud: Any = message.cloud
        field = self._store.types["sensor_msgs/msg/PointField"]
        (height, width), step = points.shape, points.layout.step
        return replace(
            cloud, height=height, width=width, fields=[field(*each) for each in points.layout.fields],
            is_bigendian=points.layout.big_endian, point_step=step, row_step=width * step, data=points.data.reshape(-1),
        )  # fmt: skip

    def _connection(self, key: Any, old: Any, topic: str) -> Any:
        if key not in self._connections:
            definition = {"typestore": self._store}
            if old.msgdef.data and old.digest:
                definition = {"msgdef": old.msgdef.data, "md5sum" if self._ros1 else "rihs01": old.digest}
            self._connections[key] = self._bag.add_connection(topic, old.msgtype, **definition, **old.ext._asdict())
        return self._connections[key]


@contextmanager
def writing(path: Path, source: Path, *, overwrite: bool = False) -> Iterator[Writer]:
    """Write a recording. After an error, an existing recording is unchanged.

    Args:
        path: ends in ``.bag`` (ROS 1), ``.mcap`` or ``.db3``, or is a new folder for a ROS 2 bag of .mcap.
        source: recording from which messages are copied.
        overwrite: replace an existing recording.

    Raises:
        ImportError: rosbags is not installed.
        ValueError: the path exists; it is the source, lies in it or contains it; or one recording is ROS 1
            and the other ROS 2.
    """
    if (path.suffix == ".bag") != (source.suffix == ".bag"):
        raise ValueError(f"{path}: ROS 1 and ROS 2 do not mix ({source}); convert one with rosbags-convert first.")
    if path.exists() and (not overwrite or (path.is_dir() and not is_recording(path))):
        raise ValueError(f"{path}: already exists. Give another name{'' if overwrite else ', or --overwrite'}.")
    real, given = path.resolve(), source.resolve()
    if real.is_relative_to(given) or given.is_relative_to(real):
        raise ValueError(f"{path}: is the input, lies in it or contains it. Choose another --out.")
    bags = _rosbags(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    draft = folder / path.name if path.suffix == ".bag" else folder / path.stem
    folder.mkdir()
    try:
        with _bag(bags, draft, path.suffix) as bag:
            yield Writer(bag, path)
        made = draft if path.suffix not in (".mcap", ".db3") else next(draft.glob(f"*{path.suffix}"))
        if path.is_dir():
            shutil.rmtree(path)
        made.replace(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _bag(bags: Any, draft: Path, suffix: str) -> Any:
    if suffix == ".bag":
        return bags.rosbag1.Writer(draft)
    plugin = bags.rosbag2.StoragePlugin.SQLITE3 if suffix == ".db3" else bags.rosbag2.StoragePlugin.MCAP
    return bags.rosbag2.Writer(draft, version=9, storage_plugin=plugin)


def _rosbags(path: Path) -> Any:
    try:
        import rosbags.rosbag1
        import rosbags.rosbag2
        import rosbags.typesys
    except ImportError as error:
        raise ImportError(f"{path}: recordings need rosbags: pip install 'rangeseg[bags]'.") from error
    return rosbags


def _typestore(path: Path) -> Any:
    types = _rosbags(path).typesys
    return types.get_typestore(types.Stores.ROS1_NOETIC if path.suffix == ".bag" else types.Stores.ROS2_HUMBLE)
