"""Turns, mirrorings and worse sensors: what the student sees is what the projection gives for the changed scan."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from perturbing import perturb
from torch import Generator, Tensor, nn

from rangeseg.perturbations import Channels, Geometric, Jitter
from rangeseg.projection.spherical import SphericalProjection
from rangeseg.teacher import EmaTeacher
from rangeseg.types import IGNORE, PseudoLabelled, Scan, View

BATCH, CLASSES, HEIGHT, WIDTH = 3, 4, 8, 24
CHANNELS = Channels(("range", "x", "y", "z", "remission"), (12.1, 0.4, -0.3, -1.0, 0.2), (9.0, 12.0, 11.0, 0.9, 0.16))
UP, DOWN = np.deg2rad(3.0), np.deg2rad(-25.0)


def seeded(seed: int = 5) -> Generator:
    return Generator().manual_seed(seed)


def scan(seed: int) -> Scan:
    """One point in the middle of four pixels out of five."""
    rng = np.random.default_rng(seed)
    row, column = np.divmod(np.flatnonzero(rng.random(HEIGHT * WIDTH) < 0.8), WIDTH)
    azimuth = np.pi * (1 - 2 * (column + 0.5) / WIDTH)
    inclination = UP - (row + 0.5) / HEIGHT * (UP - DOWN)
    ray = [np.cos(inclination) * np.cos(azimuth), np.cos(inclination) * np.sin(azimuth), np.sin(inclination)]
    xyz = rng.uniform(2, 50, len(row))[:, None] * np.stack(ray, 1)
    return Scan(xyz.astype(np.float32), rng.random(len(row)).astype(np.float32))


def view(scan: Scan) -> View:
    return SphericalProjection(HEIGHT, WIDTH, 3.0, -25.0)(scan).view(CHANNELS.names, CHANNELS.mean, CHANNELS.std)


def views() -> View:
    return View.stack([view(scan(seed)) for seed in range(BATCH)])


def moved(scan: Scan, shift: int, flip: bool) -> Scan:
    """Mirrored (y to -y) where `flip`, then turned by `shift` columns to the right."""
    x, y, z = scan.xyz.astype(np.float64).T
    y = -y if flip else y
    angle = -2 * np.pi * shift / WIDTH
    xyz = np.stack([np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y, z], 1)
    return Scan(xyz.astype(np.float32), scan.remission)


class Cylinder(nn.Module):
    """A network that turns with its input: it pads circularly, and its weights are mirror images of themselves."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        rng = seeded(3)
        weight = torch.randn(CLASSES, channels, 3, 3, generator=rng)
        self.weight = nn.Parameter(weight + weight.flip(3))

    def forward(self, image: Tensor) -> Tensor:
        return nn.functional.conv2d(
            nn.functional.pad(image, (1, 1, 0, 0), mode="circular"), self.weight, padding=(1, 0)
        )


def apply(perturbation: Any, a: View, seed: int = 5, **options: bool) -> PseudoLabelled:
    return perturb(perturbation, seeded(seed), a, a, EmaTeacher(Cylinder(a.image.shape[1])), **options)


