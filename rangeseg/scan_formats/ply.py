"""PLY files: ascii and binary of both byte orders, with every property of the vertices.

A reader of our own, because Open3D 0.20, which reads them too, drops properties of the types ushort, short and char,
such as a ring. Shapes: N points.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangeseg.scan_formats.checks import bytes_of
from rangeseg.scan_formats.fields import AskedFields, scan_of_columns
from rangeseg.scan_formats.text import columns_of_text
from rangeseg.types import Scan

TYPES = (
    {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4"}
    | {"double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"}
    | {"float32": "f4", "float64": "f8"}
)
ORDERS = {"ascii": "<", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True)
class Element:
    """An element of a PLY file: vertices, faces, ...

    Args:
        name: of the part.
        count: its rows.
        properties: (name, NumPy type) of each; the type of a list is empty.
    """

    name: str
    count: int
    properties: list[tuple[str, str]] = field(default_factory=list)

    @property
    def record(self) -> np.dtype | None:
        """One row; None where it has lists, whose length differs."""
        return None if any(not kind for _, kind in self.properties) else np.dtype(self.properties)


def read_ply(path: Path, fields: AskedFields) -> Scan:
    """Read the vertices of a PLY file.

    Raises:
        ValueError: it cannot be read, is damaged, or holds no scan.
    """
    content = bytes_of(path)
    try:
        columns = _vertices(content)
    except ValueError as error:
        raise ValueError(f"{path}: not a complete PLY file ({error}); copy or write it again.") from error
    return scan_of_columns(path, columns, fields)


def _vertices(content: bytes) -> dict[str, NDArray]:
    layout, elements, start = _header(content)
    names = [element.name for element in elements]
    if names.count("vertex") != 1:
        raise ValueError(f"{names.count('vertex')} elements called vertex")
    before, vertex = elements[: names.index("vertex")], elements[names.index("vertex")]
    rest, record = elements[len(before) + 1 :], vertex.record
    if record is None or not vertex.properties:
        raise ValueError("its vertices have lists or no properties")
    if layout == "ascii":
        lines = [line for line in content[start:].split(b"\n") if line.strip()]
        if len(lines) != sum(element.count for element in elements):
            raise ValueError(f"{len(lines)} lines of data do not match the counts in the header")
        first = sum(element.count for element in before)
        kinds = [np.dtype(kind) for _, kind in vertex.properties]
        columns = columns_of_text(lines[first : first + vertex.count], vertex.count, kinds)
        return dict(zip(record.names or (), columns, strict=True))
    sizes = [None if part.record is None else part.count * part.record.itemsize for part in before]
    if None in sizes:
        raise ValueError("lists precede the vertices, which is not supported")
    start += sum(size or 0 for size in sizes)
    end = start + vertex.count * record.itemsize
    whole = end + sum(0 if part.record is None else part.count * part.record.itemsize for part in rest)
    exact = all(part.record is not None for part in rest)
    if len(content) < whole or (exact and len(content) > whole):
        raise ValueError(f"{len(content)} bytes where its header needs {whole}")
    table = np.frombuffer(content[start:end], record)
    return {name: table[name] for name, _ in vertex.properties}


def _header(content: bytes) -> tuple[str, list[Element], int]:
    """The format, the elements, and where the data begins."""
    layout, elements, start = "", [], 0
    while True:
        end = content.find(b"\n", start)
        if end < 0:
            raise ValueError("its header has no end_header line")
        words = content[start:end].decode("latin1").split()
        if (start == 0) != (words == ["ply"]):
            raise ValueError("it does not begin with the line ply")
        start = end + 1
        match words:
            case ["ply"] | ["comment" | "obj_info", *_]:
                pass
            case ["format", ("ascii" | "binary_little_endian" | "binary_big_endian") as name, "1.0"] if not layout:
                layout = name
            case ["element", name, count] if layout and count.isascii() and count.isdecimal() and len(count) < 19:
                elements.append(Element(name, int(count)))
            case ["property", "list", size, item, name] if elements and size in TYPES and item in TYPES:
                _add(elements[-1], name, "")
            case ["property", kind, name] if elements and kind in TYPES:
                _add(elements[-1], name, ORDERS[layout] + TYPES[kind])
            case ["end_header"] if layout:
                return layout, elements, start
            case _:
                raise ValueError(f"unexpected header line {' '.join(words)[:60]!r}")


def _add(element: Element, name: str, kind: str) -> None:
    if name in (other for other, _ in element.properties):
        raise ValueError(f"{element.name} has two properties {name}")
    element.properties.append((name, kind))
