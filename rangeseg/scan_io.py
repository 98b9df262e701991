"""Reading scans and labels, and writing labels. Errors name the file and the fix.

`rangeseg.scan_formats` has a reader for each format. Labels of points without a return are kept as in the file.
Shapes: N points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rangeseg.files import write_atomically
from rangeseg.labels import LabelMap
from rangeseg.paths import absolute
from rangeseg.scan_formats.arrays import read_array, read_bin, read_npy, read_npz, read_nuscenes
from rangeseg.scan_formats.checks import records_of
from rangeseg.scan_formats.fields import FieldNames
from rangeseg.scan_formats.las import read_las
from rangeseg.scan_formats.pcd import read_pcd
from rangeseg.scan_formats.ply import read_ply
from rangeseg.types import Scan

LABEL_DTYPES = ("uint8", "uint16", "uint32", "int32", "int64")
"""Types of label files that contain only integers, one per point."""

NAMED: dict[str, Callable[[Path, FieldNames], Scan]] = {
    ".pcd": read_pcd,
    ".ply": read_ply,
    ".npz": read_npz,
    ".las": read_las,
    ".laz": read_las,
}
"""File suffix -> reader, for formats with column names."""

NAMELESS: dict[str, Callable[[Path, FieldNames], Scan]] = {
    ".pcd.bin": read_nuscenes,
    ".bin": read_bin,
    ".npy": read_npy,
}
"""File suffix -> reader, for formats without column names. The first suffix that matches is used."""

READERS = (*NAMELESS, *NAMED)
"""All file suffixes that can be read."""


def read_scan(
    path: str | Path,
    labels: str | Path | None = None,
    *,
    label_map: LabelMap | None = None,
    label_dtype: str | None = None,
    fields: FieldNames | None = None,
) -> Scan:
    """Read one scan, and its labels if requested.

    Args:
        path: a file with one of the suffixes `READERS`. KITTI's ``.bin`` (float32 x, y, z in metres, remission) and
            ``.npy`` (the same, or (N, 3) without remission, which is then 0) are read without conversion. For nuScenes'
            ``.pcd.bin``, the intensity is divided by 255 and the 32 rings are numbered from the topmost. In other
            formats, columns are found by their names, see `rangeseg.scan_formats.fields`.
        labels: ``.label`` file of the scan, ``.npy`` file of (N,) integers, or file of integers of type `label_dtype`.
        label_map: classes of the dataset; required with `labels`.
        label_dtype: type of little-endian integers in `labels`, one of `LABEL_DTYPES`; unused for .label and .npy.
        fields: column names that replace the common ones, e.g. ``{"remission": "reflectivity/255", "ring": None}``; see
            `rangeseg.scan_formats.fields.FieldNames`.

    Returns:
        The scan. Points that are non-finite or at the origin are kept; they are not returns.

    Raises:
        ValueError: a file is missing, unreadable, damaged, of unknown format or without a return, or labels do not fit.
    """
    path = Path(path)
    read = next((read for ending, read in (NAMELESS | NAMED).items() if path.name.endswith(ending)), None)
    if read is None:
        raise ValueError(
            f"{path}: unknown extension {path.suffix!r}; scans end in {' or '.join(READERS)}. Convert the file."
        )
    scan = read(path, fields or {})
    if labels is None:
        return scan
    if label_map is None:
        raise ValueError(
            f"{labels}: reading labels needs a label_map; give LabelMap.read('datasets/<name>/labels.yaml')."
        )
    semantic = read_raw_labels(Path(labels), label_dtype)
    if len(semantic) != len(scan):
        raise ValueError(
            f"{labels}: {len(semantic)} labels for {len(scan)} points of {path}; {_other_size(semantic, scan)}give the "
            "labels of the same scan."
        )
    try:
        return replace(scan, label=label_map.to_train(semantic))
    except ValueError as error:
        raise ValueError(f"{labels}: {error}") from error


def read_labels(path: str | Path) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Read a KITTI ``.label``: one uint32 per point, the class in the lower and the instance in the upper 16 bits.

    Returns:
        (N,) raw ids and (N,) instance ids, both uint16.

    Raises:
        ValueError: the file is missing, unreadable or not a ``.label``, ends within a label, or is obviously not
            little-endian uint32 with the class in the lower 16 bits.
    """
    path = Path(path)
    if path.suffix != ".label":
        raise ValueError(f"{path}: unknown extension {path.suffix!r}; give a KITTI label file, .label.")
    raw = np.frombuffer(records_of(path, 4), "<u4")
    _check_words(path, raw)
    return raw.astype(np.uint16), (raw >> 16).astype(np.uint16)


