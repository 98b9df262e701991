"""Augmentation: a motion of the returns, the same for the same generator, nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import random_scan

from rangeseg.data.augment import Augmentation, Motion
from rangeseg.types import Scan

NOTHING = Augmentation(rotate_deg=0, flip_x=0, flip_y=0, scale=(1, 1), shift_m=0)


def draw_many(augmentation: Augmentation, count: int = 400) -> list[Motion]:
    rng = np.random.default_rng(3)
    return [augmentation.draw(rng) for _ in range(count)]


@pytest.fixture
def scan(rng: np.random.Generator) -> Scan:
    """With a ring, and in it a point at the origin, one that is nan and one that is infinite."""
    made = random_scan(rng)
    made.xyz[5] = 0
    made.xyz[6] = (1, np.nan, 2)
    made.xyz[7] = (np.inf, 0, 0)
    return replace(made, ring=np.arange(len(made), dtype=np.int32) % 64)


def test_the_same_generator_gives_the_same_scan(scan: Scan) -> None:
    augmentation = Augmentation(drop=0.5)
    first, again, other = (augmentation(scan, np.random.default_rng(seed)) for seed in (1, 1, 2))
    for name in ("xyz", "remission", "ring", "label"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert first.xyz.shape != other.xyz.shape or not np.array_equal(first.xyz, other.xyz)


def test_the_given_scan_stays_as_it_is(scan: Scan, rng: np.random.Generator) -> None:
    before = scan.xyz.copy(), scan.remission.copy()
    Augmentation(drop=0.9)(scan, rng)
    np.testing.assert_array_equal(scan.xyz, before[0])
    np.testing.assert_array_equal(scan.remission, before[1])


def test_returns_move_as_the_matrix_says_in_float64(scan: Scan, rng: np.random.Generator) -> None:
    motion = Augmentation(shift_m=2.0).draw(rng)
    moved = motion(scan).xyz
    returns = np.delete(np.arange(len(scan)), [5, 6, 7])
    expected = scan.xyz[returns].astype(np.float64) @ motion.matrix.T + motion.shift
    np.testing.assert_allclose(moved[returns], expected, atol=2e-5)
    assert np.abs(moved[returns] - scan.xyz[returns]).max() > 1


def test_no_returns_stay_what_they_are(scan: Scan, rng: np.random.Generator) -> None:
    moved = Augmentation(shift_m=5.0)(scan, rng)
    np.testing.assert_array_equal(moved.xyz[5:8], scan.xyz[5:8])


def test_what_is_switched_off_does_nothing(scan: Scan, rng: np.random.Generator) -> None:
    np.testing.assert_array_equal(NOTHING(scan, rng).xyz, scan.xyz)


def test_without_flips_and_scale_it_is_a_rotation_about_z_of_at_most_the_angle() -> None:
    for motion in draw_many(replace(NOTHING, rotate_deg=30)):
        np.testing.assert_allclose(motion.matrix @ motion.matrix.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(motion.matrix) == pytest.approx(1)
        assert motion.matrix[2, 2] == 1
        assert abs(np.rad2deg(np.arctan2(motion.matrix[1, 0], motion.matrix[0, 0]))) <= 30
    angles = [np.arctan2(m.matrix[1, 0], m.matrix[0, 0]) for m in draw_many(replace(NOTHING, rotate_deg=180))]
    assert min(angles) < -3
    assert max(angles) > 3


@pytest.mark.parametrize("axis", [0, 1])
def test_a_flip_negates_its_axis_as_often_as_asked(axis: int) -> None:
    motions = draw_many(replace(NOTHING, **{("flip_x", "flip_y")[axis]: 0.25}))
    signs = np.array([np.diag(motion.matrix) for motion in motions])
    assert 0.15 < (signs[:, axis] == -1).mean() < 0.35
    assert (np.delete(signs, axis, axis=1) == 1).all()


def test_scale_is_one_factor_within_its_bounds_and_shift_has_its_spread() -> None:
    motions = draw_many(replace(NOTHING, scale=(0.9, 1.2), shift_m=0.5))
    factors = np.array([np.diag(motion.matrix) for motion in motions])
    assert (factors == factors[:, :1]).all()
    assert 0.9 <= factors.min() < 0.95
    assert 1.15 < factors.max() <= 1.2
    np.testing.assert_allclose(np.std([motion.shift for motion in motions], axis=0), 0.5, rtol=0.15)


def test_dropped_points_take_their_remission_ring_and_label_along(scan: Scan) -> None:
    scan = replace(scan, remission=np.arange(len(scan), dtype=np.float32))
    fewer = Motion(np.eye(3), np.zeros(3), dropped=0.4, seed=9)(scan)
    kept = fewer.remission.astype(int)
    assert 0.55 * len(scan) < len(fewer) < 0.65 * len(scan)
    assert (np.diff(kept) > 0).all()
    np.testing.assert_array_equal(fewer.xyz, scan.xyz[kept])
    assert scan.ring is not None
    assert scan.label is not None
    np.testing.assert_array_equal(fewer.ring, scan.ring[kept])
    np.testing.assert_array_equal(fewer.label, scan.label[kept])


def test_points_are_dropped_independently_of_each_other_and_by_seed() -> None:
    scan = Scan(np.ones((20000, 3), np.float32), np.arange(20000, dtype=np.float32))
    alive = np.zeros((2, len(scan)), bool)
    for row, seed in enumerate((1, 2)):
        alive[row, Motion(np.eye(3), np.zeros(3), 0.5, seed)(scan).remission.astype(int)] = True
    for a, b in ((alive[0], alive[1]), (alive[0, 1:], alive[0, :-1])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.03


def test_at_least_one_point_remains(rng: np.random.Generator) -> None:
    scan = Scan(np.ones((2, 3), np.float32), np.ones(2, np.float32), label=np.array([3, 4]))
    augmentation = Augmentation(drop=0.999)
    assert min(len(augmentation(scan, rng)) for _ in range(200)) == 1


def test_switching_one_kind_off_leaves_the_other_draws() -> None:
    all_on, no_drop = Augmentation(drop=0.5), Augmentation(rotate_deg=0, flip_x=0, flip_y=0, drop=0)
    for a, b in zip(draw_many(all_on, 5), draw_many(no_drop, 5), strict=True):
        assert a.matrix[2, 2] == b.matrix[2, 2]
        np.testing.assert_array_equal(a.shift, b.shift)


def test_fields_that_do_not_change_are_shared(scan: Scan, rng: np.random.Generator) -> None:
    moved = Augmentation()(scan, rng)
    assert moved.remission is scan.remission
    assert moved.label is scan.label


@pytest.mark.parametrize(
    "wrong",
    [
        {"flip_x": 1.5},
        {"flip_y": -0.1},
        {"scale": (1.1, 0.9)},
        {"scale": (0, 1)},
        {"scale": (1,)},
        {"remission_gain": (1.1, 0.9)},
        {"remission_gain": (0, 1)},
        {"remission_gain": (1, float("inf"))},
        {"remission_gain": (1,)},
        {"rotate_deg": -1},
        {"rotate_deg": float("nan")},
        {"shift_m": -0.1},
        {"drop": 1.0},
        {"drop": float("nan")},
    ],
)
def test_wrong_settings_say_what_to_give(wrong: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .*; give"):
        Augmentation(**wrong)
