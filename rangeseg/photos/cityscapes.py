"""Cityscapes, finely annotated, in its official layout.

root/leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png      1024 x 2048 photographs
root/gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png       labels: 34 raw ids, 0..33; in split test, without meaning

The name of a photograph is ``NAME``, e.g. ``aachen_000000_000019``: city, sequence and frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from rangeseg.labels import LabelMap
from rangeseg.photos.io import Shrink, read_photo
from rangeseg.photos.pairs import Pair, PhotoPairs
from rangeseg.photos.shrink import halve_image, halve_label
from rangeseg.types import Photo

HIDDEN_SPLIT = "test"
"""The split whose labels are not public."""
_IMAGE, _LABEL = "_leftImg8bit", "_gtFine_labelIds"


class Cityscapes(PhotoPairs):
    """The photographs of one split, in the order of their names.

    Args:
        root: the folder that holds `leftImg8bit/` and `gtFine/`.
        split: train, val or test.
        half: halve rows and columns of photographs and labels, as in the CutMix paper's training and evaluation; see
            `halve_image` and `halve_label`. Predictions are still written at full size.
        subset: only these photographs: their names, or a list file of them.
        labels: read labels. With False, no label file is needed or opened.

    Raises:
        ValueError: a folder, split or photograph does not exist.
    """

    folder: ClassVar[str] = "cityscapes"

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        half: bool = False,
        subset: str | Path | Iterable[str] | None = None,
        labels: bool = True,
    ) -> None:
        self._half = half
        super().__init__(root, split, subset=subset, labels=labels)

    def find(self, root: Path, split: str) -> Sequence[Pair]:
        """The files of a split.

        Raises:
            ValueError: the split's folder does not exist.
        """
        images = root / "leftImg8bit" / split
        if not images.is_dir():
            raise ValueError(f"{images}: no such folder; unpack leftImg8bit_trainvaltest.zip in {root}.")
        pairs = []
        for image in images.glob(f"*/*{_IMAGE}.png"):
            name = image.stem.removesuffix(_IMAGE)
            label = root / "gtFine" / split / image.parent.name / f"{name}{_LABEL}.png"
            pairs.append(Pair(name, image, None if split == HIDDEN_SPLIT else label))
        return sorted(pairs, key=lambda pair: pair.name)

    def read_by(self) -> dict[str, Any]:
        """The option `half`."""
        return {"half": self._half}

    @staticmethod
    def read(image: Path, label: Path | None = None, *, label_map: LabelMap | None = None, half: bool = False) -> Photo:
        """Read a photograph, and its labels if given, at full or half resolution.

        Raises:
            ValueError: a file is missing, damaged, does not fit, or cannot be halved.
        """
        shrink = Shrink(halve_image, halve_label) if half else None
        return read_photo(image, labels=label, label_map=label_map, shrink=shrink)

    @staticmethod
    def prediction_name(image: Path) -> str:
        """The file name that the server and its scripts expect for a prediction."""
        return f"{image.stem.removesuffix(_IMAGE)}_pred_labelIds.png"
