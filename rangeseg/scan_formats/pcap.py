"""Check that a capture of packets is complete, because the sensors' decoders stop at damage without an error.

Source: the formats' documents, draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

from rangeseg.notices import notify

ORDERS = {b"\xd4\xc3\xb2\xa1": "<", b"\x4d\x3c\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">", b"\xa1\xb2\x3c\x4d": ">"}
"""First bytes of a pcap file, with microseconds or nanoseconds -> byte order of its numbers."""

PCAPNG = b"\x0a\x0d\x0d\x0a"

MOST = 2**18
"""Maximum size of a packet, bytes: the largest snapshot length of capturing programs."""


def check_packets(path: Path) -> None:
    """Notify the user if a capture ends within a packet, or the length of a packet is impossible.

    Args:
        path: a pcap or pcapng file; other files are not checked.
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
            f"{path}: {count} packets are complete, but the last {size - end} of its {size} bytes cannot be read as "
            "packets: the file is truncated or damaged, and scans are missing. Copy it again."
        )


def _packets(file: BinaryIO, size: int, order: str) -> tuple[int, int]:
    """The number of complete packets of a pcap file, and the offset of their end."""
    count, end = 0, 24
    while end + 16 <= size:
        file.seek(end + 8)
        (length,) = struct.unpack(f"{order}I", file.read(4))
        if length > MOST or end + 16 + length > size:
            break
        count, end = count + 1, end + 16 + length
    return count, end


def _blocks(file: BinaryIO, size: int) -> tuple[int, int]:
    """The same for the blocks of a pcapng file, which contain their length at both ends."""
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
