"""Photographs' perturbations: colours against the standard library's, warps against an interpolation written out."""

from __future__ import annotations

import colorsys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from rangeseg.perturbations import Affine, Channels, Color, Compose, CutMix
from rangeseg.perturbations.affine import warp
from rangeseg.perturbations.color import grey, shift_hue
from rangeseg.types import PseudoLabelled

BATCH, CLASSES, HEIGHT, WIDTH = 3, 4, 12, 20
RGB = Channels(("red", "green", "blue"), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def seeded(seed: int = 5) -> Generator:
    return Generator().manual_seed(seed)


def colors(seed: int = 0) -> Tensor:
    return torch.rand(3, HEIGHT, WIDTH, generator=seeded(seed))


def question(*, all_valid: bool = False) -> PseudoLabelled:
    rng = seeded(1)
    valid = (torch.rand(BATCH, HEIGHT, WIDTH, generator=rng) < 0.8) | torch.tensor(all_valid)
    color = torch.rand(BATCH, 3, HEIGHT, WIDTH, generator=rng)
    mean, std = (torch.tensor(values)[:, None, None] for values in (RGB.mean, RGB.std))
    logits = torch.randn(BATCH, CLASSES, HEIGHT, WIDTH, generator=rng)
    return PseudoLabelled((color - mean) / std * valid[:, None], logits.softmax(1), logits, valid)


def read(perturbed: PseudoLabelled) -> Tensor:
    return torch.stack([RGB.read(perturbed.image, name) for name in RGB.names], 1)


def apply(perturbation: Any, seed: int = 5) -> PseudoLabelled:
    made: PseudoLabelled = perturbation.perturb(seeded(seed), question())
    return made


@pytest.mark.parametrize("shift", [-0.4, 0.0, 0.1, 0.35, 1.0])
def test_hue_turns_as_in_the_standard_library(shift: float) -> None:
    color = torch.cat([colors(), colors()[:1].expand(3, -1, -1)], 2)  # greys, too
    expected = np.empty((3, HEIGHT, 2 * WIDTH))
    for y, x in np.ndindex(HEIGHT, 2 * WIDTH):
        hue, saturation, value = colorsys.rgb_to_hsv(*color[:, y, x].tolist())
        expected[:, y, x] = colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value)
    np.testing.assert_allclose(shift_hue(color, shift).numpy(), expected, atol=2e-6)


def test_the_single_changes_are_those_of_the_formulas() -> None:
    start = read(question()).double()
    luma = (start * torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[:, None, None]).sum(1, keepdim=True)
    valid = question().valid[:, None]
    mean = (luma * valid).sum((2, 3), keepdim=True) / valid.sum((2, 3), keepdim=True)
    off = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "grey": 0.0, "probability": 1.0}
    for name, other in (("brightness", torch.zeros_like(luma)), ("contrast", mean), ("saturation", luma)):
        changed = read(apply(Color(**(off | {name: 0.4}), channels=RGB))).double()
        whole = valid.expand_as(start)
        for one in range(BATCH):
            inside = whole[one] & (changed[one] > 1e-4) & (changed[one] < 1 - 1e-4)  # not clipped
            x, y, base = start[one][inside], changed[one][inside], other[one].expand(3, HEIGHT, WIDTH)[inside]
            factor = ((y - base) @ (x - base)) / ((x - base) @ (x - base))
            assert 0.6 <= factor <= 1.4
            torch.testing.assert_close(y, factor * x + (1 - factor) * base, atol=1e-5, rtol=0)


def test_grey_is_grey_and_as_frequent_as_asked() -> None:
    made = read(apply(Color(grey=1.0, channels=RGB)))
    assert (made.amax(1) - made.amin(1))[question().valid].max() < 1e-5
    luma = grey(colors())
    torch.testing.assert_close(grey(luma.expand(3, -1, -1)), luma)
    plain = Color(probability=0.0, grey=0.2, channels=RGB)
    same = [torch.equal(view, other) for seed in range(200) for view, other in _pairs(apply(plain, seed))]
    assert np.mean(same) == pytest.approx(0.8, abs=0.05)


def _pairs(perturbed: PseudoLabelled) -> Any:
    # read and written back once: what Color leaves alone
    still = Color(probability=0.0, grey=0.0, channels=RGB).perturb(seeded(), question())
    return zip(perturbed.image, still.image, strict=True)


def test_colours_stay_in_their_range_and_the_rest_of_the_question_stays() -> None:
    made = apply(Color(brightness=0.9, contrast=0.9, saturation=0.9, hue=0.5, channels=RGB))
    inside = read(made).movedim(1, -1)[made.valid]
    assert inside.min() > -1e-5
    assert inside.max() < 1 + 1e-5
    assert (made.image.movedim(1, -1)[~made.valid] == 0).all()
    assert torch.equal(made.target, question().target)
    assert torch.equal(made.valid, question().valid)


