"""Recordings of many scans, unpacked to a folder of single scans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.files import write_atomically
from rangeseg.notices import notify
from rangeseg.paths import walk
from rangeseg.scan_formats.bags import Cloud, clouds_of_bag
from rangeseg.scan_formats.captures import clouds_of_capture
from rangeseg.scan_formats.checks import NoReturnsError
from rangeseg.scan_formats.fields import NAMES, FieldNames, Fields, find_fields, plain
from rangeseg.scan_formats.scales import common_scale, ring_limits
from rangeseg.scan_formats.written import begin_scans, write_record
from rangeseg.types import Scan

RECORD = "unpacked.json"
"""Name of the record in the output folder."""


def unpack(
    path: Path, out: Path, *, topic: str | None = None, fields: FieldNames | None = None
) -> tuple[int | None, Iterator[Path]]:
    """Write each point cloud of a recording as ``OUT/000000.npz`` and so on, in the order of their time.

    The columns are matched on the first cloud and then kept, so that all scans agree. If the type of the intensity does
    not define its full scale, the recording is read once before, so that all scans have one scale; likewise for a ring
    column, whose upper beams the first clouds may lack. A cloud without a return is left out with a message. The other
    columns keep their names; the time stamp and the frame of a ROS header are stored as `stamp_ns` and `frame_id`.
    ``OUT/unpacked.json`` records the recording and the number of files. The files that it lists from an earlier call
    are removed.

    Args:
        path: a ROS 1 bag, or a ROS 2 bag: its folder, ``.mcap`` or ``.db3``; or a sensor's ``.pcap`` or ``.osf``.
        out: output folder; created if absent.
        topic: topic of the point clouds; required if there are several.
        fields: column names that replace the common ones; see `rangeseg.scan_formats.fields`.

    Returns:
        The number of clouds, if known, and an iterator over the written files.

    Raises:
        ImportError: the required extra is not installed.
        ValueError: the recording cannot be read, has no such topic, contains fewer clouds than it declares, or a cloud
            is not a scan; files written before are kept. Or `out` contains such files that its record does not list.
    """
    captured = path.suffix in (".pcap", ".osf")
    if captured and topic is not None:
        raise ValueError(f"{path}: a capture has no topics. Remove --topic.")

    def clouds_of() -> tuple[int | None, Iterator[Cloud]]:
        return clouds_of_capture(path) if captured else clouds_of_bag(path, topic)

    def scale(name: str) -> float:
        return common_scale(name, (cloud.columns for cloud in clouds_of()[1]))

    def rings(name: str) -> tuple[int, int]:
        return ring_limits(cloud.columns[name] for cloud in clouds_of()[1] if name in cloud.columns)

    count, clouds = clouds_of()
    record, made_of = out / RECORD, _made_of(path, topic, fields)

    def write() -> Iterator[Path]:
        found: Fields | None = None
        number = -1
        for number, cloud in enumerate(_complete(clouds, count, path, out)):
            where = f"{path}, cloud {number}"
            try:
                fitting = found or find_fields(where, cloud.columns, fields or {}, scale, rings)
                scan = fitting.scan(where, cloud.columns)
            except NoReturnsError:  # a covered sensor, or a turn that began before the recording
                notify(f"{where}: has no return; it is left out.")
                continue
            if found is None:  # not before a scan is read, so that a failing call removes nothing
                begin_scans(record, made_of, ("*.npz",), count)
            found, target = fitting, out / f"{number:06d}.npz"
            write_npz(target, scan, _others(cloud, fitting))
            yield target
        if found is None:
            begin_scans(record, made_of, ("*.npz",), 0)
        write_record(record, made_of, number + 1)

    return count, write()


def _made_of(path: Path, topic: str | None, fields: FieldNames | None) -> dict[str, Any]:
    """The record's description of a recording: a file, or a folder of files."""
    size = sum(file.stat().st_size for file in ([path] if path.is_file() else walk(path)))
    return {"recording": path.name, "bytes": size, "topic": topic, "fields": dict(fields or {})}


def _others(cloud: Cloud, fields: Fields) -> dict[str, NDArray]:
    """The columns that a scan does not contain, without columns that could be mistaken for its missing ring."""
    place = {fields.x, fields.y, fields.z}
    others = {name: column for name, column in cloud.columns.items() if name not in place}
    if fields.ring is None:
        others = {name: column for name, column in others.items() if plain(name) not in NAMES["ring"]}
    header = {"stamp_ns": cloud.stamp_ns, "frame_id": cloud.frame_id}
    return others | {name: np.asarray(value) for name, value in header.items() if value is not None}


def _complete(clouds: Iterator[Cloud], count: int | None, path: Path, out: Path) -> Iterator[Cloud]:
    """The same clouds; raises an error at the end if there are fewer than the declared `count`."""
    read = 0
    for cloud in clouds:
        read += 1
        yield cloud
    if count is not None and read < count:
        raise ValueError(
            f"{path}: declares {count} clouds but contains {read}, so it is truncated; copy it again. "
            f"The scans already in {out} are complete."
        )


def write_npz(path: Path, scan: Scan, others: Mapping[str, NDArray]) -> None:
    """Write a scan without labels for `rangeseg.scan_io.read_scan`: xyz, remission and, if known, ring.

    Args:
        path: ends in ``.npz``.
        scan: N points.
        others: further columns; the scan's own columns take precedence.
    """
    arrays: dict[str, Any] = {**others, "xyz": scan.xyz, "remission": scan.remission}
    if scan.ring is not None:
        arrays["ring"] = scan.ring.astype(np.int32)
    write_atomically(path, lambda file: np.savez(file, **arrays))
