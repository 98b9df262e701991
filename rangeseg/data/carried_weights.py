"""How much a carried label counts, by what it rests on: numbers in (0, 1], 0 for a person's own label.

Shapes: N points, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rangeseg.types import IGNORE

OWN = 1
"""What `kind` is, in the file of what labels rest on, where a person labelled the very point."""

KINDS: dict[str, tuple[str, ...]] = {
    "none": (),
    "distance": ("distance",),
    "agreement": ("agreement",),
    "scans": ("scans",),
    "all": ("distance", "agreement", "scans"),
}
"""Which factors a weight has."""

HALF_SCANS = 10
"""Scans away at which a label counts half, by `scans`."""

FAINT = 0.25
"""What a label counts that edges make less of."""

LEAST = 1e-3
"""No carried label counts less: 0 would make it a person's own."""

JUMP = 0.1
"""Share of the range by which neighbouring pixels differ where one thing ends."""


@dataclass(frozen=True)
class CarriedWeights:
    """What carried labels of a scan count.

    Args:
        kind: of `KINDS`.
        half_m: distance at which a label counts half, metres.
        balanced: classes with more carried points than the mean class count less.
    """

    kind: str = "none"
    half_m: float = 0.5
    balanced: bool = False

    def __call__(self, rests: Mapping[str, NDArray], label: NDArray[np.integer]) -> NDArray[np.float32]:
        """The weights of one scan's labels.

        Args:
            rests: columns of evidence by name, (N,) each.
            label: (N,) train ids, IGNORE for none.

        Returns:
            (N,), 0 where a label is a person's own or there is none.
        """
        weight = np.ones(len(label), np.float32)
        for factor in KINDS[self.kind]:
            weight *= self._factor(factor, rests)
        there = (label != IGNORE) & (rests["kind"] != OWN)
        if self.balanced:
            weight *= _balance(label, there)
        return np.where(there, np.clip(np.nan_to_num(weight), LEAST, 1), 0).astype(np.float32)

    def _factor(self, name: str, rests: Mapping[str, NDArray]) -> NDArray[np.float32]:
        if name == "distance":
            return np.exp2(-rests["distance"].astype(np.float32) / self.half_m)
        if name == "scans":
            return np.exp2(-np.abs(rests["scans"].astype(np.float32)) / HALF_SCANS)
        asked = rests["neighbours"].astype(np.float32)
        return rests["agreement"].astype(np.float32) * asked / (asked + 1)


def _balance(label: NDArray[np.integer], there: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(N,) root of the mean class's points over those of the point's class, at most 1."""
    counts = np.bincount(label[there], minlength=IGNORE + 1).astype(np.float64)
    present = counts > 0
    mean = counts[present].mean() if present.any() else 1.0
    share = np.sqrt(mean / np.maximum(counts, 1)).clip(max=1).astype(np.float32)
    return np.asarray(share[label])


def weigh_edges(
    weight: NDArray[np.float32], label: NDArray[np.integer], range_m: NDArray[np.float32], *, more: bool, wrap: bool
) -> NDArray[np.float32]:
    """Weights of a range image, less at edges of what was carried, or everywhere else.

    An edge is a pixel beside another class (pixels without a label are no class), or with a range that differs from a
    neighbour's by more than a tenth, of the four around it.

    Args:
        weight: (H, W), 0 for what was not carried.
        label: (H, W) train ids, IGNORE for none.
        range_m: (H, W) metres, 0 where empty.
        more: edges keep their weight and all else counts `FAINT` of it; False: the other way.
        wrap: column 0 touches column W-1.
    """
    edge = np.zeros(label.shape, np.bool_)
    for axis in (0, 1):
        here, there = slice(None, -1), slice(1, None)
        first, second = ((here, slice(None)), (there, slice(None))) if axis == 0 else ((..., here), (..., there))
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
