"""Several sources of views as one, for example unlabelled scans of another sensor."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from rangeseg.data.loading import Views
from rangeseg.types import View


class ConcatViews:
    """The views of all parts, one part after the other.

    Args:
        parts: at least one, of views that one network reads.

    Raises:
        ValueError: no part.
    """

    def __init__(self, parts: Sequence[Views]) -> None:
        if not parts:
            raise ValueError("No views to concatenate; give at least one source of views.")
        self.parts = tuple(parts)
        self._ends = tuple(accumulate(len(part) for part in parts))

    def __len__(self) -> int:
        return self._ends[-1]

    def name(self, index: int) -> str:
        """The name of view `index` in reports."""
        part, place = self._find(index)
        return part.name(place)

    def view(self, index: int, rng: np.random.Generator) -> View:
        """View `index`, as its part draws it."""
        part, place = self._find(index)
        return part.view(place, rng)

    def _find(self, index: int) -> tuple[Views, int]:
        number = bisect_right(self._ends, index)
        return self.parts[number], index - (self._ends[number - 1] if number else 0)
