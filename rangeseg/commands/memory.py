"""Settings of the C library for freed memory."""

from __future__ import annotations

import ctypes
import os
import sys

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""Parameters of glibc's mallopt (malloc.h)."""


def keep_freed_memory() -> bool:
    """Keep blocks of up to 32 MiB in the process when they are freed, so that the next scan or step reuses them.

    By default, glibc returns each large block to the system and requests it again, and the system clears every page. On
    a CPU, this takes about a tenth of a training step. The price: the process keeps the memory of its peak usage.

    Returns:
        True if the settings were made. False on systems other than Linux with glibc, or if the user has set an
        environment variable of malloc (MALLOC_..., GLIBC_TUNABLES).
    """
    if sys.platform != "linux" or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((MMAP_THRESHOLD, 32 << 20), (TRIM_THRESHOLD, 2**31 - 1), (TOP_PAD, 64 << 20))
    return all([mallopt(parameter, value) for parameter, value in settings])
