"""Recordings of many scans, unpacked to a folder of single scans."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.files import write_atomically
from rangeseg.scan_formats.bags import clouds_of_bag
from rangeseg.scan_formats.captures import clouds_of_capture
from rangeseg.scan_formats.checks import NoReturnsError
from rangeseg.scan_formats.fields import AskedFields, Fields, find_fields
from rangeseg.scan_formats.scales import LOOKED_AT, common_scale, ring_limits
from rangeseg.types import Scan


def unpack(
    path: Path, out: Path, *, topic: str | None = None, fields: AskedFields | None = None
) -> tuple[int | None, Iterator[Path]]:
    """Write each point cloud of a recording as ``OUT/000000.npz`` and so on, in the order of their time.

    What the columns are is found on the first cloud and kept, so that all agree. Where the type of the intensity does
    not tell its full scale, the recording is read once before, so that all scans have one scale. A cloud without a
    return is left out, and a file that is there is written again.

    Args:
        path: a ROS 1 bag, or a ROS 2 bag: its folder, ``.mcap`` or ``.db3``; or a sensor's ``.pcap`` or ``.osf``.
        out: a folder; made if absent.
        topic: of the point clouds; needed where there are several.
        fields: columns by name instead of the usual ones; see `rangeseg.scan_formats.fields`.

    Returns:
        How many clouds there are, where that is known, and the files, each when it is written.

    Raises:
        ImportError: the extra that it needs is not installed.
        ValueError: the recording cannot be read, has no such topic, holds fewer clouds than it declares, or a
            cloud is no scan; what was written stays.
    """
    captured = path.suffix in (".pcap", ".osf")
    if captured and topic is not None:
        raise ValueError(f"{path}: a capture has no topics; leave --topic out.")

    def clouds_of() -> tuple[int | None, Iterator[dict[str, NDArray]]]:
        return clouds_of_capture(path) if captured else clouds_of_bag(path, topic)

    def scale(name: str) -> float:
        return common_scale(name, clouds_of()[1])

    def rings(name: str) -> tuple[int, int]:
        return ring_limits([columns[name] for columns in islice(clouds_of()[1], LOOKED_AT)])

    count, clouds = clouds_of()

    def write() -> Iterator[Path]:
        found: Fields | None = None
        for number, columns in enumerate(_complete(clouds, count, path, out)):
            where = f"{path}, cloud {number}"
            fitting = found or find_fields(where, columns, fields or {}, scale, rings)
            try:
                scan = fitting.scan(where, columns)
            except NoReturnsError:  # a sensor that was covered, or the turn that began before it ran
                continue
            found, target = fitting, out / f"{number:06d}.npz"
            write_npz(target, scan)
            yield target

    return count, write()


def _complete(
    clouds: Iterator[dict[str, NDArray]], count: int | None, path: Path, out: Path
) -> Iterator[dict[str, NDArray]]:
    """The same clouds; at their end, fewer than the declared `count` are an error."""
    read = 0
    for columns in clouds:
        read += 1
        yield columns
    if count is not None and read < count:
        raise ValueError(
            f"{path}: declares {count} clouds but contains {read}, so it is truncated; copy it again. "
            f"The scans already in {out} are complete."
        )


def write_npz(path: Path, scan: Scan) -> None:
    """A scan without its labels, as `rangeseg.scan_io.read_scan` reads it: xyz, remission and, where known, ring."""
    arrays: dict[str, Any] = {"xyz": scan.xyz, "remission": scan.remission}
    if scan.ring is not None:
        arrays["ring"] = scan.ring.astype(np.int32)
    write_atomically(path, lambda file: np.savez(file, **arrays))
