"""LAS and LAZ files, through laspy (and lazrs for LAZ): the extra `las`.

Coordinates are integers times the file's scale, plus its offset. LAS has no standard field for a ring, so a ring is an
extra dimension. Both libraries trust the counts in the header when they allocate memory or loop, and can crash the
process. The counts are therefore compared with the length of the file first. Shapes: N points.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.scan_formats.checks import bytes_of
from rangeseg.scan_formats.fields import FieldNames, scan_of_columns
from rangeseg.types import Scan

VLR, EVLR = 54, 60
"""Least number of bytes of a record before the points, and of one after the points."""

SMALLER_AT_MOST = 1000
"""Largest plausible compression ratio of LAZ; beyond, the file is damaged."""

LAYERS, LAYER_EACH_BYTE = {10: 9, 11: 1, 12: 2, 13: 1}, 14
"""Number of LAZ layers for each item of a LAS 1.4 point: point, colours, colours and infrared, wave packet."""


def read_las(path: Path, fields: FieldNames) -> Scan:
    """Read a LAS or LAZ file.

    Raises:
        ImportError: laspy or lazrs is not installed.
        ValueError: the file cannot be read, is damaged, or contains no scan.
    """
    return scan_of_columns(path, columns_of_las(path), fields, columns_of_las)


def columns_of_las(path: Path) -> dict[str, NDArray]:
    """The dimensions with one number per point.

    Raises:
        ImportError: laspy or lazrs is not installed.
        ValueError: the file cannot be read or is damaged.
    """
    try:
        import laspy
        import lazrs  # noqa: F401 - laspy looks for it
    except ImportError as error:
        raise ImportError(f"{path}: reading LAS and LAZ needs laspy: pip install 'rangeseg[las]'.") from error
    content = bytes_of(path)
    try:
        _check_records(content)
        backend = laspy.LazBackend.Lazrs
        with np.errstate(all="ignore"), laspy.open(io.BytesIO(content), laz_backend=backend) as file:
            _check_points(content, file.header)
            points = file.read_points(file.header.point_count)
            names = [name for name in points.point_format.dimension_names if name not in "XYZ"]
            columns = {name: np.asarray(points[name]) for name in ("x", "y", "z", *names)}
            columns = {name: column for name, column in columns.items() if column.ndim == 1}
            count = file.header.point_count
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # laspy and NumPy raise many kinds of Exception, lazrs others
        raise ValueError(f"{path}: not a complete LAS file ({error}); copy or write it again.") from error
    if len(columns["x"]) != count:
        raise ValueError(f"{path}: has {len(columns['x'])} of {count} points; copy the file again.")
    return columns


def _check_records(content: bytes) -> None:
    before, after = _number(content, 100, 4), _number(content, 243, 4) if content[24:26] == b"\1\4" else 0
    if before * VLR + after * EVLR > len(content):
        raise ValueError(f"{len(content)} bytes cannot hold {before} records before the points and {after} after")


def _check_points(content: bytes, header: Any) -> None:
    start, needed = header.offset_to_point_data, header.point_count * header.point_format.size
    if not header.are_points_compressed:
        plain = header.number_of_evlrs == 0 and header.start_of_waveform_data_packet_record == 0
        if start + needed > len(content) or (plain and start + needed < len(content)):
            count, end = header.point_count, start + needed
            raise ValueError(f"the file has {len(content)} bytes, but its {count} points end at byte {end}")
        return
    import lazrs

    table = _number(content, start, 8)
    table = _number(content, len(content) - 8, 8) if table == 2**64 - 1 else table
    record = lazrs.LazVlr(header.vlrs.get("LasZipVlr")[0].record_data)
    sizes = record.item_size(), header.point_format.size
    if sizes[0] != sizes[1] or needed > SMALLER_AT_MOST * len(content) or record.chunk_size() == 0:
        raise ValueError(f"{header.point_count} points of {sizes[1]} bytes, compressed as {sizes[0]} bytes")
    if not start + 8 <= table <= len(content) - 8 or _number(content, table + 4, 4) > len(content):
        raise ValueError("its table of chunks is damaged")
    source = io.BytesIO(content)
    source.seek(start)
    chunks = lazrs.read_chunk_table(source, record)
    most = len(chunks) * record.chunk_size()
    if not most - record.chunk_size() < header.point_count <= most:
        raise ValueError(f"{header.point_count} points in {len(chunks)} chunks of at most {record.chunk_size()}")
    if header.point_format.id >= 6:
        _check_layers(content, header, start + 8, [size for _, size in chunks])


def _check_layers(content: bytes, header: Any, at: int, sizes: list[int]) -> None:
    """Chunks of LAS 1.4: one whole point, the number of points, the length of each layer, the layers."""
    data, points = header.vlrs.get("LasZipVlr")[0].record_data, 0
    items = [(_number(data, k, 2), _number(data, k + 2, 2)) for k in range(34, len(data) - 5, 6)]
    layers = sum(size if kind == LAYER_EACH_BYTE else LAYERS.get(kind, 0) for kind, size in items)
    for size in sizes:
        first = at + header.point_format.size + 4
        lengths = sum(_number(content, first + 4 * k, 4) for k in range(layers))
        if first + 4 * layers + lengths > min(at + size, len(content)):
            raise ValueError("the layers of a chunk are longer than the chunk")
        points += _number(content, first - 4, 4)
        at += size
    if points != header.point_count:
        raise ValueError(f"{header.point_count} points in chunks of {points}")


def _number(content: bytes, at: int, size: int) -> int:
    return int.from_bytes(content[max(at, 0) : at + size], "little")
