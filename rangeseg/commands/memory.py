"""What the C library does with memory that is no longer used."""

from __future__ import annotations

import ctypes
import os
import sys

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""Parameters of glibc's mallopt (malloc.h)."""


def keep_freed_memory() -> bool:
    """Keep blocks of up to 32 MiB in the process when they are freed, so that the next scan or step gets them again.

    By default, glibc gives each large block back to the system and asks for it again, and the system clears every page.
    On a CPU this takes about a tenth of a training step. In return, the process keeps the memory of its largest moment.

    Returns:
        Whether it is set; not on other systems than Linux with glibc, or where the user has set a variable of malloc.
    """
    if sys.platform != "linux" or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((MMAP_THRESHOLD, 32 << 20), (TRIM_THRESHOLD, 2**31 - 1), (TOP_PAD, 64 << 20))
    return all([mallopt(parameter, value) for parameter, value in settings])
