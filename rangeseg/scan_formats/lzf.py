"""LZF, the compression of PCD's binary_compressed.

A control byte c below 32 is followed by c + 1 bytes to copy. Any other holds a length in its upper 3 bits (7: the next
byte is added) and, with the byte after it, how far back the bytes lie that are repeated: length + 2 of them.

Source: the LZF format of Marc Lehmann's LibLZF, as the PCD format uses it.
"""

from __future__ import annotations

import numpy as np

from rangeseg.kernels.lzf import expand_into

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
    if expand_into(np.frombuffer(compressed, np.uint8), out) != length:
        raise ValueError(f"the compressed data is damaged or does not hold {length} bytes")
    return out.tobytes()
