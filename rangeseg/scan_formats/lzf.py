"""LZF, the compression of PCD's binary_compressed.

A control byte c below 32 is followed by c + 1 bytes to copy. Any other holds a length in its upper 3 bits (7: the next
byte is added) and, with the byte after it, how far back the bytes lie that are repeated: length + 2 of them.

Source: the LZF format of Marc Lehmann's LibLZF, as the PCD format uses it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

LONGER_AT_MOST = 88
"""How much longer a text can be than its compressed form: 3 bytes repeat 264."""


def expand(compressed: bytes, length: int) -> bytes:
    """Undo the compression.

    Args:
        compressed: the whole of it.
        length: bytes of the result.

    Raises:
        ValueError: `compressed` is damaged, or not of this length.
    """
    if not 0 <= length <= LONGER_AT_MOST * len(compressed):
        raise ValueError(f"{len(compressed)} compressed bytes cannot hold {length}")
    out = np.empty(length, np.uint8)
    if _expand(np.frombuffer(compressed, np.uint8), out) != length:
        raise ValueError(f"the compressed data is damaged or does not hold {length} bytes")
    return out.tobytes()


@njit(cache=True, nogil=True)
def _expand(source: NDArray[np.uint8], out: NDArray[np.uint8]) -> int:
    """How many bytes were written; -1 where the source is damaged."""
    at = 0
    to = 0
    while at < len(source):
        control = int(source[at])
        at += 1
        if control < 32:
            count = control + 1
            if at + count > len(source) or to + count > len(out):
                return -1
            for _ in range(count):
                out[to] = source[at]
                to += 1
                at += 1
            continue
        count = control >> 5
        if count == 7:
            if at >= len(source):
                return -1
            count += int(source[at])
            at += 1
        count += 2
        if at >= len(source):
            return -1
        back = to - ((control & 31) << 8) - int(source[at]) - 1
        at += 1
        if back < 0 or to + count > len(out):
            return -1
        for _ in range(count):  # byte by byte: what is repeated may overlap what is written
            out[to] = out[back]
            to += 1
            back += 1
    return to
