"""Scores at the level of the ground truth: every point of a scan, every original pixel of a photograph.

Shapes: N elements, H rows, W columns, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rangeseg.evaluation.argmax import argmax_uint8
from rangeseg.evaluation.backprojection import BackProjection
from rangeseg.evaluation.metrics import ConfusionMatrix
from rangeseg.evaluation.reliability import Reliability
from rangeseg.kernels.confusion import count_by_range
from rangeseg.parallel import in_groups
from rangeseg.types import Sample

DISTANCE_EDGES_M = (0.0, 10.0, 20.0, 30.0, 40.0, 50.0, np.inf)


@dataclass(frozen=True)
class Segmented:
    """One sample with its predicted labels.

    Args:
        sample: the segmented sample.
        pixels: (H, W) train ids.
        elements: (N,) train ids, IGNORE where there is no return.
    """

    sample: Sample
    pixels: np.ndarray
    elements: np.ndarray


def segment(
    network: Callable[[Tensor], Tensor],
    samples: Iterable[Sample],
    back_projection: BackProjection,
    num_classes: int,
    *,
    device: torch.device | str = "cpu",
    batch: int = 1,
) -> Iterator[Segmented]:
    """Label every element of every sample.

    Args:
        network: (B, C, H, W) -> (B, K, H, W) logits or probabilities; in eval mode.
        samples: any number of samples; each is read when it is needed.
        back_projection: pixels -> elements.
        num_classes: K.
        device: device of the network.
        batch: views per forward pass.

    Raises:
        ValueError: the network's output contains nan.
    """
    for group in in_groups(samples, batch, lambda sample: sample.view.image.shape):
        images = torch.stack([sample.view.image for sample in group]).to(device)
        with torch.inference_mode():
            logits = network(images)
        check_not_nan(contains_nan(logits).cpu(), [sample.name for sample in group])
        predictions = argmax_uint8(logits)
        outputs = network_output(logits, back_projection) if back_projection.reads_logits else predictions
        for sample, pixels, output in zip(group, predictions, outputs, strict=True):
            yield Segmented(sample, pixels, back_projection(sample.raster, output, num_classes))


def contains_nan(logits: Tensor) -> Tensor:
    """(B, K, H, W) logits -> (B,) bool on their device, True if one is nan. The maximum is nan if one value is."""
    return logits.amax((1, 2, 3)).isnan()


def check_not_nan(nan: Tensor, names: Sequence[str]) -> None:
    """Refuse outputs with a nan, because their argmax is an arbitrary class.

    Args:
        nan: (B,) result of `contains_nan`, on the CPU.
        names: names of the B scans or photographs.

    Raises:
        ValueError: an output has a nan; the message names the first one.
    """
    if nan.any():
        raise ValueError(
            f"{names[int(nan.to(torch.uint8).argmax())]}: the network's output contains nan, so its labels would be "
            "arbitrary. The weights are damaged, or runtime.precision is too low: try runtime.precision=32-true, or an "
            "earlier checkpoint."
        )


def network_output(logits: Tensor, back_projection: BackProjection) -> np.ndarray:
    """The input of this back-projection: the (B, K, H, W) logits as float32, or (B, H, W) uint8 train ids."""
    return logits.float().cpu().numpy() if back_projection.reads_logits else argmax_uint8(logits)


def evaluate(
    network: Callable[[Tensor], Tensor],
    samples: Iterable[Sample],
    back_projection: BackProjection,
    num_classes: int,
    *,
    device: torch.device | str = "cpu",
    batch: int = 1,
) -> ConfusionMatrix:
    """The confusion matrix of all elements of all samples; see `segment` for the arguments.

    Raises:
        ValueError: there are no samples, a sample has no labels, or the network's output contains nan.
    """
    return score(
        segment(network, samples, back_projection, num_classes, device=device, batch=batch), num_classes
    ).overall


@dataclass(frozen=True)
class Scores:
    """Confusion matrices of all elements, and by distance from the sensor in metres.

    A bin contains its lower edge and not its upper edge. There are no bins if no sample has distances or if they were
    not requested.
    """

    overall: ConfusionMatrix
    by_distance: Mapping[tuple[float, float], ConfusionMatrix]
    by_sample: Mapping[str, ConfusionMatrix] = field(default_factory=dict)
    """In the order of the samples; empty if not requested."""
    pixels: ConfusionMatrix | None = None
    """Counts of the pixels of range images, each with the label of the point that it shows; None if not requested."""
    reliability: Reliability | None = None
    """How often predictions are right, by confidence; None if not requested."""


@dataclass(frozen=True)
class SampleCounts:
    """One sample's counts.

    Args:
        name: name of the sample.
        overall: counts of all its elements.
        by_distance: counts of each bin; None if the sample has no distances, or they were not requested.
        pixels: counts of the range image's pixels; None if not requested.
        reliability: counts of its predictions by confidence; None if their confidence is not given.
    """

    name: str
    overall: ConfusionMatrix
    by_distance: Mapping[tuple[float, float], ConfusionMatrix] | None = None
    pixels: ConfusionMatrix | None = None
    reliability: Reliability | None = None


def count_sample(
    sample: Sample,
    elements: np.ndarray,
    num_classes: int,
    *,
    distances: bool = False,
    pixels: np.ndarray | None = None,
    confidence: np.ndarray | None = None,
) -> SampleCounts:
    """Count the labels and predictions of one sample.

    Args:
        sample: a sample with labels.
        elements: (N,) predicted train ids.
        num_classes: K.
        distances: also count by distance, if the sample has distances.
        pixels: (H, W) train ids, the network's predictions before any back-projection; also counted if given.
        confidence: (N,) probabilities of `elements`; also counted if given.

    Raises:
        ValueError: the sample has no labels.
    """
    label, distance = sample.label, sample.distance_m
    if label is None:
        raise ValueError(f"{sample.name} has no labels to score against. Choose a labelled split, or use predict.")
    overall = ConfusionMatrix(num_classes)
    overall.update(elements, label)
    drawn = sure = None
    if confidence is not None:
        sure = Reliability(num_classes)
        sure.update(elements, label, confidence)
    if pixels is not None:
        drawn = ConfusionMatrix(num_classes)
        drawn.update(pixels, sample.view.label.numpy())
    if distance is None or not distances:
        return SampleCounts(sample.name, overall, pixels=drawn, reliability=sure)
    states = np.zeros((len(DISTANCE_EDGES_M) - 1, num_classes, num_classes + 1), np.int64)
    count_by_range(elements.ravel(), label.ravel(), distance.ravel(), np.array(DISTANCE_EDGES_M), states)
    edges = pairwise(DISTANCE_EDGES_M)
    bins = {each: ConfusionMatrix(num_classes, state) for each, state in zip(edges, states, strict=True)}
    return SampleCounts(sample.name, overall, bins, drawn, sure)


def sum_counts(counted: Iterable[SampleCounts], num_classes: int, *, by_sample: bool = False) -> Scores:
    """The sum of samples' counts.

    Args:
        counted: results of `count_sample`.
        num_classes: K.
        by_sample: keep the counts of each sample, too: K * (K + 1) numbers each.
    """
    overall, kept = ConfusionMatrix(num_classes), {}
    by_distance: dict[tuple[float, float], ConfusionMatrix] = {}
    pixels: ConfusionMatrix | None = None
    sure: Reliability | None = None
    for one in counted:
        overall += one.overall
        if one.pixels is not None:
            pixels = one.pixels if pixels is None else pixels + one.pixels
        if one.reliability is not None:
            sure = one.reliability if sure is None else sure + one.reliability
        if by_sample:
            kept[one.name] = one.overall
        for edges, matrix in (one.by_distance or {}).items():
            by_distance[edges] = by_distance[edges] + matrix if edges in by_distance else matrix
    return Scores(overall, by_distance, kept, pixels, sure)


def score(segmented: Iterable[Segmented], num_classes: int, *, distances: bool = False) -> Scores:
    """Count the results of `segment`; see `count_sample` for the arguments.

    Raises:
        ValueError: a sample has no labels, or there are no samples.
    """
    some = False

    def counted() -> Iterator[SampleCounts]:
        nonlocal some
        for one in segmented:
            some = True
            yield count_sample(one.sample, one.elements, num_classes, distances=distances)

    scores = sum_counts(counted(), num_classes)
    if not some:
        raise ValueError("Nothing to score: the split has no samples.")
    return scores


def report(scores: Scores, names: tuple[str, ...]) -> dict[str, Any]:
    """All scores of an evaluation as plain values, with None for nan."""
    matrix = scores.overall
    iou = matrix.iou()
    pixels = scores.pixels
    beside = {} if pixels is None else {"pixels": _means(pixels) | {"iou": _by_class(pixels, names)}}
    return {
        "level": "element",
        **_means(matrix),
        "official_mean_iou": _plain(matrix.official_mean_iou()),
        "official_accuracy": _plain(matrix.official_accuracy()),
        "classes_present": [name for name, value in zip(names, iou, strict=True) if not np.isnan(value)],
        "iou": _by_class(matrix, names),
        "confusion": matrix.state.tolist(),
        "by_distance": {f"{near:g}-{far:g} m": _means(m) for (near, far), m in scores.by_distance.items()},
        **beside,
    }


def _means(matrix: ConfusionMatrix) -> dict[str, float | None]:
    return {"mean_iou": _plain(matrix.mean_iou()), "accuracy": _plain(matrix.accuracy())}


def _by_class(matrix: ConfusionMatrix, names: tuple[str, ...]) -> dict[str, float | None]:
    return {name: _plain(value) for name, value in zip(names, matrix.iou(), strict=True)}


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
