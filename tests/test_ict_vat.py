"""ICT and VAT against their formulas in float64 NumPy, for a teacher whose gradient is known in closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from perturbing import perturb
from torch import Generator, Tensor, nn

from rangeseg.noise import beta, normal
from rangeseg.perturbations import ICT, VAT, ClassMix, Compose, CutMix
from rangeseg.teacher import EmaTeacher
from rangeseg.types import IGNORE, PseudoLabelled, View

BATCH, CHANNELS, CLASSES, HEIGHT, WIDTH = 3, 4, 5, 6, 9


def seeded(seed: int = 5) -> Generator:
    return Generator().manual_seed(seed)


def views(seed: int, density: float = 0.7) -> View:
    rng = seeded(seed)
    valid = torch.rand(BATCH, HEIGHT, WIDTH, generator=rng) < density
    image = torch.randn(BATCH, CHANNELS, HEIGHT, WIDTH, generator=rng, dtype=torch.float64) * valid[:, None]
    return View(image, valid, torch.full((BATCH, HEIGHT, WIDTH), IGNORE))


def linear() -> nn.Conv2d:
    network, rng = nn.Conv2d(CHANNELS, CLASSES, 1).double(), seeded(8)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
    return network


class Rolled(nn.Module):
    """Says of every pixel what a linear network says of its left neighbour."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = linear()

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W)."""
        logits: Tensor = self.linear(image.roll(1, 3))
        return logits


def apply(perturbation: Any, network: nn.Module, a: View, b: View | None = None, **options: bool) -> PseudoLabelled:
    return perturb(perturbation, seeded(), a, b or views(2), EmaTeacher(network), **options)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def answer(network: nn.Conv2d, image: np.ndarray) -> np.ndarray:
    weight, bias = (parameter.detach().numpy() for parameter in network.parameters())
    return np.einsum("kc,bchw->bkhw", weight[:, :, 0, 0], image) + bias[:, None, None]


class TestICT:
    def expected(self, alpha: float) -> tuple[np.ndarray, ...]:
        a, b, network = views(1), views(2), linear()
        share = beta(seeded(), (BATCH, 1, 1, 1), alpha).double().numpy()
        p, q = (softmax(answer(network, view.image.numpy())) for view in (a, b))
        counted = (1 - share[:, 0]) * a.valid.numpy() + share[:, 0] * b.valid.numpy() >= 0.5
        image = ((1 - share) * a.image.numpy() + share * b.image.numpy()) * counted[:, None]
        return image, (1 - share) * p + share * q, counted

    @pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
    def test_everything_is_averaged_by_one_share(self, alpha: float) -> None:
        perturbed = apply(ICT(alpha=alpha), linear(), views(1))
        image, target, counted = self.expected(alpha)
        np.testing.assert_allclose(perturbed.image, image, atol=1e-6)
        np.testing.assert_allclose(perturbed.target, target, atol=1e-6)
        np.testing.assert_array_equal(perturbed.valid, counted)

    def test_logits_are_averaged_themselves(self) -> None:
        perturbed = apply(ICT(alpha=1.0), linear(), views(1), logits=True)
        share = beta(seeded(), (BATCH, 1, 1, 1), 1.0).double().numpy()
        s, t = (answer(linear(), views(seed).image.numpy()) for seed in (1, 2))
        assert perturbed.target_logits is not None
        np.testing.assert_allclose(perturbed.target_logits, (1 - share) * s + share * t, atol=1e-6)
        assert (perturbed.target_logits.softmax(1) - perturbed.target).abs().max() > 0.01

    def test_confidence_of_the_average_is_never_more_than_the_average_confidence(self) -> None:
        perturbed = apply(ICT(alpha=1.0), linear(), views(1))
        share = beta(seeded(), (BATCH, 1, 1, 1), 1.0).double().numpy()[:, 0]
        p, q = (softmax(answer(linear(), views(seed).image.numpy())).max(1) for seed in (1, 2))
        assert (perturbed.target.amax(1).numpy() <= (1 - share) * p + share * q + 1e-6).all()

    @pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan")])
    def test_bad_settings_say_what_to_do(self, alpha: float) -> None:
        with pytest.raises(ValueError, match=r"ICT got alpha=.*; give"):
            ICT(alpha=alpha)


def slope_kld(p: np.ndarray, q: np.ndarray, s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return p - q


def slope_var(p: np.ndarray, q: np.ndarray, s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return 2 * p * (p - q - (p * (p - q)).sum(1, keepdims=True))


def slope_logits_var(p: np.ndarray, q: np.ndarray, s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return 2 * (s - t) / np.sqrt(CLASSES)


Slope = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
SLOPES: dict[str, Slope] = {"kld": slope_kld, "var": slope_var, "logits_var": slope_logits_var}
"""Gradients of the consistency losses by the student's logits s."""


