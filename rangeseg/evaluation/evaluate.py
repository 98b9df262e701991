"""Scores at the level of the ground truth: every point of a scan, every original pixel of a photograph.

Shapes: N elements, H rows, W columns, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rangeseg.evaluation.argmax import argmax_uint8
from rangeseg.evaluation.backprojection import BackProjection
from rangeseg.evaluation.metrics import ConfusionMatrix
from rangeseg.parallel import in_groups
from rangeseg.types import Sample

DISTANCE_EDGES_M = (0.0, 10.0, 20.0, 30.0, 40.0, 50.0, np.inf)


@dataclass(frozen=True)
class Segmented:
    """One sample with its predicted labels.

    Args:
        sample: what was segmented.
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
        samples: in any number; read as they are needed.
        back_projection: pixels -> elements.
        num_classes: K.
        device: where the network is.
        batch: views per forward pass.
    """
    for group in in_groups(samples, batch, lambda sample: sample.view.image.shape):
        images = torch.stack([sample.view.image for sample in group]).to(device)
        with torch.inference_mode():
            logits = network(images)
        predictions = argmax_uint8(logits)
        answers = answer(logits, back_projection) if back_projection.reads_logits else predictions
        for sample, pixels, each in zip(group, predictions, answers, strict=True):
            yield Segmented(sample, pixels, back_projection(sample.raster, each, num_classes))


def answer(logits: Tensor, back_projection: BackProjection) -> np.ndarray:
    """(B, K, H, W) logits as this back-projection reads them: as they are, or (B, H, W) uint8 train ids."""
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
    """The confusion matrix of all elements of all samples; arguments as `segment`.

    Raises:
        ValueError: a sample has no labels.
    """
    return score(
        segment(network, samples, back_projection, num_classes, device=device, batch=batch), num_classes
    ).overall


@dataclass(frozen=True)
class Scores:
    """Confusion matrices: of everything, and by distance from the sensor (bins closed below, open above).

    Where no sample has distances, there are no bins.
    """

    overall: ConfusionMatrix
    by_distance: Mapping[tuple[float, float], ConfusionMatrix]
    by_sample: Mapping[str, ConfusionMatrix] = field(default_factory=dict)
    """In the order in which samples came."""


def score(segmented: Iterable[Segmented], num_classes: int, *, distances: bool = False) -> Scores:
    """Count the results of `segment`.

    Raises:
        ValueError: a sample has no labels, or none at all came.
    """
    overall = ConfusionMatrix(num_classes)
    bins = list(pairwise(DISTANCE_EDGES_M)) if distances else []
    by_distance = {edges: ConfusionMatrix(num_classes) for edges in bins}
    by_sample: dict[str, ConfusionMatrix] = {}
    measured = False
    for one in segmented:
        label, distance = one.sample.label, one.sample.distance_m
        if label is None:
            raise ValueError(
                f"{one.sample.name} has no labels, so it cannot be scored. Choose a labelled split, or use predict."
            )
        by_sample[one.sample.name] = ConfusionMatrix(num_classes)
        by_sample[one.sample.name].update(one.elements, label)
        overall += by_sample[one.sample.name]
        measured |= distance is not None
        for (near, far), matrix in by_distance.items():
            if distance is not None:
                inside = (distance >= near) & (distance < far)
                matrix.update(one.elements[inside], label[inside])
    if not by_sample:
        raise ValueError("Nothing to score: the split has no samples.")
    return Scores(overall, by_distance if measured else {}, by_sample)


def report(scores: Scores, names: tuple[str, ...]) -> dict[str, Any]:
    """All figures of an evaluation as plain values, nan as None."""
    matrix = scores.overall
    iou = matrix.iou()
    return {
        "level": "element",
        "mean_iou": _plain(matrix.mean_iou()),
        "accuracy": _plain(matrix.accuracy()),
        "official_mean_iou": _plain(matrix.official_mean_iou()),
        "official_accuracy": _plain(matrix.official_accuracy()),
        "classes_present": [name for name, value in zip(names, iou, strict=True) if not np.isnan(value)],
        "iou": {name: _plain(value) for name, value in zip(names, iou, strict=True)},
        "by_distance": {
            f"{near:g}-{far:g} m": {"mean_iou": _plain(m.mean_iou()), "accuracy": _plain(m.accuracy())}
            for (near, far), m in scores.by_distance.items()
        },
    }


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
