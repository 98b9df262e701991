"""PointCloud2 as CDR, the bytes that ROS 2 sends: read and written without ROS, and without copying the points twice.

Source: OMG's DDSI-RTPS (encapsulation) and CORBA's CDR: a number is aligned to its size, counted from the end of the
four-byte header.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.scan_formats.point_cloud2 import Points

LITTLE, BIG = b"\x00\x01", b"\x00\x00"
MOST_FIELDS = 256


@dataclass(frozen=True)
class Field:
    """ROS's PointField."""

    name: str
    offset: int
    datatype: int
    count: int


@dataclass
class Message:
    """ROS's PointCloud2, with the fields of its header.

    Args:
        stamp_ns: time of the measurement, nanoseconds.
        frame_id: coordinate frame.
        height: as in the ROS message, like all following fields.
    """

    stamp_ns: int
    frame_id: str
    height: int
    width: int
    fields: list[Any]
    is_bigendian: bool
    point_step: int
    row_step: int
    data: NDArray[np.uint8]
    is_dense: bool = True


class _Reader:
    def __init__(self, raw: bytes) -> None:
        if raw[:2] not in (LITTLE, BIG):
            raise ValueError(f"it begins with {raw[:4].hex()}, which is not the header of plain CDR")
        self._order, self._raw, self.at = "<" if raw[:2] == LITTLE else ">", memoryview(raw)[4:], 0

    def number(self, form: str) -> int:
        size = struct.calcsize(form)
        start = self.at + -self.at % size
        self.at = start + size
        if self.at > len(self._raw):
            raise ValueError("it ends early")
        return int(struct.unpack_from(self._order + form, self._raw, start)[0])

    def take(self, size: int) -> memoryview:
        self.at += size
        if self.at > len(self._raw):
            raise ValueError("it ends early")
        return self._raw[self.at - size : self.at]

    def string(self) -> str:
        return bytes(self.take(self.number("I"))).rstrip(b"\0").decode("utf-8", "replace")


def decode_cloud(raw: bytes) -> Message:
    """Read a message.

    Raises:
        ValueError: the bytes are not a PointCloud2 in CDR.
    """
    try:
        reader = _Reader(raw)
        stamp = reader.number("i") * 10**9 + reader.number("I")
        frame, height, width = reader.string(), reader.number("I"), reader.number("I")
        if (count := reader.number("I")) > MOST_FIELDS:
            raise ValueError(f"{count} fields")
        fields = [
            Field(reader.string(), reader.number("I"), reader.number("B"), reader.number("I")) for _ in range(count)
        ]
        big, step, row = bool(reader.number("B")), reader.number("I"), reader.number("I")
        data = np.frombuffer(reader.take(reader.number("I")), np.uint8)
        is_dense = bool(reader.number("B"))
    except (ValueError, struct.error) as error:
        raise ValueError(f"The message is no PointCloud2 ({error}).") from error
    return Message(stamp, frame, height, width, fields, big, step, row, data, is_dense)


def encode_cloud(message: Message, points: Points) -> bytes:
    """Encode other points with the header of a message."""
    parts = bytearray(LITTLE + b"\0\0")

    def number(form: str, value: int) -> None:
        parts.extend(b"\0" * (-(len(parts) - 4) % struct.calcsize(form)))
        parts.extend(struct.pack(f"<{form}", value))

    def string(text: str) -> None:
        content = text.encode() + b"\0"
        number("I", len(content))
        parts.extend(content)

    number("i", message.stamp_ns // 10**9)
    number("I", message.stamp_ns % 10**9)
    string(message.frame_id)
    for size in points.shape:
        number("I", size)
    number("I", len(points.layout.fields))
    for name, offset, datatype, count in points.layout.fields:
        string(name)
        number("I", offset)
        number("B", datatype)
        number("I", count)
    number("B", points.layout.big_endian)
    number("I", points.layout.step)
    number("I", points.shape[1] * points.layout.step)
    number("I", points.data.size)
    parts.extend(points.data.tobytes())
    number("B", message.is_dense)
    return bytes(parts)
