"""PandaSet in its official layout.

root/001/lidar/00.pkl.gz                    both sensors, world frame: columns x, y, z, i, t, d
         lidar/poses.json                   the vehicle's pose at each sweep
         annotations/semseg/00.pkl.gz       column class: raw ids 1..42; only in some sequences

The files are pickles of pandas tables. They are opened by an unpickler that allows only tables and arrays.
A scan is called ``SSS/FF`` everywhere.
"""

from __future__ import annotations

import gzip
import json
import pickle
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.pickles import RestrictedUnpickler
from rangeseg.data.scan_pairs import Pair, ScanPairs
from rangeseg.files import Version, plain_file, read_whole, version_of, write_atomically
from rangeseg.labels import LabelMap
from rangeseg.types import Scan

EVERY = 5
"""Sequences whose number is a multiple of this are for validation; PandaSet itself has no split."""

PANDAR64 = 0
"""The rotating sensor in column d; 1 is the forward-facing sensor."""

SENSOR = (1.5, 0.0, 1.75)
"""Position of the rotating sensor in the vehicle (ahead, left, up), metres; approximate, as PandaSet publishes none."""

ALLOWED = {
    ("builtins", "slice"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("pandas", "DataFrame"),
    ("pandas", "Index"),
    ("pandas", "RangeIndex"),
    ("pandas.core.frame", "DataFrame"),
    ("pandas.core.indexes.base", "Index"),
    ("pandas.core.indexes.base", "_new_Index"),
    ("pandas.core.indexes.range", "RangeIndex"),
    ("pandas.core.internals.managers", "BlockManager"),
    ("pandas.core.internals.blocks", "new_block"),
    ("pandas._libs.internals", "_unpickle_block"),
}
"""(module, name) of all that a pickle of a table of numbers imports."""


class PandaSet(ScanPairs):
    """The scans of the rotating sensor in one split, sequence by sequence; arguments as `ScanPairs`.

    Source:
        Xiao et al., PandaSet: Advanced Sensor Suite Dataset for Autonomous Driving, ITSC 2021.
    """

    folder: ClassVar[str] = "pandaset"
    suffixes: ClassVar[tuple[str, ...]] = (".pkl.gz",)

    def find(self, root: Path, split: str) -> Sequence[Pair]:
        """The files of a split; in sequences without annotations, the label files do not exist."""
        pairs = []
        for home in sorted(path for path in root.glob("[0-9]*") if path.name.isdigit() and (path / "lidar").is_dir()):
            if (int(home.name) % EVERY == 0) != (split == "val"):
                continue
            for file in sorted((home / "lidar").glob("[0-9]*.pkl.gz")):
                label = home / "annotations" / "semseg" / file.name
                pairs.append(Pair(f"{home.name}/{file.name.removesuffix('.pkl.gz')}", file, label))
        return pairs

    @staticmethod
    def read(scan: Path, label: Path | None = None, *, label_map: LabelMap | None = None) -> Scan:
        """Read the points of the rotating sensor in its frame, intensity divided by 255, and the labels if given.

        Raises:
            ValueError: a file is missing, damaged, not PandaSet's, or does not fit, or pandas is not installed.
        """
        table = _read_table(scan, ("x", "y", "z", "i", "d"))
        kept = table["d"] == PANDAR64
        world = np.stack([table[axis][kept] for axis in "xyz"], axis=1)
        rotation, place = _pose(scan)
        vehicle = (world - place) @ rotation
        xyz = np.stack([vehicle[:, 1], -vehicle[:, 0], vehicle[:, 2]], axis=1) - SENSOR
        raw = None if label is None else _classes(label, kept, scan)
        train = None if raw is None or label_map is None else label_map.to_train(raw)
        return Scan(xyz.astype(np.float32), (table["i"][kept] / 255).astype(np.float32), label=train, where=str(scan))


def read_classes(label: Path, scan: Path) -> NDArray[np.uint32]:
    """(N,) raw ids of the points that `PandaSet.read` returns for a scan.

    Raises:
        ValueError: a file is missing, damaged, or does not fit the other.
    """
    return _classes(label, _read_table(scan, ("d",))["d"] == PANDAR64, scan).astype(np.uint32)


def _classes(label: Path, kept: NDArray[np.bool_], scan: Path) -> NDArray[np.int64]:
    """The raw ids of the `kept` points of a scan."""
    raw = _read_table(label, ("class",))["class"]
    if len(raw) != len(kept):
        raise ValueError(f"{label}: {len(raw)} labels for the {len(kept)} points of {scan}; give those of this scan.")
    return raw[kept].astype(np.int64)


def write_classes(label: Path, raw: NDArray[np.integer], scan: Path) -> None:
    """Write raw ids as a table of PandaSet, atomically; points of the forward-facing sensor get 0.

    Args:
        label: the file to write, ``FF.pkl.gz``.
        raw: (N,) raw ids of the points that `PandaSet.read` returns for the scan.
        scan: the scan's file.

    Raises:
        ValueError: the scan cannot be read, or has another number of points.
    """
    kept = _read_table(scan, ("d",))["d"] == PANDAR64
    if np.count_nonzero(kept) != len(raw):
        raise ValueError(f"{label}: {len(raw)} labels for the {np.count_nonzero(kept)} points of {scan}.")
    import pandas

    column = np.zeros(len(kept), np.int64)
    column[kept] = raw
    table = pandas.DataFrame(column[:, None], columns=pandas.Index(["class"], dtype=object))  # every pandas reads this
    write_atomically(label, gzip.compress(pickle.dumps(table), 3))


def _read_table(path: Path, columns: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    try:
        import pandas  # noqa: F401 - the pickle contains its classes
    except ImportError as error:
        raise ValueError(
            f"{path}: PandaSet's files need pandas ({error}). Install it: pip install 'rangeseg[pandaset]'"
        ) from error
    try:
        with gzip.open(plain_file(path)) as file:
            table = RestrictedUnpickler(file, ALLOWED).load()
            file.read()  # at the end, gzip compares the checksum
            return {name: np.asarray(table[name], np.float64) for name in columns}
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error}).") from error
    except (pickle.UnpicklingError, EOFError, zlib.error, KeyError, AttributeError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: not a PandaSet table ({error}); copy the file again.") from error


@lru_cache(maxsize=4)
def _poses(path: Path, version: Version) -> list[dict[str, Any]]:
    """The poses in a file; `version` is the result of `version_of`, so that a changed file is read again."""
    try:
        poses: list[dict[str, Any]] = json.loads(read_whole(path).decode())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); this file must hold the poses of the sequence.") from error
    return poses


def poses_file(scan: Path) -> Path:
    """The file with the poses of the sweeps, next to a scan."""
    return scan.with_name("poses.json")


def _pose(scan: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(3, 3) rotation and (3,) position, metres, of the vehicle in the world when the scan was taken."""
    path = poses_file(scan)
    number, poses = int(scan.name.split(".")[0]), _poses(path, version_of(path))
    if number >= len(poses):
        raise ValueError(f"{path}: has {len(poses)} poses and none for {scan.name}; copy the file again.")
    heading, place = poses[number]["heading"], poses[number]["position"]
    w, x, y, z = (heading[key] for key in "wxyz")
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    return rotation, np.array([place[key] for key in "xyz"])
