"""Poses from the scans alone: kiss-icp (extra `poses`) registers each scan to a map of the earlier scans.

Source: Vizzo et al., KISS-ICP, RA-L 2023.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from rangeseg.drive.labelled_points import is_return
from rangeseg.drive.trajectory import Trajectory
from rangeseg.types import Scan


def register(scans: Iterable[Scan], names: Sequence[str]) -> Trajectory:
    """Poses of the scans of a drive, in the frame of the first.

    The motion within a sweep is not corrected here, because KITTI's scans are already corrected. Points beyond 100 m
    are ignored, and the voxels of the map are 1 m wide.

    Args:
        scans: in the order of time; the sensor moves only some metres between two scans.
        names: names of the scans.

    Raises:
        ImportError: kiss-icp is not installed.
        ValueError: a scan cannot be read.
    """
    try:
        from kiss_icp.config import KISSConfig
        from kiss_icp.kiss_icp import KissICP
    except ImportError as error:
        raise ImportError(f"Poses from scans need kiss-icp ({error}): pip install 'rangeseg[poses]'.") from error
    config = KISSConfig()
    config.data.max_range = 100.0
    config.data.deskew = False
    config.mapping.voxel_size = 1.0
    odometry, poses = KissICP(config), []
    for scan in scans:
        odometry.register_frame(scan.xyz[is_return(scan)].astype(np.float64), np.empty(0))
        poses.append(np.array(odometry.last_pose, np.float64))
    return Trajectory(tuple(names), np.array(poses).reshape(-1, 4, 4))
