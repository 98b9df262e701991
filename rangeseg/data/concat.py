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
        times: how often the views of each part occur; None: once.

    Raises:
        ValueError: no part, or not one number of at least 1 for each part.
    """

    def __init__(self, parts: Sequence[Views], times: Sequence[int] | None = None) -> None:
        if not parts:
            raise ValueError("No views to concatenate; give at least one source of views.")
        times = [1] * len(parts) if times is None else times
        if len(times) != len(parts) or min(times) < 1:
            raise ValueError(f"{len(parts)} sources of views occur {list(times)} times; give a number >= 1 for each.")
        self.parts = tuple(parts)
        self._repeated = [part for part, count in zip(parts, times, strict=True) for _ in range(count)]
        self._ends = tuple(accumulate(len(part) for part in self._repeated))

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
        return self._repeated[number], index - (self._ends[number - 1] if number else 0)


def times_for_shares(sizes: Sequence[int], shares: Sequence[float | None]) -> list[int]:
    """How often each source occurs, so that it gives about its share of the views.

    Args:
        sizes: the number of views of each source, at least 1.
        shares: of each source, above 0; None: it divides what the others leave, in proportion to its size.

    Raises:
        ValueError: the shares leave nothing to the other sources, or, if all sources have one, do not add up to 1.
    """
    given = sum(share for share in shares if share is not None)
    others = sum(size for size, share in zip(sizes, shares, strict=True) if share is None)
    if (others and given >= 1) or (not others and abs(given - 1) > 1e-6):
        rest = "less than 1, because other sources have no share" if others else "1"
        raise ValueError(f"The shares add up to {given:g}; they must add up to {rest}.")
    wanted = [
        (1 - given) * size / others if share is None else share for size, share in zip(sizes, shares, strict=True)
    ]
    whole = max(size / share for size, share in zip(sizes, wanted, strict=True))
    return [max(1, round(share * whole / size)) for size, share in zip(sizes, wanted, strict=True)]