def _check_words(path: Path, raw: NDArray[np.uint32]) -> None:
    """Reject labels if at least half of the non-zero ones have class 0, which never happens in a dataset."""
    words = raw[raw != 0]
    if not len(words) or 2 * np.count_nonzero(words & 0xFFFF) > len(words):
        return
    with np.errstate(all="ignore"):
        whole = words.view("<f4")
        fraction = whole != np.trunc(whole)
    if not fraction.any() and whole.max() <= 0xFFFF and whole.min() >= 0:
        found, cure = "float32 numbers", "raw.astype('<u4')"
    elif (words.byteswap() <= 0xFFFF).all() and words.byteswap().max() < (words >> 16).max():
        found, cure = "big-endian numbers", "raw.astype('<u4')"
    else:
        found, cure = "classes in the upper 16 bits", "raw >> 16, or instance << 16 | class"
    raise ValueError(
        f"{path}: contains {found}. KITTI's labels are uint32 with the class in the lower 16 bits; read like this, at "
        f"least half of the {len(words)} labels that are not 0 would have class 0. Write {cure}."
    )


def _other_size(semantic: NDArray, scan: Scan) -> str:
    """For an error: the type that labels read as uint32 probably have, judged by their number."""
    sizes = {2.0: "int64", 0.5: "uint16", 0.25: "uint8"}
    kind = sizes.get(len(semantic) / len(scan))
    return f"if these are {kind}, write uint32; else " if kind else ""


def _read_npy(path: Path) -> NDArray[np.integer]:
    raw = read_array(path)
    if raw.ndim == 2 and raw.shape[1] == 1:
        raw = raw[:, 0]
    if raw.ndim != 1 or raw.dtype.kind not in "iu":
        raise ValueError(f"{path}: holds {raw.dtype} of shape {raw.shape}; give (N,) integers, the raw ids.")
    if raw.size and (raw.min() < 0 or raw.max() > 0xFFFFFFFF):
        raise ValueError(
            f"{path}: labels range from {raw.min()} to {raw.max()}; give 0 to 4294967295, with the class in the lower "
            "16 bits."
        )
    _check_words(path, raw.astype("<u4"))
    return raw.astype(np.uint16)


def read_raw_labels(path: Path, dtype: str | None) -> NDArray[np.integer]:
    """Read the raw ids of a file, (N,) uint16: a ``.label``, an ``.npy``, or integers of `dtype`.

    Raises:
        ValueError: the file cannot be read or has another format, or `dtype` is not one of `LABEL_DTYPES`.
    """
    if path.suffix == ".npy":
        return _read_npy(path)
    if path.suffix == ".label" or dtype is None:
        return read_labels(path)[0]
    if dtype not in LABEL_DTYPES:
        raise ValueError(f"label_dtype is {dtype!r}; choose from {', '.join(LABEL_DTYPES)}.")
    form = np.dtype(dtype).newbyteorder("<")
    raw = np.frombuffer(records_of(path, form.itemsize), form)
    if raw.size and (raw.min() < 0 or raw.max() > 0xFFFF):
        raise ValueError(
            f"{path}: raw ids from {raw.min()} to {raw.max()} do not fit in 16 bits; check label_dtype, which is "
            f"{dtype}."
        )
    return raw.astype(np.uint16)


def stem_of(scan: str | Path) -> str:
    """The name of a scan's file without the suffix, which may have two parts: .pcd.bin."""
    path = Path(scan)
    return path.name.removesuffix(next((ending for ending in READERS if path.name.endswith(ending)), path.suffix))


def home_of(scan: str | Path) -> Path:
    """The folder that contains a scan's folder, and those of its labels, also for a path like ``000000.bin``."""
    return absolute(scan).parent.parent


def write_labels(path: str | Path, raw_ids: ArrayLike) -> None:
    """Write a KITTI ``.label``, atomically.

    Args:
        path: must end in ``.label``; missing folders are made.
        raw_ids: (N,) integers: raw ids, with instance ids in the upper 16 bits if there are any.

    Raises:
        ValueError: the suffix is not ``.label``, or `raw_ids` is not (N,) integers from 0 to 2^32 - 1.
    """
    path, raw = Path(path), np.asarray(raw_ids)
    if path.suffix != ".label":
        raise ValueError(f"{path}: unknown extension {path.suffix!r}; the name must end in .label.")
    if raw.ndim != 1 or not np.issubdtype(raw.dtype, np.integer):
        raise ValueError(f"{path}: labels are {raw.dtype} of shape {raw.shape}; give (N,) integers.")
    if raw.size and (raw.min() < 0 or raw.max() > 0xFFFFFFFF):
        raise ValueError(f"{path}: labels range from {raw.min()} to {raw.max()}; give 0 to {0xFFFFFFFF}.")
    write_atomically(path, raw.astype("<u4").tobytes())
