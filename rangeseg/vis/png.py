"""Writing PNG files."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from rangeseg.files import write_atomically
from rangeseg.vis.panels import Picture


def write_png(path: str | Path, picture: Picture | Image.Image) -> None:
    """Write a picture, atomically.

    Args:
        path: the file; missing folders are made.
        picture: (rows, columns, 3) uint8, RGB, or a Pillow image.
    """
    content = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(content, "PNG")
    write_atomically(path, content.getvalue())
