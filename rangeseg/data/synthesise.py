"""Synthetic streets written to disk in SemanticKITTI's official layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from rangeseg.data.synthetic import SyntheticStreets
from rangeseg.files import write_atomically
from rangeseg.scan_io import write_labels

CALIBRATION = b"Tr: 1 0 0 0 0 1 0 0 0 0 1 0\n"
"""The camera, whose poses poses.txt holds in KITTI's layout, is where the sensor is."""


def synthesise(
    out: str | Path,
    sequences: Iterable[str],
    *,
    scans: int,
    sensor: str = "hdl64e",
    seed: int = 0,
    keep: bool = False,
    **options: object,
) -> Iterator[Path]:
    """Write scans, labels and, once a sequence is whole, its poses.txt; files of these names are replaced.

    Args:
        out: the folder that gets `sequences/`.
        sequences: which, 00 to 21.
        scans: of each.
        sensor: a shipped sensor's name, or a YAML file.
        seed: another seed gives other streets.
        keep: leave scans that are there as they are.
        options: what else `SyntheticStreets` takes.

    Yields:
        Each scan's file, once it and its labels are there.

    Raises:
        ValueError: a sequence that SemanticKITTI does not have, or an option that does not fit.
    """
    splits = SyntheticStreets.read_label_map().splits
    wanted = sorted({str(sequence).zfill(2) for sequence in sequences})
    if unknown := [sequence for sequence in wanted if not any(sequence in names for names in splits.values())]:
        raise ValueError(f"Sequences {', '.join(unknown)} are not SemanticKITTI sequences; use 00 to 21.")
    for split, names in splits.items():
        if chosen := [sequence for sequence in wanted if sequence in names]:
            source = SyntheticStreets(
                split=split,
                sequences=chosen,
                scans=scans,
                sensor=sensor,
                seed=seed,
                **options,  # type: ignore[arg-type]
            )
            for sequence in chosen:
                mine = [index for index in range(len(source)) if source.name(index).startswith(f"{sequence}/")]
                rows = []
                for index in mine:
                    file = _scan_file(Path(out), source.name(index))
                    yield file if keep and file.is_file() else write_scan(Path(out), source, index)
                    rows.append(" ".join(f"{value:.9g}" for value in source.pose(index)[:3].ravel()))
                folder = Path(out) / "sequences" / sequence
                write_atomically(folder / "poses.txt", "".join(f"{row}\n" for row in rows).encode())
                write_atomically(folder / "calib.txt", CALIBRATION)


def write_scan(out: Path, source: SyntheticStreets, index: int) -> Path:
    """Write one scan and its labels; the scan's file comes last, so where it is both are whole.

    Args:
        out: the folder that gets `sequences/`.
        source: of the scan.
        index: which.

    Returns:
        The scan's file.
    """
    sequence, frame = source.name(index).split("/")
    folder = out / "sequences" / sequence
    returns = source.returns(index)
    points = np.concatenate([returns.xyz, returns.remission[:, None]], axis=1).astype("<f4")
    write_labels(folder / "labels" / f"{frame}.label", returns.raw)
    path = _scan_file(out, source.name(index))
    write_atomically(path, points.tobytes())
    return path


def _scan_file(out: Path, name: str) -> Path:
    sequence, frame = name.split("/")
    return out / "sequences" / sequence / "velodyne" / f"{frame}.bin"
