"""`rangeseg poses`: the poses of a drive."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT, progress, values_of
from rangeseg.commands.fields import add_fields, requested_fields

EXAMPLES = (
    "rangeseg poses /data/semantic_kitti/sequences/08 --out poses_08 --png path.png",
    "rangeseg poses drive.mcap --topic /odom --cloud-topic /lidar --out poses",
)


def run(arguments: argparse.Namespace) -> None:
    """Find the sensor pose of each scan of a drive, and write the poses in KITTI's format.

    The poses come from the dataset (KITTI, PandaSet, nuScenes) or from the odometry of a ROS recording. Without either,
    kiss-icp registers the scans.
    """
    from rangeseg.apps.poses import run_poses

    options = values_of(arguments, "by", "scene", "topic", "cloud_topic", "extrinsics", "png")
    fields = requested_fields(arguments)
    for line in run_poses(arguments.drive, arguments.out, fields=fields, progress=progress, **options):
        OUT.print(line, soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "drive", type=Path, help="a sequence's folder, nuScenes' root, a folder of scans, or a ROS recording"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("poses"), help="output folder for poses.txt, calib.txt and times.txt"
    )
    parser.add_argument(
        "--by",
        choices=["dataset", "kiss-icp", "odometry"],
        help="source of the poses; default: the dataset, or kiss-icp if it has none",
    )
    parser.add_argument("--scene", help="scene of nuScenes, for example scene-0061")
    add_fields(parser)
    parser.add_argument("--topic", help="topic of the odometry, if the recording has several")
    parser.add_argument("--cloud-topic", help="topic of the point clouds, if the recording has several")
    parser.add_argument(
        "--extrinsics", type=Path, help="file with the pose of the sensor in the odometry frame: `Tr:` and 12 numbers"
    )
    parser.add_argument("--png", type=Path, help="draw the path of the sensor")
