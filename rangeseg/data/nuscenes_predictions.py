"""Predictions in nuScenes-lidarseg's format, and the files that make a folder of them a submission.

OUT/lidarseg/SPLIT/TOKEN_lidarseg.bin   uint8 per point: its train id + 1, 1 to 16
OUT/SPLIT/submission.json               which sensors and data the method used

The benchmark does not accept 0 (no class). Networks have 16 outputs and none for 0, so every return gets a class. A
point without a return has no pixel; it gets the most frequent class. Shapes: N points.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rangeseg.files import read_whole, write_atomically
from rangeseg.labels import LabelMap
from rangeseg.paths import inside
from rangeseg.scan_io import READERS, read_scan
from rangeseg.types import IGNORE, Scan

ENDING = "_lidarseg.bin"
"""Ending of the names of label files and predictions."""

META = {"use_camera": False, "use_lidar": True, "use_radar": False, "use_map": False, "use_external": False}
"""The default submission.json: only LiDAR, and no data other than nuScenes'."""


class Split(Protocol):
    """The scans of a split: `NuScenes`."""

    split: str

    def __len__(self) -> int: ...

    def token(self, index: int) -> str:
        """The token that names the prediction of scan `index`."""
        ...

    def scan_path(self, index: int) -> Path:
        """The file of scan `index`."""
        ...


class NuScenesPredictions:
    """``_lidarseg.bin``: one uint8 from 1 to 16 per point.

    The prediction of a scan of a split is ``lidarseg/SPLIT/TOKEN_lidarseg.bin``. That of any other file keeps the path
    of the file relative to the given folder, as ``NAME_lidarseg.bin``.

    Args:
        label_map: the classes.
        read: the reader of the run's dataset: file of a scan -> `Scan`.
        suffixes: endings of the files that it reads.
    """

    def __init__(
        self, label_map: LabelMap, read: Callable[[Path], Scan] = read_scan, suffixes: tuple[str, ...] = tuple(READERS)
    ) -> None:
        self.suffixes = suffixes
        self._read = read
        self._classes = label_map.num_classes
        frequencies = label_map.frequencies
        self._of_no_return = 1 + (0 if frequencies is None else int(frequencies.argmax()))

    def target(self, file: Path, root: Path) -> Path:
        """The path of `file` relative to `root`, with the ending of predictions."""
        ending = next((ending for ending in self.suffixes if file.name.endswith(ending)), file.suffix)
        return file.relative_to(root).with_name(file.name.removesuffix(ending) + ENDING)

    def of_split(self, source: Split) -> list[tuple[Path, Path]]:
        """The scan files of a split and the paths of their predictions."""
        folder = _folder(source)
        return [(source.scan_path(i), inside(folder, f"{source.token(i)}{ENDING}")) for i in range(len(source))]

    def read(self, file: Path) -> Scan:
        """Read a scan with the reader of the run's dataset."""
        return self._read(file)

    def write(self, target: Path, labels: NDArray[np.integer], sample: Scan, file: Path) -> None:
        """Write train ids + 1; a point without a label, because it has no return, gets the most frequent class."""
        written = np.where(labels == IGNORE, self._of_no_return, labels + np.int64(1))
        write_atomically(target, written.astype(np.uint8).tobytes())

    def problem(self, target: Path, file: Path) -> str | None:
        """The problem of a prediction file: missing, a wrong length, or wrong values; None if there is none."""
        if not target.is_file():
            return "missing"
        written, points = np.fromfile(target, np.uint8), len(self._read(file))
        if len(written) != points:
            return f"{len(written)} labels of one byte each for {points} points"
        strange = np.setdiff1d(written, np.arange(1, 1 + self._classes))
        return f"values {strange.tolist()} are not in 1 to {self._classes}" if len(strange) else None

    def finish(self, out: Path, source: Split) -> list[Path]:
        """Write submission.json unless a valid one exists, which may state that other data was used.

        Returns:
            Its path below `out`.
        """
        path = Path(source.split, "submission.json")
        if _meta_problem(out / path) is not None:
            write_atomically(out / path, json.dumps({"meta": META}, indent=2).encode())
        return [path]

    def problems(self, out: Path, source: Split) -> list[str]:
        """The problems of a folder as a submission of a split: unexpected files, or a wrong submission.json.

        The content of single predictions is checked by `problem`.
        """
        own = {out / target for _, target in self.of_split(source)} | {out / source.split / "submission.json"}
        own |= {path.with_name(f"{path.stem}_confidence.npz") for path in own}  # of predict --confidence; not packed
        paths = [path for folder in (out / _folder(source), out / source.split) for path in sorted(folder.rglob("*"))]
        found = [f"{path}: unexpected file in a submission" for path in paths if path not in own]
        if (meta := _meta_problem(out / source.split / "submission.json")) is not None:
            found.append(f"{out / source.split / 'submission.json'}: {meta}")
        return found


def read_predictions(path: str | Path) -> NDArray[np.uint8]:
    """Read a prediction in nuScenes' format, of rangeseg or of another method.

    Returns:
        (N,) uint8 train ids; 0, which is not allowed in submissions, becomes IGNORE.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        written = np.fromfile(path, np.uint8)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); check the path and the rights.") from error
    return np.where(written == 0, np.uint8(IGNORE), written - np.uint8(1))


def _folder(source: Split) -> Path:
    return Path("lidarseg", source.split)


def _meta_problem(path: Path) -> str | None:
    if not path.is_file():
        return "missing"
    try:
        content = json.loads(read_whole(path))
    except ValueError as error:
        return f"not JSON ({error})"
    meta = content.get("meta") if isinstance(content, dict) else None
    if not isinstance(meta, dict) or set(meta) != set(META) or not all(isinstance(v, bool) for v in meta.values()):
        return f"its meta must hold {', '.join(META)}, each true or false"
    return None if meta["use_lidar"] else "its meta has use_lidar = false, but the predictions are of LiDAR scans"
