"""What datasets of photographs have in common: a list of images, each beside its label image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rangeseg.data.lists import keep_listed, read_names
from rangeseg.data.photo_io import IMAGE_SUFFIXES, read_photo
from rangeseg.labels import LabelMap
from rangeseg.resources import resource
from rangeseg.types import Photo


@dataclass(frozen=True)
class Pair:
    """One photograph's files.

    Args:
        name: what lists, reports and predictions call it.
        image: the photograph.
        label: its label image; None where the split has none. The file need not be there before it is read.
    """

    name: str
    image: Path
    label: Path | None


class PhotoPairs(ABC):
    """The photographs of one split, in the order in which a dataset's `find` gives them.

    Args:
        root: the dataset's folder.
        split: train, val or test.
        frames: only these photographs: their names, or a list file of them.
        labels: read labels. Without them no label file is needed (and nobody can peek).

    Raises:
        ValueError: a folder, split or photograph that is asked for is not there.
    """

    folder: ClassVar[str]
    """The dataset's folder in `datasets/`."""
    palette: ClassVar[bool] = False
    """Predictions are palette PNGs in the classes' colours; the ids in the file are the same."""

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        frames: str | Path | Iterable[str] | None = None,
        labels: bool = True,
    ) -> None:
        self._label_map = self.read_label_map(**self.classes_by())
        self._labelled = labels
        if split not in self._label_map.splits:
            known = ", ".join(self._label_map.splits)
            raise ValueError(f"{self._label_map.dataset} has no split {split!r}; use {known}.")
        self._pairs = tuple(self.find(Path(root), split))
        if not self._pairs:
            raise ValueError(f"{root}: holds no photographs of split {split}; see datasets/{self.folder}/README.md.")
        if frames is not None:
            listed = read_photo_list(frames) if isinstance(frames, str | Path) else frames
            cure = f"Name photographs of split {split}, e.g. {self._pairs[0].name}."
            kept = set(keep_listed(self.names, listed, root, what="photograph", cure=cure))
            self._pairs = tuple(pair for pair in self._pairs if pair.name in kept)

    @abstractmethod
    def find(self, root: Path, split: str) -> Sequence[Pair]:
        """The files of a split, every name once.

        Raises:
            ValueError: a folder or list of the layout is not there.
        """

    def classes_by(self) -> dict[str, Any]:
        """The constructor's arguments that `read_label_map` takes, where a dataset's classes have options."""
        return {}

    def read_by(self) -> dict[str, Any]:
        """The constructor's arguments that `read` takes, where a dataset's files can be read in several ways."""
        return {}

    @classmethod
    def read_label_map(cls) -> LabelMap:
        """The dataset's classes, without opening its files."""
        return LabelMap.read(resource("datasets", cls.folder, "labels.yaml"))

    @staticmethod
    def read(image: Path, label: Path | None = None, *, label_map: LabelMap | None = None) -> Photo:
        """A photograph's file, and its labels' where given, as the dataset has them.

        Raises:
            ValueError: a file is missing, damaged, or does not fit.
        """
        return read_photo(image, labels=label, label_map=label_map)

    @staticmethod
    def prediction_name(image: Path) -> str:
        """The file name that a photograph's prediction has in the dataset's own form."""
        return f"{image.stem}.png"

    @property
    def label_map(self) -> LabelMap:
        """The classes."""
        return self._label_map

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all photographs, in order."""
        return tuple(pair.name for pair in self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def name(self, index: int) -> str:
        """What photograph `index` is called."""
        return self._pairs[index].name

    def pair(self, index: int) -> Pair:
        """The files of photograph `index`."""
        return self._pairs[index]

    def photo(self, index: int) -> Photo:
        """Photograph `index`, with labels unless the split or the caller keeps them hidden.

        Raises:
            ValueError: a file is missing, damaged, or does not fit.
        """
        pair = self._pairs[index]
        if not self._labelled or pair.label is None:
            return self.read(pair.image, **self.read_by())
        if not pair.label.exists():
            raise ValueError(
                f"{pair.label}: missing, the labels of {pair.image}. Unpack them there, or open the photographs with "
                "labels=False."
            )
        return self.read(pair.image, pair.label, label_map=self._label_map, **self.read_by())


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder, in the order of their names.

    Raises:
        ValueError: the folder is not there, or two files have one name but for the suffix.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; unpack the dataset there, or give the folder that holds it.")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    stems = [path.stem for path in found]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1} if len(set(stems)) < len(stems) else ()):
        raise ValueError(f"{folder}: several files are called {', '.join(twice[:5])}; keep one of each.")
    return found


def read_photo_list(path: str | Path) -> tuple[str, ...]:
    """Read a list of photographs: one name a line; empty lines and lines from ``#`` on are left out.

    Raises:
        ValueError: the file cannot be read or lists none.
    """
    return read_names(path, pattern=r"\S+", what="photograph", form="NAME", example="2007_000032")
