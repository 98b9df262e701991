"""Whether a file is whole, by its format."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml


def _npz(path: Path) -> None:
    with np.load(path) as file:
        for name in file.files:
            _ = file[name]


def _csv(path: Path) -> None:
    rows = list(csv.reader(io.StringIO(path.read_text())))
    assert len({len(row) for row in rows}) <= 1, "rows of several lengths"


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None


def _picture(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        image.load()


def _tensors(path: Path) -> Any:
    from rangeseg.files import load_tensors

    return load_tensors(path)


def _page(path: Path) -> None:
    assert path.read_text().rstrip().endswith("</html>")


READ: dict[str, Callable[[Path], Any]] = {
    ".json": lambda path: json.loads(path.read_text()), ".yaml": lambda path: yaml.safe_load(path.read_text()),
    ".npz": _npz, ".npy": np.load, ".csv": _csv, ".zip": _zip, ".png": _picture, ".pt": _tensors, ".html": _page,
    ".onnx": lambda path: path.read_bytes()[:1], ".md": lambda path: path.read_text(),
}  # fmt: skip
"""What raises where a file is not whole."""


def check_whole(path: Path) -> None:
    """Read a file to its end.

    Raises:
        Exception: of any kind, where it is not whole.
    """
    READ.get(path.suffix, Path.read_bytes)(path)
