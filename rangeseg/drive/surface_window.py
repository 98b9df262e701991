"""The surfaces along which labels spread, for one part of a drive after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rangeseg.drive.carry import Rules
from rangeseg.drive.labelled_points import PointMap, is_return
from rangeseg.drive.layouts import Drive
from rangeseg.drive.surface import Surface, Voxels, spread
from rangeseg.drive.trajectory import Trajectory
from rangeseg.parallel import in_order

FARTHEST_M = 100.0
"""Range at which `max_distance_per_m` no longer lengthens paths along surfaces, metres."""


class Surfaces:
    """The surfaces of windows of a drive; the voxels of the scans of the last window are in memory.

    Args:
        drive: the scans.
        poses: the poses of all scans.
        rules: conditions under which a label is carried.
        workers: number of threads.
    """

    def __init__(self, drive: Drive, poses: Trajectory, rules: Rules, workers: int) -> None:
        self._drive, self._poses, self._rules, self._workers = drive, poses, rules, workers
        self._held: dict[int, Voxels] = {}

    def of(self, numbers: Sequence[int], point_map: PointMap) -> Surface:
        """The surface that some scans see, with the labelled points of a map.

        Args:
            numbers: indices of the scans.
            point_map: the labelled points; its frame becomes that of the surface.

        Raises:
            ValueError: a scan cannot be read.
        """

        def load(number: int) -> Voxels:
            scan = self._drive.read(self._drive.scans[number].file)
            return Voxels.of(scan, is_return(scan), self._rules.voxel_m)

        new = [number for number in numbers if number not in self._held]
        self._held |= dict(zip(new, in_order(load, new, workers=self._workers), strict=True))
        self._held = {number: self._held[number] for number in numbers}
        poses, rules = self._poses.poses, self._rules
        parts = [replace(one, xyz=point_map.moved(one.xyz, poses[number])) for number, one in self._held.items()]
        limit = float(rules.limits(np.array(FARTHEST_M)))
        points, agreement = point_map.search[0], rules.min_agreement
        return spread(parts, points, point_map.label, limit, agreement, self._workers, voxel_m=rules.voxel_m)
