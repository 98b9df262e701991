"""One training sample (read, augment, project, normalise, map labels) against plain NumPy and reading alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangeseg.benchmark.baselines import argsort_projection
from rangeseg.benchmark.geometry import HDL64
from rangeseg.benchmark.timing import Row, compare
from rangeseg.data.augment import Augmentation
from rangeseg.data.range_views import RangeViews
from rangeseg.labels import LabelMap
from rangeseg.scan_io import read_scan
from rangeseg.types import Scan

MEAN = (12.12, -0.1, 0.5, -1.04, 0.21)
STD = (12.32, 12.3, 9.43, 0.86, 0.16)


@dataclass(frozen=True)
class OneScan:
    """A source of one scan that is read from disk each time.

    Args:
        scan_path: its ``.bin`` file.
        labels_path: its ``.label`` file.
        label_map: the classes.
    """

    scan_path: Path
    labels_path: Path
    label_map: LabelMap

    def __len__(self) -> int:
        return 1

    def name(self, index: int) -> str:
        """Name of the scan file without its ending."""
        return self.scan_path.stem

    def scan(self, index: int) -> Scan:
        """The scan with its labels."""
        return read_scan(self.scan_path, labels=self.labels_path, label_map=self.label_map)


def benchmark_sample(source: OneScan, *, repeats: int = 20) -> list[Row]:
    """Time the way from a KITTI scan file and its label file to a `View`, without and with augmentation.

    Args:
        source: the files.
        repeats: rounds.

    Returns:
        The table's lines.
    """
    rng = np.random.default_rng(0)
    table = np.zeros(1 << 16, np.int32)
    table[list(source.label_map.learning_map)] = list(source.label_map.learning_map.values())
    plain, augmented, dropping = (
        RangeViews(source, HDL64, mean=MEAN, std=STD, augmentation=augmentation)
        for augmentation in (None, Augmentation(), Augmentation(drop=0.5))
    )
    candidates = {
        "NumPy, rotated and flipped": lambda: numpy_sample(source, table, rng),
        "np.fromfile of the two files alone": lambda: (
            np.fromfile(source.scan_path, np.float32),
            np.fromfile(source.labels_path, np.uint32),
        ),
        "rangeseg, not augmented": lambda: plain.view(0, rng),
        "rangeseg, augmented": lambda: augmented.view(0, rng),
        "rangeseg, augmented, points dropped": lambda: dropping.view(0, rng),
    }
    inner = {name: 5 for name in candidates if not name.startswith("NumPy")}
    return compare(candidates, repeats, inner=inner).rows(f"sample {HDL64.height}x{HDL64.width}")


def numpy_sample(
    source: OneScan, table: NDArray[np.int32], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.int32]]:
    """An augmented view in plain NumPy, as public range-view loaders make it.

    Args:
        source: the files.
        table: (65536,) raw id -> train id.
        rng: source of the random rotation and flip.

    Returns:
        image (C, H, W), valid (H, W), label (H, W).
    """
    points = np.fromfile(source.scan_path, np.float32).reshape(-1, 4)
    label = table[np.fromfile(source.labels_path, np.uint32) & 0xFFFF]
    angle = rng.uniform(-np.pi, np.pi)
    cos, sin = np.cos(angle), np.sin(angle)
    xyz = points[:, :3] @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], np.float32)
    if rng.random() < 0.5:
        xyz[:, 1] = -xyz[:, 1]
    size = (HDL64.height, HDL64.width, HDL64.fov_up_deg, HDL64.fov_down_deg)
    drawn = argsort_projection(xyz, points[:, 3], *size)
    valid = drawn.point_index >= 0
    channels = np.concatenate([drawn.range[None], drawn.xyz.transpose(2, 0, 1), drawn.remission[None]])
    image = (channels - np.array(MEAN, np.float32)[:, None, None]) / np.array(STD, np.float32)[:, None, None] * valid
    return image, valid, np.where(valid, label[drawn.point_index], 255).astype(np.int32)
