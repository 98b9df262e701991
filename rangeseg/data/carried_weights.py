"""Weights of carried labels, computed from their evidence: in (0, 1] for carried labels, 0 for labels given by people.

Shapes: N points, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.evidence import OWN
from rangeseg.types import IGNORE

KINDS: dict[str, tuple[str, ...]] = {
    "none": (),
    "distance": ("distance",),
    "agreement": ("agreement",),
    "scans": ("scans",),
    "all": ("distance", "agreement", "scans"),
}
"""Kind of weight -> its factors."""

HALF_SCANS = 10
"""With the factor `scans`: number of scans to the labelled scan at which the weight is 0.5."""

FAINT = 0.25
"""Factor for labels that `weigh_edges` gives a smaller weight."""

LEAST = 1e-3
"""Least weight of a carried label, because a weight of 0 means a label given by a person."""

JUMP = 0.1
"""Neighbouring pixels belong to different objects if their ranges differ by more than this share."""


@dataclass(frozen=True)
class CarriedWeights:
    """Computes the weights of the carried labels of a scan.

    Args:
        kind: one of `KINDS`.
        half_m: distance at which the factor `distance` is 0.5, metres.
        balanced: give classes with more carried points than the mean class a smaller weight.
    """

    kind: str = "none"
    half_m: float = 0.5
    balanced: bool = False

    def __call__(self, evidence: Mapping[str, NDArray], label: NDArray[np.integer]) -> NDArray[np.float32]:
        """The weights of one scan's labels.

        Args:
            evidence: columns of evidence by name, (N,) each.
            label: (N,) train ids, IGNORE for none.

        Returns:
            (N,), 0 where a person gave the label or there is no label.
        """
        weight = np.ones(len(label), np.float32)
        for factor in KINDS[self.kind]:
            weight *= self._factor(factor, evidence)
        carried = (label != IGNORE) & (evidence["kind"] != OWN)
        if self.balanced:
            weight *= _balance(label, carried)
        return np.where(carried, np.clip(np.nan_to_num(weight), LEAST, 1), 0).astype(np.float32)

    def _factor(self, name: str, evidence: Mapping[str, NDArray]) -> NDArray[np.float32]:
        if name == "distance":
            return np.exp2(-evidence["distance"].astype(np.float32) / self.half_m)
        if name == "scans":
            return np.exp2(-np.abs(evidence["scans"].astype(np.float32)) / HALF_SCANS)
        voters = evidence["neighbours"].astype(np.float32)
        return evidence["agreement"].astype(np.float32) * voters / (voters + 1)


def _balance(label: NDArray[np.integer], carried: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(N,) root of (points of the mean class / points of the point's class), at most 1."""
    counts = np.bincount(label[carried], minlength=IGNORE + 1).astype(np.float64)
    present = counts > 0
    mean = counts[present].mean() if present.any() else 1.0
    share = np.sqrt(mean / np.maximum(counts, 1)).clip(max=1).astype(np.float32)
    return np.asarray(share[label])


def weigh_edges(
    weight: NDArray[np.float32], label: NDArray[np.integer], range_m: NDArray[np.float32], *, more: bool, wrap: bool
) -> NDArray[np.float32]:
    """Reduce the weights of a range image at the edges of carried labels, or everywhere else.

    A pixel is an edge if one of its four neighbours has another class (pixels without a label have no class) or a range
    that differs by more than a tenth.

    Args:
        weight: (H, W), 0 at pixels without a carried label.
        label: (H, W) train ids, IGNORE for none.
        range_m: (H, W) metres, 0 where empty.
        more: edges keep their weight, and all other pixels get `FAINT` times theirs; False: the reverse.
        wrap: column 0 touches column W-1.
    """
    edge = np.zeros(label.shape, np.bool_)
    for axis in (0, 1):
        before, after = slice(None, -1), slice(1, None)
        first, second = ((before, slice(None)), (after, slice(None))) if axis == 0 else ((..., before), (..., after))
        found = _differ(label[first], label[second], range_m[first], range_m[second])
        edge[first] |= found
        edge[second] |= found
    if wrap:
        found = _differ(label[:, -1], label[:, 0], range_m[:, -1], range_m[:, 0])
        edge[:, -1] |= found
        edge[:, 0] |= found
    return np.where(edge == more, weight, np.where(weight > 0, np.maximum(FAINT * weight, LEAST), 0)).astype(np.float32)


def _differ(one: NDArray, other: NDArray, range_one: NDArray, range_other: NDArray) -> NDArray[np.bool_]:
    classes = (one != other) & (one != IGNORE) & (other != IGNORE)
    near, far = np.minimum(range_one, range_other), np.maximum(range_one, range_other)
    return np.asarray(classes | ((near > 0) & (far - near > JUMP * near)))
