"""The base of datasets of photographs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from rangeseg.data.dataset import Dataset
from rangeseg.data.file_pairs import Pair
from rangeseg.labels import LabelMap
from rangeseg.photos.io import IMAGE_SUFFIXES, read_photo
from rangeseg.photos.prediction_files import PhotoFiles
from rangeseg.types import Photo


class PhotoDataset(Dataset):
    """The base of datasets of photographs."""

    kind: ClassVar[str] = "photograph"
    element: ClassVar[str] = "pixel"
    suffixes: ClassVar[tuple[str, ...]] = IMAGE_SUFFIXES
    palette: ClassVar[bool] = False
    """Whether predictions are palette PNGs that show the classes' colours; the ids in the file are the same."""

    read: Callable[..., Photo] = staticmethod(read_photo)

    @staticmethod
    def prediction_name(image: Path) -> str:
        """File name of a photograph's prediction in the dataset's own format."""
        return f"{image.stem}.png"

    @classmethod
    def prediction_files(cls, label_map: LabelMap, options: dict[str, Any]) -> PhotoFiles:
        """PNGs in the dataset's own format."""
        return PhotoFiles(label_map, cls.prediction_name, cls.reader(options), palette=cls.palette)

    @abstractmethod
    def photo(self, index: int) -> Photo:
        """Photograph `index`, with train-id labels if it has any."""

    def item(self, index: int) -> Photo:
        """Photograph `index`."""
        return self.photo(index)

    def pair(self, index: int) -> Pair:
        """The files of photograph `index`.

        Raises:
            ValueError: the dataset's photographs are not files.
        """
        raise ValueError(
            f"Photograph {self.name(index)} is not stored in a separate file, so it cannot be predicted as a file."
        )
