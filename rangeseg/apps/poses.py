"""`rangeseg poses`: from where each scan of a drive was taken, by the dataset, a recording's odometry or kiss-icp."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rangeseg.drive.kitti_poses import read_tr, write_kitti_poses
from rangeseg.drive.layouts import open_drive
from rangeseg.drive.other_poses import read_odometry
from rangeseg.drive.request import find_poses
from rangeseg.parallel import Progress, no_progress
from rangeseg.vis.path import path_picture
from rangeseg.vis.png import write_png

BY = ("dataset", "kiss-icp", "odometry")
"""Where poses come from."""


def run_poses(
    drive: Path,
    out: Path,
    *,
    by: str | None = None,
    scene: str | None = None,
    topic: str | None = None,
    cloud_topic: str | None = None,
    extrinsics: Path | None = None,
    png: Path | None = None,
    progress: Progress = no_progress,
) -> Iterator[str]:
    """Find the poses of a drive and write them in KITTI's form.

    Args:
        drive: as `open_drive` takes it; or a ROS recording.
        out: folder of poses.txt, calib.txt and, where times are known, times.txt.
        by: one of `BY`; None: the dataset's where it has them, else kiss-icp; of a recording its odometry.
        scene: of nuScenes.
        topic: of the recording's odometry.
        cloud_topic: of its point clouds.
        extrinsics: a text file of 12 numbers: the sensor's pose in the frame of the odometry, as Tr in calib.txt.
        png: draws the path.
        progress: shows the progress.

    Yields:
        What was found and written, in words.

    Raises:
        ImportError: an extra is missing.
        ValueError: poses cannot be read, or there are none.
    """
    recording = drive.suffix in (".bag", ".mcap", ".db3") or (drive / "metadata.yaml").is_file()
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
        name, found = drive.stem, read_odometry(drive, topic, cloud_topic, mounting)
        origin = "its odometry"
    else:
        opened = open_drive(drive, scene=scene)
        name, (found, origin) = opened.name, find_poses(opened, by, progress)
    if out.resolve() == drive.resolve() and (out / "calib.txt").is_file():
        raise ValueError(f"{out}: holds the dataset's own calib.txt, which would be lost; write to another folder.")
    metres = found.travelled()[-1] if len(found) else 0.0
    yield f"{name}: {len(found)} poses by {origin}, {metres:.1f} m travelled"
    for path in write_kitti_poses(out, found):
        yield f"poses: {path}"
    if png:
        write_png(png, path_picture({name: found.positions}))
        yield f"picture: {png}"
