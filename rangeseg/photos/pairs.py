"""Common code of photograph datasets: a list of images with their label images."""

from __future__ import annotations

from pathlib import Path

from rangeseg.data.file_pairs import FilePairs, Pair
from rangeseg.photos.dataset import PhotoDataset
from rangeseg.photos.io import IMAGE_SUFFIXES
from rangeseg.types import Photo

__all__ = ["Pair", "PhotoPairs", "list_images"]


class PhotoPairs(FilePairs, PhotoDataset):
    """The photographs of one split, in the order in which a dataset's `find` gives them; arguments as `FilePairs`."""

    def photo(self, index: int) -> Photo:
        """Photograph `index`, with labels unless the split has none or `labels` is False.

        Raises:
            ValueError: a file is missing, damaged, or does not fit.
        """
        return self._open(index, self.read)


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder, in the order of their names.

    Raises:
        ValueError: the folder does not exist, or the names of two files differ only in the suffix.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; unpack the dataset there, or give the folder that holds it.")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    stems = [path.stem for path in found]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1} if len(set(stems)) < len(stems) else ()):
        raise ValueError(f"{folder}: several files have the name {', '.join(twice[:5])}; keep one of each.")
    return found
