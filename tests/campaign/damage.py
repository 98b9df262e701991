"""Damage to files: what is done, and whether a reader could notice it at all.

Broken structure (bytes are missing, added, or a count is absurd) must be noticed by every format that has a structure.
Other values in place of those that were there can only be noticed where the format has checksums; without, a reader can
notice what cannot be true, and what stays plausible is counted apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

Damage = Callable[[bytes, np.random.Generator], bytes]

HUGE = (b"4294967295", b"99999999999999999999", b"2147483647", b"18446744073709551616", b"-1", b"1000000000")


def _place(content: bytes, rng: np.random.Generator) -> int:
    """Half of the time near the beginning, where headers are."""
    near = min(len(content), 600)
    return int(rng.integers(near if rng.random() < 0.5 else len(content)))


def empty(content: bytes, rng: np.random.Generator) -> bytes:
    return b""


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(1, len(content)))]


def cut_tail(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: -int(rng.integers(1, min(40, len(content) - 1)))]


def insert(content: bytes, rng: np.random.Generator) -> bytes:
    at = _place(content, rng)
    return content[:at] + rng.bytes(int(rng.integers(1, 64))) + content[at:]


def delete(content: bytes, rng: np.random.Generator) -> bytes:
    at = _place(content, rng)
    return content[:at] + content[at + int(rng.integers(1, 64)) :]


def append(content: bytes, rng: np.random.Generator) -> bytes:
    return content + rng.bytes(int(rng.integers(1, 64)))


def huge_count(content: bytes, rng: np.random.Generator) -> bytes:
    """An absurd number: of text, in place of one; else 4 or 8 bytes of ones within what all binary headers have."""
    spans = [found.span() for found in re.finditer(rb"(?<![\w.])\d+(?![\w.])", content[:600])]
    if spans and rng.random() < 0.7:
        start, end = spans[int(rng.integers(len(spans)))]
        return content[:start] + HUGE[int(rng.integers(len(HUGE)))] + content[end:]
    size = int(rng.choice([4, 8]))
    at = int(rng.integers(min(len(content), 100)))
    return content[:at] + (b"\xff" * (size - 1) + rng.choice([b"\x7f", b"\xff"])) + content[at + size :]


def flip_bit(content: bytes, rng: np.random.Generator) -> bytes:
    at = _place(content, rng)
    return content[:at] + bytes([content[at] ^ 1 << int(rng.integers(8))]) + content[at + 1 :]


def other_byte(content: bytes, rng: np.random.Generator) -> bytes:
    at = _place(content, rng)
    return content[:at] + bytes([content[at] ^ int(rng.integers(1, 256))]) + content[at + 1 :]


def swap(content: bytes, rng: np.random.Generator) -> bytes:
    """Two neighbours, as a wrong byte order has them."""
    at = min(_place(content, rng), len(content) - 2)
    return content[:at] + content[at + 1 : at + 2] + content[at : at + 1] + content[at + 2 :]


def zero_page(content: bytes, rng: np.random.Generator) -> bytes:
    """A page that was never written to the disk; of a small file a smaller one."""
    size = min(4096, 2 ** max(2, len(content).bit_length() - 3))
    at = int(rng.integers(-(-len(content) // size))) * size
    gone = min(size, len(content) - at)
    return content[:at] + bytes(gone) + content[at + gone :]


def repeated_page(content: bytes, rng: np.random.Generator) -> bytes:
    """A page in another's place."""
    size = min(4096, 2 ** max(2, len(content).bit_length() - 3))
    first, second = (int(rng.integers(max(1, len(content) // size))) * size for _ in range(2))
    page = content[first : first + size]
    return content[:second] + page + content[second + len(page) :]


STRUCTURE: dict[str, Damage] = {
    "empty": empty, "cut": cut, "cut tail": cut_tail, "inserted": insert, "deleted": delete, "appended": append,
    "huge count": huge_count,
}  # fmt: skip
"""Bytes are missing or added, or a count is absurd."""

VALUES: dict[str, Damage] = {
    "flipped bit": flip_bit, "other byte": other_byte, "swapped": swap, "zeroed page": zero_page,
    "repeated page": repeated_page,
}  # fmt: skip
"""As many bytes as before, some of them others."""

KINDS = STRUCTURE | VALUES


def damaged(content: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """One kind of damage, by name, and the damaged content; never the content itself."""
    while True:
        name = str(rng.choice(list(KINDS)))
        if (found := KINDS[name](content, rng)) != content:
            return name, found
