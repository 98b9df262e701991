"""RELLIS-3D: off-road scans of an Ouster OS1-64.

root/Rellis-3D/00000/os1_cloud_node_kitti_bin/000104.bin                    root may also be Rellis-3D/ itself
                     os1_cloud_node_semantickitti_label_id/000104.label
     pt_train.lst  pt_val.lst  pt_test.lst                                  the split: paths of a scan and its label

A scan is called ``SSSSS/FFFFFF`` everywhere. Points without a return are (0, 0, 0) and stay in the scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rangeseg.data.scan_pairs import Pair, ScanPairs
from rangeseg.files import read_whole
from rangeseg.paths import inside

SCANS, LABELS = "os1_cloud_node_kitti_bin", "os1_cloud_node_semantickitti_label_id"


class Rellis3D(ScanPairs):
    """The scans of one split, in the order of its list; arguments as `ScanPairs`.

    Source:
        Jiang et al., RELLIS-3D Dataset: Data, Benchmarks and Analysis, ICRA 2021.
    """

    folder: ClassVar[str] = "rellis3d"

    def find(self, root: Path, split: str) -> Sequence[Pair]:
        """The files of a split.

        Raises:
            ValueError: the split's list is missing, or a line of it is not the path of a scan.
        """
        (name,) = self.label_map.splits[split]
        inner = root / "Rellis-3D"
        home = inner if inner.is_dir() else root
        path = next((place / f"{name}.lst" for place in (root, home) if (place / f"{name}.lst").is_file()), None)
        if path is None:
            raise ValueError(f"{root}: no {name}.lst here or in {inner}; unpack the split (Rellis_3D_lidar_split.zip).")
        pairs = []
        for number, line in enumerate(read_whole(path).decode().splitlines(), start=1):
            if not line.strip():
                continue
            scan = Path(line.split()[0])
            if len(scan.parts) < 3 or scan.parts[-2] != SCANS:
                raise ValueError(
                    f"{path}, line {number}: {line.strip()!r} is not the path of a scan; write "
                    f"SSSSS/{SCANS}/FFFFFF.bin."
                )
            sequence = scan.parts[-3]
            try:
                file = inside(home, Path(sequence, SCANS, scan.name))
                label = inside(home, Path(sequence, LABELS, f"{scan.stem}.label"))
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
            pairs.append(Pair(f"{sequence}/{scan.stem}", file, label))
        return pairs
