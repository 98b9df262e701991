"""Waymo Open version 2: range images of the TOP LiDAR in parquet files.

root/training/lidar/SEGMENT.parquet                 range images: range, intensity, elongation, is in no label zone
              lidar_calibration/SEGMENT.parquet     extrinsic and beam inclinations
              lidar_segmentation/SEGMENT.parquet    instance and class of each pixel, of some frames

A scan is called ``SEGMENT/TIMESTAMP`` everywhere. This module is written from the published format and was never run on
the real files. Shapes: H rows, W columns, N = H * W points, row after row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.dataset import ScanDataset
from rangeseg.data.lists import keep_listed, place_of_list, read_names
from rangeseg.files import Version, version_of
from rangeseg.labels import LabelMap
from rangeseg.types import Scan

TOP = 1
"""`key.laser_name` of the rotating LiDAR on the roof."""

LASER, TIME = "key.laser_name", "key.frame_timestamp_micros"
IMAGE = "[LiDARComponent].range_image_return1"
CLASSES = "[LiDARSegmentationLabelComponent].range_image_return1"
CALIBRATION = "[LiDARCalibrationComponent]"
SEGMENTATION = "lidar_segmentation"


class Waymo(ScanDataset):
    """The scans of one split, segment by segment, in the order of time.

    Args:
        root: the folder that contains training/, validation/ and testing/.
        split: train, val or test.
        every_frame: include frames without classes as unlabelled scans; always done in split test.
        subset: names of the scans to use, or a list file of names; default: all.
        labels: read labels.

    Raises:
        ValueError: pyarrow is missing, or a folder, split, file or scan is not there or damaged.

    Source:
        Sun et al., Scalability in Perception for Autonomous Driving: Waymo Open Dataset, CVPR 2020.
    """

    folder: ClassVar[str] = "waymo"

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        every_frame: bool = False,
        subset: str | Path | Iterable[str] | None = None,
        labels: bool = True,
    ) -> None:
        self._label_map, self.split = self.read_label_map(), split
        if split not in self._label_map.splits:
            raise ValueError(f"Waymo Open has no split {split!r}; use {', '.join(self._label_map.splits)}.")
        self._home = Path(root) / self._label_map.splits[split][0]
        self._labelled = labels and split != "test"
        listed = "lidar" if every_frame or split == "test" else SEGMENTATION
        files = sorted((self._home / listed).glob("*.parquet"))
        if not files:
            raise ValueError(f"{self._home / listed}: holds no .parquet files; see datasets/waymo/README.md.")
        self._names = [f"{file.stem}/{time}" for file in files for time in _times(file)]
        if subset is not None:
            where = place_of_list(self._home, subset)
            if isinstance(subset, str | Path):
                form = {"what": "scan", "form": "SEGMENT/TIMESTAMP", "example": self._names[0]}
                subset = read_names(subset, pattern=r"\S+/\d+", **form)
            cure = f"Name scans of split {split}, e.g. {self._names[0]}."
            self._names = keep_listed(self._names, subset, where, what="scan", cure=cure)

    @property
    def label_map(self) -> LabelMap:
        """The classes."""
        return self._label_map

    def with_labels(self) -> Self:
        """The same dataset with only the frames that have classes.

        Raises:
            ValueError: no frame has classes.
        """
        segments = sorted({name.split("/")[0] for name in self._names})
        files = [self._home / SEGMENTATION / f"{segment}.parquet" for segment in segments]
        labelled = {f"{file.stem}/{time}" for file in files if file.is_file() for time in _times(file)}
        selection = copy(self)
        selection._names = [name for name in self._names if name in labelled]
        if not selection._names:
            raise ValueError(f"{self._home / SEGMENTATION}: contains no classes for any of the {len(self)} scans.")
        return selection

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> str:
        """The name of scan `index`."""
        return self._names[index]

    def scan(self, index: int) -> Scan:
        """Scan `index`: the first return of every pixel, with labels as train ids if its frame has classes.

        Raises:
            ValueError: a file is missing, damaged, or does not fit.
        """
        segment, time = self._names[index].split("/")
        path = self._home / "lidar" / f"{segment}.parquet"
        image = _image(path, IMAGE, int(time))
        calibration = self._home / "lidar_calibration" / f"{segment}.parquet"
        turn, inclination = _calibration(calibration, version_of(calibration))
        if image is None or image.ndim != 3 or image.shape[0] != len(inclination) or image.shape[2] < 2:
            shape = "none" if image is None else image.shape
            raise ValueError(
                f"{path}: the range image of {time} has shape {shape}; expected ({len(inclination)}, W, 4)."
            )
        label = self._labels(segment, int(time), image.shape[:2])
        return Scan(*_points(image, turn, inclination), label=label, where=f"{path}, {time}")

    def _labels(self, segment: str, time: int, shape: Sequence[int]) -> NDArray[np.uint8] | None:
        path = self._home / SEGMENTATION / f"{segment}.parquet"
        raw = _image(path, CLASSES, time) if self._labelled and path.is_file() else None
        if raw is None:
            return None
        if raw.shape != (*shape, 2):
            raise ValueError(
                f"{path}: the classes of {time} have shape {raw.shape}; expected ({shape[0]}, {shape[1]}, 2)."
            )
        return self._label_map.to_train(raw[..., 1].reshape(-1).astype(np.int64))


def _points(
    image: NDArray, turn: NDArray[np.float64], inclination: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    """(N, 3) metres from the LiDAR in the vehicle's axes, (N,) remission, (N,) row; column 0 is behind, on the left."""
    rows, columns = image.shape[:2]
    correction = np.arctan2(turn[1, 0], turn[0, 0])
    azimuth = ((columns - 0.5 - np.arange(columns)) / columns * 2 - 1) * np.pi - correction
    distance = np.where(image[..., 0] > 0, image[..., 0], 0).astype(np.float64)
    across = distance * np.cos(inclination)[:, None]
    xyz = np.stack([across * np.cos(azimuth), across * np.sin(azimuth), distance * np.sin(inclination)[:, None]], -1)
    ring = np.repeat(np.arange(rows, dtype=np.int32), columns)
    remission = np.where(distance > 0, np.tanh(image[..., 1]), 0).reshape(-1).astype(np.float32)
    return (xyz.reshape(-1, 3) @ turn[:3, :3].T).astype(np.float32), remission, ring


