"""Motion within a sweep: the sensor drives on while it turns, so that each point is seen from a place of its own.

    x(T) = P(T)^-1 P(t) x(t)        P: pose of the sensor, t: when the point was measured, T: the moment of the scan

Only what has each point's time can be straightened. KITTI's and SemanticKITTI's scans, nuScenes' and PandaSet's are
straightened by their makers, and are never straightened here.

Shapes: N points.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangeseg.drive.labelled_points import is_return
from rangeseg.drive.layouts import Drive
from rangeseg.drive.trajectory import Trajectory
from rangeseg.scan_formats.times import point_times
from rangeseg.types import Scan

MOMENTS = {"start": 0.0, "middle": 0.5, "end": 1.0}
"""Of a sweep, of which a pose may be -> its share of the sweep."""


def straightened(drive: Drive, poses: Trajectory, moment: str | None) -> Drive:
    """A drive whose scans are read as if the sensor had stood still at one moment of each sweep.

    Args:
        drive: its scans are as measured, and their files hold each point's time.
        poses: of all scans, with time stamps.
        moment: one of `MOMENTS`: that of the sweep at which the poses and their time stamps are; None: the drive stays
            as it is.

    Raises:
        ValueError: the layout's scans are straightened already, or the poses have no time stamps. What is read then
            raises it of scans without times.
    """
    if moment is None:
        return drive
    if moment not in MOMENTS:
        raise ValueError(f"--deskew is {moment}; choose from {', '.join(MOMENTS)}.")
    if drive.straight:
        raise ValueError(f"{drive.name}: scans of this layout are free of motion already; leave --deskew out.")
    if poses.times is None:
        raise ValueError(f"{drive.name}: its poses have no time stamps (times.txt), which --deskew needs.")
    number = {entry.file: index for index, entry in enumerate(drive.scans)}
    read, share = drive.read, MOMENTS[moment]

    def read_straight(file: Path) -> Scan:
        scan = read(file)
        times = point_times(file, is_return(scan))
        if times is None:
            raise ValueError(f"{file}: has no column of times (t, time, timestamp, ...), which --deskew needs.")
        return replace(scan, xyz=straighten(scan.xyz, times - share * times.max(), poses, number[file]))

    return replace(drive, read=read_straight, deskewed=moment)


def straighten(
    xyz: NDArray[np.float32], after_s: NDArray[np.float64], poses: Trajectory, number: int
) -> NDArray[np.float32]:
    """Points as the sensor would see them from its pose, though it measured each at another moment.

    Args:
        xyz: (N, 3) in the sensor's frame of each moment, metres.
        after_s: (N,) seconds after the time stamp of the scan's pose, below 0 before.
        poses: of all scans, with time stamps. Between them the sensor moves and turns evenly, and so before the first
            and after the last.
        number: of the scan in the trajectory.

    Returns:
        (N, 3) in the sensor's frame at its pose.
    """
    assert poses.times is not None
    moments, column = np.unique(after_s, return_inverse=True)  # the beams of a column fire together
    wanted = poses.times[number] + moments
    sensor = poses.at(wanted, [str(k) for k in range(len(wanted))], beyond_s=float(np.ptp(moments)) + 1e-6).poses
    motion = np.linalg.inv(poses.poses[number]) @ sensor
    there = xyz.astype(np.float64)
    turned = np.einsum("nij,nj->ni", motion[column, :3, :3], there) + motion[column, :3, 3]
    return np.where(np.isfinite(there) & (there != 0).any(axis=1, keepdims=True), turned, there).astype(np.float32)
