"""PLY files: ascii and binary of both byte orders, with every property of the vertices.

We have our own reader, because Open3D 0.20 drops properties of the types ushort, short and char, such as a ring.
Shapes: N points.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rangeseg.scan_formats.checks import PADDING, bytes_of, check_tail, is_text
from rangeseg.scan_formats.fields import FieldNames, scan_of_columns
from rangeseg.scan_formats.text import columns_of_text
from rangeseg.types import Scan

TYPES = (
    {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4"}
    | {"double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"}
    | {"float32": "f4", "float64": "f8"}
)
LENGTHS = {name for name, kind in TYPES.items() if kind[0] in "iu"}
ORDERS = {"ascii": "<", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True)
class Element:
    """An element of a PLY file: vertices, faces, ...

    Args:
        name: name of the element.
        count: number of rows.
        properties: name and NumPy type of each property, and the type of the length for a list (otherwise "").
    """

    name: str
    count: int
    properties: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def lists(self) -> bool:
        """Whether an element has lists, so that rows differ in length."""
        return any(length for _, _, length in self.properties)

    @property
    def record(self) -> np.dtype:
        """The type of one row without its lists."""
        return np.dtype([(name, kind) for name, kind, length in self.properties if not length])


def read_ply(path: Path, fields: FieldNames) -> Scan:
    """Read the vertices of a PLY file.

    Raises:
        ValueError: the file cannot be read, is damaged, or contains no scan.
    """
    return scan_of_columns(path, columns_of_ply(path), fields, columns_of_ply)


def columns_of_ply(path: Path) -> dict[str, NDArray]:
    """The properties of the vertices.

    Raises:
        ValueError: the file cannot be read or is damaged.
    """
    content = bytes_of(path)
    try:
        return _vertices(path, content)
    except ValueError as error:
        raise ValueError(f"{path}: not a complete PLY file ({error}); copy or write it again.") from error


def _vertices(path: Path, content: bytes) -> dict[str, NDArray]:
    layout, elements, start = _header(content)
    names = [element.name for element in elements]
    if names.count("vertex") != 1:
        raise ValueError(f"{names.count('vertex')} elements called vertex")
    before, vertex = elements[: names.index("vertex")], elements[names.index("vertex")]
    rest = elements[len(before) + 1 :]
    if layout == "ascii":
        lines = [line for line in content[start:].rstrip(PADDING).split(b"\n") if line.strip()]
        if len(lines) != sum(element.count for element in elements):
            raise ValueError(f"{len(lines)} lines of data do not match the counts in the header")
        first = sum(element.count for element in before)
        return _columns_of_lines(lines[first : first + vertex.count], vertex)
    for element in before:
        _, start = _rows(content, start, element)
    columns, end = _rows(content, start, vertex)
    whole = end + sum(element.count * element.record.itemsize for element in rest)
    if len(content) < whole:
        raise ValueError(f"{len(content)} bytes where its header needs {whole} or more")
    if not any(
        element.lists and element.count for element in rest
    ):  # the end of lists is known only after reading them
        check_tail(path, content, start, whole, vertex.count, 0 if vertex.lists else vertex.record.itemsize)
    return columns


def _columns_of_lines(lines: list[bytes], element: Element) -> dict[str, NDArray]:
    """The columns of an element written as text, without its lists."""
    kinds = [element.record[name] for name in element.record.names or ()]
    if element.lists:
        lines = [b" ".join(_without_lists(line.split(), element)) for line in lines]
    return dict(zip(element.record.names or (), columns_of_text(lines, element.count, kinds), strict=True))


def _without_lists(words: list[bytes], element: Element) -> list[bytes]:
    kept, at = [], 0
    for name, _, length in element.properties:
        if at >= len(words) or (length and not words[at].isdigit()):
            raise ValueError(f"a line of {len(words)} words has no {name}")
        if not length:
            kept.append(words[at])
        at += 1 + (int(words[at]) if length else 0)
    if at != len(words):
        raise ValueError(f"a line has {len(words)} words where its lists need {at}")
    return kept


def _rows(content: bytes, start: int, element: Element) -> tuple[dict[str, NDArray], int]:
    """The columns of a binary element that begins at `start`, without its lists, and the offset of its end."""
    record = element.record
    if not element.lists:
        end = start + element.count * record.itemsize
        if end > len(content):
            raise ValueError(f"{len(content)} bytes where its header needs {end}")
        return _split(content[start:end], record), end
    if element.count > len(content):  # each list has at least its length field
        raise ValueError(f"{element.count} rows cannot be in {len(content)} bytes")
    packed, at = bytearray(), start
    for _ in range(element.count):
        for _, kind, length in element.properties:
            size, begin = np.dtype(kind).itemsize, at
            if length:
                wide = np.dtype(length)
                at += wide.itemsize
                order: Literal["big", "little"] = "big" if length[0] == ">" else "little"
                at += size * int.from_bytes(content[begin:at], order, signed=wide.kind == "i")
            else:
                at += size
                packed += content[begin:at]
            if not begin <= at <= len(content):
                raise ValueError(f"a list of its {element.name} does not fit {len(content)} bytes")
    return _split(bytes(packed), record), at


def _split(packed: bytes, record: np.dtype) -> dict[str, NDArray]:
    table = np.frombuffer(packed, record) if record.itemsize else None
    return {} if table is None else {name: table[name] for name in record.names or ()}


def _header(content: bytes) -> tuple[str, list[Element], int]:
    """The format, the elements, and the offset of the data."""
    layout, elements, start = "", [], 0
    while True:
        end = content.find(b"\n", start)
        if end < 0:
            raise ValueError("its header has no end_header line")
        words = content[start:end].decode("latin1").split()
        if (start == 0) != (words == ["ply"]):
            raise ValueError("it does not begin with the line ply")
        line, start = content[start:end], end + 1
        match words:
            case ["ply"] | ["comment" | "obj_info", *_]:
                pass
            case _ if not is_text(line):
                raise ValueError(f"unexpected header line {' '.join(words)[:60]!r}")
            case ["format", ("ascii" | "binary_little_endian" | "binary_big_endian") as name, "1.0"] if not layout:
                layout = name
            case ["element", name, count] if layout and count.isascii() and count.isdecimal() and len(count) < 19:
                elements.append(Element(name, int(count)))
            case ["property", "list", size, item, name] if elements and size in LENGTHS and item in TYPES:
                _add(elements[-1], name, ORDERS[layout] + TYPES[item], ORDERS[layout] + TYPES[size])
            case ["property", kind, name] if elements and kind in TYPES:
                _add(elements[-1], name, ORDERS[layout] + TYPES[kind])
            case ["end_header"] if layout:
                return layout, elements, start
            case _:
                raise ValueError(f"unexpected header line {' '.join(words)[:60]!r}")


def _add(element: Element, name: str, kind: str, length: str = "") -> None:
    if name in (other for other, *_ in element.properties):
        raise ValueError(f"{element.name} has two properties {name}")
    element.properties.append((name, kind, length))
