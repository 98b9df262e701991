"""Reading scans and labels, writing labels. Every error names the file and says what to do.

Remission is taken as the file has it: clipping would hide a sensor that counts 0..255. So are the labels of points
without a return. Shapes: N points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from rangeseg.files import write_atomically
from rangeseg.labels import LabelMap
from rangeseg.types import Scan

KITTI_RECORD = 16
"""Bytes of one point of a KITTI .bin: float32 x, y, z, remission."""

NUSCENES_RECORD = 20
"""Bytes of one point of a nuScenes .pcd.bin: float32 x, y, z, intensity of 0 to 255, ring from the lowest beam."""

NUSCENES_RINGS = 32

LABEL_DTYPES = ("uint8", "uint16", "uint32")
"""Of files of bare integers, one a point."""


def read_scan(
    path: str | Path,
    *,
    labels: str | Path | None = None,
    label_map: LabelMap | None = None,
    label_dtype: str | None = None,
) -> Scan:
    """Read one scan, and its labels where asked.

    Args:
        path: ``.bin`` as KITTI writes it (float32 x, y, z in metres, remission), or ``.npy`` with a floating array of
            (N, 4) the same or (N, 3) without remission, which is then 0, or ``.pcd.bin`` as nuScenes writes it: its
            intensity is divided by 255, its 32 rings are counted from the topmost.
        labels: its ``.label`` file, or with `label_dtype` one of bare integers.
        label_map: the dataset's classes; needed with `labels`.
        label_dtype: of labels in a file that is no ``.label``: uint8, uint16 or uint32, little-endian.

    Returns:
        The scan. Points that are non-finite or at the origin are kept; they are no returns.

    Raises:
        ValueError: a file is missing, unreadable, damaged, of unknown format or without a return, or labels do not fit.
    """
    path = Path(path)
    reader = next((READERS[ending] for ending in READERS if path.name.endswith(ending)), None)
    if reader is None:
        raise ValueError(f"{path}: scans end in {' or '.join(READERS)}, not in {path.suffix!r}; convert the file.")
    scan = reader(path)
    if labels is None:
        return scan
    if label_map is None:
        raise ValueError(f"{labels}: labels need a label_map; give LabelMap.read('datasets/<name>/labels.yaml').")
    semantic = _read_raw_ids(Path(labels), label_dtype)
    if len(semantic) != len(scan):
        raise ValueError(
            f"{labels}: {len(semantic)} labels for the {len(scan)} points of {path}; give the labels of the same scan."
        )
    try:
        return replace(scan, label=label_map.to_train(semantic))
    except ValueError as error:
        raise ValueError(f"{labels}: {error}") from error


def read_labels(path: str | Path) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Read a KITTI ``.label``: uint32 a point, the class in the lower and the instance in the upper 16 bits.

    Returns:
        (N,) raw ids and (N,) instance ids, both uint16.

    Raises:
        ValueError: the file is missing, unreadable, no ``.label``, or not made of whole labels.
    """
    path = Path(path)
    if path.suffix != ".label":
        raise ValueError(f"{path}: labels end in .label, not in {path.suffix!r}; give a KITTI label file.")
    raw = np.frombuffer(_bytes_of(path, record=4), "<u4")
    return raw.astype(np.uint16), (raw >> 16).astype(np.uint16)


def _read_raw_ids(path: Path, dtype: str | None) -> NDArray[np.integer]:
    if path.suffix == ".label" or dtype is None:
        return read_labels(path)[0]
    if dtype not in LABEL_DTYPES:
        raise ValueError(f"label_dtype is {dtype!r}; choose from {', '.join(LABEL_DTYPES)}.")
    form = np.dtype(dtype).newbyteorder("<")
    raw = np.frombuffer(_bytes_of(path, form.itemsize), form)
    if raw.size and raw.max() > 0xFFFF:
        raise ValueError(f"{path}: raw ids up to {raw.max()} do not fit 16 bits; is its label_dtype {dtype}?")
    return raw.astype(np.uint16)


def write_labels(path: str | Path, raw_ids: ArrayLike) -> None:
    """Write a KITTI ``.label``, atomically.

    Args:
        path: ends in ``.label``; missing folders are made.
        raw_ids: (N,) integers: raw ids, with instance ids in the upper 16 bits if there are any.

    Raises:
        ValueError: another ending, or not a row of integers that fit 32 bits.
    """
    path, raw = Path(path), np.asarray(raw_ids)
    if path.suffix != ".label":
        raise ValueError(f"{path}: labels end in .label, not in {path.suffix!r}; name the file so.")
    if raw.ndim != 1 or not np.issubdtype(raw.dtype, np.integer):
        raise ValueError(f"{path}: labels are {raw.dtype} of shape {raw.shape}; give (N,) integers.")
    if raw.size and (raw.min() < 0 or raw.max() > 0xFFFFFFFF):
        raise ValueError(f"{path}: labels run from {raw.min()} to {raw.max()}; give 0 to {0xFFFFFFFF}.")
    write_atomically(path, raw.astype("<u4").tobytes())


