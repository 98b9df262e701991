"""Poses of the LiDAR from PandaSet, nuScenes and ROS recordings.

The sensor's frame is the frame in which rangeseg reads the scans of the dataset.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.nuscenes_tables import read_rows
from rangeseg.data.pandaset import SENSOR
from rangeseg.drive.trajectory import Trajectory, rigid
from rangeseg.files import plain_file, read_whole
from rangeseg.scan_formats.bags import messages_of_bag, stamp_of, topics_of_bag

T = TypeVar("T")

ODOMETRY: dict[str, Callable[[Any], Any]] = {
    "nav_msgs/msg/Odometry": lambda message: message.pose.pose,
    "geometry_msgs/msg/PoseStamped": lambda message: message.pose,
    "geometry_msgs/msg/PoseWithCovarianceStamped": lambda message: message.pose.pose,
}
"""Type of a topic with poses -> function that takes the pose from a message."""

PANDASET_SENSOR = np.array(
    [[0, -1, 0, -SENSOR[1]], [1, 0, 0, SENSOR[0]], [0, 0, 1, SENSOR[2]], [0, 0, 0, 1]], np.float64
)
"""Spinning sensor (x ahead, y left) -> PandaSet's vehicle frame (x right, y ahead), as in `PandaSet.read`."""


def read_pandaset_poses(sequence: Path, names: Sequence[str]) -> Trajectory:
    """Poses of PandaSet's scans.

    Args:
        sequence: folder of the sequence, with lidar/poses.json and lidar/timestamps.json.
        names: names of the scans: numbers, from 00.

    Raises:
        ValueError: a file is missing, is not JSON, or lacks a scan.
    """
    path = sequence / "lidar" / "poses.json"
    rows, index = _json(path), [int(name.rpartition("/")[2]) for name in names]
    if index and max(index) >= len(rows):
        raise ValueError(f"{path}: has {len(rows)} poses, but none for scan {max(index)}. Copy the file again.")
    stamps = sequence / "lidar" / "timestamps.json"
    times = np.array(_json(stamps), np.float64) if stamps.is_file() else None
    if times is not None and len(times) < len(rows):
        raise ValueError(f"{stamps}: {len(times)} time stamps for {len(rows)} poses. Copy the file again.")

    def pose(row: dict[str, Any]) -> NDArray[np.float64]:
        heading, position = row["heading"], row["position"]
        return rigid([heading[key] for key in "wxyz"], [position[key] for key in "xyz"]) @ PANDASET_SENSOR

    poses = np.array([_of(path, rows[i], pose) for i in index]).reshape(-1, 4, 4)
    return Trajectory(tuple(names), poses, None if times is None else times[index])


def read_nuscenes_poses(tables: Path, scene: str, names: Sequence[str]) -> Trajectory:
    """Poses of nuScenes' scans: ego poses times the pose of the LiDAR on the vehicle.

    Args:
        tables: folder of the tables, for example ``v1.0-mini``.
        scene: name of the scene, for errors.
        names: names of the scans, ``SCENE/TIMESTAMP`` or the time stamp alone, microseconds.

    Raises:
        ValueError: a table is missing or damaged, or lacks a scan.
    """
    wanted = {int(name.rpartition("/")[2]) for name in names}
    path = tables / "sample_data.json"
    rows = {int(row["timestamp"]): row for row in read_rows(path) if int(row["timestamp"]) in wanted}
    if missing := sorted(wanted - rows.keys()):
        raise ValueError(
            f"{path}: has no LiDAR scan of {scene} at {missing[0]}. Use names of scans that are in the tables."
        )
    sensors = {row["token"]: row for row in _json(tables / "calibrated_sensor.json")}
    egos = _rows_by_token(tables / "ego_pose.json", {row["ego_pose_token"] for row in rows.values()})
    poses, times = np.empty((len(names), 4, 4)), np.empty(len(names))

    def pose(row: dict[str, Any]) -> NDArray[np.float64]:
        return rigid(row["rotation"], row["translation"])

    for number, name in enumerate(names):
        row = rows[int(name.rpartition("/")[2])]
        sensor, ego = sensors.get(row["calibrated_sensor_token"]), egos.get(row["ego_pose_token"])
        if sensor is None or ego is None:
            lacking = "calibrated_sensor" if sensor is None else "ego_pose"
            raise ValueError(f"{tables / lacking}.json: has no row for scan {name}. Unpack the metadata again.")
        poses[number] = _of(tables / "ego_pose.json", ego, pose) @ _of(tables / "calibrated_sensor.json", sensor, pose)
        times[number] = row["timestamp"] / 1e6
    return Trajectory(tuple(names), poses, times)


