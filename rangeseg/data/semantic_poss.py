"""SemanticPOSS: SemanticKITTI's layout, with the rows of each scan's organised image.

root/sequences/SS/velodyne/FFFFFF.bin     float32 x, y, z (metres), intensity of 0 to 255
                  labels/FFFFFF.label     uint32, raw ids in the low 16 bits
                  tag/FFFFFF.tag          one byte for each of 40 x 1800 pixels: 1 if it contains the next point
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.labels import LabelMap
from rangeseg.scan_io import home_of, read_scan
from rangeseg.types import Scan

ROWS, COLUMNS = 40, 1800


class SemanticPOSS(SemanticKitti):
    """The scans of one split; arguments as `SemanticKitti`. `Scan.ring` is the row of each point in the tag file.

    Source:
        Pan et al., SemanticPOSS: A Point Cloud Dataset with Large Quantity of Dynamic Instances, IV 2020.
    """

    folder: ClassVar[str] = "semantic_poss"
    labels_in: ClassVar[str] = "the dataset's labels"

    @staticmethod
    def read(
        scan: Path,
        label: Path | None = None,
        *,
        label_map: LabelMap | None = None,
        fields: Mapping[str, str | None] | None = None,
    ) -> Scan:
        """Read a scan with intensity divided by 255, its rows if ``tag/`` exists, and its labels if given.

        Raises:
            ValueError: a file is missing, damaged, or does not fit.
        """
        fields = {"remission": "remission/255"} | dict(fields or {})
        points = read_scan(scan, labels=label, label_map=label_map, fields=fields)
        tag = tag_file(scan)
        ring = _read_rows(tag, len(points)) if tag.is_file() else None
        return replace(points, ring=ring)


def tag_file(scan: Path) -> Path:
    """The file with the rows of a scan: ``../tag/NAME.tag``, which need not exist."""
    return home_of(scan) / "tag" / f"{scan.stem}.tag"


def _read_rows(path: Path, points: int) -> NDArray[np.int32]:
    """(N,) rows of the pixels that contain a point; row 0 is the topmost."""
    tag = np.fromfile(path, np.uint8)
    if tag.size != ROWS * COLUMNS or np.count_nonzero(tag) != points:
        raise ValueError(
            f"{path}: marks {np.count_nonzero(tag)} of {tag.size} pixels for {points} points, not {points} of "
            f"{ROWS * COLUMNS}. Copy tag/ again, or remove it."
        )
    return (np.flatnonzero(tag) // COLUMNS).astype(np.int32)
