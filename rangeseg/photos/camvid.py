"""CamVid in the layout of the SegNet tutorial.

root/train/NAME.png or .jpg    images of a split; val/, test/ likewise
root/trainannot/NAME.png       labels: raw ids 0..10, 11 is void

The name of a photograph is ``NAME``, e.g. ``0001TP_006690``: its video and frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rangeseg.photos.pairs import Pair, PhotoPairs, list_images


class CamVid(PhotoPairs):
    """The photographs of one split, in the order of their names; arguments as `PhotoPairs`."""

    folder: ClassVar[str] = "camvid"

    def find(self, root: Path, split: str) -> Sequence[Pair]:
        """The files of a split.

        Raises:
            ValueError: the split's folder is missing, or two images have the same name.
        """
        labels = root / f"{split}annot"
        return [Pair(image.stem, image, labels / f"{image.stem}.png") for image in list_images(root / split)]
