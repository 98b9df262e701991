"""Scores at the level of the ground truth: points for LiDAR, original pixels for photographs.

Shapes: N elements, K classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rangeseg.kernels.confusion import count
from rangeseg.types import IGNORE


class ConfusionMatrix:
    """Counts of (label, prediction) over any number of scans, and the scores computed from them.

    Elements labelled IGNORE are not counted. If the prediction of a labelled element is no class (IGNORE, of a point
    without a return), it is a miss: it lowers the IoU of the labelled class and the accuracy, and is no false positive
    of another class.

    Args:
        num_classes: K, at most 255.
        state: (K, K+1) counts to start from, see the attribute `state`; None: zeros.

    Raises:
        ValueError: `num_classes` is not in 1..255, or `state` has another shape.
    """

    def __init__(self, num_classes: int, state: NDArray[np.integer] | None = None) -> None:
        if not 1 <= num_classes <= IGNORE:
            raise ValueError(
                f"ConfusionMatrix got num_classes={num_classes}; give 1 to {IGNORE} ({IGNORE} itself means no label)."
            )
        self.num_classes = num_classes
        self.state = np.zeros((num_classes, num_classes + 1), np.int64)
        """(K, K+1) int64: rows are labels, columns predictions, the last column predictions that are no class."""
        if state is not None:
            if state.shape != self.state.shape:
                raise ValueError(f"The state has shape {state.shape}; {num_classes} classes need {self.state.shape}.")
            self.state += state

    def update(self, prediction: NDArray[np.integer], label: NDArray[np.integer]) -> None:
        """Count one scan.

        Args:
            prediction: (N,) train ids; any other value than 0..K-1 is a miss.
            label: (N,) train ids or IGNORE.

        Raises:
            ValueError: shapes differ, a type is not integer, or a label is neither in 0..K-1 nor IGNORE.
        """
        if prediction.shape != label.shape:
            raise ValueError(
                f"predictions have shape {prediction.shape} and labels {label.shape}; give one prediction for each "
                "element."
            )
        for name, values in (("prediction", prediction), ("label", label)):
            if values.dtype.kind not in "iu":
                raise ValueError(f"The {name} has dtype {values.dtype}; give integer train ids (the argmax).")
        if not count(prediction.ravel(), label.ravel(), self.state):
            strange = label[(label != IGNORE) & ((label < 0) | (label >= self.num_classes))]
            raise ValueError(
                f"Label {strange[0]} is neither in 0..{self.num_classes - 1} nor {IGNORE} (no label); "
                "map raw ids to train ids first (LabelMap.to_train)."
            )

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """The sum of both counts, for parts of a dataset or for several processes."""
        return ConfusionMatrix(self.num_classes, self.state + other.state)

    def iou(self) -> NDArray[np.float64]:
        """(K,) tp / (tp + fp + fn); nan for classes without a labelled element.

        Wrong predictions of such a class still lower the IoU of the labelled classes.
        """
        hits, union = self._hits_and_union()
        return np.divide(hits, union, out=np.full(self.num_classes, np.nan), where=self.state.sum(1) > 0)

    def mean_iou(self) -> float:
        """Mean IoU of the classes with a labelled element; nan if there are none."""
        iou = self.iou()
        return float(iou[~np.isnan(iou)].mean()) if not np.isnan(iou).all() else float("nan")

    def accuracy(self) -> float:
        """Share of labelled elements with the right prediction; nan if there are none."""
        total = self.state.sum()
        return float(np.trace(self.state) / total) if total else float("nan")

    def official_iou(self) -> NDArray[np.float64]:
        """(K,) IoU by SemanticKITTI's rule: 0 for a class without a labelled element.

        Source:
            semantic-kitti-api, iouEval, with the class of unlabelled points ignored.
        """
        hits, union = self._hits_and_union()
        return hits / (union + 1e-15)

    def official_mean_iou(self) -> float:
        """Mean of `official_iou` over all K classes."""
        return float(self.official_iou().mean())

    def official_accuracy(self) -> float:
        """Accuracy by SemanticKITTI's rule: elements whose prediction is no class are left out."""
        return float(np.trace(self.state) / (self.state[:, :-1].sum() + 1e-15))

    def _hits_and_union(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        hits = np.diagonal(self.state)
        return hits, self.state.sum(1) + self.state[:, :-1].sum(0) - hits
