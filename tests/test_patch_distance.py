"""Distances between patches, against loops over pixels."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from rangeseg.analysis.patch_distance import Anchors, draw_anchors, nearest, neighbours, separability
from rangeseg.types import IGNORE, View

H, W, C = 7, 9, 2


def view(seed: int = 0, *, holes: float = 0.2, height: int = H, width: int = W) -> View:
    rng = torch.Generator().manual_seed(seed)
    valid = torch.rand(height, width, generator=rng) >= holes
    image = torch.randn(C, height, width, generator=rng) * valid
    label = torch.randint(3, (height, width), generator=rng).where(valid, IGNORE)
    label[:, : width // 2] = label[:, : width // 2].where(label[:, : width // 2] == IGNORE, 0)  # a quiet side
    return View(image, valid, label)


def at(field: np.ndarray, y: int, x: int, wrap: bool) -> np.ndarray | None:
    """The value of a pixel, None outside."""
    if wrap:
        x %= field.shape[-1]
    return field[..., y, x] if 0 <= y < field.shape[-2] and 0 <= x < field.shape[-1] else None


def by_loops(one: View, patch: int, wrap: bool) -> list[tuple[float, int, tuple[int, int], bool]]:
    image, valid, label = one.image.double().numpy(), one.valid.numpy(), one.label.numpy()
    pairs = []
    for down, right in ((0, 1), (1, 0)):
        for y, x in product(range(H), range(W)):
            other = at(label, y + down, x + right, wrap)
            if other is not None and label[y, x] != IGNORE and other != IGNORE:
                pairs.append((down, right, y, x, bool(label[y, x] != other)))
    edges = {(y, x) for *_, y, x, differ in pairs if differ}
    edges |= {(y + down, (x + right) % W) for down, right, y, x, differ in pairs if differ}

    def depth(y: int, x: int) -> int:
        shift = [min(abs(x - ex), W - abs(x - ex)) if wrap else abs(x - ex) for _, ex in edges]
        return min(max(abs(y - ey), dx) for (ey, _), dx in zip(edges, shift, strict=True))

    found = []
    half = patch // 2
    for down, right, y, x, differ in pairs:
        squares = []
        for dy, dx in product(range(-half, half + 1), repeat=2):
            here = [at(field, y + dy, x + dx, wrap) for field in (valid, image)]
            there = [at(field, y + dy + down, x + dx + right, wrap) for field in (valid, image)]
            if here[0] is not None and there[0] is not None and here[0] and there[0]:
                squares.append(np.square(here[1] - there[1]).mean())
        if 2 * len(squares) >= patch * patch:
            place = 0 if differ else 1 + min(depth(y, x), depth(y + down, (x + right) % W))
            ids = (int(label[y, x]), int(at(label, y + down, x + right, wrap)))
            found.append((np.sqrt(np.mean(squares)), place, ids, down == 1))
    return found


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("patch", [1, 3, 5])
def test_neighbours_are_those_of_a_loop_over_pixels(patch: int, wrap: bool) -> None:
    made, expected = neighbours(view(), patch, wrap=wrap), by_loops(view(), patch, wrap)
    assert len(expected) > 10
    np.testing.assert_allclose(made.distance, [pair[0] for pair in expected], atol=1e-9)
    for field, part in ((made.from_boundary, 1), (made.labels, 2), (made.below, 3)):
        np.testing.assert_array_equal(field, [pair[part] for pair in expected])


def test_a_constant_changes_nothing_and_a_factor_scales() -> None:
    one, base = view(), neighbours(view(), 3).distance
    shifted = View((one.image + 5) * one.valid, one.valid, one.label)
    np.testing.assert_allclose(neighbours(shifted, 3).distance, base, atol=1e-5)
    np.testing.assert_allclose(neighbours(View(one.image * 3, one.valid, one.label), 3).distance, 3 * base, atol=1e-6)


def test_where_nothing_changes_the_distance_is_zero_after_large_values() -> None:
    image = torch.zeros(1, 40, 40)
    image[:, :5] = 1e4 * torch.randn(1, 5, 40, generator=torch.Generator().manual_seed(0))
    one = View(image, torch.ones(40, 40, dtype=torch.bool), torch.zeros(40, 40, dtype=torch.int64))
    assert np.isfinite(neighbours(one, 3).distance).all()


def test_a_turned_cylinder_has_the_same_distances() -> None:
    one = view()
    turned = View(*(field.roll(4, -1) for field in (one.image, one.valid, one.label)))
    a, b = (np.sort(neighbours(v, 3, wrap=True).distance) for v in (one, turned))
    np.testing.assert_allclose(a, b, atol=1e-9)


def test_an_image_of_its_labels_shows_every_boundary_and_noise_shows_none() -> None:
    label = torch.zeros(20, 20, dtype=torch.int64)
    label[:, 10:] = 1
    valid = torch.ones(20, 20, dtype=torch.bool)
    sharp = neighbours(View(label[None].float(), valid, label), 1)
    assert separability(sharp.distance, sharp.from_boundary == 0) == 1
    noise = torch.randn(3, 200, 200, generator=torch.Generator().manual_seed(0))
    label = torch.zeros(200, 200, dtype=torch.int64)
    label[:, ::8] = 1
    flat = neighbours(View(noise, torch.ones(200, 200, dtype=torch.bool), label), 3)
    assert separability(flat.distance, flat.from_boundary == 0) == pytest.approx(0.5, abs=0.02)


def test_separability_is_the_share_of_ordered_pairs() -> None:
    rng = np.random.default_rng(0)
    distance, boundary = rng.integers(0, 5, 60).astype(float), rng.random(60) < 0.3
    wins = [(b > a) + (b == a) / 2 for a, b in product(distance[~boundary], distance[boundary])]
    assert separability(distance, boundary) == pytest.approx(np.mean(wins))
    assert np.isnan(separability(distance, np.zeros(60, bool)))
    assert np.isnan(separability(distance, np.ones(60, bool)))


def test_a_view_of_one_class_has_no_boundary() -> None:
    one = view()
    made = neighbours(View(one.image, one.valid, torch.zeros_like(one.label)), 3)
    assert (made.from_boundary > H + W).all()


def anchors(wrap: bool, patch: int = 3) -> Anchors:
    rng = np.random.default_rng(3)
    return Anchors.join([draw_anchors(view(seed), patch, 20, rng, group=seed // 2, wrap=wrap) for seed in range(6)])


@pytest.mark.parametrize("wrap", [True, False])
def test_nearest_patches_are_those_of_a_loop(wrap: bool) -> None:
    drawn = anchors(wrap)
    made = nearest(drawn, block=7)
    a, p = drawn.valid.shape
    values = drawn.values.reshape(a, C, p).astype(float)
    for i in range(a):
        best = {True: np.inf, False: np.inf}
        for j in range(a):
            both = (drawn.valid[i] > 0) & (drawn.valid[j] > 0)
            if drawn.group[i] != drawn.group[j] and 2 * both.sum() >= p:
                distance = np.sqrt(np.square(values[i] - values[j])[:, both].mean())
                alike = bool(drawn.label[i] == drawn.label[j])
                best[alike] = min(best[alike], distance)
        assert made.same[i] == pytest.approx(best[True], abs=1e-3)
        assert made.other[i] == pytest.approx(best[False], abs=1e-3)
        near = (drawn.group != drawn.group[i]) & (2 * drawn.valid @ drawn.valid[i] >= p)
        alike = drawn.label == drawn.label[i]
        assert made.compared[i].tolist() == [np.count_nonzero(near & alike), np.count_nonzero(near & ~alike)]
    assert np.isfinite(made.same).any()


def test_where_classes_do_not_show_the_nearest_of_as_many_is_a_coin_flip() -> None:
    """Of patches of noise, a tenth of one class: of all, the nearest is of the other nine times in ten."""
    rng = np.random.default_rng(0)
    count = 600
    label = (np.arange(count) % 10 != 0).astype(np.int64)
    values = rng.standard_normal((count, 9)).astype(np.float32)
    noise = Anchors(values, np.ones((count, 9), np.float32), label, rng.integers(0, 2, count))
    rare = label == 0
    of_all, even = nearest(noise), nearest(noise, even=rng, block=100)
    assert (of_all.same < of_all.other)[rare].mean() < 0.25
    assert (of_all.same < of_all.other)[~rare].mean() > 0.75
    assert (even.same < even.other).mean() == pytest.approx(0.5, abs=0.07)
    assert (even.compared[:, 0] == even.compared[:, 1]).all()
    np.testing.assert_array_equal(even.compared[:, 0], of_all.compared.min(1))


def test_as_many_are_drawn_from_those_that_may_be_compared_and_with_equal_chance() -> None:
    """One of the same class, four others at distances 1 to 4, and a nearer one of the anchor's own scene."""
    values = np.array([[0], [2.5], [1], [2], [3], [4], [0.1]], np.float32)
    label, group = np.array([0, 0, 1, 1, 1, 1, 1]), np.array([0, 1, 1, 1, 1, 1, 0])
    anchors = Anchors(values, np.ones((7, 1), np.float32), label, group)
    rng = np.random.default_rng(0)
    drawn = [nearest(anchors, even=rng).other[0] for _ in range(800)]
    assert set(drawn) == {1, 2, 3, 4}
    for distance in (1, 2, 3, 4):
        assert drawn.count(distance) / 800 == pytest.approx(0.25, abs=0.06)
    same = {nearest(anchors, even=rng).same[0] for _ in range(10)}
    assert same == {2.5}


