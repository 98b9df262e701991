"""Whether scans are like those that a run was trained on: a trained network answers everything, and says nothing.

Every scan is looked at, which takes about a millisecond. What does not fit is told of in one line with its file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rangeseg.data.scan_statistics import unlike
from rangeseg.inference.run import Run
from rangeseg.notices import notify
from rangeseg.projection.checks import ENOUGH_RETURNS, misfits
from rangeseg.projection.range_image import RangeImage

UNNAMED = "a scan"

SURE_AFTER, EVERY = 5, 20
"""Of scans without a file, so many are looked at, and from then on one of so many: they come of one sensor."""


class DomainCheck:
    """Looks at range images, tells of those that do not fit, and remembers how many they were.

    Args:
        run: whose projection and training scans they are compared with.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._unnamed = 0
        self.fits: dict[str, bool] = {}
        """Of each scan that was looked at, by its file; scans without a file have one entry, of the last."""

    def check(self, image: Any) -> None:
        """Look at one scan. Of scans without a file, as a robot has them, the first misfit alone is told of.

        Args:
            image: of a scan; photographs pass.
        """
        if not isinstance(image, RangeImage) or len(image.scan) - image.no_return_count < ENOUGH_RETURNS:
            return
        name = image.scan.where or UNNAMED
        if name == UNNAMED:
            self._unnamed += 1
            if self._unnamed > SURE_AFTER and self._unnamed % EVERY:
                return
        reasons = misfits(image)
        if self._run.statistics:
            reasons += unlike(image.scan, self._run.statistics, self._run.config.data.channels)
        told = name == UNNAMED and self.fits.get(UNNAMED) is False
        if reasons and not told:
            notify(f"{name}: does not fit this run, and its labels are probably wrong: {' '.join(reasons)}")
        self.fits[name] = not reasons and not told

    def summary(self, *, anyway: bool = False) -> Iterator[str]:
        """How many did not fit, in words; nothing where all did.

        Args:
            anyway: it may be most of them.

        Raises:
            ValueError: most of them, unless `anyway`.
        """
        count = sum(not fits for fits in self.fits.values())
        if not count:
            return
        words = f"{count} of {len(self.fits)} scans do not fit this run; see the warnings."
        if 2 * count > len(self.fits) and not anyway:
            raise ValueError(f"{words} What was written stays. If it is meant so, give --anyway.")
        yield words