class TestGeometric:
    @pytest.mark.parametrize("shift", [0, 1, 7, WIDTH - 1])
    @pytest.mark.parametrize("flip", [True, False])
    def test_the_moved_view_is_the_view_of_the_moved_scan(self, shift: int, flip: bool) -> None:
        a = views()
        question = PseudoLabelled(a.image, a.image, a.image, a.valid)
        shifts, flips = torch.full((BATCH,), shift), torch.full((BATCH,), flip)
        perturbed = Geometric(wrap=True, channels=CHANNELS).move(question, shifts, flips)
        for i in range(BATCH):
            expected = view(moved(scan(i), shift, flip))
            assert torch.equal(perturbed.valid[i], expected.valid)
            torch.testing.assert_close(perturbed.image[i], expected.image, atol=2e-6, rtol=1e-5)

    @pytest.mark.parametrize("shift", [0, 5])
    @pytest.mark.parametrize("flip", [True, False])
    def test_all_fields_are_moved_to_the_bit_and_each_view_by_its_own(self, shift: int, flip: bool) -> None:
        a = views()
        question = PseudoLabelled(a.image, a.image + 1, a.image + 2, a.valid)
        shifts, flips = torch.tensor([shift, 0, 3]), torch.tensor([flip, True, False])
        perturbed = Geometric(wrap=True).move(question, shifts, flips)
        for field in ("image", "target", "target_logits", "valid"):
            for i in range(BATCH):
                whole = getattr(question, field)[i].numpy()
                expected = np.roll(whole[..., ::-1] if flips[i] else whole, int(shifts[i]), -1)
                np.testing.assert_array_equal(getattr(perturbed, field)[i], expected)

    def test_an_equivariant_teacher_would_say_the_target_of_what_the_student_sees(self) -> None:
        for seed in range(5):
            perturbed = apply(Geometric(wrap=True), views(), seed, logits=True)
            again = EmaTeacher(Cylinder(5)).logits(perturbed.image)
            torch.testing.assert_close(again, perturbed.target_logits, atol=1e-4, rtol=1e-5)

    def test_no_range_z_or_remission_changes_its_values(self) -> None:
        a = views()
        perturbed = apply(Geometric(wrap=True, channels=CHANNELS), a)
        for channel in (0, 3, 4):
            for i in range(BATCH):
                assert torch.equal(perturbed.image[i, channel].sort().values, a.image[i, channel].sort().values)

    def test_draws_are_uniform_turns_and_mirrorings_of_the_wanted_probability(self) -> None:
        column = torch.arange(WIDTH).expand(3000, 1, 1, WIDTH).float() + 1
        question = PseudoLabelled(column, column, None, column[:, 0] > 0)
        image = Geometric(wrap=True, mirror=0.25).perturb(seeded(), question).image[:, 0, 0]
        steps = (image[:, 1] - image[:, 0]).remainder(WIDTH)
        assert (steps == WIDTH - 1).float().mean().item() == pytest.approx(0.25, abs=0.03)
        first = image[:, 0].long().bincount(minlength=WIDTH + 1)[1:]
        assert first.float().std() < 2 * (3000 / WIDTH) ** 0.5

    def test_a_photograph_is_only_mirrored(self) -> None:
        a = views()
        perturbed = apply(Geometric(mirror=1.0), a)
        assert torch.equal(perturbed.image, a.image.flip(3))
        assert torch.equal(apply(Geometric(mirror=0.0), a).image, a.image)
        assert torch.equal(apply(Geometric(mirror=0.0, roll=False, wrap=True), a).image, a.image)

    @pytest.mark.parametrize("mirror", [-0.1, 1.5])
    def test_bad_settings_say_what_to_do(self, mirror: float) -> None:
        with pytest.raises(ValueError, match=r"Geometric got mirror=.*; give"):
            Geometric(mirror=mirror)


OFF: dict[str, float] = dict(remission_scale=0, remission_noise=0, range_noise_m=0, drop_beams=0, drop_points=0)


def jitter(a: View, seed: int = 5, **settings: float) -> PseudoLabelled:
    return apply(Jitter(**(OFF | settings), channels=CHANNELS), a, seed)


