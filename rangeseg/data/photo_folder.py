"""Anybody's photographs: images and label images in folders, classes from a YAML beside them.

root/images/NAME.jpg       photographs
root/labels/NAME.png       labels: raw ids, or the YAML's colours in RGB

Both places are patterns, so other folders, suffixes and splits need no new code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from rangeseg.data.photo_io import IMAGE_SUFFIXES, read_color_labels, read_photo
from rangeseg.data.photo_pairs import Pair, PhotoPairs
from rangeseg.labels import LabelMap
from rangeseg.types import Photo


class PhotoFolder(PhotoPairs):
    """The photographs of one split, in the order of their names.

    Args:
        root: the folder that the patterns start from.
        split: one of those that the YAML's `splits` names.
        classes: the YAML, like `datasets/camvid/labels.yaml`; `datasets/photo_folder/README.md` says what of it is
            needed.
        images: pattern of the photographs' files: ``*`` is any name, ``**`` any folders. What the first and the last
            star span is a photograph's name, without suffix.
        label_images: pattern of the label images' files; ``{name}`` is the photograph's name.
        frames: only these photographs: their names, or a list file of them.
        labels: read labels. Without them no label file is needed (and nobody can peek).

    In both patterns ``{split}`` stands for each of the folders that the YAML gives the split.

    Raises:
        ValueError: a pattern, folder, split or photograph is wrong or not there, or splits would share photographs.
    """

    folder: ClassVar[str] = "photo_folder"

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        classes: str,
        images: str = "images/*",
        label_images: str = "labels/{name}.png",
        frames: str | Path | Iterable[str] | None = None,
        labels: bool = True,
    ) -> None:
        if "*" not in images or "{name}" not in label_images:
            raise ValueError(
                f"images is {images!r} and label_images {label_images!r}; give patterns like 'images/*.jpg' and "
                "'labels/{name}.png'."
            )
        self._classes, self._images, self._label_images = classes, images, label_images
        super().__init__(root, split, frames=frames, labels=labels)

    def find(self, root: Path, split: str) -> Sequence[Pair]:
        """The files of a split.

        Raises:
            ValueError: the patterns do not tell splits apart, or two files would have one name.
        """
        splits = self.label_map.splits
        if "{split}" not in self._images and len(splits) > 1:
            raise ValueError(
                f"images: {self._images!r} is the same for splits {', '.join(splits)}, which would share all "
                f"photographs. Write {{split}} in it, or name one split in {self._classes}."
            )
        pairs = [pair for part in splits[split] for pair in self._part(root, part)]
        names = [pair.name for pair in pairs]
        if twice := sorted({name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else ()):
            raise ValueError(f"{root}: several photographs are called {', '.join(twice[:5])}; keep one of each.")
        return sorted(pairs, key=lambda pair: pair.name)

    def _part(self, root: Path, part: str) -> list[Pair]:
        pattern = self._images.replace("{split}", part)
        head, tail = pattern.index("*"), len(pattern) - 1 - pattern.rindex("*")
        pairs = []
        for image in root.glob(pattern):
            if image.suffix.lower() not in IMAGE_SUFFIXES:
                continue
            place = image.relative_to(root).as_posix()
            name = place[head : len(place) - (tail or len(image.suffix))]
            label = self._label_images.replace("{split}", part).replace("{name}", name)
            pairs.append(Pair(name, image, root / label))
        return pairs

    def classes_by(self) -> dict[str, Any]:
        """`classes`."""
        return {"classes": self._classes}

    @classmethod
    def read_label_map(cls, classes: str | None = None) -> LabelMap:
        """The classes of a YAML.

        Raises:
            ValueError: none is given, or it cannot be read.
        """
        if classes is None:
            raise ValueError("photo_folder has no classes of its own; give classes, the path of a labels.yaml.")
        return LabelMap.read(classes)

    @staticmethod
    def read(image: Path, label: Path | None = None, *, label_map: LabelMap | None = None) -> Photo:
        """A photograph's file, and its labels' where given, as raw ids or in the classes' colours.

        Raises:
            ValueError: a file is missing, damaged, or does not fit.
        """
        colors = {} if label_map is None else label_map.raw_colors
        return read_photo(
            image, labels=label, label_map=label_map, read_labels=partial(read_color_labels, colors=colors)
        )
