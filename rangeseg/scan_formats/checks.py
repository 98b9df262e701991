"""Checks of every scan reader: the file is complete, and the scan has a return. Shapes: N points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangeseg.files import read_whole
from rangeseg.notices import notify
from rangeseg.types import Scan

Where = Path | str
"""A file, or a position in it, for errors."""


PADDING = b"\0\r\n\x1a "
"""Bytes that may follow the data: older PCL versions pad binary files with zeros to a whole page of memory."""

PAGES = (4096, 16384, 65536)
"""Sizes of a page of memory, bytes. Older PCL versions make a binary file one page longer than header and data."""

FARTHEST_M = 1000.0
"""Maximum range of a spinning LiDAR, metres; points beyond are errors of the file."""

ENOUGH_POINTS = 500
"""Least number of points for conclusions about the unit, the scale and the columns of a file."""

NEVER_SO_FAR_M = 250.0
"""Largest plausible median range, metres; beyond, the unit is not metres or the coordinates are those of a map."""


class NoReturnsError(ValueError):
    """A scan without points or without a return: complete, but useless."""


def bytes_of(path: Path) -> bytes:
    """The content of a file.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        return read_whole(path)
    except OSError as error:
        raise unreadable(path, error) from error


def records_of(path: Path, record: int) -> bytes:
    """The content of a file of `record`-byte records.

    Raises:
        ValueError: the file cannot be read, or ends within a record.
    """
    content = bytes_of(path)
    if len(content) % record:
        raise ValueError(
            f"{path}: {len(content)} bytes are not a multiple of {record}-byte records; "
            "the file is truncated or has another format. Copy it again."
        )
    return content


def check_tail(path: Path, content: bytes, start: int, end: int, points: int, record: int) -> None:
    """Check whether the bytes after the data of a binary file can be ignored.

    `PADDING` can be ignored, and so can the rest of a page that older PCL versions write. Other bytes can be ignored if
    no error in the header explains them: a wrong SIZE or COUNT would leave at least one byte per point, and a wrong
    number of points would leave whole records. The user is warned about them, because inserted bytes would scramble the
    points after them.

    Args:
        path: path of the file.
        content: content of the file.
        start: offset of the first byte of the data.
        end: offset of the end of the data according to the header.
        points: N.
        record: bytes per point; 0 if they differ.

    Raises:
        ValueError: the data is shorter than in the header, or longer in a way that a wrong header explains.
    """
    surplus = len(content) - end
    if surplus >= 0 and (not content[end:].strip(PADDING) or start + surplus in PAGES):
        return
    if surplus < 0 or surplus >= points or (record and surplus % record == 0):
        raise ValueError(f"{len(content) - start} bytes of data where {points} points need {end - start}")
    if b"\r\n" in content[:start]:
        raise ValueError("a text program has converted line ends, which also changed bytes of the data")
    notify(
        f"{path}: ignored {surplus} bytes after the {points} points, which the header does not explain. If bytes were "
        "inserted among the points, the points are wrong: copy the file again and check it with `rangeseg show`."
    )


def is_text(line: bytes) -> bool:
    """Whether a line of a header is printable text. A damaged column name must not become another column."""
    try:
        return line.decode().strip().isprintable()
    except UnicodeDecodeError:
        return False


def unreadable(path: Path, error: OSError) -> ValueError:
    """The error for a file that cannot be opened."""
    return ValueError(f"{path}: cannot be read ({error.strerror}); check the path, the permissions and the disk.")


def check_any(where: Where, columns: Mapping[str, NDArray]) -> None:
    """Check that a file or a message has columns. Some drivers send messages without fields and without points.

    Raises:
        NoReturnsError: it has none.
    """
    if not columns:
        raise NoReturnsError(f"{where}: has no columns; x, y and z are needed. Leave it out, or copy it again.")