def unit(field: np.ndarray) -> np.ndarray:
    return field / np.sqrt((field**2).sum((1, 2, 3), keepdims=True))


def direction(network: nn.Conv2d, view: View, kind: str, xi: float, roll: int) -> np.ndarray:
    image, valid = view.image.numpy(), view.valid.numpy()[:, None]
    noise = normal(seeded(), image.shape).double().numpy()
    step = unit(noise * valid) * xi * HEIGHT * WIDTH / 1000
    s, t = (answer(network, np.roll(seen, roll, 3)) for seen in (image + step, image))
    slope = SLOPES[kind](softmax(s), softmax(t), s, t) * valid
    gradient = np.einsum("kc,bkhw->bchw", network.weight.detach().numpy()[:, :, 0, 0], slope)
    return unit(np.roll(gradient, -roll, 3) * valid)


def contrast(view: View, wrap: bool) -> np.ndarray:
    """Pixel by pixel: the sum of squared central differences of each view."""
    image, valid = view.image.numpy(), view.valid.numpy()
    total = np.zeros(BATCH)
    for b in range(BATCH):
        for i in range(HEIGHT):
            for j in range(WIDTH):
                if 0 < i < HEIGHT - 1 and valid[b, i - 1, j] and valid[b, i + 1, j]:
                    total[b] += ((image[b, :, i + 1, j] - image[b, :, i - 1, j]) ** 2).sum()
                left, right = j - 1, (j + 1) % WIDTH
                if (wrap or 0 < j < WIDTH - 1) and valid[b, i, left] and valid[b, i, right]:
                    total[b] += ((image[b, :, i, right] - image[b, :, i, left]) ** 2).sum()
    return total


