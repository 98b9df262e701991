"""Pascal Context with its 59 most frequent classes, on the photographs of VOC 2010.

root/VOCdevkit/VOC2010/JPEGImages/NAME.jpg                      photographs; root may be VOCdevkit/ or VOC2010/, too
                       SegmentationClassContext/NAME.png        labels: raw ids 1..59, 0 is everything else
                       ImageSets/SegmentationContext/train.txt  the names of a split, one a line; val.txt likewise

The name of a photograph is ``NAME``, e.g. ``2008_000002``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rangeseg.photos.pairs import Pair, PhotoPairs
from rangeseg.photos.pascal_voc import find_home, read_split_list


class PascalContext(PhotoPairs):
    """The photographs of one split, in the order of its list; arguments as `PhotoPairs`."""

    folder: ClassVar[str] = "pascal_context"
    palette: ClassVar[bool] = True

    def find(self, root: Path, split: str) -> Sequence[Pair]:
        """The files of a split.

        Raises:
            ValueError: JPEGImages or the split's list does not exist.
        """
        home = find_home(root, "VOC2010")
        names = read_split_list(home / "ImageSets" / "SegmentationContext" / f"{split}.txt")
        labels = home / "SegmentationClassContext"
        return [
            Pair(name, home / "JPEGImages" / f"{name}.jpg", labels / f"{name}.png") for name in dict.fromkeys(names)
        ]
