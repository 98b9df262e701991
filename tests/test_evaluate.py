"""Scores count elements, not pixels, and add up."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import random_scan

from rangeseg.evaluation.backprojection import NearestPixel
from rangeseg.evaluation.evaluate import DISTANCE_EDGES_M, Segmented, evaluate, report, score, segment
from rangeseg.evaluation.metrics import ConfusionMatrix
from rangeseg.kernels.confusion import count_by_range
from rangeseg.projection.spherical import SphericalProjection
from rangeseg.types import IGNORE, Sample

K = 19
PROJECTION = SphericalProjection(16, 64, 6.0, -28.0)


def samples(rng: np.random.Generator, count: int = 3) -> list[Sample]:
    made = []
    for index in range(count):
        image = PROJECTION(random_scan(rng, 800))
        view = image.view(("range", "x", "y"), (0, 0, 0), (1, 1, 1))
        made.append(Sample(f"s{index}", view, image, image.scan.label, image.range))
    return made


def constant(answer: int) -> object:
    return lambda image: torch.nn.functional.one_hot(torch.full(image[:, 0].shape, answer), K).movedim(-1, 1)


def test_every_point_is_counted_once(rng: np.random.Generator) -> None:
    made = samples(rng)
    matrix = evaluate(constant(4), made, NearestPixel(), K)  # type: ignore[arg-type]
    labels = np.concatenate([sample.label for sample in made if sample.label is not None])
    assert matrix.state.sum() == len(labels)
    assert matrix.accuracy() == pytest.approx((labels == 4).mean())


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_batch_size_changes_nothing(rng: np.random.Generator, batch: int) -> None:
    made = samples(rng)
    network = torch.nn.Conv2d(3, K, 1)
    one = evaluate(network, made, NearestPixel(), K)
    assert (evaluate(network, made, NearestPixel(), K, batch=batch).state == one.state).all()


def test_a_perfect_network_has_only_hidden_points_wrong(rng: np.random.Generator) -> None:
    sample = samples(rng, 1)[0]
    image, label = sample.raster, sample.label
    assert label is not None
    pixels = image.gather(label, IGNORE).astype(np.uint8)  # type: ignore[attr-defined]
    given = NearestPixel()(image, pixels, K)
    assert (given == label)[~image.hidden].all()  # type: ignore[attr-defined]


def test_distances_partition_the_points(rng: np.random.Generator) -> None:
    segmented = list(segment(constant(2), samples(rng), NearestPixel(), K))  # type: ignore[arg-type]
    scores = score(segmented, K, distances=True)
    total = sum((matrix.state for matrix in scores.by_distance.values()), np.zeros_like(scores.overall.state))
    assert (total == scores.overall.state).all()
    assert [near for near, _ in scores.by_distance] == list(DISTANCE_EDGES_M[:-1])


def test_each_range_of_distance_counts_its_own_points(rng: np.random.Generator) -> None:
    n, ranges = 5003, len(DISTANCE_EDGES_M) - 1
    label, prediction = rng.integers(0, K, n), rng.integers(0, K, n)
    label[rng.random(n) < 0.1] = prediction[rng.random(n) < 0.1] = IGNORE
    distance = rng.choice(np.array([*DISTANCE_EDGES_M[:-1], 9.999, 70, np.nan, np.inf, -1], np.float32), n)
    states = np.zeros((ranges, K, K + 1), np.int64)
    count_by_range(prediction, label, distance, np.array(DISTANCE_EDGES_M), states)
    for state, (near, far) in zip(states, pairwise(DISTANCE_EDGES_M), strict=True):
        expected, inside = ConfusionMatrix(K), (distance >= near) & (distance < far)
        expected.update(prediction[inside], label[inside])
        assert (state == expected.state).all()


def test_a_report_names_what_is_absent() -> None:
    matrix = ConfusionMatrix(3)
    matrix.update(np.array([0, 0, 1]), np.array([0, 1, 1]))
    sample = Sample("s", None, None, np.array([0]), None)  # type: ignore[arg-type]
    scores = score([Segmented(sample, np.array([[0]]), np.array([0]))], 3)
    assert report(scores, ("a", "b", "c"))["iou"] == {"a": 1.0, "b": None, "c": None}
    assert report(scores, ("a", "b", "c"))["classes_present"] == ["a"]


def test_what_cannot_be_scored_says_so() -> None:
    with pytest.raises(ValueError, match="Nothing to score"):
        score([], 3)
    sample = Sample("11/000000", None, None, None, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="11/000000 has no labels"):
        score([Segmented(sample, np.zeros((1, 1)), np.zeros(1))], 3)