def _read_bin(path: Path) -> Scan:
    return _scan_of(path, np.frombuffer(_bytes_of(path, KITTI_RECORD), "<f4").reshape(-1, 4))


def _read_npy(path: Path) -> Scan:
    try:
        with path.open("rb") as file:
            table = np.lib.format.read_array(file, allow_pickle=False)
    except OSError as error:
        raise _unreadable(path, error) from error
    except Exception as error:  # NumPy lets its tokenizer's and allocator's errors out as they are
        raise ValueError(f"{path}: is no whole NumPy array ({error}); write it again with numpy.save.") from error
    if table.ndim != 2 or table.shape[1] not in (3, 4) or not np.issubdtype(table.dtype, np.floating):
        raise ValueError(f"{path}: holds {table.dtype} of shape {table.shape}; give floating (N, 4) or (N, 3).")
    with np.errstate(over="ignore"):  # beyond float32 is as good as infinite: no return
        return _scan_of(path, np.ascontiguousarray(table, np.float32))


def _read_nuscenes(path: Path) -> Scan:
    table = np.frombuffer(_bytes_of(path, NUSCENES_RECORD), "<f4").reshape(-1, 5)
    ring = table[:, 4]
    if not (np.isin(ring, np.arange(NUSCENES_RINGS))).all():
        raise ValueError(
            f"{path}: its fifth column is no ring of 0 to {NUSCENES_RINGS - 1}; a .pcd.bin is nuScenes' (x, y, z, "
            "intensity, ring): copy it again, or call a file of KITTI's four columns .bin."
        )
    scan = _scan_of(path, np.ascontiguousarray(table[:, :4]))
    return replace(scan, remission=scan.remission / np.float32(255), ring=NUSCENES_RINGS - 1 - ring.astype(np.int32))


READERS: dict[str, Callable[[Path], Scan]] = {".pcd.bin": _read_nuscenes, ".bin": _read_bin, ".npy": _read_npy}
"""How each format is read, by the file's ending; the first that fits."""


def _scan_of(path: Path, table: NDArray[np.float32]) -> Scan:
    """(N, 3) or (N, 4) columns x, y, z, remission -> the scan, if there is a return in it."""
    if len(table) == 0:
        raise ValueError(f"{path}: holds no points; leave the scan out, or copy the file again.")
    xyz, remission = np.empty((len(table), 3), np.float32), np.zeros(len(table), np.float32)
    _split_columns(table.reshape(-1), table.shape[1], xyz.reshape(-1), remission)
    if not (_any_return(xyz[:64]) or _any_return(xyz)):  # the first points nearly always settle it
        raise ValueError(
            f"{path}: none of its {len(xyz)} points is a return (non-finite or at the origin); leave it out."
        )
    return Scan(xyz, remission)


@njit(cache=True, nogil=True)
def _split_columns(
    table: NDArray[np.float32], columns: int, xyz: NDArray[np.float32], remission: NDArray[np.float32]
) -> None:
    """Flat (N * columns) -> flat (3 N) and, where there is a fourth column, (N,): one pass, a tenth of NumPy's time."""
    for i in range(len(remission)):
        xyz[3 * i] = table[columns * i]
        xyz[3 * i + 1] = table[columns * i + 1]
        xyz[3 * i + 2] = table[columns * i + 2]
        if columns == 4:
            remission[i] = table[columns * i + 3]


def _any_return(xyz: NDArray[np.float32]) -> bool:
    return bool((np.isfinite(xyz).all(axis=1) & (xyz != 0).any(axis=1)).any())


def _bytes_of(path: Path, record: int) -> bytes:
    """A file's content, made of whole records of `record` bytes."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(content) % record:
        raise ValueError(
            f"{path}: {len(content)} bytes are no whole number of {record}-byte records; "
            "the file is cut off or of another format: copy it again."
        )
    return content


def _unreadable(path: Path, error: OSError) -> ValueError:
    return ValueError(f"{path}: cannot be read ({error.strerror}); check the path, the rights and the disk.")
