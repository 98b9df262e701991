"""Whether a file of captured packets is whole; the decoders of sensors read up to the damage and say nothing.

Source: the formats' documents, draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

from rangeseg.notices import notify

ORDERS = {b"\xd4\xc3\xb2\xa1": "<", b"\x4d\x3c\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">", b"\xa1\xb2\x3c\x4d": ">"}
"""The first bytes of a pcap, with microseconds or nanoseconds, and the order of its numbers."""

PCAPNG = b"\x0a\x0d\x0d\x0a"

MOST = 2**18
"""Bytes that one packet may have, the largest snapshot length that capturing programs use."""


def check_packets(path: Path) -> None:
    """Tell the user if a capture ends in the middle of a packet, or a packet's length cannot be true.

    Args:
        path: a pcap or pcapng file; of any other nothing is said.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(4)
        if first == PCAPNG:
            count, end = _blocks(file, size)
        elif first in ORDERS:
            count, end = _packets(file, size, ORDERS[first])
        else:
            return
    if end < size:
        notify(
            f"{path}: {count} packets are whole, and the other {size - end} of its {size} bytes are none: it was cut "
            "off or is damaged, and scans are missing. Copy it again."
        )


def _packets(file: BinaryIO, size: int, order: str) -> tuple[int, int]:
    """How many packets of a pcap are whole, and where they end."""
    count, end = 0, 24
    while end + 16 <= size:
        file.seek(end + 8)
        (length,) = struct.unpack(f"{order}I", file.read(4))
        if length > MOST or end + 16 + length > size:
            break
        count, end = count + 1, end + 16 + length
    return count, end


def _blocks(file: BinaryIO, size: int) -> tuple[int, int]:
    """The same of a pcapng, whose blocks have their length in front and behind."""
    count, end = 0, 0
    file.seek(8)
    order = "<" if file.read(4) == b"\x4d\x3c\x2b\x1a" else ">"
    while end + 12 <= size:
        file.seek(end + 4)
        (length,) = struct.unpack(f"{order}I", file.read(4))
        if length < 12 or length % 4 or end + length > size:
            break
        file.seek(end + length - 4, os.SEEK_SET)
        if struct.unpack(f"{order}I", file.read(4)) != (length,):
            break
        count, end = count + 1, end + length
    return count, end
