"""Scans written in every format that is read, by hand from the formats' documents or by their own libraries."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from rangeseg.types import Scan

PLY_TYPES = {"f4": "float", "f8": "double", "u1": "uchar", "u2": "ushort", "i2": "short", "i4": "int", "u4": "uint"}


def table(scan: Scan, remission: str = "remission") -> NDArray:
    """A record array of the scan's columns."""
    kinds = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), (remission, "<f4")]
    rows = np.empty(len(scan), kinds + ([("ring", "<u2")] if scan.ring is not None else []))
    for axis, name in enumerate("xyz"):
        rows[name] = scan.xyz[:, axis]
    rows[remission] = scan.remission
    if scan.ring is not None:
        rows["ring"] = scan.ring
    return rows


def rows_of(columns: Mapping[str, NDArray]) -> NDArray:
    """A record array of (N,) columns."""
    return np.rec.fromarrays(list(columns.values()), names=list(columns))


def pcd(rows: NDArray, data: str = "binary", width: int | None = None) -> bytes:
    kinds = [rows.dtype[name] for name in rows.dtype.names or ()]
    letters = {"f": "F", "u": "U", "i": "I"}
    width = width or len(rows)
    head = f"""# .PCD v0.7
VERSION 0.7
FIELDS {" ".join(rows.dtype.names or ())}
SIZE {" ".join(str(kind.base.itemsize) for kind in kinds)}
TYPE {" ".join(letters[kind.base.kind] for kind in kinds)}
COUNT {" ".join(str(int(np.prod(kind.shape, dtype=int))) for kind in kinds)}
WIDTH {width}
HEIGHT {len(rows) // width}
VIEWPOINT 0 0 0 1 0 0 0
POINTS {len(rows)}
DATA {data}
""".encode()
    if data == "ascii":
        return head + text(rows)
    if data == "binary":
        return head + rows.tobytes()
    plain = b"".join(np.ascontiguousarray(rows[name]).tobytes() for name in rows.dtype.names or ())
    squeezed = lzf(plain)
    return head + np.array([len(squeezed), len(plain)], "<u4").tobytes() + squeezed


def text(rows: NDArray) -> bytes:
    def word(value: np.generic) -> str:
        return repr(float(value)) if value.dtype.kind == "f" else str(int(value))

    lines = (
        " ".join(word(cell) for name in rows.dtype.names or () for cell in np.atleast_1d(row[name])) for row in rows
    )
    return "".join(f"{line}\n" for line in lines).encode()


def lzf(plain: bytes) -> bytes:
    """Compressed: what was 4 bytes ago is repeated where it can be, all else copied."""
    out, at, literals = bytearray(), 0, bytearray()

    def flush() -> None:
        if literals:
            out.extend([len(literals) - 1, *literals])
            literals.clear()

    while at < len(plain):
        length = 0
        while at >= 4 and at + length < len(plain) and length < 264 and plain[at + length] == plain[at + length - 4]:
            length += 1
        if length >= 3:
            flush()
            out.extend([(length - 2) << 5, 3] if length < 9 else [7 << 5, length - 9, 3])
            at += length
            continue
        literals.append(plain[at])
        at += 1
        if len(literals) == 32:
            flush()
    flush()
    return bytes(out)


def ply(rows: NDArray, layout: str = "binary_little_endian") -> bytes:
    kinds = {name: rows.dtype[name] for name in rows.dtype.names or ()}
    lines = ["ply", f"format {layout} 1.0", "comment made up", f"element vertex {len(rows)}"]
    lines += [f"property {PLY_TYPES[kind.str[1:]]} {name}" for name, kind in kinds.items()]
    head = "\n".join([*lines, "element face 0", "property list uchar int vertex_indices", "end_header", ""]).encode()
    if layout == "ascii":
        return head + text(rows)
    return head + (rows if layout == "binary_little_endian" else rows.astype(rows.dtype.newbyteorder(">"))).tobytes()


def npz(scan: Scan) -> bytes:
    file = io.BytesIO()
    arrays = {"points": scan.xyz, "remission": scan.remission}
    np.savez_compressed(file, **arrays, **({} if scan.ring is None else {"ring": scan.ring}))
    return file.getvalue()


def npy(scan: Scan) -> bytes:
    return saved(np.concatenate([scan.xyz, scan.remission[:, None]], 1))


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def las(scan: Scan, *, compressed: bool, point_format: int = 0) -> bytes:
    """Coordinates to 0.1 mm; remission as uint16 intensity."""
    import laspy

    header = laspy.LasHeader(point_format=point_format, version="1.4" if point_format >= 6 else "1.2")
    header.scales = np.full(3, 1e-4)
    if scan.ring is not None:
        header.add_extra_dim(laspy.ExtraBytesParams("ring", np.uint8))
    data = laspy.LasData(header)
    data.x, data.y, data.z = np.asarray(scan.xyz, np.float64).T
    data.intensity = np.rint(scan.remission * 65535).astype(np.uint16)
    if scan.ring is not None:
        data.ring = scan.ring.astype(np.uint8)
    file = io.BytesIO()
    data.write(file, do_compress=compressed, laz_backend=laspy.LazBackend.Lazrs if compressed else None)
    return file.getvalue()


def kitti(scan: Scan) -> bytes:
    return np.concatenate([scan.xyz, scan.remission[:, None]], 1).astype("<f4").tobytes()


def nuscenes(scan: Scan) -> bytes:
    ring = np.zeros(len(scan)) if scan.ring is None else 31 - scan.ring
    return np.concatenate([scan.xyz, 255 * scan.remission[:, None], ring[:, None]], 1).astype("<f4").tobytes()


EXACT: dict[str, tuple[str, Callable[[Scan], bytes]]] = {
    "pcd ascii": (".pcd", lambda scan: pcd(table(scan), "ascii")),
    "pcd binary": (".pcd", lambda scan: pcd(table(scan), "binary")),
    "pcd compressed": (".pcd", lambda scan: pcd(table(scan), "binary_compressed")),
    "ply ascii": (".ply", lambda scan: ply(table(scan), "ascii")),
    "ply little": (".ply", lambda scan: ply(table(scan), "binary_little_endian")),
    "ply big": (".ply", lambda scan: ply(table(scan), "binary_big_endian")),
    "npz": (".npz", npz),
    "npy fields": (".npy", lambda scan: saved(table(scan))),
}
"""Formats that hold a scan with its rings bit for bit: a name -> the ending, and what writes it."""

PLAIN: dict[str, tuple[str, Callable[[Scan], bytes]]] = {
    "kitti": (".bin", kitti),
    "nuscenes": (".pcd.bin", nuscenes),
    "npy": (".npy", npy),
}
"""Formats without names."""

ROUNDED: dict[str, tuple[str, Callable[[Scan], bytes]]] = {
    "las": (".las", lambda scan: las(scan, compressed=False)),
    "laz": (".laz", lambda scan: las(scan, compressed=True)),
}
"""Formats that round."""
