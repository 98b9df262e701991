"""Correction of the motion within a sweep: the sensor moves while it measures, so each point has its own sensor pose.

    x(T) = P(T)^-1 P(t) x(t)        P: pose of the sensor, t: time of the point, T: time of the scan

The correction needs the time of each point. The makers of KITTI, SemanticKITTI, nuScenes and PandaSet have already
corrected their scans; they are never corrected here.

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
"""Moment of a sweep to which a pose may refer -> its share of the duration of the sweep."""

APART_S = 10.0
"""Largest median time between two poses, seconds. In ms, the poses of 20 sweeps a second are 50 apart."""


def straightened(drive: Drive, poses: Trajectory, moment: str | None) -> Drive:
    """The drive with a `read` that corrects the motion within each sweep.

    Args:
        drive: its scans are not corrected, and their files contain the time of each point.
        poses: poses of all scans, with time stamps.
        moment: one of `MOMENTS`: the moment of the sweep to which the poses and their time stamps refer; None: return
            the drive unchanged.

    Raises:
        ValueError: scans of this layout are already corrected, or the time stamps of the poses are missing, equal, not
            in seconds or too far apart. The new `read` raises it for scans without times.
    """
    if moment is None:
        return drive
    if moment not in MOMENTS:
        raise ValueError(f"--deskew is {moment}; choose from {', '.join(MOMENTS)}.")
    if drive.straight:
        raise ValueError(f"{drive.name}: scans of this layout are already corrected for motion. Remove --deskew.")
    if poses.times is None:
        raise ValueError(f"{drive.name}: the poses have no time stamps (times.txt), but --deskew needs them.")
    _check_steps(drive.name, poses.times)
    number = {entry.file: index for index, entry in enumerate(drive.scans)}
    read, share = drive.read, MOMENTS[moment]

    def read_straight(file: Path) -> Scan:
        scan = read(file)
        times = point_times(file, is_return(scan))
        if times is None:
            raise ValueError(f"{file}: has no column with times (t, time, ...), but --deskew needs it.")
        return replace(scan, xyz=straighten(scan.xyz, times - share * times.max(), poses, number[file]))

    return replace(drive, read=read_straight, deskewed=moment)


def _check_steps(name: str, times: NDArray[np.float64]) -> None:
    """Refuse time stamps of poses, in seconds, that give no velocity."""
    steps = np.diff(times)
    if not len(steps) or not (steps > 0).all():
        raise ValueError(f"{name}: --deskew needs two poses or more, and no two with one time stamp (times.txt).")
    if (usual := float(np.median(steps))) > APART_S:
        raise ValueError(
            f"{name}: the time stamps of the poses (times.txt) are {usual:g} s apart, if they are in seconds, as they "
            f"must be. --deskew needs poses that are at most {APART_S:g} s apart."
        )


def straighten(
    xyz: NDArray[np.float32], after_s: NDArray[np.float64], poses: Trajectory, number: int
) -> NDArray[np.float32]:
    """Move each point into the sensor's frame at the pose of the scan.

    Args:
        xyz: (N, 3) in the sensor's frame at the time of each point, metres.
        after_s: (N,) seconds from the time stamp of the scan's pose to the time of the point; may be negative.
        poses: poses of all scans, with time stamps. Velocity and rotation are constant between two poses, before the
            first and after the last.
        number: index of the scan in the trajectory.

    Returns:
        (N, 3) in the sensor's frame at its pose.
    """
    assert poses.times is not None
    moments, column = np.unique(after_s, return_inverse=True)  # the beams of a column fire together
    wanted = poses.times[number] + moments
    sensor = poses.at(wanted, [str(k) for k in range(len(wanted))], beyond_s=float(np.ptp(moments)) + 1e-6).poses
    motion = np.linalg.inv(poses.poses[number]) @ sensor
    points = xyz.astype(np.float64)
    turned = np.einsum("nij,nj->ni", motion[column, :3, :3], points) + motion[column, :3, 3]
    return np.where(np.isfinite(points) & (points != 0).any(axis=1, keepdims=True), turned, points).astype(np.float32)
