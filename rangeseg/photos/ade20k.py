"""ADE20K in the version of the scene parsing benchmark: 150 classes.

root/ADEChallengeData2016/images/training/NAME.jpg           photographs; root may also be ADEChallengeData2016/ itself
                          annotations/training/NAME.png      labels: raw ids 1..150, 0 is void
                          images/validation, annotations/validation

The name of a photograph is ``NAME``, e.g. ``ADE_train_00000001``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rangeseg.photos.pairs import Pair, PhotoPairs, list_images


class ADE20K(PhotoPairs):
    """The photographs of one split, in the order of their names; arguments as `PhotoPairs`."""

    folder: ClassVar[str] = "ade20k"

    def find(self, root: Path, split: str) -> Sequence[Pair]:
        """The files of a split.

        Raises:
            ValueError: the split's folder is missing, or two images have the same name.
        """
        (part,) = self.label_map.splits[split]
        inner = root / "ADEChallengeData2016"
        home = inner if inner.is_dir() else root
        labels = home / "annotations" / part
        return [Pair(image.stem, image, labels / f"{image.stem}.png") for image in list_images(home / "images" / part)]
