"""The LiDAR part of nuScenes' JSON tables: scans, their scenes and their files.

sample_data.json of trainval has 2.6 million rows in more than a gigabyte; one row in eight is of the LiDAR. The file is
memory-mapped, not loaded. Only rows that name the LiDAR are parsed, and only the fields of `Record` are kept.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rangeseg.files import Version, plain_file, read_whole, version_of
from rangeseg.paths import inside

LIDAR = "LIDAR_TOP"
"""The sensor's name in the tables, and its folder below samples/ and sweeps/."""


@dataclass(frozen=True, slots=True)
class Record:
    """The record of one scan in the tables.

    Args:
        scene: name of its scene, e.g. ``scene-0061``.
        timestamp: microseconds.
        token: token of its row in sample_data.json; label files and predictions are named after it.
        file: its path relative to the dataset's root.
        keyframe: True for a keyframe (two per second, labelled), False for a sweep.
        sample: token of its row in sample.json; for a sweep, that of the keyframe next to it.
    """

    scene: str
    timestamp: int
    token: str
    file: str
    keyframe: bool
    sample: str

    @property
    def name(self) -> str:
        """``SCENE/TIMESTAMP``."""
        return f"{self.scene}/{self.timestamp}"


def read_records(folder: str | Path, *, sweeps: bool = False) -> tuple[Record, ...]:
    """The LiDAR scans of a version's tables, scene by scene, in the order of time.

    Tables that have not changed since they were last read by this process are not read again.

    Args:
        folder: folder of one version, e.g. ``v1.0-trainval``, with scene.json, sample.json and sample_data.json.
        sweeps: return all scans, not only the keyframes.

    Raises:
        ValueError: a table is missing, truncated, not JSON, or lacks a needed entry.
    """
    folder = Path(folder)
    versions = tuple(version_of(folder / f"{name}.json") for name in ("scene", "sample", "sample_data"))
    return _read_records(folder, versions, sweeps)


def read_category_names(path: Path) -> dict[int, str] | None:
    """Raw id -> name from category.json; None if it has no raw ids (nuScenes without lidarseg).

    Raises:
        ValueError: the table is missing, truncated or not JSON.
    """
    rows = _read_whole(path, lambda row: (row.get("index"), row["name"]))
    return dict(rows) if all(index is not None for index, _ in rows) else None


@lru_cache(maxsize=2)
def _read_records(folder: Path, versions: tuple[Version, ...], sweeps: bool) -> tuple[Record, ...]:
    scene_name = dict(_read_whole(folder / "scene.json", lambda row: (row["token"], row["name"])))
    scene_of = dict(_read_whole(folder / "sample.json", lambda row: (row["token"], scene_name[row["scene_token"]])))
    path = folder / "sample_data.json"

    def record(row: dict[str, Any]) -> Record:
        scene, file = scene_of[row["sample_token"]], row["filename"]
        for name in (scene, file, row["token"]):
            inside("the dataset's folder", name)
        key, sample = bool(row["is_key_frame"]), row["sample_token"]
        return Record(scene, int(row["timestamp"]), row["token"], file, key, sample)

    records = (_of_row(path, row, record) for row in read_rows(path))
    return tuple(sorted((one for one in records if sweeps or one.keyframe), key=lambda one: (one.scene, one.timestamp)))


def _of_row(path: Path, row: Any, take: Callable[[dict[str, Any]], Any]) -> Any:
    """The result of `take` for a row; its errors become ValueErrors that name the table."""
    try:
        return take(row)
    except KeyError as error:
        problem = f"a row has no entry {error}, or refers to a row {error} that does not exist"
        raise _broken(path, f"{problem}: {json.dumps(row)[:200]}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise _broken(path, f"a row does not have nuScenes' format ({error}): {json.dumps(row)[:200]}") from error


def _read_whole(path: Path, take: Callable[[dict[str, Any]], Any]) -> list[Any]:
    try:
        rows = json.loads(read_whole(path))
    except OSError as error:
        raise _broken(path, error.strerror or "unreadable") from error
    except ValueError as error:
        raise _broken(path, f"not complete JSON, {error}") from error
    if not isinstance(rows, list):
        raise _broken(path, "is not a list of rows")
    return [_of_row(path, row, take) for row in rows]


def read_rows(path: Path) -> Iterator[Any]:
    """The rows of a table that contain `LIDAR`, parsed one by one. Rows must be flat: no object within an object.

    Raises:
        ValueError: the table is missing, truncated or not JSON.
    """
    try:
        with plain_file(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            size = len(content)
            if content[max(0, size - 100) :].rstrip()[-1:] != b"]":
                raise _broken(path, 'it does not end with "]", so it is incomplete')
            end, pattern = 0, re.compile(re.escape(LIDAR.encode()))
            while (found := pattern.search(content, end)) is not None:
                start, end = content.rfind(b"{", end, found.start()), content.find(b"}", found.end()) + 1
                if start < 0 or end <= 0:
                    raise _broken(path, f"no complete row near byte {found.start()}")
                yield json.loads(content[start:end])
    except OSError as error:
        raise _broken(path, error.strerror or "unreadable") from error
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
            raise _broken(path, f"not complete JSON, {error}") from error
        if str(error) == "cannot mmap an empty file":
            raise _broken(path, "it is empty") from error
        raise


def _broken(path: Path, what: str) -> ValueError:
    return ValueError(
        f"{path}: cannot be read ({what}). Unpack nuScenes' metadata again; data.root is the folder that holds "
        f"{path.parent.name}/ and samples/."
    )