def test_views_are_jittered_each_by_its_own_draw_and_sources_of_a_mix_each_by_theirs() -> None:
    one = question()
    same = replace(one, **{name: getattr(one, name)[:1].expand_as(getattr(one, name)) for name in vars(one)})
    made = Color(probability=1.0, channels=RGB).perturb(seeded(), same)
    assert not torch.equal(made.image[0], made.image[1])
    colored = Compose(CutMix(), before=(Color(probability=1.0, channels=RGB),))
    mixed = colored(seeded(), one, one)
    after = Color(probability=1.0, channels=RGB).perturb(seeded(), one)
    first = (mixed.image == after.image).all(1)
    assert first.any()  # `a` by the first draw
    assert (~first & one.valid).any()  # `b`, the same photographs, by the second


def test_views_without_colours_stay() -> None:
    assert torch.equal(apply(Color()).image, question().image)


@pytest.mark.parametrize("bad", [{"grey": 1.1}, {"probability": -0.1}, {"hue": 0.6}, {"contrast": -1.0}])
def test_bad_colours_show_at_birth(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"Color got .*; give"):
        Color(**bad)


def interpolated(field: Tensor, source: np.ndarray) -> np.ndarray:
    """(F, H, W) read at source (H, W, 2) = (x, y) in pixels, bilinear, the border going on for ever."""
    values = field.double().numpy()
    x, y = (source[..., axis].clip(0, size - 1) for axis, size in ((0, WIDTH), (1, HEIGHT)))
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, bottom = np.minimum(left + 1, WIDTH - 1), np.minimum(top + 1, HEIGHT - 1)
    u, v = x - left, y - top
    upper = values[:, top, left] * (1 - u) + values[:, top, right] * u
    lower = values[:, bottom, left] * (1 - u) + values[:, bottom, right] * u
    return upper * (1 - v) + lower * v


def test_a_warp_reads_where_its_map_says() -> None:
    perturbation = Affine(offset=3.0, scale=(0.7, 1.4), rotate_deg=30.0)
    source = perturbation.draw(seeded(), BATCH, HEIGHT, WIDTH)
    asked = question(all_valid=True)
    made = warp(asked, source.float())
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for one in range(BATCH):
        m = source[one].numpy()
        unit = np.stack([(2 * x + 1) / WIDTH - 1, (2 * y + 1) / HEIGHT - 1, np.ones_like(x, float)], -1)
        place = ((unit @ m.T + 1) * (WIDTH, HEIGHT) - 1) / 2
        inside = ((place >= 0) & (place <= (WIDTH - 1, HEIGHT - 1))).all(-1)
        clear = (np.abs(place - np.round(place)) > 1e-3).all(-1)  # no neighbour that counts by rounding alone
        np.testing.assert_array_equal(made.valid[one].numpy()[clear], inside[clear])
        for field, before in ((made.image, asked.image), (made.target, asked.target)):
            expected = interpolated(before[one], place)
            np.testing.assert_allclose(field[one].numpy()[:, inside & clear], expected[:, inside & clear], atol=2e-4)


def test_the_map_is_a_similarity_about_the_centre() -> None:
    """In pixels: M is a rotation, perhaps mirrored, divided by the scale; the centre moves by the offset."""
    source = Affine(offset=5.0, scale=(0.5, 1.5), rotate_deg=20.0, mirror=0.5).draw(seeded(), 500, HEIGHT, WIDTH)
    to_pixels = torch.tensor([WIDTH / 2, HEIGHT / 2], dtype=torch.float64)
    linear = source[:, :, :2] * to_pixels[:, None] / to_pixels
    size = linear.det().abs().rsqrt()
    assert 0.5 <= size.min() < 0.55 < 1.4 < size.max() <= 1.5
    torch.testing.assert_close(
        linear.mT @ linear * size[:, None, None] ** 2, torch.eye(2, dtype=torch.float64).expand(500, 2, 2)
    )
    angle = torch.atan2(linear[:, 0, 1].abs(), linear[:, 1, 1])
    assert 19 < torch.rad2deg(angle).max() <= 20
    assert 0.4 < (linear.det() < 0).double().mean() < 0.6
    offset = source[:, :, 2] * to_pixels
    assert 4.9 < offset.abs().max() <= 5


def test_whole_moves_and_mirrorings_are_exact() -> None:
    asked = question()
    still = warp(asked, torch.eye(2, 3).expand(BATCH, 2, 3))
    torch.testing.assert_close(still.image, asked.image, atol=1e-4, rtol=0)
    assert torch.equal(still.valid, asked.valid)
    shift = torch.tensor([[-1.0, 0, 2 * 2 / WIDTH], [0, 1, -2 * 3 / HEIGHT]]).expand(BATCH, 2, 3)
    made = warp(asked, shift)
    # pixel (y, x) reads column W - 1 - x + 2 and row y - 3
    expected = torch.zeros_like(asked.target)
    expected[..., 3:, 2:] = asked.target.flip(3)[..., :-3, :-2]
    counted = torch.zeros_like(asked.valid)
    counted[:, 3:, 2:] = asked.valid.flip(2)[:, :-3, :-2]
    assert torch.equal(made.valid, counted)
    torch.testing.assert_close(made.target.movedim(1, -1)[counted], expected.movedim(1, -1)[counted], atol=1e-4, rtol=0)


@pytest.mark.parametrize("bad", [{"wrap": True}, {"scale": (0.0, 1.0)}, {"offset": -1.0}, {"mirror": 2.0}])
def test_a_bad_affine_shows_at_birth(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"Affine .*; (give|use)"):
        Affine(**bad)
