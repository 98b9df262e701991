"""Captures of a sensor's packets: Velodyne's ``.pcap`` through velodyne-decoder, Ouster's through ouster-sdk.

Ouster's packets need the metadata of the sensor: a ``.json`` of the same name next to the ``.pcap``, or an ``.osf``
file, which includes it. A ``.pcap`` without metadata is Velodyne's; its packets contain the model.
Shapes: N points, H rows, W columns.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangeseg.scan_formats.bags import Cloud
from rangeseg.scan_formats.pcap import check_packets

Columns = dict[str, NDArray]


class SeveralSensorsError(ValueError):
    """A capture of several sensors, of which each turn is a scan of its own."""


def clouds_of_capture(path: Path) -> tuple[int | None, Iterator[Cloud]]:
    """The turns of a capture, in the order of their time.

    Args:
        path: a ``.pcap`` or ``.osf`` file.

    Returns:
        The number of turns, if known, and the columns of each turn by name, (N,).

    Raises:
        ImportError: the extra `velodyne` or `ouster` is not installed.
        ValueError: the capture cannot be read, contains no complete turn, or is damaged (possibly after some scans).
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give a .pcap or .osf capture.")
    check_packets(path)
    clouds = _ouster if path.suffix == ".osf" or path.with_suffix(".json").is_file() else _velodyne
    return None, _named(path, clouds(path))


def _named(path: Path, clouds: Iterator[Columns]) -> Iterator[Cloud]:
    """The same turns; errors of the libraries become ValueErrors that name the file."""
    count = 0
    try:
        for count, columns in enumerate(clouds, 1):  # noqa: B007 - the count is read after the loop
            yield Cloud(columns)
    except (ImportError, GeneratorExit, SeveralSensorsError):
        raise
    except Exception as error:
        raise ValueError(
            f"{path}: the capture is incomplete or damaged after {count} turns ({error}); copy it again."
        ) from error
    if count == 0:
        raise ValueError(
            f"{path}: contains no turn of a Velodyne sensor; an Ouster capture needs the sensor's metadata in the "
            "same folder, "
            f"{path.with_suffix('.json').name}."
        )


def _velodyne(path: Path) -> Iterator[Columns]:
    try:
        import velodyne_decoder
    except ImportError as error:
        raise ImportError(
            f"{path}: reading this file needs velodyne-decoder: pip install 'rangeseg[velodyne]'."
        ) from error
    for _, points in velodyne_decoder.read_pcap(str(path), as_pcl_structs=True):
        yield {name: points[name] for name in points.dtype.names} | {
            "intensity": points["intensity"].astype(np.uint8)  # of 0 to 255, kept as a float
        }


def _ouster(path: Path) -> Iterator[Columns]:
    try:
        from ouster.sdk import core, open_source
    except ImportError as error:
        raise ImportError(f"{path}: reading this file needs ouster-sdk: pip install 'rangeseg[ouster]'.") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # deprecated names
        source = open_source(str(path))
        if (sensors := len(source.sensor_info)) > 1:
            raise SeveralSensorsError(
                f"{path}: contains {sensors} sensors, but rangeseg reads one. Write a capture of each sensor, for "
                "example with ouster-cli."
            )
        info = source.sensor_info[0]
        table = core.XYZLut(info)
        for frames in source:
            frame = frames[0]
            xyz = core.destagger(info, table(frame))  # (H, W, 3), row 0 the topmost beam, zero without a return
            reflectivity = core.destagger(info, frame.field("REFLECTIVITY"))
            rows, columns = reflectivity.shape
            ring = np.repeat(np.arange(rows, dtype=np.uint16), columns)
            flat = {axis: xyz[..., k].reshape(-1) for k, axis in enumerate("xyz")}
            times = core.destagger(info, np.tile(_after_first(frame.timestamp), (rows, 1)))
            yield flat | {"reflectivity": reflectivity.reshape(-1), "ring": ring, "t": times.reshape(-1)}


def _after_first(times: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """(W,) nanoseconds after the first column; 0 for columns that were lost, whose time is 0."""
    known = times > 0
    first = times[known].min() if known.any() else times.dtype.type(0)
    return np.where(known, times - first, 0).astype(np.uint32)
