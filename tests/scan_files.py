"""Scan files written by hand, from the formats' descriptions, for the tests of their readers. Shapes: N points."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping

import numpy as np

Columns = Mapping[str, np.ndarray]
Writer = Callable[[Columns], bytes]

PLY_TYPES = {"i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "u4": "uint"}
PLY_TYPES |= {"f4": "float", "f8": "double"}


def table_of(columns: Columns, order: str = "<") -> np.ndarray:
    table = np.empty(len(next(iter(columns.values()))), [(k, order + v.dtype.str[1:]) for k, v in columns.items()])
    for name, column in columns.items():
        table[name] = column
    return table


def text_of(columns: Columns) -> bytes:
    """Enough digits to come back as they were; 'nan' as PCL writes it."""
    rows = zip(*(map(repr if c.dtype == "f8" else "{:.9g}".format, c.tolist()) for c in columns.values()), strict=True)
    return "".join(" ".join(row) + "\n" for row in rows).encode()


def lzf(data: bytes) -> bytes:
    """A plain compressor: runs of one byte are repeated from one back, all else is copied."""
    out, at = bytearray(), 0
    while at < len(data):
        run = 1
        while at + run < len(data) and run < 200 and data[at + run] == data[at]:
            run += 1
        if run >= 9:
            out += bytes([0, data[at], 7 << 5, run - 10, 0]) if run >= 10 else bytes([0, data[at], 6 << 5, 0])
            at += run
        else:
            out += bytes([0, data[at]])
            at += 1
    return bytes(out)


def pcd(columns: Columns, data: str = "binary", height: int = 1, points: int | None = None) -> bytes:
    count = len(next(iter(columns.values()))) if points is None else points
    kinds = [column.dtype.str[1:] for column in columns.values()]
    header = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\n"
        f"FIELDS {' '.join(columns)}\nSIZE {' '.join(kind[1] for kind in kinds)}\n"
        f"TYPE {' '.join(kind[0].upper() for kind in kinds)}\nCOUNT {' '.join('1' for _ in kinds)}\n"
        f"WIDTH {count // height}\nHEIGHT {height}\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {count}\nDATA {data}\n"
    )
    if data == "ascii":
        return header.encode() + text_of(columns)
    if data == "binary":
        return header.encode() + table_of(columns).tobytes()
    plain = b"".join(column.astype(column.dtype.newbyteorder("<")).tobytes() for column in columns.values())
    packed = lzf(plain)
    return header.encode() + struct.pack("<II", len(packed), len(plain)) + packed


def ply(columns: Columns, data: str = "binary_little_endian", rest: bytes = b"", after: str = "") -> bytes:
    count = len(next(iter(columns.values())))
    properties = "".join(f"property {PLY_TYPES[c.dtype.str[1:]]} {name}\n" for name, c in columns.items())
    header = f"ply\nformat {data} 1.0\ncomment by hand\nelement vertex {count}\n{properties}{after}end_header\n"
    body = text_of(columns) if data == "ascii" else table_of(columns, "><"[data.endswith("little_endian")]).tobytes()
    return header.encode() + body + rest


def npz(columns: Columns) -> bytes:
    file = io.BytesIO()
    np.savez(file, **columns)
    return file.getvalue()


def las(columns: Columns, compressed: bool = False, point_format: int = 3) -> bytes:
    """Intensity is LAS's own where it is uint16, and xyz are rounded to millimetres; all else is an extra dimension."""
    import laspy

    header = laspy.LasHeader(point_format=point_format, version="1.4" if point_format >= 6 else "1.2")
    header.scales = [0.001] * 3
    for name, column in columns.items():
        if name not in ("x", "y", "z", "intensity"):
            header.add_extra_dim(laspy.ExtraBytesParams(name, column.dtype.str[1:]))
    file = laspy.LasData(header)
    for name, column in columns.items():
        file[name] = column
    out = io.BytesIO()
    file.write(out, do_compress=compressed)
    return out.getvalue()


WRITERS: dict[str, Writer] = {
    "ascii.pcd": lambda columns: pcd(columns, "ascii"),
    "binary.pcd": pcd,
    "compressed.pcd": lambda columns: pcd(columns, "binary_compressed"),
    "ascii.ply": lambda columns: ply(columns, "ascii"),
    "little.ply": ply,
    "big.ply": lambda columns: ply(columns, "binary_big_endian"),
    "savez.npz": npz,
}
"""What keeps every column bit for bit, by the name of a file."""
