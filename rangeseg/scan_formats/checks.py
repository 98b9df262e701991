"""Checks of every scan reader: the file is complete, and the scan has a return. Shapes: N points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangeseg.types import Scan

Where = Path | str
"""A file, or a place in it, as errors name it."""


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
    """
    if len(xyz) == 0:
        raise NoReturnsError(f"{where}: contains no points; leave the scan out, or copy the file again.")
    if not (returns(xyz[:64]).any() or returns(xyz).any()):  # the first points nearly always settle it
        raise NoReturnsError(
            f"{where}: none of its {len(xyz)} points is a return (non-finite or at the origin); leave it out."
        )
    return Scan(xyz, remission, ring)


def returns(xyz: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(N, 3) -> (N,): finite and not at the origin."""
    return np.isfinite(xyz).all(axis=1) & (xyz != 0).any(axis=1)
