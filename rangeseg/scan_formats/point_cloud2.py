"""ROS's PointCloud2 message: conversion of its bytes to columns, and of columns to bytes.

This module uses only the published layout of the message, neither ROS nor rosbags. Shapes: N = H * W points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

CLOUD = "sensor_msgs/msg/PointCloud2"
TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
"""Datatype of PointField -> NumPy type."""

CODES = {kind: code for code, kind in TYPES.items()}


class PointCloud2(Protocol):
    """The message as defined by ROS."""

    height: int
    width: int
    fields: list[Any]
    is_bigendian: bool
    point_step: int
    row_step: int
    data: NDArray[np.uint8]


@dataclass(frozen=True)
class Layout:
    """The fields and the size of one point.

    Args:
        fields: (name, offset in bytes, datatype, count) of each field.
        step: size of a point, bytes.
        big_endian: byte order of the numbers.
    """

    fields: tuple[tuple[str, int, int, int], ...]
    step: int
    big_endian: bool = False


AUTOWARE = Layout(
    (
        *(("x", 0, 7, 1), ("y", 4, 7, 1), ("z", 8, 7, 1)),
        *(("class_id", 12, 2, 1), ("probability", 16, 7, 1), ("entropy", 20, 7, 1)),
    ),
    24,
)
"""Autoware's `PointXYZCPE`, which its semantic segmentation writes."""


@dataclass(frozen=True)
class Points:
    """The points of a message, without its header.

    Args:
        layout: layout of one point.
        data: (N, step) uint8.
        shape: H, W.
    """

    layout: Layout
    data: NDArray[np.uint8]
    shape: tuple[int, int]

    def columns(self) -> dict[str, NDArray]:
        """(N,) each: the fields with one number per point; none of a message without fields."""
        record = _record(self.layout)
        if record.itemsize == 0:
            return {}
        table = np.frombuffer(self.data.tobytes(), record)
        return {name: table[name] for name in record.names or ()}

    def chosen(self, mask: NDArray[np.bool_]) -> Points:
        """The points selected by the (N,) mask, as a cloud with one row."""
        return Points(self.layout, self.data[mask], (1, int(np.count_nonzero(mask))))

    def extended(self, columns: Mapping[str, NDArray]) -> Points:
        """The same points with additional fields; an existing field of the same name is hidden."""
        kept = tuple(field for field in self.layout.fields if field[0] not in columns)
        added, blocks, at = [], [self.data], self.layout.step
        for name, column in columns.items():
            kind = column.dtype.newbyteorder(">" if self.layout.big_endian else "<")
            gap = -at % kind.itemsize
            values = np.ascontiguousarray(column, kind).view(np.uint8).reshape(len(column), kind.itemsize)
            blocks += [np.zeros((len(column), gap), np.uint8), values]
            added.append((name, at + gap, CODES[kind.str[1:]], 1))
            at += gap + kind.itemsize
        blocks.append(np.zeros((len(self.data), -at % 4), np.uint8))
        layout = Layout((*kept, *added), at + -at % 4, self.layout.big_endian)
        return Points(layout, np.concatenate(blocks, 1), self.shape)


def points_of_cloud(cloud: PointCloud2) -> Points:
    """The points of a message.

    Args:
        cloud: H x W points, row by row; there may be gaps between rows.

    Raises:
        ValueError: the sizes in the message contradict each other.
    """
    fields = tuple((field.name, field.offset, field.datatype, field.count) for field in cloud.fields)
    layout = Layout(fields, cloud.point_step, bool(cloud.is_bigendian))
    ends = [field[1] + np.dtype(TYPES[field[2]]).itemsize for field in fields if _is_a_number(field)]
    row = cloud.width * cloud.point_step
    step = cloud.row_step or row  # some drivers leave it 0
    data = np.ascontiguousarray(cloud.data, np.uint8)
    if max(ends, default=0) > cloud.point_step or row > step or cloud.height * step > data.size:
        raise ValueError(
            f"{cloud.height} x {cloud.width} points of {cloud.point_step} bytes do not fit {data.size} bytes, "
            f"or the fields do not fit the points"
        )
    packed = data[: cloud.height * step].reshape(cloud.height, step)[:, :row]
    return Points(layout, packed.reshape(cloud.height * cloud.width, cloud.point_step), (cloud.height, cloud.width))


def points_of_columns(layout: Layout, columns: Mapping[str, NDArray], shape: tuple[int, int]) -> Points:
    """Columns as bytes with a layout; bytes between the fields are 0."""
    table = np.zeros(shape[0] * shape[1], _record(layout))
    for name in table.dtype.names or ():
        table[name] = columns[name]
    return Points(layout, table.view(np.uint8).reshape(len(table), layout.step), shape)


def columns_of_cloud(cloud: PointCloud2) -> dict[str, NDArray]:
    """Decode a PointCloud2 message: the fields with one number per point, (N,) each.

    Raises:
        ValueError: the sizes in the message contradict each other.
    """
    return points_of_cloud(cloud).columns()


def _is_a_number(field: tuple[str, int, int, int]) -> bool:
    return field[2] in TYPES and field[3] <= 1


def _record(layout: Layout) -> np.dtype:
    kept = [field for field in layout.fields if _is_a_number(field)]
    order = ">" if layout.big_endian else "<"
    return np.dtype(
        {
            "names": [name for name, *_ in kept],
            "formats": [order + TYPES[code] for _, _, code, _ in kept],
            "offsets": [offset for _, offset, _, _ in kept],
            "itemsize": layout.step,
        }
    )
