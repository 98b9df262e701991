"""The evidence for the labels of a scan: the file that `rangeseg propagate` writes for each label file.

For each drive, `propagate` also writes a record of the rules and of the labelled scans.

Shapes: N points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.files import write_atomically

NONE, OWN, CARRIED = 0, 1, 2
"""Values of `kind`: no label, a person's label of the same point, labels of other points."""

EVIDENCE = ("distance", "neighbours", "agreement", "scans", "kind")
"""Columns of a file, (N,) each, as described by `rangeseg.drive.carry.Carried`."""

FOLDER = "evidence"
"""Folder of the files, next to the folder of the labels."""


def evidence_file(label: Path) -> Path:
    """The evidence file of a label file ``NAME.label``: ``evidence/NAME.npz`` next to the folder of the labels.

    NAME may contain dots, as time stamps do. ``NAME.pkl.gz`` has the same evidence file.
    """
    return label.parent.parent / FOLDER / f"{Path(label.name.removesuffix('.gz')).stem}.npz"


def record_file(label: Path, drive: str | None = None) -> Path:
    """The file that records the rules and the labelled scans: ``propagate.json`` next to the folder of the labels.

    Args:
        label: a label file that `rangeseg propagate` wrote.
        drive: name of the drive, if drives share a folder of labels, as the scenes of nuScenes do: each has its own
            file, ``propagate_DRIVE.json``.
    """
    return label.parent.parent / ("propagate.json" if drive is None else f"propagate_{drive}.json")


def write_evidence(path: Path, columns: Mapping[str, NDArray]) -> None:
    """Write the evidence of the labels of a scan, compressed; real numbers in half precision."""
    arrays: dict[str, Any] = {name: columns[name] for name in EVIDENCE}
    arrays["distance"], arrays["agreement"] = (arrays[name].astype(np.float16) for name in ("distance", "agreement"))
    write_atomically(path, lambda file: np.savez_compressed(file, **arrays))


def read_evidence(path: Path, points: int | None = None, columns: Sequence[str] = EVIDENCE) -> dict[str, NDArray]:
    """The evidence of the labels of a scan: columns of `EVIDENCE` by name, (N,) each.

    Args:
        path: from `evidence_file`.
        points: the number of points of the scan; None: any.
        columns: the columns to read.

    Raises:
        ValueError: the file is missing or damaged, or has another number of points.
    """
    advice = "Run rangeseg propagate --overwrite to write it again."
    try:
        with np.load(path) as file:
            found = {name: file[name] for name in columns if name in file.files}
    except Exception as error:  # damaged zip files and arrays raise many kinds
        raise ValueError(f"{path}: cannot be read ({error}). {advice}") from error
    if missing := [name for name in columns if name not in found]:
        raise ValueError(f"{path}: has no column {missing[0]}. {advice}")
    count = len(found[columns[-1]]) if points is None else points
    if odd := [column.size for column in found.values() if column.shape != (count,)]:
        raise ValueError(f"{path}: has {odd[0]} points, but its labels have {count}. {advice}")
    return found


def confidence_of(path: Path, labelled: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The confidence of the labels of a file, and which of them a person gave.

    Args:
        path: label file that `propagate` wrote.
        labelled: (N,) bool, True for points with a label.

    Returns:
        (N,) confidence: 1 for labels of a person, the agreement of the neighbours for carried labels, 0.5 for labels
        without an evidence file, 0 for points without a label; and (N,) bool, True for labels of a person.

    Raises:
        ValueError: the evidence is damaged, or of another number of points.
    """
    if not evidence_file(path).is_file():
        return np.where(labelled, np.float32(0.5), np.float32(0)), np.zeros(len(labelled), np.bool_)
    evidence = read_evidence(evidence_file(path), len(labelled))
    own = (evidence["kind"] == OWN) & labelled
    return np.where(labelled, np.where(own, 1, evidence["agreement"]), 0).astype(np.float32), own
