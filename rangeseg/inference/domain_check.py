"""Checks that scans resemble the training scans of a run, because a network also labels scans that do not.

Every scan of a file is checked, which takes about a millisecond. A scan that does not fit gives a one-line notice with
its file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.scan_statistics import filled_enough, unlike
from rangeseg.inference.run import Run
from rangeseg.notices import notify
from rangeseg.projection.checks import ENOUGH_RETURNS, misfits
from rangeseg.projection.range_image import RangeImage

UNNAMED = "a scan"

SURE_AFTER, EVERY = 5, 20
"""Of the scans without a file, the first 5 are checked, and then every 20th, because they come from one sensor."""


class DomainCheck:
    """Checks range images, gives a notice for each one that does not fit, and counts them.

    Args:
        run: the run whose projection and training scans are the reference.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._unnamed = 0
        self._misfits: dict[str, str] = {}

    @property
    def fits(self) -> dict[str, bool]:
        """Result of the check for each file; scans without a file share one entry, which stays False after a misfit."""
        return {name: not reasons for name, reasons in self._misfits.copy().items()}

    def misfit(self, where: str) -> str | None:
        """The reasons why a scan does not fit, from its `where`; empty if it fits, None if it was not checked."""
        return self._misfits.get(where or UNNAMED)

    def check(self, image: Any) -> None:
        """Check one scan. For scans without a file, as on a robot, only the first misfit gives a notice.

        Args:
            image: range image of the scan. Photographs, and scans with too few returns (`ENOUGH_RETURNS`), are not
                checked.
        """
        if not isinstance(image, RangeImage) or len(image.scan) - image.no_return_count < ENOUGH_RETURNS:
            return
        name = image.scan.where or UNNAMED
        if name == UNNAMED:
            self._unnamed += 1
            if self._unnamed > SURE_AFTER and self._unnamed % EVERY:
                return
        statistics = self._run.statistics or {}
        reasons = misfits(image, filled_enough(statistics))
        if statistics:
            reasons += unlike(image.scan, statistics, self._run.config.data.channels)
        self.note(name, " ".join(reasons))

    def note(self, name: str, reasons: str) -> None:
        """Record the result of a check, perhaps of an earlier process, and give a notice if the scan does not fit.

        Args:
            name: file of the scan, or `UNNAMED`.
            reasons: why it does not fit; empty if it fits.
        """
        if name == UNNAMED and self._misfits.get(UNNAMED):
            return
        if reasons:
            notify(f"{name}: does not fit this run, and its labels are probably wrong: {reasons}")
        self._misfits[name] = reasons

    def counts(self) -> NDArray[np.int64]:
        """(2,) the number of scans that did not fit, and of all that were checked."""
        fits = self.fits.values()
        return np.array([len(fits) - sum(fits), len(fits)], np.int64)

    def summary(self, *, anyway: bool = False) -> Iterator[str]:
        """A message with the number of scans that did not fit; no message if all fit.

        Args:
            anyway: accept that most scans do not fit.

        Raises:
            ValueError: most scans do not fit and `anyway` is False.
        """
        yield from misfit_summary(*self.counts().tolist(), anyway=anyway)


def misfit_summary(count: int, checked: int, *, anyway: bool = False) -> Iterator[str]:
    """A message with the number of scans that did not fit; no message if all fit.

    Args:
        count: number of scans that did not fit.
        checked: number of scans that were checked.
        anyway: accept that most scans do not fit.

    Raises:
        ValueError: most scans do not fit and `anyway` is False.
    """
    if not count:
        return
    words = f"{count} of {checked} scans do not fit this run; see the warnings."
    if 2 * count > checked and not anyway:
        raise ValueError(f"{words} Written files are kept. To accept this, give --anyway.")
    yield words
