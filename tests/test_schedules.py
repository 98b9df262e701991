"""Schedules against their formulas and against torch's own one-cycle."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rangeseg.schedules import SCHEDULES, constant, one_cycle, poly_decay, sigmoid_rampup


def test_rampup_is_the_formula_and_stays_at_one() -> None:
    steps = np.arange(0, 150)
    expected = np.exp(-5 * (1 - np.minimum(steps, 100) / 100) ** 2)
    np.testing.assert_allclose([sigmoid_rampup(int(s), 100) for s in steps], expected, rtol=1e-14)
    assert sigmoid_rampup(100, 100) == sigmoid_rampup(10**9, 100) == 1


@pytest.mark.parametrize("length", [0, -1])
def test_rampup_of_no_length_is_off(length: int) -> None:
    assert sigmoid_rampup(0, length) == 1


def test_poly_is_the_formula_and_ends_at_zero() -> None:
    expected = (1 - np.arange(101) / 100) ** 0.9
    np.testing.assert_allclose([poly_decay(s, 100) for s in range(101)], expected, rtol=1e-14)
    assert poly_decay(50, 100, power=1) == 0.5
    assert poly_decay(150, 100) == 0


def test_one_cycle_equals_torchs() -> None:
    # torch peaks at step 0.3 T - 1 and ends at T - 1.
    total = 200
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=1.0,
        total_steps=total,
        pct_start=0.3,
        div_factor=25,
        final_div_factor=400,
        cycle_momentum=False,
    )
    for step in range(total):
        ours = one_cycle(step, total - 1, warmup=(0.3 * total - 1) / (total - 1))
        assert ours == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        if step < total - 1:
            scheduler.step()


def test_one_cycle_goes_up_then_down_between_its_ends() -> None:
    values = np.array([one_cycle(s, 1000) for s in range(1001)])
    assert values[0] == pytest.approx(1 / 25)
    assert values[300] == pytest.approx(1)
    assert values[1000] == one_cycle(2000, 1000) == pytest.approx(1e-4)
    assert (np.diff(values[:301]) > 0).all()
    assert (np.diff(values[300:]) < 0).all()


@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test_one_cycle_may_lack_a_side(warmup: float) -> None:
    values = [one_cycle(s, 10, warmup=warmup) for s in range(11)]
    assert max(values) == pytest.approx(1)
    assert values == sorted(values, reverse=warmup == 0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_is_a_multiplier(name: str) -> None:
    values = [SCHEDULES[name](step, 50) for step in range(60)]
    assert all(isinstance(v, float) and 0 <= v <= 1 for v in values)
    assert max(values) == pytest.approx(1)
    assert values[50:] == [values[50]] * 10


def test_constant_is_one() -> None:
    assert constant(3, 7) == 1
