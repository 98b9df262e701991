"""`rangeseg poses`: the sensor pose of each scan of a drive, from the dataset, kiss-icp or a recording's odometry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rangeseg.drive.kitti_poses import read_tr, write_kitti_poses
from rangeseg.drive.layouts import Drive, open_drive
from rangeseg.drive.other_poses import read_odometry
from rangeseg.drive.poses_of import write_poses_of
from rangeseg.drive.request import find_poses
from rangeseg.drive.trajectory import Trajectory
from rangeseg.parallel import Progress, no_progress
from rangeseg.scan_formats.fields import FieldNames
from rangeseg.vis.path import path_picture
from rangeseg.vis.png import write_png


def run_poses(
    drive: Path,
    out: Path,
    *,
    by: str | None = None,
    scene: str | None = None,
    fields: FieldNames | None = None,
    topic: str | None = None,
    cloud_topic: str | None = None,
    extrinsics: Path | None = None,
    png: Path | None = None,
    progress: Progress = no_progress,
) -> Iterator[str]:
    """Find the poses of a drive and write them in KITTI's format.

    Args:
        drive: folder, see `open_drive`; or a ROS recording.
        out: output folder for poses.txt, calib.txt and, if times are known, times.txt. poses_of.json in it tells the
            scans to which they belong, except for a recording, whose scans are not files.
        by: dataset, kiss-icp or odometry. None: the dataset, or kiss-icp if it has no poses; of a recording, odometry.
        scene: scene of nuScenes.
        fields: columns of the scans, see `open_drive`.
        topic: topic of the odometry; required if the recording has several.
        cloud_topic: topic of the point clouds; required if the recording has several.
        extrinsics: file with `Tr:` and 12 numbers, as calib.txt: the sensor's pose in the frame of the odometry; None:
            the frames are the same.
        png: picture of the path; None: no picture.
        progress: shows the progress.

    Yields:
        Messages about what was found and written.

    Raises:
        FileNotFoundError: `by` is dataset, but the dataset has no poses.
        ImportError: an extra is missing.
        ValueError: poses cannot be read, there are none, an option is not for this drive, or `out` has a calib.txt
            that would be lost.
    """
    recording = drive.suffix in (".bag", ".mcap", ".db3") or (drive / "metadata.yaml").is_file()
    of_others = {"scene": scene, "fields": fields} if recording else {}
    of_recordings = {} if recording else {"topic": topic, "cloud-topic": cloud_topic, "extrinsics": extrinsics}
    _refuse(drive, of_others, "not for a recording")
    _refuse(drive, of_recordings, "only for a recording (.bag, .mcap, .db3, or the folder of a ROS 2 bag)")
    if recording and by not in (None, "odometry"):
        raise ValueError(
            f"{drive}: is a recording. Unpack its scans first, for --by {by}: rangeseg unpack {drive} --out scans"
        )
    if by == "odometry" and not recording:
        raise ValueError(
            f"{drive}: is not a recording with odometry (.bag, .mcap, .db3, or the folder of a ROS 2 bag)."
        )
    if recording:
        mounting = None if extrinsics is None else read_tr(extrinsics)
        found, lacking = read_odometry(drive, topic, cloud_topic, mounting)
        opened, name, origin = None, drive.stem, "its odometry"
    else:
        opened = open_drive(drive, scene=scene, fields=fields)
        _keep_calibration(out, drive, opened.root)
        name, lacking, (found, origin) = opened.name, (), find_poses(opened, by, progress)
    yield from _words(f"{name}: {len(found)} poses by {origin}", found, lacking)
    yield from _write(out, found, opened)
    if png:
        write_png(png, path_picture({name: found.positions}))
        yield f"picture: {png}"


def _write(out: Path, found: Trajectory, drive: Drive | None) -> Iterator[str]:
    """Write the poses and the record of their drive; the record last, so that a kill leaves none that is wrong."""
    write_poses_of(out, None)
    for path in write_kitti_poses(out, found):
        yield f"poses: {path}"
    write_poses_of(out, drive)


def _refuse(drive: Path, options: Mapping[str, Any], why: str) -> None:
    """Refuse the first option that has a value."""
    if given := next((name for name, value in options.items() if value), None):
        raise ValueError(f"{drive}: --{given} is {why}. Leave it out.")


def _keep_calibration(out: Path, *homes: Path) -> None:
    """Refuse to replace the calib.txt in the folder of the drive, or above it if this folder is named scans."""
    if (out / "calib.txt").is_file() and out.resolve() in [home.resolve() for home in homes]:
        raise ValueError(f"{out}: holds the dataset's own calib.txt, which would be lost; write to another folder.")


def _words(poses: str, found: Trajectory, lacking: Sequence[str]) -> Iterator[str]:
    """What was found, and which clouds have no pose, if any."""
    metres = found.travelled()[-1] if len(found) else 0.0
    yield f"{poses}, {metres:.1f} m travelled"
    if lacking:
        yield (
            f"{len(lacking)} of {len(found) + len(lacking)} clouds have no pose, because they were measured before the "
            f"first or after the last message; the first is {lacking[0]}, the last {lacking[-1]}. Move their files to "
            "another folder."
        )
