"""The streets of `rangeseg benchmark-ssl`: a numbered version is generated, stored and compared with a record.

    FOLDER/sequences/SS/velodyne/FFFFFF.bin, labels/FFFFFF.label    in SemanticKITTI's layout
    FOLDER/labelled_1pct.txt, ...                                   nested lists

A version fixes every number below and the code that makes streets. If either changes, the version must change.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from rangeseg.apps.split import draw_nested_lists
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.data.synthesise import write_scan
from rangeseg.data.synthetic import SyntheticStreets
from rangeseg.files import write_atomically
from rangeseg.parallel import in_order
from rangeseg.resources import resource
from rangeseg.scan_io import read_labels, read_scan

SHARES = {"1%": 0.01, "10%": 0.1, "20%": 0.2, "50%": 0.5}
"""Name -> share of the training scans that have labels."""

RECORD = ("configs", "benchmark_ssl.json")
"""The shipped file with digests of some scans of each version."""

CLOSE = 0.002
"""Share of the points by which the labels of a scan may differ from the record, if a processor rounds differently."""


@dataclass(frozen=True)
class Streets:
    """One version of the benchmark's data.

    Args:
        version: number of the version.
        sequences: sequences of the training streets.
        streets: number of streets in each of these.
        scans: number of scans of each training street.
        unseen: number of streets to score on, in sequence 08.
        unseen_scans: number of scans of each of these.
        spacing_m: distance between two scans of a street, metres.
        firings: firings per turn of the HDL-64E's 64 beams.
        seed: seed of all streets and scans.
    """

    version: int = 1
    sequences: tuple[str, ...] = ("00", "01", "02", "03", "04", "05", "06", "07", "09", "10")
    streets: int = 4
    scans: int = 30
    unseen: int = 10
    unseen_scans: int = 20
    spacing_m: float = 4.0
    firings: int = 1024
    seed: int = 2026

    def source(self, split: str) -> SyntheticStreets:
        """The training scans (train) or the scans to score on (val); a scan is generated when it is read."""
        train = split == "train"
        streets, per_street = (self.streets, self.scans) if train else (self.unseen, self.unseen_scans)
        return SyntheticStreets(
            split=split, sequences=self.sequences if train else ("08",), scans=streets * per_street,
            scans_per_street=per_street, spacing_m=self.spacing_m, firings=self.firings, seed=self.seed,
        )  # fmt: skip


TINY = Streets(version=0, sequences=("00", "01"), streets=1, scans=10, unseen=1, unseen_scans=4, firings=256)
"""For a quick test of the command; the scores have no meaning."""


def make_streets(streets: Streets, folder: Path, workers: int = 1) -> Iterator[str]:
    """Write the scans and labels that are missing, and the lists.

    Args:
        streets: the version.
        folder: folder of the data.
        workers: number of threads.

    Yields:
        The name of each scan when its files exist.

    Raises:
        ValueError: the folder holds another version, or scans of an unknown one.
    """
    _claim(streets, folder)
    for split in ("train", "val"):
        source = streets.source(split)

        def make(index: int, source: SyntheticStreets = source) -> str:
            sequence, frame = source.name(index).split("/")
            if not (folder / "sequences" / sequence / "velodyne" / f"{frame}.bin").is_file():
                write_scan(folder, source, index)
            return source.name(index)

        yield from in_order(make, range(len(source)), workers=workers)
    names = SemanticKitti(folder, "train", labels=False).names
    for share, listed in zip(SHARES, draw_nested_lists(names, tuple(SHARES.values())).values(), strict=True):
        write_atomically(list_of(folder, share), "".join(f"{name}\n" for name in listed).encode())


def list_of(folder: Path, share: str) -> Path:
    """The list of the labelled scans of a share, ``1%``."""
    return folder / f"labelled_{share.removesuffix('%')}pct.txt"


def count(streets: Streets) -> int:
    """Number of scans of a version, for training and scoring."""
    train = len(streets.sequences) * streets.streets * streets.scans
    return train + streets.unseen * streets.unseen_scans


def digests(folder: Path) -> dict[str, dict[str, Any]]:
    """First scan of each split -> SHA-256 of its points and labels, number of points, number of points per raw id.

    Args:
        folder: folder of the data.
    """
    found = {}
    for name in ("00/000000", "08/000000"):
        sequence, frame = name.split("/")
        place = folder / "sequences" / sequence
        scan, label = place / "velodyne" / f"{frame}.bin", place / "labels" / f"{frame}.label"
        ids, counts = np.unique(read_labels(label)[0], return_counts=True)
        found[name] = {
            "sha256": sha256(scan.read_bytes() + label.read_bytes()).hexdigest(),
            "points": len(read_scan(scan)),
            "labels": {str(raw): int(number) for raw, number in zip(ids, counts, strict=True)},
        }
    return found


def verdict(streets: Streets, folder: Path) -> str:
    """A message that says whether the streets are the recorded ones.

    Raises:
        ValueError: the labels of a scan differ from the record by more than `CLOSE`.
    """
    recorded = json.loads(resource(*RECORD).read_text()).get(str(streets.version))
    if recorded is None:
        return f"version {streets.version} has no record, so its scores cannot be compared with others"
    found = digests(folder)
    if found == recorded:
        return f"version {streets.version}, identical to the record"
    for name, one in recorded.items():
        other = found[name]
        ids = {*one["labels"], *other["labels"]}
        apart = sum(abs(one["labels"].get(raw, 0) - other["labels"].get(raw, 0)) for raw in ids)
        if apart > CLOSE * one["points"]:
            raise ValueError(
                f"{folder}: scan {name} is not that of version {streets.version}: {apart} of {one['points']} labels "
                "differ. Remove the folder, so that the streets are made again, or take the version of rangeseg that "
                "made it."
            )
    return (
        f"version {streets.version}, equal to the record except for rounding: floats of this processor differ in the "
        "last bits"
    )


def version_of(folder: Path, default: int) -> int:
    """The version of the streets in a folder; `default` if the folder has no record, for example because it moved."""
    path = folder / "streets.json"
    return int(json.loads(path.read_text())["version"]) if path.is_file() else default


def _claim(streets: Streets, folder: Path) -> None:
    path, mine = folder / "streets.json", json.loads(json.dumps(asdict(streets)))
    if path.is_file() and (other := json.loads(path.read_text())) != mine:
        raise ValueError(f"{folder} holds streets of version {other.get('version')}. Choose another folder.")
    if not path.is_file() and any((folder / "sequences").glob("*/velodyne/*.bin")):
        raise ValueError(f"{folder} holds scans, but no {path.name} that gives their version. Choose another folder.")
    write_atomically(path, json.dumps(mine, indent=2).encode())
