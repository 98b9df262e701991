"""Open3D, a large optional dependency, imported only for viewing and ray-casting."""

from __future__ import annotations

from typing import Any


class ViewerMissingError(ImportError):
    """Open3D, one of its system libraries, or a display is missing; the message says what to do."""


def open3d_or_help() -> Any:
    """Import Open3D.

    Raises:
        ViewerMissingError: Open3D or one of its system libraries is missing.
    """
    try:
        import open3d
    except (ImportError, OSError) as error:
        raise ViewerMissingError(
            f'Open3D cannot be imported ({error}). Install it: pip install "rangeseg[view]". A bare Debian or Ubuntu '
            "also needs three system libraries: apt-get install libegl1 libgl1 libusb-1.0-0."
        ) from error
    return open3d
