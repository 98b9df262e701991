"""Synthetic streets written to disk in SemanticKITTI's official layout.

OUT/sequences/SS/velodyne/FFFFFF.bin, labels/FFFFFF.label, poses.txt, calib.txt
OUT/sequences/SS/synthesised.json     the number of scans, and the settings that determine them
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from rangeseg.data.semantic_kitti import sequence_names
from rangeseg.data.synthetic import SyntheticStreets
from rangeseg.files import write_atomically
from rangeseg.scan_formats.written import begin_scans
from rangeseg.scan_io import write_labels

CALIBRATION = b"Tr: 1 0 0 0 0 1 0 0 0 0 1 0\n"
"""Content of calib.txt: KITTI's poses.txt contains poses of the camera, which is at the sensor's position."""

RECORD, PATTERNS = "synthesised.json", ("velodyne/*.bin", "labels/*.label")

CURE = "Give the same options, leave out --keep to write all scans again, or choose another --out."


def synthesise(
    out: str | Path,
    sequences: str | int | Iterable[str | int],
    *,
    scans: int,
    sensor: str = "hdl64e",
    seed: int = 0,
    keep: bool = False,
    **options: object,
) -> Iterator[Path]:
    """Write scans and labels, and after each sequence its poses.txt and calib.txt.

    The scans and the poses.txt of an earlier call in the same sequence are removed.

    Args:
        out: folder in which `sequences/` is written.
        sequences: sequences of SemanticKITTI, 00 to 21, or a single one.
        scans: number of scans of each sequence.
        sensor: name of a shipped sensor, a YAML file, or random; see `SyntheticStreets`.
        seed: another seed gives other streets.
        keep: do not write scans that exist; they must have the same settings, and not be more than `scans`.
        options: further arguments of `SyntheticStreets`.

    Yields:
        The file of each scan, after the scan and its labels are written.

    Raises:
        ValueError: a sequence does not exist in SemanticKITTI, an option is invalid, a sequence contains scans that its
            synthesised.json does not list, or `keep` would mix scans of different settings.
    """
    splits = SyntheticStreets.read_label_map().splits
    wanted = sequence_names(sequences)
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
                rows, folder = [], Path(out) / "sequences" / sequence
                begin_scans(folder / RECORD, source.settings, PATTERNS, scans, keep=keep, cure=CURE)
                (folder / "poses.txt").unlink(missing_ok=True)  # those of earlier scans, should this call be stopped
                for index in mine:
                    file = _scan_file(Path(out), source.name(index))
                    yield file if keep and file.is_file() else write_scan(Path(out), source, index)
                    rows.append(" ".join(f"{value:.9g}" for value in source.pose(index)[:3].ravel()))
                write_atomically(folder / "poses.txt", "".join(f"{row}\n" for row in rows).encode())
                write_atomically(folder / "calib.txt", CALIBRATION)


def write_scan(out: Path, source: SyntheticStreets, index: int) -> Path:
    """Write one scan and its labels. The scan is written last, so if its file exists, both are complete.

    Args:
        out: folder in which `sequences/` is written.
        source: dataset of the scan.
        index: index of the scan.

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
