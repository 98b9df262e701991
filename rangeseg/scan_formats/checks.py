"""Checks of every scan reader: the file is complete, and the scan has a return. Shapes: N points."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangeseg.notices import notify
from rangeseg.types import Scan

Where = Path | str
"""A file, or a place in it, as errors name it."""


PADDING = b"\0\r\n\x1a "
"""What may follow the data, in any number: older PCL fills binary files with zeros to a whole page of memory."""

PAGES = (4096, 16384, 65536)
"""Sizes of a page of memory, bytes. Older PCL makes a binary file one page longer than its data, header included."""

FARTHEST_M = 1000.0
"""No LiDAR that turns measures farther; a point beyond is an error of the file."""

ENOUGH_POINTS = 500
"""Fewer points say nothing of the unit, the scale and the columns of a file."""

NEVER_SO_FAR_M = 250.0
"""Half of a scan's points are never farther; where they are, the unit is no metre or the place is a map's."""


class NoReturnsError(ValueError):
    """A scan without points or without a return: complete, but useless."""


def bytes_of(path: Path) -> bytes:
    """A file's content.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def records_of(path: Path, record: int) -> bytes:
    """The content of a file of `record`-byte records.

    Raises:
        ValueError: it cannot be read, or ends within a record.
    """
    content = bytes_of(path)
    if len(content) % record:
        raise ValueError(
            f"{path}: {len(content)} bytes are not a multiple of {record}-byte records; "
            "the file is truncated or has another format. Copy it again."
        )
    return content


def check_tail(content: bytes, start: int, end: int, points: int, record: int) -> None:
    """Say whether what follows the data of a binary file may be ignored.

    `PADDING` may, and so may the rest of a page that older PCL leaves, whatever is in it. Other bytes may if no wrong
    header explains them: a field of the wrong SIZE or COUNT would leave at least one byte for each point, a wrong
    number of points whole records.

    Args:
        content: of the file.
        start: where the data begins, bytes.
        end: where it ends by the header, bytes.
        points: N.
        record: bytes of a point, 0 where they differ.

    Raises:
        ValueError: the data is shorter than the header says, or longer in a way that a wrong header explains.
    """
    surplus = len(content) - end
    if surplus >= 0 and (not content[end:].strip(PADDING) or start + surplus in PAGES):
        return
    if surplus < 0 or surplus >= points or (record and surplus % record == 0):
        raise ValueError(f"{len(content) - start} bytes of data where {points} points need {end - start}")
    if b"\r\n" in content[:start]:
        raise ValueError("a program for text has changed its line ends, and bytes among its data with them")


def unreadable(path: Path, error: OSError) -> ValueError:
    """The error for a file that the system does not give."""
    return ValueError(f"{path}: cannot be read ({error.strerror}); check the path, the rights and the disk.")


def checked_scan(
    where: Where, xyz: NDArray[np.float32], remission: NDArray[np.float32], ring: NDArray[np.int32] | None = None
) -> Scan:
    """The scan, if it contains a return.

    Args:
        where: what errors name.
        xyz: (N, 3) metres.
        remission: (N,).
        ring: (N,) or None.

    Raises:
        NoReturnsError: there are no points, or none is a return.
        ValueError: coordinates are no metres.
    """
    if len(xyz) == 0:
        raise NoReturnsError(f"{where}: contains no points; leave the scan out, or copy the file again.")
    if not (returns(xyz[:64]).any() or returns(xyz).any()):  # the first points nearly always settle it
        raise NoReturnsError(
            f"{where}: none of its {len(xyz)} points is a return (non-finite or at the origin); leave it out."
        )
    check_metres(where, xyz)
    scan = guarded(Scan(xyz, remission, ring, where=str(where)))
    if scan.xyz is not xyz and not returns(scan.xyz).any():
        raise NoReturnsError(
            f"{where}: none of its {len(xyz)} points is a return: all are beyond {FARTHEST_M:g} m or their remission "
            "is not finite. Give metres; a remission that was not measured may be left out, or 0."
        )
    return scan


def check_metres(where: Where, xyz: NDArray[np.float32]) -> None:
    """Refuse millimetres, centimetres and coordinates of a map.

    Args:
        where: what errors name.
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
        f"{where}: half of its points are farther than {middle:.0f} m. If these are {name}, say "
        f'fields={{"unit": "{unit}"}}; if they are places on a map, move the scan into its sensor\'s frame.'
    )


def guarded(scan: Scan) -> Scan:
    """The scan without what no LiDAR can have measured.

    Points beyond `FARTHEST_M` and returns whose remission is not finite become no returns in a copy: their xyz is nan,
    their remission 0. A `Notice` counts them. A whole scan costs four passes of minimum and maximum, and is not copied.

    Args:
        scan: N points, of a file or of a user's own.
    """
    xyz, remission, near = scan.xyz, scan.remission, FARTHEST_M / 2
    if max(xyz.max(), -xyz.min()) < near and max(remission.max(), -remission.min()) < np.inf:
        return scan
    there, odd = returns(xyz), ~np.isfinite(remission)
    far = np.zeros(len(scan), np.bool_)
    far[there] = np.linalg.norm(xyz[there].astype(np.float64), axis=1) > FARTHEST_M
    told = [(far, f"farther than {FARTHEST_M:g} m"), (there & odd & ~far, "with a remission that is not finite")]
    if said := [f"{np.count_nonzero(mask)} {what}" for mask, what in told if mask.any()]:
        notify(
            f"{scan.where or 'a scan'}: {' and '.join(said)} of its {len(scan)} points; they are taken for no returns. "
            "Look at what wrote the file."
        )
    if not (far.any() or odd.any()):
        return scan
    xyz = np.where((far | (there & odd))[:, None], np.float32(np.nan), xyz)
    return replace(scan, xyz=xyz, remission=np.where(odd, np.float32(0), remission))


def returns(xyz: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(N, 3) -> (N,): finite and not at the origin."""
    return np.isfinite(xyz).all(axis=1) & (xyz != 0).any(axis=1)
