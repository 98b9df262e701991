"""Patch distances across class boundaries: is there a low-density region between classes?

Semi-supervised learning by consistency is often said to rest on the cluster assumption: classes are clusters, and few
samples lie between them. In segmentation a sample is a patch around a pixel. If the assumption held, patches that
straddle a class boundary would change faster from pixel to pixel than others (French et al., BMVC 2020, section 3).

    D(p, q) = root of the mean of (x - y)^2 over channels and over the pixels that are valid in both patches
    neighbours: D of the patches at (i, j) and (i, j + 1), and at (i, j) and (i + 1, j)
    nearest: for patches drawn at random, the least D to a patch of the same class, and to one of another class

The least D decreases with the number of patches. So for a comparison of classes, each patch is compared with equally
many patches of the same class and of other classes.

Shapes: C channels, H rows, W columns, A anchors, P pixels of a patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rangeseg.types import IGNORE, View

Floats = NDArray[np.float64]
AXES = (1, 0)
"""Axes of the neighbours to the right and of the neighbours below."""


@dataclass(frozen=True)
class Neighbours:
    """Pairs of neighbouring patches of one view.

    Args:
        distance: (M,) D.
        from_boundary: (M,) int, 0 if the two pixels have different labels; otherwise 1 + the chessboard distance,
            pixels, of the nearer one to a pixel of such a pair; `FAR` if the view has no such pair.
        labels: (M, 2) train ids of the two pixels.
        below: (M,) bool, True if the second pixel is below the first, False if it is to its right.
    """

    distance: Floats
    from_boundary: NDArray[np.int64]
    labels: NDArray[np.int64]
    below: NDArray[np.bool_]


FAR = 1 << 30


def neighbours(view: View, patch: int, *, wrap: bool = False) -> Neighbours:
    """Distances of all pairs of neighbouring patches whose pixels both have labels.

    Args:
        view: without a batch axis.
        patch: side of the square patches, pixels; odd. Patches are cut off at the image's border.
        wrap: column 0 touches column W-1.

    Returns:
        The pairs in which at least half of the patch's pixels are valid in both patches.

    Raises:
        ValueError: `patch` is even, or larger than the view.
    """
    _check_patch(patch, view)
    image = view.image.double().numpy()
    valid, label = view.valid.numpy(), view.label.numpy()
    depth = _from_boundary(label, wrap)
    distances, places, ids = [], [], []
    for axis in AXES:
        first_valid, second_valid = _pair(valid, axis, wrap)
        first, second = _pair(image, axis - 2, wrap)
        both = first_valid & second_valid
        change = np.where(both, np.square(first - second).mean(0), 0)
        count = _box_sum(both.astype(float), patch, wrap)
        mean = np.maximum(_box_sum(change, patch, wrap), 0) / np.maximum(count, 1)  # rounding can make sums negative
        labels = _pair(label, axis, wrap)
        counted = (labels[0] != IGNORE) & (labels[1] != IGNORE) & (2 * count >= patch * patch)
        near = np.minimum(*_pair(depth, axis, wrap))
        place = np.where(labels[0] != labels[1], 0, np.minimum(near, FAR - 1) + 1)
        distances.append(np.sqrt(mean[counted]))
        places.append(place[counted])
        ids.append(np.stack(labels, -1)[counted])
    below = np.repeat([axis == 0 for axis in AXES], [len(distance) for distance in distances])
    return Neighbours(np.concatenate(distances), np.concatenate(places), np.concatenate(ids), below)


def separability(distance: Floats, boundary: NDArray[np.bool_]) -> float:
    """The chance that a pair across a boundary is farther apart than another pair: the area under the ROC curve.

    Args:
        distance: (M,) distances of pairs.
        boundary: (M,) bool, True for pairs across a boundary.

    Returns:
        0.5 if distances do not show boundaries, 1 if they always do; nan if no pair or every pair is across one.
    """
    count = int(boundary.sum())
    if count in (0, len(boundary)):
        return float("nan")
    _, inverse, sizes = np.unique(distance, return_inverse=True, return_counts=True)
    rank = (np.cumsum(sizes) - (sizes - 1) / 2)[inverse]  # equal distances have the same mean rank
    return float((rank[boundary].sum() - count * (count + 1) / 2) / (count * (len(boundary) - count)))


@dataclass(frozen=True)
class Anchors:
    """Patches drawn from views.

    Args:
        values: (A, C * P) values of the patches, 0 where not valid.
        valid: (A, P) 1 at valid pixels, 0 at others.
        label: (A,) train id of the pixel in the middle.
        group: (A,) number of the patch's scene; nearest patches are searched in other scenes.
    """

    values: NDArray[np.float32]
    valid: NDArray[np.float32]
    label: NDArray[np.int64]
    group: NDArray[np.int64]

    @staticmethod
    def join(parts: Sequence[Anchors]) -> Anchors:
        """The anchors of all parts."""
        names = ("values", "valid", "label", "group")
        return Anchors(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def draw_anchors(
    view: View, patch: int, count: int, rng: np.random.Generator, *, group: int, wrap: bool = False
) -> Anchors:
    """Patches around labelled pixels, drawn with the same chance for each class of the view.

    Args:
        view: without a batch axis.
        patch: side of the patches, pixels; odd.
        count: number of patches; fewer if the view has fewer labelled pixels whose patch is at least half valid.
        rng: the only source of randomness.
        group: the scene's number.
        wrap: column 0 touches column W-1.

    Raises:
        ValueError: `patch` is even, or larger than the view.
    """
    _check_patch(patch, view)
    half = patch // 2
    image, valid, label = view.image.numpy(), view.valid.numpy(), view.label.numpy()
    filled = np.rint(_box_sum(valid.astype(float), patch, wrap))
    possible = (label != IGNORE) & (2 * filled >= patch * patch)
    rows, cols = np.nonzero(possible)
    classes = label[rows, cols]
    weight = 1 / np.bincount(classes, minlength=IGNORE + 1)[classes] if len(rows) else np.empty(0)
    size = min(count, len(rows))
    chosen = rng.choice(len(rows), size, replace=False, p=weight / weight.sum()) if size else np.empty(0, int)
    rows, cols = rows[chosen], cols[chosen]
    both = np.concatenate([image, valid[None]])
    both = _pad(np.pad(both, ((0, 0), (half, half), (0, 0))), half, wrap)
    patches = np.lib.stride_tricks.sliding_window_view(both, (patch, patch), axis=(1, 2))[:, rows, cols]
    patches = patches.transpose(1, 0, 2, 3).reshape(size, len(both), patch * patch)
    seen = patches[:, -1].astype(np.float32)
    values = (patches[:, :-1] * seen[:, None]).reshape(size, len(image) * patch * patch)
    return Anchors(values, seen, label[rows, cols], np.full(size, group))


@dataclass(frozen=True)
class Nearest:
    """The nearest patches in other scenes.

    Args:
        same: (A,) D to the nearest patch of the same class; inf if there is none.
        other: (A,) D to the nearest patch of another class; inf if there is none.
        label: (A,) train ids of the anchors.
        compared: (A, 2) numbers of compared patches of the same class and of other classes.
    """

    same: Floats
    other: Floats
    label: NDArray[np.int64]
    compared: NDArray[np.int64]


def nearest(anchors: Anchors, *, even: np.random.Generator | None = None, block: int = 512) -> Nearest:
    """For each anchor, its nearest patches of the same and of another class, in other scenes.

    Args:
        anchors: A patches, each compared with the patches of other scenes.
        even: generator that draws, for each anchor, equally many patches of the same class and of other classes: as
            many as the smaller of both sets has. None: compare with all patches.
        block: number of anchors that are compared at a time.

    Returns:
        Distances over the pixels that are valid in both patches; these must be at least half of a patch.
    """
    values, valid = anchors.values, anchors.valid
    channels = values.shape[1] // valid.shape[1]
    spread = np.tile(valid, channels)
    square = values**2
    found: list[tuple[Floats, Floats, NDArray[np.int64]]] = []
    for first in range(0, len(values), block):
        rows = slice(first, first + block)
        count = valid[rows] @ valid.T
        total = square[rows] @ spread.T - 2 * values[rows] @ values.T + spread[rows] @ square.T
        distance = np.sqrt(np.maximum(total, 0) / np.maximum(count * channels, 1)).astype(float)
        near = (2 * count >= valid.shape[1]) & (anchors.group[rows, None] != anchors.group)
        alike = anchors.label[rows, None] == anchors.label
        pools = [near & alike, near & ~alike]
        if even is not None:
            fewest = np.minimum(*(pool.sum(1) for pool in pools))
            pools = [_thin(pool, fewest, even) for pool in pools]
        same, other = (np.where(pool, distance, np.inf).min(1) for pool in pools)
        found.append((same, other, np.stack([pool.sum(1) for pool in pools], 1)))
    same, other, compared = (np.concatenate(part) for part in zip(*found, strict=True))
    return Nearest(same, other, anchors.label, compared)


def _thin(pool: NDArray[np.bool_], keep: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """(A, B) bool with (A,) `keep` of the True values of each row, drawn with equal chance; each row has enough."""
    ticket = np.where(pool, rng.random(pool.shape), np.inf)
    last = np.where(keep > 0, np.sort(ticket, 1)[np.arange(len(pool)), keep - 1], -1)
    return pool & (ticket <= last[:, None])


def _check_patch(patch: int, view: View) -> None:
    height, width = view.valid.shape
    if patch < 1 or patch % 2 == 0 or patch > min(height, width):
        raise ValueError(
            f"The side length of a patch is {patch} for views of {height} x {width}; give an odd number up to the "
            "smaller side."
        )


def _pair(field: NDArray, axis: int, wrap: bool) -> tuple[NDArray, NDArray]:
    """Values at all pixels and at their neighbours along one of the last two axes (0 or 1; -2 or -1)."""
    axis = field.ndim - 2 + axis if axis >= 0 else field.ndim + axis
    if wrap and axis == field.ndim - 1:
        return field, np.roll(field, -1, axis)
    count = field.shape[axis]
    return field.take(range(count - 1), axis), field.take(range(1, count), axis)


def _pad(field: NDArray, half: int, wrap: bool) -> NDArray:
    """Add `half` columns on both sides: those across the seam if `wrap`, otherwise zeros."""
    width = [(0, 0)] * (field.ndim - 1) + [(half, half)]
    return np.pad(field, width, mode="wrap") if wrap and half else np.pad(field, width)


def _box_sum(field: Floats, patch: int, wrap: bool) -> Floats:
    """(H, W) sums over patches centred at each pixel; values outside the image are 0, except across a seam."""
    half = patch // 2
    field = _pad(np.pad(field, ((half, half), (0, 0))), half, wrap)
    total = np.pad(field.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    return total[patch:, patch:] - total[:-patch, patch:] - total[patch:, :-patch] + total[:-patch, :-patch]


def _from_boundary(label: NDArray[np.int64], wrap: bool) -> NDArray[np.int64]:
    """(H, W) chessboard distance, pixels, to the nearest pixel that has a neighbour with another label."""
    edge = np.zeros(label.shape, bool)
    for axis in AXES:
        first, second = _pair(label, axis, wrap)
        differ = (first != second) & (first != IGNORE) & (second != IGNORE)
        if wrap and axis == 1:
            edge |= differ | np.roll(differ, 1, 1)
        else:
            keep = [slice(None)] * 2
            for begin in (slice(None, -1), slice(1, None)):
                keep[axis] = begin
                edge[tuple(keep)] |= differ
    depth = np.where(edge, 0, FAR)
    for distance in range(1, max(label.shape)):
        grown = _grow(edge, wrap)
        new = grown & ~edge
        if not new.any():
            break
        depth[new] = distance
        edge = grown
    return depth


def _grow(mask: NDArray[np.bool_], wrap: bool) -> NDArray[np.bool_]:
    """The mask with the eight neighbours of each of its pixels."""
    padded = _pad(np.pad(mask, ((1, 1), (0, 0))), 1, wrap)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    return rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
