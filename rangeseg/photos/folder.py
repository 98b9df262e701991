"""A user's photographs: images and label images in folders, and classes from a YAML.

root/images/NAME.jpg       photographs
root/labels/NAME.png       labels: raw ids, or the YAML's colours in RGB

Both places are patterns, so other folders, suffixes and splits need no new code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from rangeseg.data.patterns import OwnClasses, Patterns
from rangeseg.labels import LabelMap
from rangeseg.photos.io import IMAGE_SUFFIXES, read_color_labels, read_photo
from rangeseg.photos.pairs import Pair, PhotoPairs
from rangeseg.types import Photo


class PhotoFolder(OwnClasses, PhotoPairs):
    """The photographs of one split, in the order of their names.

    Args:
        root: the folder that the patterns start from.
        split: one of the splits in the YAML, or in `splits`.
        classes: the YAML, or the name of a shipped dataset with the same classes; see
            `datasets/photo_folder/README.md` for the keys that it needs.
        splits: split -> its folders, instead of those in the YAML.
        images: pattern of the photographs' files; see `rangeseg.data.patterns`.
        label_images: pattern of the label images' files.
        subset: only these photographs: their names, or a list file of them.
        labels: read labels. With False, no label file is needed or opened.

    Raises:
        ValueError: a pattern, folder, split or photograph is wrong or missing, or splits would share photographs.
    """

    folder: ClassVar[str] = "photo_folder"

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        classes: str,
        splits: Mapping[str, Sequence[str]] | None = None,
        images: str = "images/*",
        label_images: str = "labels/{name}.png",
        subset: str | Path | Iterable[str] | None = None,
        labels: bool = True,
    ) -> None:
        self._classes, self._splits = classes, splits
        self._patterns = Patterns(images, label_images, "images", ("images/*.jpg", "labels/{name}.png"))
        super().__init__(root, split, subset=subset, labels=labels)

    def find(self, root: Path, split: str) -> Sequence[Pair]:
        """The files of a split.

        Raises:
            ValueError: `images` has no ``{split}`` but there are several splits, two files have the same name, or a
                file is twice in the split or also in another one.
        """
        return self._patterns.find(root, split, self.label_map.splits, IMAGE_SUFFIXES, self.kind)

    @staticmethod
    def read(image: Path, label: Path | None = None, *, label_map: LabelMap | None = None) -> Photo:
        """Read a photograph, and its labels if given, as raw ids or in the colours of the classes.

        Raises:
            ValueError: a file is missing, damaged, or does not fit.
        """
        colors = {} if label_map is None else label_map.raw_colors
        return read_photo(
            image, labels=label, label_map=label_map, read_labels=partial(read_color_labels, colors=colors)
        )
