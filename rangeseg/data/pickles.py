"""Reads pickles of numbers with an unpickler that allows only arrays, because a pickle can run any code."""

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
"""(module, name) of all that a pickle of an array of numbers imports."""


class RestrictedUnpickler(pickle.Unpickler):
    """An unpickler that imports only what is allowed.

    Args:
        file: an open binary file.
        allowed: (module, name) of each allowed import.
    """

    def __init__(self, file: BinaryIO | GzipFile, allowed: Collection[tuple[str, str]]) -> None:
        super().__init__(file, encoding="latin1")  # for pickles of Python 2
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        """The class or function, if it is allowed; otherwise raises an UnpicklingError."""
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"it imports {module}.{name}, which a table of numbers does not need")
        return super().find_class(module, name)


def read_pickled_array(path: Path) -> NDArray:
    """The array of numbers in a pickle; a list becomes an array.

    Raises:
        ValueError: the file cannot be read, or its content is not numbers.
    """
    try:
        with plain_file(path).open("rb") as file:
            array = np.asarray(RestrictedUnpickler(file, ARRAYS).load())
    except OSError as error:
        raise ValueError(error.strerror) from error
    except Exception as error:  # damaged pickles raise many kinds
        raise ValueError(f"not a pickle of an array: {error}") from error
    if array.dtype.kind not in "iuf":
        raise ValueError(f"not a pickle of numbers, but of {array.dtype}")
    return array
