"""A memory cache of decoded photographs."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from rangeseg.types import Photo


class PhotoCache:
    """A cache of limited size that never drops entries, as in shuffled order all entries are equally useful.

    Args:
        megabytes: maximum size (10^6 bytes); 0: nothing is cached.

    Raises:
        ValueError: a negative number.
    """

    def __init__(self, megabytes: int) -> None:
        if megabytes < 0:
            raise ValueError(f"PhotoCache got {megabytes} megabytes; give 0 or more.")
        self._room = megabytes * 10**6
        self._kept: dict[int, Photo] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def __call__(self, index: int, read: Callable[[int], Photo]) -> Photo:
        """Photograph `index`, read if it is not cached. Several threads may call this; do not change its arrays."""
        photo = self._kept.get(index)
        if photo is not None:
            return photo
        photo = read(index)
        size = photo.image.nbytes + (0 if photo.label is None else photo.label.nbytes)
        with self._lock:
            if index not in self._kept and size <= self._room:
                self._room -= size
                self._kept[index] = photo
        return photo