def _times(path: Path) -> list[int]:
    """The times of the TOP LiDAR's frames, microseconds, in order."""
    return sorted(_read(path, [TIME], [(LASER, "==", TOP)])[TIME])


def _image(path: Path, component: str, time: int) -> NDArray | None:
    """The image of one frame, (H, W, C); None if the frame has none."""
    columns = [f"{component}.values", f"{component}.shape"]
    rows = _read(path, columns, [(LASER, "==", TOP), (TIME, "==", time)])
    if not rows[columns[0]]:
        return None
    values, shape = np.asarray(rows[columns[0]][0]), rows[columns[1]][0]
    if np.prod(shape) != values.size:
        raise ValueError(f"{path}: {values.size} values of {time} for shape {shape}; copy the file again.")
    return values.reshape(shape)


@lru_cache(maxsize=32)
def _calibration(path: Path, version: Version) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(4, 4) extrinsic of the TOP LiDAR, and (H,) inclinations, radians, the topmost first.

    Args:
        path: the file.
        version: result of `version_of`; a file that has changed is read again.
    """
    columns = [f"{CALIBRATION}.extrinsic.transform", f"{CALIBRATION}.beam_inclination.values"]
    rows = _read(path, columns, [(LASER, "==", TOP)])
    if not rows[columns[0]] or len(rows[columns[0]][0]) != 16 or not rows[columns[1]][0]:
        raise ValueError(f"{path}: has no extrinsic and no beam inclinations of the TOP LiDAR; copy the file again.")
    return np.reshape(rows[columns[0]][0], (4, 4)), np.sort(rows[columns[1]][0])[::-1]


def _read(path: Path, columns: Sequence[str], where: list[tuple[str, str, Any]]) -> dict[str, list]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError(f"{path}: needs pyarrow ({error}). Install it: pip install 'rangeseg[waymo]'") from error
    try:
        table = pyarrow.parquet.read_table(path, columns=list(columns), filters=where)
    except (OSError, KeyError, pyarrow.ArrowException) as error:
        raise ValueError(f"{path}: cannot be read as Waymo's parquet ({error}); copy it again.") from error
    if missing := [name for name in columns if name not in table.column_names]:
        raise ValueError(f"{path}: has no column {missing[0]}; use version 2 of the dataset.")
    return {name: table[name].to_pylist() for name in columns}