def test_an_anchor_without_others_to_compare_has_none() -> None:
    anchors = Anchors(
        np.zeros((3, 1), np.float32), np.ones((3, 1), np.float32), np.array([0, 0, 1]), np.array([0, 1, 0])
    )
    even = nearest(anchors, even=np.random.default_rng(0))
    assert even.compared[0].tolist() == [0, 0]
    assert np.isinf([even.same[0], even.other[0]]).all()


@pytest.mark.parametrize("wrap", [True, False])
def test_anchors_are_patches_around_labelled_pixels(wrap: bool) -> None:
    one = view(1)
    drawn = draw_anchors(one, 3, 1000, np.random.default_rng(0), group=4, wrap=wrap)
    image, valid, label = one.image.numpy(), one.valid.numpy(), one.label.numpy()
    expected = []
    for y, x in product(range(H), range(W)):
        seen = [at(valid, y + dy, x + dx, wrap) for dy, dx in product((-1, 0, 1), repeat=2)]
        if label[y, x] != IGNORE and 2 * sum(bool(s) for s in seen) >= 9:
            center = image[:, y, x]
            expected.append((int(label[y, x]), *np.round(center, 4)))
    found = [
        (int(label), *np.round(patch.reshape(C, 9)[:, 4], 4))
        for label, patch in zip(drawn.label, drawn.values, strict=True)
    ]
    assert sorted(found) == sorted(expected)
    assert (drawn.group == 4).all()


def test_a_view_without_labels_gives_nothing() -> None:
    one = view()
    blank = View(one.image, one.valid, torch.full_like(one.label, IGNORE))
    assert len(neighbours(blank, 3).distance) == 0
    assert len(draw_anchors(blank, 3, 5, np.random.default_rng(0), group=0).label) == 0


@pytest.mark.parametrize("patch", [0, 2, 9])
def test_patches_must_be_odd_and_fit(patch: int) -> None:
    with pytest.raises(ValueError, match=r"patch is \d for views of 7 x 9; give an odd number"):
        neighbours(view(), patch)
    with pytest.raises(ValueError, match="give an odd number"):
        draw_anchors(view(), patch, 3, np.random.default_rng(0), group=0)