class TestJitter:
    def test_everything_off_leaves_the_view(self) -> None:
        a = views()
        perturbed = jitter(a)
        torch.testing.assert_close(perturbed.image, a.image, atol=1e-5, rtol=1e-5)
        assert torch.equal(perturbed.valid, a.valid)

    def test_the_target_is_the_answer_to_the_view_as_it_is(self) -> None:
        a = views()
        perturbed = apply(Jitter(channels=CHANNELS), a)
        assert torch.equal(perturbed.target, EmaTeacher(Cylinder(5))(a.image))

    def test_remission_gets_one_gain_a_view_and_stays_within_0_and_1(self) -> None:
        a = views()
        before, after = (CHANNELS.read(image, "remission") for image in (a.image, jitter(a, remission_scale=0.5).image))
        gains = set()
        for i in range(BATCH):
            seen = a.valid[i] & (after[i] < 0.999)
            gain = (after[i] / before[i])[seen]
            assert gain.max() - gain.min() < 0.01
            assert 0.5 <= gain.mean() <= 1.5
            gains.add(round(gain.mean().item(), 3))
        assert len(gains) == BATCH
        loud = CHANNELS.read(jitter(a, remission_noise=5.0).image, "remission")[a.valid]
        assert loud.min() > -1e-6
        assert loud.max() < 1 + 1e-6

    def test_remission_noise_has_the_wanted_spread_and_touches_nothing_else(self) -> None:
        a = views()
        perturbed = jitter(a, remission_noise=0.01)
        before, after = (CHANNELS.read(image, "remission")[a.valid] for image in (a.image, perturbed.image))
        inner = (before > 0.1) & (before < 0.9)
        assert (after - before)[inner].std().item() == pytest.approx(0.01, rel=0.15)
        torch.testing.assert_close(perturbed.image[:, :4], a.image[:, :4], atol=1e-6, rtol=1e-6)

    def test_range_noise_moves_points_along_their_beam(self) -> None:
        a = views()
        perturbed = jitter(a, range_noise_m=0.5)
        old, new = (
            torch.stack([CHANNELS.read(image, name)[a.valid] for name in ("range", "x", "y", "z")]).double()
            for image in (a.image, perturbed.image)
        )
        torch.testing.assert_close(new[1:].norm(dim=0), new[0], atol=1e-4, rtol=1e-5)
        torch.testing.assert_close(new[1:] / new[0], old[1:] / old[0], atol=1e-5, rtol=1e-4)
        assert (new[0] - old[0]).std().item() == pytest.approx(0.5, rel=0.15)
        torch.testing.assert_close(perturbed.image[:, 4], a.image[:, 4], atol=1e-6, rtol=1e-6)

    def test_noise_larger_than_the_range_ends_at_the_sensor(self) -> None:
        distance = CHANNELS.read(jitter(views(), range_noise_m=500.0).image, "range")
        assert distance.min() > -1e-4

    def test_beams_go_missing_as_whole_rows(self) -> None:
        a = View(*(field.repeat_interleave(100, 0) for field in (views().image, views().valid, views().label)))
        perturbed = jitter(a, drop_beams=0.8)
        gone = a.valid & ~perturbed.valid
        assert torch.equal(gone.any(2), (gone == a.valid).all(2) & a.valid.any(2))
        assert gone.any(2).float().mean().item() == pytest.approx(0.4, abs=0.05)

    def test_points_go_missing_one_by_one_by_a_share_of_each_view(self) -> None:
        a = View(*(field.repeat_interleave(300, 0) for field in (views().image, views().valid, views().label)))
        perturbed = jitter(a, drop_points=0.6)
        share = (a.valid & ~perturbed.valid).sum((1, 2)) / a.valid.sum((1, 2))
        assert share.mean().item() == pytest.approx(0.3, abs=0.02)
        assert share.std().item() == pytest.approx(0.6 / 12**0.5, abs=0.02)
        assert (perturbed.image.movedim(1, -1)[~perturbed.valid] == 0).all()

    def test_a_photograph_only_loses_pixels(self) -> None:
        photo = torch.rand(2, 3, 8, 8)
        a = View(photo, torch.ones(2, 8, 8, dtype=torch.bool), torch.full((2, 8, 8), IGNORE))
        perturbed = apply(Jitter(drop_points=0.5), a)
        assert torch.equal(perturbed.image, photo * perturbed.valid[:, None])

    @pytest.mark.parametrize("bad", [{"drop_beams": 1.5}, {"remission_scale": -0.1}, {"range_noise_m": -1.0}])
    def test_bad_settings_say_what_to_do(self, bad: dict[str, float]) -> None:
        with pytest.raises(ValueError, match=r"Jitter got \w+=.*; give"):
            Jitter(**bad)


def test_channels_need_one_mean_and_one_std_each() -> None:
    with pytest.raises(ValueError, match="2 names, 1 means and 2 stds; give"):
        Channels(("x", "y"), (0.0,), (1.0, 1.0))
