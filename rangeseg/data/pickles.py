"""Pickles of numbers, read by an unpickler that makes arrays and nothing else: a pickle may ask for any program."""

from __future__ import annotations

import pickle
from collections.abc import Collection
from gzip import GzipFile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rangeseg.files import plain_file

ARRAYS = (
    *(("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")),
    *(("numpy.core.multiarray", "_reconstruct"), ("numpy.core.multiarray", "scalar")),
    *(("numpy._core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "scalar")),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy.core.numeric", "_frombuffer"),
)
"""All that a pickle of an array of numbers names."""


class RestrictedUnpickler(pickle.Unpickler):
    """An unpickler that finds a few named things.

    Args:
        file: open, binary.
        allowed: (module, name) of each.
    """

    def __init__(self, file: BinaryIO | GzipFile, allowed: Collection[tuple[str, str]]) -> None:
        super().__init__(file, encoding="latin1")  # of Python 2
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        """The thing, if it is allowed."""
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"it imports {module}.{name}, which a table of numbers does not need")
        return super().find_class(module, name)


def read_pickled_array(path: Path) -> NDArray:
    """The array, or list, of numbers in a pickle.

    Raises:
        ValueError: the file cannot be read, or holds another thing.
    """
    try:
        with plain_file(path).open("rb") as file:
            array = np.asarray(RestrictedUnpickler(file, ARRAYS).load())
    except OSError as error:
        raise ValueError(error.strerror) from error
    except Exception as error:  # of a damaged pickle, any
        raise ValueError(f"no pickle of an array: {error}") from error
    if array.dtype.kind not in "iuf":
        raise ValueError(f"no pickle of an array, but of {array.dtype}")
    return array
