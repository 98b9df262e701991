"""Recordings message by message, and their copies: ROS 1 bags, ROS 2 bags (folder, .db3, .mcap), through rosbags.

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
"""Endings of recordings that are files; a ROS 2 bag may also be a folder with a metadata.yaml."""


def is_recording(path: Path) -> bool:
    """By its name, or by what is in the folder."""
    return path.suffix in FILES or (path / "metadata.yaml").is_file()


@dataclass(frozen=True)
class Message:
    """One message of a recording.

    Args:
        connection: its topic and type, as rosbags has them.
        time_ns: when it was recorded.
        raw: its bytes.
        path: of the recording.
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
            ValueError: it is none.
        """
        try:
            return self.decode(self.raw)
        except Exception as error:  # rosbags raises many kinds
            raise damaged(self.path, error) from error

    @cached_property
    def points(self) -> Points:
        """The points of a cloud.

        Raises:
            ValueError: its sizes contradict each other.
        """
        try:
            return points_of_cloud(self.cloud)
        except ValueError as error:
            raise damaged(self.path, error) from error


@dataclass(frozen=True)
class Recording:
    """A recording that was looked at.

    Args:
        path: of it.
        topic: of the point clouds that were chosen.
        count: how many of them it declares.
        total: how many messages of all topics.
    """

    path: Path
    topic: str
    count: int
    total: int

    @staticmethod
    def find(path: Path, topic: str | None = None) -> Recording:
        """Look at its topics.

        Args:
            path: a ``.bag``, ``.mcap`` or ``.db3`` file, or the folder of a ROS 2 bag.
            topic: its name; needed where there are several of point clouds.

        Raises:
            ImportError: rosbags is not installed.
            ValueError: it cannot be read, or has no such topic.
        """
        with opened(path) as reader:
            clouds = [(one.topic, one.msgcount) for one in reader.connections if one.msgtype == CLOUD]
            total = sum(one.msgcount for one in reader.connections)
        topics = sorted({name for name, _ in clouds})
        chosen = topics[0] if topic is None and len(topics) == 1 else topic
        if chosen not in topics:
            raise ValueError(
                f"{path}: has {f'no point clouds on {topic}' if topic else f'{len(topics)} topics of point clouds'}; "
                f"choose a topic of {', '.join(topics) or 'another recording: this one has none'}."
            )
        return Recording(path, str(chosen), sum(count for name, count in clouds if name == chosen), total)

    def messages(self, *, others: bool) -> Iterator[Message]:
        """The chosen clouds, and the messages of all other topics, in the order of their time.

        Raises:
            ValueError: the recording is damaged, which may show only after some messages.
        """
        store = _typestore(self.path)
        decode = store.deserialize_ros1 if self.path.suffix == ".bag" else store.deserialize_cdr
        with opened(self.path) as reader:
            chosen = [one for one in reader.connections if others or self.holds(one)]
            for connection, time_ns, raw in reader.messages(chosen):
                yield Message(connection, time_ns, raw, self.path, partial(decode, typename=CLOUD))

    def holds(self, connection: Any) -> bool:
        """It is one of the chosen clouds'."""
        return bool((connection.msgtype, connection.topic) == (CLOUD, self.topic))


class Writer:
    """A recording that is being written; `writing` makes it."""

    def __init__(self, bag: Any, path: Path) -> None:
        self._bag = bag
        self._ros1 = path.suffix == ".bag"
        self._store = _typestore(path)
        self._connections: dict[Any, Any] = {}

    def copy(self, message: Message) -> None:
        """As it is."""
        old = message.connection
        self._bag.write(self._connection((old.id, id(old.owner)), old, old.topic), message.time_ns, message.raw)

    def add(self, message: Message, topic: str, points: Points) -> None:
        """Other points under the header of a message, recorded at its time."""
        encode = self._store.serialize_ros1 if self._ros1 else self._store.serialize_cdr
        connection = self._connection(topic, message.connection, topic)
        self._bag.write(connection, message.time_ns, encode(self._cloud(message, points), CLOUD))

    def _cloud(self, message: Message, points: Points) -> Any:
        """The message of other points under the header of this one."""
        told: Any = message.cloud
        field = self._store.types["sensor_msgs/msg/PointField"]
        (height, width), step = points.shape, points.layout.step
        return replace(
            told, height=height, width=width, fields=[field(*each) for each in points.layout.fields],
            is_bigendian=points.layout.big_endian, point_step=step, row_step=width * step, data=points.data.reshape(-1),
        )  # fmt: skip

    def _connection(self, key: Any, old: Any, topic: str) -> Any:
        if key not in self._connections:
            told = {"typestore": self._store}
            if old.msgdef.data and old.digest:
                told = {"msgdef": old.msgdef.data, "md5sum" if self._ros1 else "rihs01": old.digest}
            self._connections[key] = self._bag.add_connection(topic, old.msgtype, **told, **old.ext._asdict())
        return self._connections[key]


@contextmanager
def writing(path: Path, source: Path, *, overwrite: bool = False) -> Iterator[Writer]:
    """Write a recording; what is there after an error is what was there before.

    Args:
        path: ends in ``.bag`` (ROS 1), ``.mcap``, ``.db3``, or is a folder to be, a ROS 2 bag of .mcap.
        source: the recording that messages are copied from.
        overwrite: what is there may go.

    Raises:
        ImportError: rosbags is not installed.
        ValueError: something is there already, or the other is of the other ROS.
    """
    if (path.suffix == ".bag") != (source.suffix == ".bag"):
        raise ValueError(f"{path}: ROS 1 and ROS 2 do not mix ({source}); convert one with rosbags-convert first.")
    if path.exists() and (not overwrite or (path.is_dir() and not is_recording(path))):
        raise ValueError(f"{path}: is there already; give another name{'' if overwrite else ', or --overwrite'}.")
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
        raise ImportError(f"{path}: recordings go through rosbags: pip install 'rangeseg[bags]'.") from error
    return rosbags


def _typestore(path: Path) -> Any:
    types = _rosbags(path).typesys
    return types.get_typestore(types.Stores.ROS1_NOETIC if path.suffix == ".bag" else types.Stores.ROS2_HUMBLE)
