"""Weights of carried labels, from the evidence file to the loss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from test_carried import carried, with_data  # noqa: F401 # a fixture
from test_mean_teacher import random_view, trainer
from test_weak_head import half_carried

from rangeseg.config import Config
from rangeseg.data.augment import Augmentation
from rangeseg.data.carried import CarriedLabels
from rangeseg.data.carried_weights import CarriedWeights, weigh_edges
from rangeseg.data.loading import Stream
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.training_data import TrainingData
from rangeseg.losses import cross_entropy, lovasz_softmax
from rangeseg.teacher import pseudo_labels
from rangeseg.types import IGNORE, View

RESTS = {
    "distance": np.array([0.0, 0.0, 0.5, 1.0, np.nan], np.float16),
    "neighbours": np.array([0, 1, 3, 3, 0], np.uint8),
    "agreement": np.array([0, 1, 1, 2 / 3, 0], np.float32),
    "scans": np.array([0, 1, -10, 20, 0], np.int16),
    "kind": np.array([1, 2, 2, 2, 0], np.uint8),
}
LABEL = np.array([3, 3, 3, 4, IGNORE], np.uint8)


@pytest.mark.parametrize(("kind", "expected"), [
    ("none", [0, 1, 1, 1, 0]),
    ("distance", [0, 1, 0.5, 0.25, 0]),
    ("agreement", [0, 1 / 2, 3 / 4, 2 / 3 * 3 / 4, 0]),
    ("scans", [0, 2**-0.1, 0.5, 0.25, 0]),
    ("all", [0, 2**-0.1 / 2, 3 / 16, 1 / 32, 0]),
])  # fmt: skip
def test_weights_follow_what_labels_rest_on(kind: str, expected: list[float]) -> None:
    weight = CarriedWeights(kind, half_m=0.5)(RESTS, LABEL)
    np.testing.assert_allclose(weight, expected, rtol=1e-3)
    assert weight.dtype == np.float32


def test_a_label_that_was_carried_never_passes_for_a_persons_own() -> None:
    far = RESTS | {"distance": np.full(5, 1e4, np.float16)}
    weight = CarriedWeights("distance")(far, LABEL)
    assert (weight[1:4] > 0).all()
    assert weight[0] == weight[4] == 0


def test_balanced_classes_count_by_the_root_of_the_mean_over_their_points() -> None:
    label = np.repeat(np.array([1, 2, IGNORE], np.uint8), (900, 100, 7))
    rests = {"kind": np.where(label == IGNORE, 0, 2)}
    weight = CarriedWeights(balanced=True)(rests, label)
    np.testing.assert_allclose(weight, np.repeat([np.sqrt(500 / 900), 1, 0], (900, 100, 7)), rtol=1e-6)


@pytest.mark.parametrize("wrap", [False, True])
def test_edges_are_beside_another_class_or_a_jump_in_range(wrap: bool) -> None:
    rng = np.random.default_rng(0)
    label = rng.choice(np.array([1, 2, IGNORE], np.uint8), (6, 9), p=[0.5, 0.2, 0.3])
    metres = rng.choice(np.float32([0, 10, 10.9, 11.1]), (6, 9))
    weight = np.where(label == IGNORE, 0, rng.uniform(0.5, 1, (6, 9))).astype(np.float32)
    edge = np.zeros((6, 9), bool)
    for row, column in np.ndindex(6, 9):
        for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            r, c = row + down, column + right
            c = c % 9 if wrap else c
            if not (0 <= r < 6 and 0 <= c < 9):
                continue
            pair = sorted([metres[row, column], metres[r, c]])
            other = label[row, column] != label[r, c] and IGNORE not in (label[row, column], label[r, c])
            edge[row, column] |= other or (pair[0] > 0 and pair[1] > 1.1 * pair[0])
    assert edge.any()
    assert not edge.all()
    for more in (False, True):
        found = weigh_edges(weight, label, metres, more=more, wrap=wrap)
        np.testing.assert_allclose(found, np.where(edge == more, weight, weight / 4), rtol=1e-6)


def test_weights_go_where_their_points_go(tiny_kitti: Path, carried: Path) -> None:  # noqa: F811
    """Through dropped points, the range image and the batch: every labelled pixel has its label's weight."""
    source = CarriedLabels(
        SemanticKitti(tiny_kitti, labels=False), tiny_kitti, carried, weights=CarriedWeights("distance")
    )
    scan = source.scan(0)
    assert scan.carried is not None
    assert scan.label is not None
    assert set(np.round(np.unique(scan.carried), 2)) == {0, np.float32(0.57), np.float32(0.87)}
    assert scan.carried[600] == 0
    marked = replace(scan, remission=scan.carried)
    fewer = Augmentation(drop=0.5)(marked, np.random.default_rng(1))
    assert len(fewer) < len(scan)
    np.testing.assert_array_equal(fewer.carried, fewer.remission)


