"""LZF, the compression of PCD's binary_compressed.

A control byte c below 32 is followed by c + 1 bytes to copy. Any other control byte contains a length in its upper 3
bits (7: add the next byte). Its other bits and the following byte are the distance back to the length + 2 bytes that
are repeated.

Source: the LZF format of Marc Lehmann's LibLZF, as the PCD format uses it.
"""

from __future__ import annotations

import numpy as np

from rangeseg.kernels.lzf import expand_into

LONGER_AT_MOST = 88
"""Largest compression ratio: 3 bytes repeat 264."""


def expand(compressed: bytes, length: int) -> bytes:
    """Undo the compression.

    Args:
        compressed: the complete compressed data.
        length: length of the result, bytes.

    Raises:
        ValueError: `compressed` is damaged, or the result has another length.
    """
    if not 0 <= length <= LONGER_AT_MOST * len(compressed):
        raise ValueError(f"{len(compressed)} compressed bytes cannot hold {length}")
    out = np.empty(length, np.uint8)
    if expand_into(np.frombuffer(compressed, np.uint8), out) != length:
        raise ValueError(f"the compressed data is damaged or does not hold {length} bytes")
    return out.tobytes()
