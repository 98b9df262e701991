"""Writes scans with a label, confidence and entropy per point: PCD, PLY, LAS, NPZ. Shapes: N points."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.files import write_atomically
from rangeseg.scan_formats.arrays import columns_of_npz
from rangeseg.scan_formats.las import columns_of_las
from rangeseg.scan_formats.pcd import columns_of_pcd
from rangeseg.scan_formats.ply import columns_of_ply
from rangeseg.types import IGNORE, Scan

Columns = Mapping[str, NDArray]

FIRST_OWN_CLASS = 64
"""First user-defined classification of LAS 1.4."""

LAS_STEP_M = 1e-4
"""LAS stores coordinates as integer multiples of this step."""

LETTERS = {"f": "F", "i": "I", "u": "U"}
PLY_NAMES = {"f4": "float", "f8": "double"} | {
    f"{kind}{size}": f"{'u' if kind == 'u' else ''}{word}"
    for kind in "iu"
    for size, word in ((1, "char"), (2, "short"), (4, "int"))
}


def labelled_columns(
    scan: Scan, raw: NDArray, confidence: NDArray | None = None, entropy: NDArray | None = None
) -> dict[str, NDArray]:
    """The fields of a scan by name, followed by its labels.

    Args:
        scan: N points.
        raw: (N,) raw ids.
        confidence: (N,) or None.
        entropy: (N,) nats, or None.
    """
    columns: dict[str, NDArray] = {axis: scan.xyz[:, k] for k, axis in enumerate("xyz")}
    columns["remission"] = scan.remission.astype(np.float32)
    if scan.ring is not None:
        columns["ring"] = scan.ring.astype(np.uint16)
    columns["label"] = raw.astype(np.uint16 if raw.max(initial=0) <= 0xFFFF else np.uint32)
    optional = {"confidence": confidence, "entropy": entropy}
    return columns | {name: value.astype(np.float32) for name, value in optional.items() if value is not None}


def read_labelled(path: Path) -> NDArray[np.integer]:
    """(N,) raw ids of a file that `write_columns` wrote.

    Raises:
        ValueError: it cannot be read, or its points have no `label`.
    """
    columns = READ[path.suffix](path)
    if "label" not in columns or columns["label"].dtype.kind not in "iu":
        raise ValueError(f"{path}: its points have no integer column named label; give a file with labels.")
    label: NDArray[np.integer] = columns["label"]
    return label


def write_columns(path: Path, columns: Columns, train: NDArray[np.integer]) -> None:
    """Write named columns, atomically; `rangeseg.scan_io.read_scan` reads the scan back.

    Args:
        path: has a suffix of `LABELLED`.
        columns: (N,) each; `x`, `y`, `z` first.
        train: (N,) train ids or IGNORE: LAS's classification is 64 + train id, and 1 (unassigned) for IGNORE.

    Raises:
        ImportError: the format is LAS, but laspy is not installed.
        ValueError: the format lacks the type of a column, or LAS cannot represent a coordinate.
    """
    write_atomically(path, LABELLED[path.suffix](path, columns, train))


def _pcd(path: Path, columns: Columns, train: NDArray) -> bytes:
    table = _table(path, columns, LETTERS)
    kinds = [table.dtype[name] for name in columns]
    sizes, letters = (str(kind.itemsize) for kind in kinds), (LETTERS[kind.kind] for kind in kinds)
    lines = [
        "# .PCD v0.7 - Point Cloud Data file format", "VERSION 0.7", f"FIELDS {' '.join(columns)}",
        f"SIZE {' '.join(sizes)}", f"TYPE {' '.join(letters)}",
        f"COUNT {' '.join('1' for _ in kinds)}", f"WIDTH {len(table)}", "HEIGHT 1", "VIEWPOINT 0 0 0 1 0 0 0",
        f"POINTS {len(table)}", "DATA binary", "",
    ]  # fmt: skip
    return "\n".join(lines).encode() + table.tobytes()


def _ply(path: Path, columns: Columns, train: NDArray) -> bytes:
    table = _table(path, columns, {"f": "", "i": "", "u": ""})
    properties = [f"property {PLY_NAMES[table.dtype[name].str[1:]]} {name}" for name in columns]
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(table)}", *properties, "end_header", ""]
    return "\n".join(lines).encode() + table.tobytes()


def _npz(path: Path, columns: Columns, train: NDArray) -> bytes:
    file = io.BytesIO()
    arrays: dict[str, Any] = {name: np.ascontiguousarray(column) for name, column in columns.items()}
    np.savez(file, **arrays)
    return file.getvalue()


def _las(path: Path, columns: Columns, train: NDArray) -> bytes:
    try:
        import laspy
    except ImportError as error:
        raise ImportError(f"{path}: writing LAS needs laspy: pip install 'rangeseg[las]'.") from error
    xyz = np.stack([columns[axis] for axis in "xyz"], 1).astype(np.float64)
    finite = np.isfinite(xyz).all(1)
    xyz[~finite] = 0  # LAS has no nan; the origin is also no return
    if np.abs(xyz).max(initial=0) >= LAS_STEP_M * 2**31:
        raise ValueError(f"{path}: coordinates up to {np.abs(xyz).max():g} m do not fit LAS at {LAS_STEP_M} m.")
    header = laspy.LasHeader(point_format=6, version="1.4")
    header.scales = np.full(3, LAS_STEP_M)
    own = [name for name in columns if name not in ("x", "y", "z", "remission")]
    header.add_extra_dims([laspy.ExtraBytesParams(name, columns[name].dtype) for name in own])
    data = laspy.LasData(header)
    data.x, data.y, data.z = xyz.T
    if "remission" in columns:
        data.intensity = np.rint(np.clip(columns["remission"], 0, 1) * 65535).astype(np.uint16)
    data.classification = np.where(train == IGNORE, 1, train.astype(np.int64) + FIRST_OWN_CLASS).clip(0, 255)
    for name in own:
        data[name] = columns[name]
    file = io.BytesIO()
    data.write(file, do_compress=False)
    return file.getvalue()


def _table(path: Path, columns: Columns, kinds: Mapping[str, str]) -> NDArray:
    """(N,) records of the columns, little-endian, packed."""
    record = np.dtype([(name, column.dtype.newbyteorder("<")) for name, column in columns.items()])
    strange = [name for name in columns if record[name].kind not in kinds or record[name].str[1:] not in PLY_NAMES]
    if strange:
        raise ValueError(f"{path}: {', '.join(strange)} cannot be written as {path.suffix}; write .npz.")
    table = np.empty(len(next(iter(columns.values()))), record)
    for name, column in columns.items():
        table[name] = column
    return table


LABELLED: dict[str, Callable[[Path, Columns, NDArray], bytes]] = {
    ".pcd": _pcd,
    ".ply": _ply,
    ".las": _las,
    ".npz": _npz,
}
"""Ending of a file of points with labels -> function that makes its content."""

READ: dict[str, Callable[[Path], dict[str, NDArray]]] = {
    ".pcd": columns_of_pcd, ".ply": columns_of_ply, ".npz": columns_of_npz, ".las": columns_of_las,
}  # fmt: skip
"""Ending -> function that reads the columns of a file that `LABELLED` made."""
