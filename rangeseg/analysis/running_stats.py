"""Statistics over many views: mean and standard deviation of each channel, frequency of each class.

Statistics of parts are joined, so only one view is in memory at a time. The mean and the sum of squared deviations M of
two parts a and b are

    n = n_a + n_b        d = mean_b - mean_a
    mean = mean_a + d n_b / n
    M = M_a + M_b + d^2 n_a n_b / n

Shapes: C channels, H rows, W columns, N elements, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rangeseg.types import IGNORE, Sample


@dataclass(frozen=True)
class RunningStats:
    """Statistics of some views; ``a + b`` has the statistics of the views of both.

    Args:
        views: number of views.
        pixels: number of valid pixels.
        mean: (C,) float64, mean of each channel over the valid pixels.
        squares: (C,) float64, M: sum of squared deviations from the mean.
        of_pixels: (256,) int64, valid pixels by label, including IGNORE; views without labels are not counted.
        of_elements: (256,) int64, elements by label in the same way, hidden ones included.
        with_labels: number of views with labels.

    Source:
        Chan, Golub, LeVeque, *Updating Formulae and a Pairwise Algorithm for Computing Sample Variances*, 1979.
    """

    views: int
    pixels: int
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]
    of_pixels: NDArray[np.int64]
    of_elements: NDArray[np.int64]
    with_labels: int

    def __add__(self, other: RunningStats) -> RunningStats:
        pixels = self.pixels + other.pixels
        share = other.pixels / pixels if pixels else 0.0
        step = other.mean - self.mean
        return RunningStats(
            self.views + other.views,
            pixels,
            self.mean + step * share,
            self.squares + other.squares + step**2 * (self.pixels * share),
            self.of_pixels + other.of_pixels,
            self.of_elements + other.of_elements,
            self.with_labels + other.with_labels,
        )

    @property
    def std(self) -> NDArray[np.float64]:
        """(C,) standard deviation of each channel over all valid pixels; 0 if there are none."""
        return np.sqrt(self.squares / max(self.pixels, 1))

    @property
    def labelled(self) -> bool:
        """True if any element has a class."""
        return bool(self.of_elements[:IGNORE].any())

    @property
    def sparse(self) -> bool:
        """True if most elements of the views with labels have no class, as with clicks or scribbles."""
        return bool(self.of_elements[IGNORE] > self.of_elements[:IGNORE].sum())

    def frequencies(self, num_classes: int, of: str = "elements") -> NDArray[np.float64]:
        """(K,) each class's share of all elements or pixels of the views with labels.

        Those without a class are included, as in the published shares of SemanticKITTI, unless labels are `sparse`:
        then all shares would be near 0, and weights of classes near equal.

        Args:
            num_classes: K.
            of: elements or pixels.

        Raises:
            ValueError: `of` is another word, or no element has a class.
        """
        counts = {"elements": self.of_elements, "pixels": self.of_pixels}
        if of not in counts:
            raise ValueError(f"of={of!r} is not supported; choose elements or pixels.")
        if not self.labelled:
            raise ValueError("The split has no labels to count. Choose a labelled split.")
        return np.asarray(counts[of][:num_classes] / counts[of][: IGNORE if self.sparse else None].sum())


def tally(sample: Sample) -> RunningStats:
    """Statistics of one sample, whose view must not be normalised.

    Args:
        sample: its view is made with mean 0 and std 1, so that channels are in metres or in [0, 1].
    """
    valid = sample.view.valid.numpy()
    values = sample.view.image.numpy()[:, valid].astype(np.float64)
    pixels = values.shape[1]
    mean = values.mean(axis=1) if pixels else np.zeros(len(values))
    values -= mean[:, None]
    nothing = np.zeros(IGNORE + 1, np.int64)
    return RunningStats(
        1,
        pixels,
        mean,
        np.einsum("cp,cp->c", values, values),
        nothing if sample.label is None else _count(sample.view.label.numpy()[valid]),
        nothing if sample.label is None else _count(sample.label),
        int(sample.label is not None),
    )


def _count(label: NDArray[np.integer]) -> NDArray[np.int64]:
    return np.bincount(label.reshape(-1), minlength=IGNORE + 1)
