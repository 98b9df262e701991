"""How often predictions are right, by their confidence, and the temperature that calibrates the confidence.

Shapes: N elements, K classes, B bins of confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.kernels.confusion import count_by_confidence

BINS = 20
"""Number of bins of confidence, of equal width, from 0 to 1."""

PARTS = 2**24
"""Confidences are summed in units of 1 / PARTS, as integers: the sums are exact, in any order."""

COLDEST, HOTTEST = 0.05, 20.0
"""Least and greatest temperature that is fitted."""


class Reliability:
    """Counts of predictions by class and confidence, over any number of scans.

    Elements without a label or a prediction are not counted.

    Args:
        num_classes: K.
        state: (3, K, B) counts to start from, see the attribute `state`; None: zeros.

    Source:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017: reliability diagrams and equation 3 (ECE).
    """

    def __init__(self, num_classes: int, state: NDArray[np.int64] | None = None) -> None:
        self.num_classes = num_classes
        self.state = np.zeros((3, num_classes, BINS), np.int64) if state is None else state.copy()
        """(3, K, B) int64, by predicted class: elements, right ones among them, sum of confidences in 1 / `PARTS`."""

    def update(
        self, prediction: NDArray[np.integer], label: NDArray[np.integer], confidence: NDArray[np.floating]
    ) -> None:
        """Count one scan.

        Args:
            prediction: (N,) train ids or IGNORE.
            label: (N,) train ids or IGNORE.
            confidence: (N,) probability of the prediction.

        Raises:
            ValueError: shapes differ, or a counted confidence is not in [0, 1].
        """
        if not prediction.shape == label.shape == confidence.shape:
            raise ValueError(
                f"predictions have shape {prediction.shape}, labels {label.shape} and confidence {confidence.shape}; "
                "give one of each for each element."
            )
        if not count_by_confidence(prediction.ravel(), label.ravel(), confidence.ravel(), PARTS, self.state):
            raise ValueError("A confidence is not in [0, 1]; give probabilities.")

    def __add__(self, other: Reliability) -> Reliability:
        """The sum of both counts."""
        return Reliability(self.num_classes, self.state + other.state)

    @property
    def count(self) -> int:
        """Number of counted elements."""
        return int(self.state[0].sum())

    def error(self) -> float:
        """Expected calibration error (ECE): mean over the elements of |accuracy - confidence| of their bin."""
        return float(_errors(self.state.sum(1)[:, None])[0])

    def error_by_class(self) -> NDArray[np.float64]:
        """(K,) ECE of the elements predicted as each class; nan for classes without a prediction."""
        return _errors(self.state)

    def means(self) -> tuple[float, float]:
        """Mean confidence and accuracy of all counted elements; nan if there are none."""
        count, right, sure = self.state.sum((1, 2)).astype(np.float64)
        return (sure / PARTS / count, right / count) if count else (float("nan"), float("nan"))

    def curve(self, every: int = 1) -> list[tuple[float, float, float, float, float]]:
        """Bins that are not empty: lower and upper edge, share of all elements, mean confidence, accuracy.

        Args:
            every: number of bins that are merged into one; a divisor of `BINS`.
        """
        count, right, sure = self.state.sum(1).reshape(3, -1, every).sum(2).astype(np.float64)
        width, total = every / BINS, count.sum()
        return [
            (k * width, (k + 1) * width, count[k] / total, sure[k] / PARTS / count[k], right[k] / count[k])
            for k in np.flatnonzero(count)
        ]

    def report(self, names: Sequence[str], temperature: float) -> dict[str, Any]:
        """All scores as plain values, with None for nan.

        Args:
            names: names of the classes.
            temperature: divisor of the logits with which the probabilities were computed.
        """
        keys = ("from", "to", "share", "confidence", "accuracy")
        sure, right = self.means()
        errors = zip(names, self.error_by_class().tolist(), strict=True)
        return {
            "temperature": temperature,
            "ece": _plain(self.error()),
            "mean_confidence": _plain(sure),
            "accuracy": _plain(right),
            "ece_by_class": {name: _plain(value) for name, value in errors},
            "curve": [dict(zip(keys, map(float, row), strict=True)) for row in self.curve()],
        }


def _errors(state: NDArray[np.int64]) -> NDArray[np.float64]:
    """(3, K, B) counts -> (K,) expected calibration errors."""
    count, right, sure = state.astype(np.float64)
    gap, total = np.abs(right - sure / PARTS).sum(1), count.sum(1)
    return np.divide(gap, total, out=np.full(len(total), np.nan), where=total > 0)


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def fit_temperature(logits: NDArray[np.floating], label: NDArray[np.integer]) -> float:
    """The T for which the labels are most likely under softmax(logits / T).

    The negative log-likelihood is convex in 1/T. Bisection finds the zero of its slope in 1/T, which is
    mean(E_p[logit] - logit of the label).

    Args:
        logits: (N, K).
        label: (N,) train ids, without IGNORE.

    Returns:
        T in [`COLDEST`, `HOTTEST`]; an end of this range if no T is best, for example for logits that are always right.

    Raises:
        ValueError: there are no elements, or a logit is not finite.

    Source:
        Guo et al., ICML 2017, section 4.2 (temperature scaling).
    """
    if not len(logits):
        raise ValueError("There are no labelled elements to fit a temperature on.")
    if not np.isfinite(logits).all():
        raise ValueError("The network's logits contain nan or infinity, so no temperature can be fitted.")
    above = logits.astype(np.float64)
    above -= above.max(1, keepdims=True)
    label_logit = above[np.arange(len(above)), label]

    def slope(inverse: float) -> float:
        weight = np.exp(inverse * above)
        return float((((weight * above).sum(1) / weight.sum(1)) - label_logit).mean())

    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(60):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 1 / (low * high) ** 0.5