def checked_scan(
    where: Where, xyz: NDArray[np.float32], remission: NDArray[np.float32], ring: NDArray[np.int32] | None = None
) -> Scan:
    """The scan, if it contains a return.

    Args:
        where: file name for errors.
        xyz: (N, 3) metres.
        remission: (N,).
        ring: (N,) or None.

    Raises:
        NoReturnsError: there are no points, or no returns.
        ValueError: the coordinates are not in metres.
    """
    if len(xyz) == 0:
        raise NoReturnsError(f"{where}: contains no points; leave the scan out, or copy the file again.")
    if not (returns(xyz[:64]).any() or returns(xyz).any()):  # the first points nearly always suffice
        raise NoReturnsError(
            f"{where}: none of its {len(xyz)} points is a return (non-finite or at the origin); leave it out."
        )
    check_metres(where, xyz)
    scan = guarded(Scan(xyz, remission, ring, where=str(where)))
    if scan.xyz is not xyz and not returns(scan.xyz).any():
        raise NoReturnsError(
            f"{where}: none of its {len(xyz)} points is a return: all are beyond {FARTHEST_M:g} m or their remission "
            "is not finite. Give metres; omit an unknown remission, or set it to 0."
        )
    return scan


def check_metres(where: Where, xyz: NDArray[np.float32]) -> None:
    """Reject millimetres, centimetres and map coordinates.

    Args:
        where: file name for errors.
        xyz: (N, 3).

    Raises:
        ValueError: half of the points are farther than `NEVER_SO_FAR_M`.
    """
    with np.errstate(invalid="ignore"):
        some = xyz[:: max(1, len(xyz) // 2048)].astype(np.float64)
    with np.errstate(invalid="ignore"):
        metres = np.sqrt((some**2).sum(axis=1))
    metres = metres[np.isfinite(metres) & (metres > 0)]
    if len(xyz) < ENOUGH_POINTS or not len(metres) or (middle := float(np.median(metres))) <= NEVER_SO_FAR_M:
        return
    unit, name = ("mm", "millimetres") if middle > 4000 else ("cm", "centimetres")
    raise ValueError(
        f"{where}: half of its points are farther than {middle:.0f} m. If these are {name}, give "
        f'fields={{"unit": "{unit}"}}; if they are map coordinates, transform the scan to its sensor\'s frame.'
    )


def guarded(scan: Scan) -> Scan:
    """The scan without impossible measurements.

    Points beyond `FARTHEST_M` and returns whose remission is not finite become no returns in a copy: their xyz is nan,
    their remission 0. A `Notice` reports their number. A valid scan is not copied; it costs four passes of minimum and
    maximum.

    Args:
        scan: N points, from a file or from the user.
    """
    xyz, remission, near = scan.xyz, scan.remission, FARTHEST_M / 2
    if max(xyz.max(), -xyz.min()) < near and max(remission.max(), -remission.min()) < np.inf:
        return scan
    valid, odd = returns(xyz), ~np.isfinite(remission)
    far = np.zeros(len(scan), np.bool_)
    far[valid] = np.linalg.norm(xyz[valid].astype(np.float64), axis=1) > FARTHEST_M
    problems = [(far, f"farther than {FARTHEST_M:g} m"), (valid & odd & ~far, "with a remission that is not finite")]
    if parts := [f"{np.count_nonzero(mask)} {what}" for mask, what in problems if mask.any()]:
        notify(
            f"{scan.where or 'a scan'}: {' and '.join(parts)} of its {len(scan)} points; they count as no returns. "
            "Check the program that wrote the file."
        )
    if not (far.any() or odd.any()):
        return scan
    xyz = np.where((far | (valid & odd))[:, None], np.float32(np.nan), xyz)
    return replace(scan, xyz=xyz, remission=np.where(odd, np.float32(0), remission))


def returns(xyz: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(N, 3) -> (N,) bool: True for points that are finite and not at the origin."""
    return np.isfinite(xyz).all(axis=1) & (xyz != 0).any(axis=1)
