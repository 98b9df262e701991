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
        parts: at least one source of views, all for the same network.
        times: how often the views of each part occur.

    Raises:
        ValueError: there are no parts, or `times` does not have one number >= 1 for each part.
    """

    def __init__(self, parts: Sequence[Views], times: Sequence[int]) -> None:
        if not parts:
            raise ValueError("No views to concatenate; give at least one source of views.")
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
        """View `index`, augmented by its part with `rng`."""
        part, place = self._find(index)
        return part.view(place, rng)

    def _find(self, index: int) -> tuple[Views, int]:
        number = bisect_right(self._ends, index)
        return self._repeated[number], index - (self._ends[number - 1] if number else 0)


def times_for_shares(sizes: Sequence[int], shares: Sequence[float | None]) -> list[int]:
    """How often each source occurs, so that it gives about its share of the views.

    Args:
        sizes: number of views of each source, at least 1.
        shares: share of each source, above 0. The sources with None divide the rest in proportion to their sizes.

    Raises:
        ValueError: the shares leave nothing for the sources with None, or all sources have a share and the sum
            is not 1.
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
