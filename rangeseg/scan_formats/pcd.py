"""PCD files: ascii, binary and binary_compressed, with every field and every point in its order.

We have our own reader, because Open3D 0.20 returns uninitialised memory for short ascii rows and trusts the counts in
the header. Shapes: N points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangeseg.scan_formats.checks import PADDING, PAGES, bytes_of, check_tail, is_text
from rangeseg.scan_formats.fields import FieldNames, scan_of_columns
from rangeseg.scan_formats.lzf import expand
from rangeseg.scan_formats.text import columns_of_text
from rangeseg.types import Scan

KINDS = {"F": "f", "I": "i", "U": "u"}
SIZES = {"F": (4, 8), "I": (1, 2, 4, 8), "U": (1, 2, 4, 8)}
KEYS = {"VERSION", "FIELDS", "SIZE", "TYPE", "COUNT", "WIDTH", "HEIGHT", "VIEWPOINT", "POINTS", "DATA"}


@dataclass(frozen=True)
class Header:
    """The header of a PCD file.

    Args:
        record: type of one point; a field with COUNT n above 1 has n numbers.
        points: N.
        data: ascii, binary or binary_compressed.
        start: offset of the first byte of the data.
    """

    record: np.dtype
    points: int
    data: str
    start: int


def read_pcd(path: Path, fields: FieldNames) -> Scan:
    """Read a PCD file. An organised cloud keeps its order, row by row, and its points without a return.

    Raises:
        ValueError: the file cannot be read, is damaged, or contains no scan.
    """
    return scan_of_columns(path, columns_of_pcd(path), fields, columns_of_pcd)


def columns_of_pcd(path: Path) -> dict[str, NDArray]:
    """The fields with one number per point.

    Raises:
        ValueError: the file cannot be read or is damaged.
    """
    content = bytes_of(path)
    try:
        return _columns(path, content, _header(content))
    except ValueError as error:
        raise ValueError(f"{path}: not a complete PCD file ({error}); copy or write it again.") from error


def _header(content: bytes) -> Header:
    header: dict[str, list[str]] = {}
    start = 0
    while "DATA" not in header:
        end = content.find(b"\n", start)
        if end < 0:
            raise ValueError("its header has no DATA line")
        line = content[start:end]
        words = line.decode("latin1").split()
        start = end + 1
        if not words or words[0].startswith("#"):
            continue
        if words[0] not in KEYS or words[0] in header or not is_text(line):
            raise ValueError(f"unexpected header line {' '.join(words)[:60]!r}")
        header[words[0]] = words[1:]
    if missing := {"FIELDS", "SIZE", "TYPE", "WIDTH"} - set(header):
        raise ValueError(f"its header has no {' and no '.join(sorted(missing))}")
    width, height = _number(header, "WIDTH"), _number(header, "HEIGHT", 1)
    points = _number(header, "POINTS", width * height)
    if points != width * height and (width or not points):  # some writers give WIDTH 0 and only POINTS
        raise ValueError(f"{points} points are not {width} x {height}")
    return Header(_record(header), points, " ".join(header["DATA"]), start)


def _number(header: dict[str, list[str]], key: str, default: int = 0) -> int:
    words = header.get(key, [str(default)])
    if len(words) != 1 or not (words[0].isascii() and words[0].isdecimal()) or len(words[0]) > 18:
        raise ValueError(f"{key} is {' '.join(words)[:60]!r}")
    return int(words[0])


def _record(header: dict[str, list[str]]) -> np.dtype:
    names = header["FIELDS"]
    counts = header.get("COUNT", ["1"] * len(names))
    if not len(names) == len(header["SIZE"]) == len(header["TYPE"]) == len(counts):
        raise ValueError(f"{len(names)} fields, but {len(header['SIZE'])} sizes, {len(header['TYPE'])} types and so on")
    record: list[tuple] = []
    for name, size, kind, count in zip(names, header["SIZE"], header["TYPE"], counts, strict=True):
        if size not in map(str, SIZES.get(kind, ())) or not count.isdecimal() or int(count) > 65535:
            raise ValueError(f"field {name} is {count} times {kind} of {size} bytes")
        if int(count) == 0:  # padding of no bytes
            continue
        free = name if name not in (other[0] for other in record) else f"{name} {len(record)}"  # padding is called _
        record.append((free, f"<{KINDS[kind]}{size}", int(count)) if count != "1" else (free, f"<{KINDS[kind]}{size}"))
    return np.dtype(record)


def _columns(path: Path, content: bytes, header: Header) -> dict[str, NDArray]:
    """The fields with one number per point."""
    start, points = header.start, header.points
    record = {name: header.record[name] for name in header.record.names or ()}
    needed = points * header.record.itemsize
    if header.data == "ascii":
        types = [kind.base for kind in record.values() for _ in range(math.prod(kind.shape))]
        table = columns_of_text(content[start:].rstrip(PADDING).split(b"\n"), points, types)
        firsts = np.cumsum([0, *(math.prod(kind.shape) for kind in record.values())])
        columns = {name: table[first] for name, first in zip(record, firsts[:-1], strict=True)}
    elif header.data == "binary":
        check_tail(path, content, start, start + needed, points, header.record.itemsize)
        rows = np.frombuffer(memoryview(content)[start : start + needed], header.record)
        columns = {name: rows[name] for name in record}
    elif header.data == "binary_compressed":
        columns, at, plain = {}, 0, _expanded(content, start, needed)
        for name, kind in record.items():  # field after field
            columns[name] = np.ndarray((points,), kind, plain, at)
            at += points * kind.itemsize
    else:
        raise ValueError(f"DATA is {header.data[:60]!r}, expected ascii, binary or binary_compressed")
    return {name: column for name, column in columns.items() if not record[name].shape}


def _expanded(content: bytes, start: int, needed: int) -> bytes:
    body = content[start:]
    sizes = np.frombuffer(body[:8].ljust(8, b"\0"), "<u4").tolist()
    end = 8 + sizes[0]
    foreign = body[end:].strip(PADDING) and start + len(body) - end not in PAGES
    if len(body) < end or sizes[1] != needed or foreign:
        raise ValueError(
            f"it declares {sizes[0]} bytes that expand to {sizes[1]}, but {max(len(body) - 8, 0)} exist and {needed} "
            "are needed"
        )
    return expand(body[8:end], needed)