class TestVAT:
    @pytest.mark.parametrize("kind", SLOPES)
    @pytest.mark.parametrize("xi", [1e-6, 1e-3, 1.0])
    @pytest.mark.parametrize("density", [0.7, 1.1])
    @pytest.mark.parametrize("roll", [0, 1])
    def test_the_direction_is_one_power_iterations(self, kind: str, xi: float, density: float, roll: int) -> None:
        view = views(1, density)
        perturbed = apply(VAT(kind=kind, xi=xi, adaptive=False, radius=0.5), Rolled() if roll else linear(), view)
        count = view.valid.sum((1, 2)).double().numpy()
        reach = 0.5 * np.sqrt(CHANNELS * count)[:, None, None, None]
        expected = view.image.numpy() + reach * direction(linear(), view, kind, xi, roll)
        np.testing.assert_allclose(perturbed.image, expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("wrap", [True, False])
    @pytest.mark.parametrize("density", [0.7, 1.1])
    def test_the_adaptive_radius_is_half_the_norm_of_the_central_differences(self, density: float, wrap: bool) -> None:
        view = views(1, density)
        perturbed = apply(VAT(radius=2.0, wrap=wrap), linear(), view)
        moved = (perturbed.image - view.image).square().sum((1, 2, 3)).sqrt()
        np.testing.assert_allclose(moved, 2.0 / 2 * np.sqrt(contrast(view, wrap)), rtol=1e-6)

    def test_target_and_validity_are_those_of_the_view_as_it_is(self) -> None:
        view = views(1)
        perturbed = apply(VAT(), linear(), view)
        assert torch.equal(perturbed.valid, view.valid)
        np.testing.assert_allclose(perturbed.target, softmax(answer(linear(), view.image.numpy())), atol=1e-9)

    def test_the_direction_hurts_more_than_any_random_one(self) -> None:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(CHANNELS, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, CLASSES, 1)).double()
        view = views(1)
        perturbed = apply(VAT(adaptive=False, radius=0.01), network, view)
        step = perturbed.image - view.image

        def damage(step: Tensor) -> Tensor:
            with torch.no_grad():
                p, q = network(view.image + step).log_softmax(1), network(view.image).softmax(1)
            return ((q * (q.log() - p)).sum(1) * view.valid).sum((1, 2))

        for seed in range(20):
            other = torch.randn(step.shape, generator=seeded(seed), dtype=torch.float64) * view.valid[:, None]
            length = step.square().sum((1, 2, 3), keepdim=True).sqrt()
            other *= length / other.square().sum((1, 2, 3), keepdim=True).sqrt()
            assert (damage(step) > damage(other)).all()

    def test_the_network_is_in_eval_mode_meanwhile_and_keeps_nothing(self) -> None:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(CHANNELS, CLASSES, 1), nn.BatchNorm2d(CLASSES), nn.Dropout(0.5)).double()
        teacher = EmaTeacher(network, mode="train")
        question = PseudoLabelled(views(1).image, torch.zeros(0), None, views(1).valid)
        before = {key: value.clone() for key, value in teacher.state_dict().items()}
        one, other = (VAT().with_network(teacher.network).perturb(seeded(), question).image for _ in range(2))
        assert torch.equal(one, other)  # dropout would differ
        assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())
        assert all(module.training for module in teacher.network.modules())
        assert not one.requires_grad

    def test_it_works_where_gradients_are_off(self) -> None:
        with torch.no_grad():
            off = apply(VAT(), linear(), views(1)).image
        assert torch.equal(off, apply(VAT(), linear(), views(1)).image)

    def test_autocast_does_not_change_the_direction(self) -> None:
        a = views(1)
        view = View(a.image.float(), a.valid, a.label)
        question = PseudoLabelled(view.image, torch.zeros(0), None, view.valid)
        teacher = EmaTeacher(linear().float())
        exact = VAT().with_network(teacher.network).perturb(seeded(), question).image
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = VAT().with_network(teacher.network).perturb(seeded(), question).image
        torch.testing.assert_close(mixed, exact)

    def test_an_empty_view_stays_empty(self) -> None:
        a = views(1, density=0.0)
        for adaptive in (True, False):
            assert (apply(VAT(adaptive=adaptive), linear(), a).image == 0).all()

    def test_on_top_of_a_mix_the_mixed_view_is_moved(self) -> None:
        mixed = apply(CutMix(), linear(), views(1))
        both = apply(Compose(CutMix(), (VAT(),)), linear(), views(1))
        assert torch.equal(both.target, mixed.target)
        assert torch.equal(both.valid, mixed.valid)
        moved = (both.image - mixed.image).abs().sum(1) > 0
        assert torch.equal(moved, mixed.valid)

    @pytest.mark.parametrize("bad", [{"radius": 0.0}, {"xi": -1.0}, {"kind": "ce"}, {"kind": "l2"}])
    def test_bad_settings_say_what_to_do(self, bad: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"VAT got \w+=.*; (give|choose)"):
            VAT(**bad)


def test_classmix_pastes_whole_classes_of_the_teachers_answer_to_b() -> None:
    a, b, network = views(1), views(2), linear()
    perturbed = apply(ClassMix(), network, a, b)
    pasted = (perturbed.image == b.image).all(1).numpy() & b.valid.numpy()
    label = answer(network, b.image.numpy()).argmax(1)
    for taken, view, there in zip(pasted, label, b.valid.numpy(), strict=True):
        chosen = set(view[taken])
        assert len(chosen) == (len(set(view[there])) + 1) // 2
        np.testing.assert_array_equal(taken, np.isin(view, list(chosen)) & there)