def read_odometry(
    path: Path, topic: str | None, cloud_topic: str | None, extrinsics: NDArray[np.float64] | None = None
) -> tuple[Trajectory, tuple[str, ...]]:
    """Poses of the point clouds of a recording, interpolated from its odometry.

    Args:
        path: a ROS 1 bag, or a ROS 2 bag: its folder, ``.mcap`` or ``.db3``.
        topic: topic of the odometry; required if there are several.
        cloud_topic: topic of the point clouds; required if there are several.
        extrinsics: (4, 4) sensor -> frame of the odometry; None: the frames are the same.

    Returns:
        The poses of the clouds, with the names ``000000`` and so on of the files of `rangeseg unpack`; and the names of
        the clouds before the first and after the last odometry message, which have no pose.

    Raises:
        ImportError: rosbags is not installed.
        ValueError: the recording cannot be read, has no such topic, or no cloud lies within its odometry.
    """
    topics = topics_of_bag(path)
    odometry = _topic(path, topics, tuple(ODOMETRY), topic, "odometry")
    seen = _topic(path, topics, ("sensor_msgs/msg/PointCloud2",), cloud_topic, "point clouds")
    stamps, poses = [], []
    for kind, message in messages_of_bag(path, odometry):
        stamps.append(stamp_of(message))
        poses.append(_of(path, ODOMETRY[kind](message), _pose_of_message))
    order = np.argsort(stamps, kind="stable")
    times = np.array([stamp_of(message) for _, message in messages_of_bag(path, seen)])
    span = (stamps[order[0]], stamps[order[-1]]) if stamps else (np.inf, -np.inf)
    inside = (times >= span[0]) & (times <= span[1])
    if not inside.any():
        raise ValueError(f"{path}: no point cloud of {seen} lies between the first and the last message of {odometry}.")
    base = Trajectory(tuple(map(str, range(len(order)))), np.array(poses)[order], np.array(stamps)[order])
    names = np.array([f"{number:06d}" for number in range(len(times))])
    found = base.at(times[inside], names[inside].tolist())
    if extrinsics is not None:
        found = Trajectory(found.names, found.poses @ extrinsics, found.times)
    return found, tuple(names[~inside].tolist())


def _topic(path: Path, topics: dict[str, str], kinds: tuple[str, ...], topic: str | None, what: str) -> str:
    fitting = sorted(name for name, kind in topics.items() if kind in kinds)
    chosen = fitting[0] if topic is None and len(fitting) == 1 else topic
    if chosen not in fitting:
        raise ValueError(
            f"{path}: has {f'no {what} on {topic}' if topic else f'{len(fitting)} topics of {what}'}; choose one of "
            f"{', '.join(fitting) or 'another recording: this one has none'}."
        )
    return str(chosen)


def _pose_of_message(pose: Any) -> NDArray[np.float64]:
    turn, place = pose.orientation, pose.position
    return rigid([turn.w, turn.x, turn.y, turn.z], [place.x, place.y, place.z])


def _of(path: Path, row: Any, take: Callable[[Any], T]) -> T:
    try:
        return take(row)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: a pose cannot be read ({error!r}). Copy the file again.") from error


def _json(path: Path) -> list[Any]:
    try:
        rows = json.loads(read_whole(path).decode())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read ({error}). Copy the file again.") from error
    if not isinstance(rows, list):
        raise ValueError(f"{path}: is not a list. Copy the file again.")
    return rows


def _rows_by_token(path: Path, tokens: set[str]) -> dict[str, Any]:
    """The rows of a table with one of the tokens. ego_pose.json has millions of rows, so no other row is parsed."""
    found: dict[str, Any] = {}
    try:
        with plain_file(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for match in re.finditer(rb'"token"\s*:\s*"([^"]+)"', content):
                token = match[1].decode()
                if token in tokens:
                    start, end = content.rfind(b"{", 0, match.start()), content.find(b"}", match.end()) + 1
                    found[token] = json.loads(content[start:end])
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read ({error}). Unpack the metadata of nuScenes again.") from error
    return found
