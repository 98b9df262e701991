"""Unnamed arrays and NumPy archives: KITTI's .bin, nuScenes' .pcd.bin, .npy, .npz.

The remission of .bin and .npy files is not scaled; a notice reports remission outside [0, 1]. `fields` gives other
columns, types, units and scales. Shapes: N points.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from rangeseg.files import plain_file
from rangeseg.kernels.columns import split_columns
from rangeseg.notices import notify
from rangeseg.scan_formats.checks import bytes_of, checked_scan, records_of, unreadable
from rangeseg.scan_formats.fields import NAMES, FieldNames, plain, scan_of_columns
from rangeseg.scan_formats.layout import USUAL, advice, check_four_columns, read_columns
from rangeseg.scan_formats.scales import tell_bright
from rangeseg.types import Scan

KITTI_RECORD = 16
"""Bytes of one point of a KITTI .bin: float32 x, y, z, remission."""

NUSCENES_RECORD = 20
"""Bytes of one point of a nuScenes .pcd.bin: float32 x, y, z, intensity of 0 to 255, ring from the lowest beam."""

NUSCENES_RINGS = 32
FIVE = "x y z intensity ring"

MOST_BYTES = 2**30
"""Maximum size of the arrays of one scan, bytes."""

DEFLATE_AT_MOST = 1032
"""Largest compression ratio of deflate."""


def read_bin(path: Path, fields: FieldNames) -> Scan:
    """Read a KITTI scan: float32 x, y, z in metres, remission.

    Raises:
        ValueError: the file cannot be read, or its values have other columns, another type or unit.
    """
    if fields:
        return _named(path, fields, "x y z remission")
    content = bytes_of(path)
    if len(content) % KITTI_RECORD:
        raise ValueError(
            f"{path}: {len(content)} bytes are not a multiple of {KITTI_RECORD}-byte records; the file is truncated "
            f"or has another format. Copy it again. {advice(content)}"
        )
    check_four_columns(path, content)
    return _scan_of_table(path, np.frombuffer(content, "<f4").reshape(-1, 4))


def read_nuscenes(path: Path, fields: FieldNames) -> Scan:
    """Read a sweep of nuScenes: float32 x, y, z, intensity (divided by 255) and ring (renumbered from the top).

    Raises:
        ValueError: the file cannot be read, or its values do not fit these columns.
    """
    if fields:
        return _named(path, {"remission": "intensity/255", "ring": f"ring/{NUSCENES_RINGS}"} | dict(fields), FIVE)
    table = np.frombuffer(records_of(path, NUSCENES_RECORD), "<f4").reshape(-1, 5)
    ring = table[:, 4]
    with np.errstate(invalid="ignore"):  # damaged files contain signalling nans
        rings = np.isin(ring, np.arange(NUSCENES_RINGS)).all()
        remission: NDArray[np.float32] = np.divide(table[:, 3], np.float32(255), dtype=np.float32)
    if not rings:
        raise ValueError(
            f"{path}: the fifth column is not a ring from 0 to {NUSCENES_RINGS - 1}; a .pcd.bin has nuScenes' "
            "columns (x, y, z, "
            "intensity, ring). Copy the file again, or rename a file with KITTI's four columns to .bin."
        )
    if 0 < remission[np.isfinite(remission)].max(initial=0) <= 1 / 255:
        notify(
            f"{path}: its largest intensity is {255 * np.nanmax(remission):.2g}, but full scale is 255; if it is "
            'already in [0, 1], give fields={"remission": "intensity/1"}.'
        )
    tell_bright(path, "intensity/255", remission, 'give its full scale, fields={"remission": "intensity/N"}.')
    return checked_scan(path, table[:, :3].copy(), remission, NUSCENES_RINGS - 1 - ring.astype(np.int32))


def read_npy(path: Path, fields: FieldNames) -> Scan:
    """Read a floating-point array: (N, 4) as in a .bin, or (N, 3) without remission, which is then 0.

    A structured array, (N,) with named fields, has columns as other formats with names do.

    Raises:
        ValueError: the file cannot be read, has another array, or its unit is unknown.
    """
    table = read_array(path)
    if table.dtype.names and table.ndim == 1:
        return scan_of_columns(path, _fields_of(table), fields, lambda file: _fields_of(read_array(file)))
    usual = USUAL.get(table.shape[1], "") if table.ndim == 2 else ""
    if fields and table.ndim == 2 and table.dtype.kind in "iuf":
        names = str(fields.get("columns") or usual).split()
        if len(names) != table.shape[1]:
            raise ValueError(
                f'{path}: holds {table.shape[1]} columns; name each, fields={{"columns": "x y z remission ring"}}.'
            )

        def read(file: Path) -> dict[str, NDArray]:
            return dict(zip(names, np.atleast_2d(read_array(file)).T, strict=False))

        return scan_of_columns(path, dict(zip(names, table.T, strict=True)), fields, read)
    if table.ndim != 2 or table.shape[1] not in (3, 4) or not np.issubdtype(table.dtype, np.floating):
        raise ValueError(
            f"{path}: holds {table.dtype} of shape {table.shape}; give floating-point (N, 4) or (N, 3), or name the "
            'columns: fields={"columns": "x y z remission ring"}.'
        )
    with np.errstate(over="ignore"):  # beyond float32: infinite, thus no return
        return _scan_of_table(path, np.ascontiguousarray(table, np.float32))


def read_array(path: Path) -> NDArray:
    """The array in a file of numpy.save.

    Raises:
        ValueError: the file cannot be read or is damaged.
    """
    try:
        with plain_file(path).open("rb") as file:
            array = _read_array(file, path.stat().st_size)
            if file.read(1):
                raise ValueError("data follow the array")
            return array
    except OSError as error:
        raise unreadable(path, error) from error
    except Exception as error:  # NumPy does not wrap the errors of its tokenizer
        raise ValueError(f"{path}: not a complete NumPy array ({error}); write it again with numpy.save.") from error


def read_npz(path: Path, fields: FieldNames) -> Scan:
    """Read named arrays of N values each; `xyz`, `points` or `positions` may be (N, 3) in place of x, y and z.

    Raises:
        ValueError: the file cannot be read, or an array that is needed does not have one number per point.
    """
    needed = {usual for name, names in NAMES.items() if name not in fields for usual in names}
    needed |= {end for column in fields.values() if column for end in (column, column.rpartition("/")[0])}
    read = partial(columns_of_npz, needed=needed)
    return scan_of_columns(path, read(path), fields, read)


def columns_of_npz(path: Path, needed: Collection[str] = ()) -> dict[str, NDArray]:
    """The arrays with one number per point, (N,) or (N, 1); arrays with three numbers are split.

    Args:
        path: the file.
        needed: names of arrays that must not be left out for another shape or type.

    Raises:
        ValueError: the file cannot be read, is damaged, the arrays differ in length, or one of `needed` does not have
            one number per point.
    """
    columns: dict[str, NDArray] = {}
    for name, array in read_arrays(path).items():
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if name.lower() in ("xyz", "points", "positions") and array.ndim == 2 and array.shape[1] == 3:
            columns |= {axis: array[:, k] for k, axis in enumerate("xyz")}
        elif array.ndim == 1 and array.dtype.kind in "iuf":
            columns[name] = array
        elif name in needed or plain(name) in needed:
            raise ValueError(
                f"{path}: {name} is {array.dtype} of shape {array.shape}; give one number per point, or name another "
                'array, for example fields={"remission": "NAME"} or {"remission": None}.'
            )
    if len({len(column) for column in columns.values()}) > 1:
        counts = ", ".join(f"{name} {len(column)}" for name, column in columns.items())
        raise ValueError(f"{path}: the arrays differ in length ({counts}); give one value per point in each.")
    return columns


def read_arrays(path: Path) -> dict[str, NDArray]:
    """The arrays in a file of numpy.savez, without pickles.

    Raises:
        ValueError: the file cannot be read or is damaged.
    """
    content = bytes_of(path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
            if (whole := sum(member.file_size for member in members)) > MOST_BYTES:
                raise ValueError(f"its arrays claim {whole} bytes; no scan has so many")
            for member in members:
                if member.file_size > DEFLATE_AT_MOST * (member.compress_size + 1):
                    raise ValueError(f"{member.filename} claims {member.file_size} bytes")
            arrays = {}
            for member in members:
                with archive.open(member) as file:
                    arrays[member.filename.removesuffix(".npy")] = _read_array(file, member.file_size)
                    if file.read(1):  # reading to the end compares the checksum
                        raise ValueError(f"data follow the array in {member.filename}")
            return arrays
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds
        raise ValueError(f"{path}: not a complete archive ({error}); write it again with numpy.savez.") from error


def _read_array(file: BinaryIO | IO[bytes], size: int) -> NDArray:
    """The array of numpy.save, without pickles; allocates no more than the file, `size` bytes long, can contain."""
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"its format has version {version}")
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read_header(file)
    count = math.prod(shape)
    needed = count * dtype.itemsize
    if dtype.hasobject or min(shape, default=0) < 0 or needed > size:
        raise ValueError(f"{dtype} of shape {shape} does not fit in {size} bytes")
    content = file.read(needed)
    if len(content) < needed:
        raise ValueError(f"{needed} bytes of {dtype} are needed, but the file has {len(content)}")
    if needed == 0:
        return np.empty(shape, dtype)
    return np.frombuffer(content, dtype, count).reshape(shape, order="F" if fortran else "C")


def _scan_of_table(path: Path, table: NDArray[np.float32]) -> Scan:
    """(N, 3) or (N, 4) columns x, y, z, remission -> the scan."""
    xyz, remission = np.empty((len(table), 3), np.float32), np.zeros(len(table), np.float32)
    split_columns(table.reshape(-1), table.shape[1], xyz.reshape(-1), remission)
    tell_bright(path, "remission", remission, 'if full scale is 255, give fields={"remission": "remission/255"}.')
    return checked_scan(path, xyz, remission)


def _fields_of(table: NDArray) -> dict[str, NDArray]:
    """The fields with one number per point of a structured array; none of an array without fields."""
    return {name: table[name] for name in table.dtype.names or () if table.dtype[name].kind in "iuf"}


def _named(path: Path, fields: FieldNames, usual: str) -> Scan:
    """Read a file of unnamed columns with the columns given in `fields`."""

    def read(file: Path) -> dict[str, NDArray]:
        names, kind = str(fields.get("columns") or usual).split(), str(fields.get("type") or "float32")
        return read_columns(file, names, kind)

    return scan_of_columns(path, read(path), fields, read)
