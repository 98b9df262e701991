"""ISIC 2017, part 1 (lesion segmentation), in its official layout.

root/ISIC-2017_SPLIT_Data/NAME.jpg                               photographs of many sizes
root/ISIC-2017_SPLIT_Part1_GroundTruth/NAME_segmentation.png     masks: 0 is skin, 255 is lesion

SPLIT is Training, Validation or Test_v2. The name of a photograph is ``NAME``, e.g. ``ISIC_0000000``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rangeseg.labels import LabelMap
from rangeseg.photos.io import Shrink, read_photo
from rangeseg.photos.pairs import Pair, PhotoPairs, list_images
from rangeseg.photos.shrink import mean_of_areas
from rangeseg.types import Photo

LESION = 255
"""Raw id of a lesion in the masks."""
_LESION_FROM = 127


class ISIC2017(PhotoPairs):
    """The photographs of one split, in the order of their names.

    Args:
        root: the folder that holds the archives' folders.
        split: train, val or test.
        side: photographs and masks are resized to this many rows and columns by the mean over each pixel's area, as
            in the CutMix paper with 248; a mask pixel is lesion if half of its area is. Default: original size.
        subset: only these photographs: their names, or a list file of them.
        labels: read labels. With False, no label file is needed or opened.

    Raises:
        ValueError: a folder, split or photograph does not exist, or `side` is less than 1.

    Source:
        French et al., BMVC 2020, by its code (`side`).
    """

    folder: ClassVar[str] = "isic2017"

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        side: int | None = None,
        subset: str | Path | Iterable[str] | None = None,
        labels: bool = True,
    ) -> None:
        if side is not None and side < 1:
            raise ValueError(f"side is {side}; give at least 1 pixel, or leave side out to keep the original size.")
        self._side = side
        super().__init__(root, split, subset=subset, labels=labels)

    def find(self, root: Path, split: str) -> Sequence[Pair]:
        """The files of a split.

        Raises:
            ValueError: the split's folder is missing, or two images have the same name.
        """
        (part,) = self.label_map.splits[split]
        masks = root / f"ISIC-2017_{part}_Part1_GroundTruth"
        images = [path for path in list_images(root / f"ISIC-2017_{part}_Data") if path.suffix.lower() == ".jpg"]
        return [Pair(image.stem, image, masks / self.prediction_name(image)) for image in images]

    def read_by(self) -> dict[str, Any]:
        """The option `side`."""
        return {"side": self._side}

    @staticmethod
    def read(
        image: Path, label: Path | None = None, *, label_map: LabelMap | None = None, side: int | None = None
    ) -> Photo:
        """Read a photograph, and its mask if given, in the original size or resized.

        Raises:
            ValueError: a file is missing, damaged, or does not fit.
        """
        shrink = None
        if side is not None:
            shrink = Shrink(partial(mean_of_areas, height=side, width=side), partial(_squash_mask, side=side))
        return read_photo(image, labels=label, label_map=label_map, shrink=shrink)

    @staticmethod
    def prediction_name(image: Path) -> str:
        """The file name of a mask, true or predicted."""
        return f"{image.stem}_segmentation.png"


def _squash_mask(raw: NDArray[np.integer], side: int) -> NDArray[np.integer]:
    lesion = mean_of_areas(raw.astype(np.uint8), side, side) >= _LESION_FROM
    return np.where(lesion, LESION, 0).astype(np.uint8)