@pytest.mark.parametrize("edges", ["same", "less", "more"])
def test_batches_hold_them(tiny_config: Config, carried: Path, edges: str) -> None:  # noqa: F811
    config = with_data(tiny_config, carried=str(carried), carried_weight="distance", carried_edges=edges)
    labelled = TrainingData.open(Experiment(config)).labelled
    stream = Stream(labelled, batch=2, seed=0, stream=0, workers=0)
    view = next(stream).view
    assert view.carried is not None
    assert view.carried.dtype == torch.float32
    assert view.carried.shape == view.label.shape
    assert (view.carried[view.label == IGNORE] == 0).all()
    factor = {1.0, 0.25} if edges != "same" else {1.0}
    wanted = {round(w * f, 2) for w in (2**-0.2, 2**-0.8) for f in factor}
    assert {round(float(w), 2) for w in view.carried[view.carried > 0].unique()} <= wanted


def test_views_without_weights_join_those_with() -> None:
    plain, weighed = random_view(1), half_carried(2)
    joined = View.join([plain, weighed])
    assert joined.carried is not None
    assert (joined.carried[:2] == 0).all()
    assert torch.equal(joined.carried[2:], weighed.carried)
    assert View.join([plain, plain]).carried is None
    assert torch.equal(weighed.part(60, 8).carried, weighed.carried[..., [60, 61, 62, 63, 0, 1, 2, 3]])
    for bad in (weighed.carried[:1], weighed.carried[..., 1:]):
        with pytest.raises(ValueError, match=r"View\.carried has shape"):
            replace(weighed, carried=bad)


@pytest.mark.parametrize("term", ["shared", "own"])
@pytest.mark.parametrize("weight", [0.0, 0.2, 3.0])
def test_as_labels_they_share_the_mean_or_have_their_own(tiny_config: Config, term: str, weight: float) -> None:
    tiny_config.supervised.carried_weight, tiny_config.supervised.carried_term = weight, term
    made, view = trainer(tiny_config), half_carried(1)
    made.network.eval()
    logits, was = made.network(view.image), view.carried > 0
    own, other = view.label.masked_fill(was, IGNORE), view.label.masked_fill(~was, IGNORE)

    def both(label: torch.Tensor, pixel: torch.Tensor | None) -> torch.Tensor:
        return cross_entropy(logits, label, pixel=pixel) + lovasz_softmax(logits, label, pixel)

    if term == "own":
        expected = both(own, None) + weight * both(other, view.carried)
    else:
        expected = both(view.label if weight else own, torch.where(was, weight * view.carried, 1))
    torch.testing.assert_close(made.supervised_loss(view)["supervised"], expected)


def test_weights_of_one_are_the_plain_loss(tiny_config: Config) -> None:
    made, view = trainer(tiny_config), half_carried(1)
    made.network.eval()
    ones = replace(view, carried=(view.carried > 0).float())
    plain = made.supervised_loss(replace(view, carried=None))["supervised"]
    torch.testing.assert_close(made.supervised_loss(ones)["supervised"], plain)


def saying(probability: torch.Tensor) -> Any:
    """A teacher that always says the same."""
    return SimpleNamespace(logits=lambda image: probability.log())


def test_a_target_is_as_certain_as_its_label_counts() -> None:
    view = half_carried(1)
    (made,) = pseudo_labels(saying(torch.full((2, 5, 16, 64), 0.2)), view, labels=True)
    truth = torch.nn.functional.one_hot(view.label.where(view.label != IGNORE, 0), 5).movedim(-1, 1)
    share = torch.where(view.carried > 0, view.carried, 1)[:, None]
    expected = torch.where((view.label != IGNORE)[:, None], share * truth + (1 - share) * 0.2, 0.2)
    torch.testing.assert_close(made.target, expected)


def test_where_the_teacher_is_sure_it_is_not_corrected_save_by_a_person() -> None:
    view = half_carried(1)
    sure = torch.rand(2, 16, 64, generator=torch.Generator().manual_seed(4)) < 0.5
    known = torch.full((2, 5, 16, 64), 1e-9)
    known[:, 0] = torch.where(sure, 0.9, 0.6)
    known[:, 1] = 1 - known[:, 0]
    teacher = saying(known)
    (made,) = pseudo_labels(teacher, view, labels=True, unsure_below=0.7)
    (always,) = pseudo_labels(teacher, view, labels=True)
    kept = (sure & (view.carried > 0))[:, None]
    torch.testing.assert_close(made.target, torch.where(kept, known, always.target))
    assert (always.target - known).abs().max() > 0.1


def test_one_word_asks_only_where_the_teacher_is_unsure(tiny_config: Config, carried: Path) -> None:  # noqa: F811
    config = with_data(tiny_config, carried=str(carried), carried_as="targets", carried_where="unsure")
    config.consistency.threshold = 0.0  # every teacher is sure
    experiment = Experiment(config)
    data = TrainingData.open(experiment)
    made = trainer(config, network=experiment.make_network())
    view = View.stack([data.unlabelled.view(index, np.random.default_rng(0)) for index in (0, 2)])
    target, _ = made.targets(made.teacher, view, view)
    own = (view.label != IGNORE) & (view.carried == 0)
    changed = (target.target != made.teacher(view.image)).any(1)
    assert torch.equal(changed, own)
    config.consistency.threshold = 1.0  # none is
    target, _ = made.targets(made.teacher, view, view)
    assert torch.equal((target.target.amax(1) == 1), view.label != IGNORE)
