"""Poses of a drive."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT, progress

EXAMPLES = (
    "rangeseg poses /data/semantic_kitti/sequences/08 --out poses_08 --png path.png",
    "rangeseg poses drive.mcap --topic /odom --cloud-topic /lidar --out poses",
)


def run(arguments: argparse.Namespace) -> None:
    """Find from where each scan of a drive was taken, and write it in KITTI's form.

    From the dataset where it has poses (KITTI, PandaSet, nuScenes), from the odometry of a ROS recording, else from the
    scans alone by kiss-icp.
    """
    from rangeseg.apps.poses import run_poses

    names = ("by", "scene", "topic", "cloud_topic", "extrinsics", "png")
    options = {name: getattr(arguments, name) for name in names}
    for line in run_poses(arguments.drive, arguments.out, progress=progress, **options):
        OUT.print(line, soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the command."""
    parser.add_argument(
        "drive", type=Path, help="a sequence's folder, nuScenes' root, a folder of scans, or a ROS recording"
    )
    parser.add_argument("--out", type=Path, default=Path("poses"), help="folder of poses.txt, calib.txt and times.txt")
    parser.add_argument(
        "--by", choices=["dataset", "kiss-icp", "odometry"], help="if not given: the dataset's, else kiss-icp"
    )
    parser.add_argument("--scene", help="of nuScenes, e.g. scene-0061")
    parser.add_argument("--topic", help="of a recording's odometry, where it has several")
    parser.add_argument("--cloud-topic", help="topic of its point clouds, where it has several")
    parser.add_argument(
        "--extrinsics", type=Path, help="the sensor in odometry's frame: `Tr:` and 12 numbers in a file"
    )
    parser.add_argument("--png", type=Path, help="draw the path")
