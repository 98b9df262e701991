"""The labelled points of scans, and the map of them from which other scans get their labels.

Shapes: N points of a scan, M labelled points, S labelled scans, K classes; H rows and W columns of a depth image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rangeseg.drive.layouts import Raw
from rangeseg.drive.surface import Surface
from rangeseg.kernels.neighbours import point_map_of
from rangeseg.kernels.visibility import depth_image, merge_clicks
from rangeseg.labels import LabelMap
from rangeseg.scan_formats.checks import returns
from rangeseg.types import IGNORE, Scan

NO_CLASS = IGNORE - 1
"""Class of labelled points without a class: moving objects, and labels outside the classes."""

DEPTH = (64, 1024)
"""Rows and columns of a depth image; scans with few beams use fewer rows."""

PER_ROW = 1800
"""Returns per row of a depth image, about the number of returns of a beam, so that few pixels are empty."""

WHOLE = 0.5
"""A scan counts as completely labelled if more than this share of its returns has labels. Otherwise, its labels are
clicks."""


@dataclass(frozen=True)
class LabelledPoints:
    """The labelled points of one scan, in its sensor's frame.

    Args:
        xyz: (M, 3) float32.
        label: (M,) uint8 train ids or `NO_CLASS`.
        depth: (H, W) float32, from `depth_image`.
        view: inclination of the lower edge and height of the depth image, radians, and its number of used rows.
        share: share of the returns with a label.
    """

    xyz: NDArray[np.float32]
    label: NDArray[np.uint8]
    depth: NDArray[np.float32]
    view: tuple[float, float, float]
    share: float


def labelled_points_of(
    scan: Scan, raw: Raw, label_map: LabelMap, *, exclude: Sequence[int] = (), merge: tuple[float, float]
) -> LabelledPoints:
    """The labelled points of a scan.

    Args:
        scan: N points.
        raw: (N,) raw ids; the label map's `ignore_raw` and 0 mean no label.
        label_map: the classes.
        exclude: train ids that are not carried.
        merge: of clicks of one class within this angle, degrees, or this distance, metres, only the nearest counts. In
            completely labelled scans, all points count.
    """
    returns = is_return(scan)
    label = classes_of(raw, label_map, exclude)
    share = share_labelled(scan, label)
    index = np.flatnonzero(returns & (label != IGNORE))
    xyz, kept = scan.xyz[index], label[index]
    if any(merge) and share <= WHOLE and len(index):
        order = np.argsort((xyz.astype(np.float64) ** 2).sum(axis=1), kind="stable")
        free = merge_clicks(xyz, kept, order, np.deg2rad(merge[0]), merge[1])
        xyz, kept = xyz[free], kept[free]
    return LabelledPoints(np.ascontiguousarray(xyz), kept, *_depth_of(np.ascontiguousarray(scan.xyz[returns])), share)


def as_if_labelled(scan: Scan) -> LabelledPoints:
    """The labelled points of a scan if each of its returns had a label; `label` is 0."""
    xyz = np.ascontiguousarray(scan.xyz[is_return(scan)])
    return LabelledPoints(xyz, np.zeros(len(xyz), np.uint8), *_depth_of(xyz), 1.0)


def _depth_of(xyz: NDArray[np.float32]) -> tuple[NDArray[np.float32], tuple[float, float, float]]:
    """`depth` and `view` of `LabelledPoints`, from the returns of a scan."""
    rows = int(np.clip(len(xyz) / PER_ROW, 8, DEPTH[0]))
    depth = np.zeros(DEPTH, np.float32)
    depth[:rows], down, span = depth_image(xyz, (rows, DEPTH[1]))
    return depth, (down, span, rows)


def classes_of(raw: Raw, label_map: LabelMap, exclude: Sequence[int] = ()) -> NDArray[np.uint8]:
    """(N,) raw ids -> train ids, `NO_CLASS` for labels that must not be carried, IGNORE for points without a label."""
    semantic = raw & 0xFFFF
    label, given = label_map.to_train(semantic), has_label(raw, label_map)
    label[(label == IGNORE) & given | np.isin(semantic, label_map.moving) | np.isin(label, list(exclude))] = NO_CLASS
    return label


def has_label(raw: Raw, label_map: LabelMap) -> NDArray[np.bool_]:
    """(N,) bool, True for raw ids that are a label: neither `ignore_raw` nor 0, unless 0 is a class."""
    semantic, zero_is_class = raw & 0xFFFF, label_map.learning_map.get(0, IGNORE) != IGNORE
    return np.asarray((semantic != label_map.ignore_raw) & ((semantic != 0) | zero_is_class))


def share_labelled(scan: Scan, label: NDArray[np.uint8]) -> float:
    """Share of the returns of a scan that have a label; `label` is from `classes_of`."""
    returns = is_return(scan)
    return np.count_nonzero(returns & (label != IGNORE)) / max(1, int(np.count_nonzero(returns)))


def is_return(scan: Scan) -> NDArray[np.bool_]:
    """(N,) bool: True for points that are finite and not at the origin."""
    return returns(scan.xyz)


@dataclass(frozen=True)
class PointMap:
    """The labelled points of some labelled scans in one frame, sorted into voxels.

    Args:
        frame: (4, 4) frame of the map -> world.
        scans: indices of the S scans in the drive.
        label: (M,) uint8 labels of the points, in the order of their voxels.
        source: (M,) int32 index into `scans` for each point.
        search: argument `point_map` of `kernels.neighbours.nearest`.
        depth_images: argument `depth_images` of `kernels.visibility.seen_through`.
        surface: the nearest labelled point along the surface; None if labels are not spread along it.
    """

    frame: NDArray[np.float64]
    scans: tuple[int, ...]
    label: NDArray[np.uint8]
    source: NDArray[np.int32]
    search: tuple
    depth_images: tuple[NDArray, NDArray, NDArray]
    surface: Surface | None = None

    def moved(self, xyz: NDArray[np.float32], pose: NDArray[np.float64]) -> NDArray[np.float32]:
        """Move (N, 3) points from a sensor's frame to the frame of the map.

        Args:
            xyz: points in the sensor's frame.
            pose: (4, 4) sensor -> world.
        """
        return moved(xyz, np.linalg.inv(self.frame) @ pose)


def make_point_map(
    parts: dict[int, LabelledPoints], poses: NDArray[np.float64], frame: NDArray[np.float64], edge_m: float
) -> PointMap:
    """Transform the labelled points of some scans into one frame.

    Args:
        parts: index of a scan in the drive -> its labelled points.
        poses: (N, 4, 4) poses of all scans of the drive.
        frame: (4, 4) frame near these scans -> world; with small coordinates, float32 is exact to 0.1 mm.
        edge_m: edge of a voxel, metres.
    """
    scans, inverse = tuple(parts), np.linalg.inv(frame)
    xyz = np.concatenate([moved(one.xyz, inverse @ poses[scan]) for scan, one in parts.items()])
    source = np.repeat(np.arange(len(scans), dtype=np.int32), [len(one.xyz) for one in parts.values()])
    order, search = point_map_of(xyz, edge_m, source)
    label = np.concatenate([one.label for one in parts.values()])[order]
    sensors = np.array([np.linalg.inv(poses[scan]) @ frame for scan in scans])
    depth_images = (
        sensors,
        np.stack([one.depth for one in parts.values()]),
        np.array([one.view for one in parts.values()]),
    )
    return PointMap(frame, scans, label, source[order], search, depth_images)


def moved(xyz: NDArray[np.float32], motion: NDArray[np.float64]) -> NDArray[np.float32]:
    """(N, 3) points moved by a (4, 4) rigid motion, computed in float64."""
    return np.ascontiguousarray(xyz.astype(np.float64) @ motion[:3, :3].T + motion[:3, 3], np.float32)
