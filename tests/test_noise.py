"""Noise is a function of the generator's state, and of the distribution it says."""

from __future__ import annotations

import pytest
import torch

from rangeseg.noise import beta, normal, uniform


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(2)


def test_one_integer_is_drawn_whatever_the_shape() -> None:
    states = []
    for draw in (normal, uniform):
        for shape in ((3,), (4, 100, 200)):
            rng = seeded()
            assert draw(rng, shape).shape == shape
            states.append(rng.get_state())
    rng = seeded()
    assert beta(rng, (5, 1), 0.1).shape == (5, 1)
    assert all(torch.equal(rng.get_state(), state) for state in states)


def test_the_same_state_gives_the_same_numbers_and_torchs_own_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for draw in (normal, uniform, lambda rng, shape: beta(rng, shape, 0.3)):
        rng = seeded()
        first, second = draw(rng, (50,)), draw(rng, (50,))
        assert torch.equal(first, draw(seeded(), (50,)))
        assert not torch.equal(first, second)
        assert first.dtype == torch.float32
    assert torch.equal(before, torch.get_rng_state())


def test_moments() -> None:
    gauss, flat = normal(seeded(), (200_000,)), uniform(seeded(), (200_000,))
    assert gauss.mean().item() == pytest.approx(0, abs=0.01)
    assert gauss.std().item() == pytest.approx(1, abs=0.01)
    assert flat.mean().item() == pytest.approx(0.5, abs=0.005)
    assert flat.var().item() == pytest.approx(1 / 12, abs=0.002)


@pytest.mark.parametrize("alpha", [0.1, 1.0, 4.0])
def test_moments_of_beta(alpha: float) -> None:
    drawn = beta(seeded(), (100_000,), alpha)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.005)
    assert drawn.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=0.003)
