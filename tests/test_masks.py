"""Laws of the mixing masks, and the paper's sampler written again in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rangeseg.masks import Aspect, box_mask


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def oracle(
    seed: int,
    batch: int,
    height: int,
    width: int,
    low: float,
    high: float,
    boxes: int,
    aspect: str,
    inside: bool,
    wrap: bool,
) -> np.ndarray:
    """The sampler pixel by pixel: draws in the documented order, boxes flipped one after the other."""
    rng = seeded(seed)
    share, exponent, vertical, horizontal = (
        torch.rand(batch, boxes, generator=rng, dtype=torch.float64).numpy() for _ in range(4)
    )
    share = low + (high - low) * share
    mask = np.zeros((batch, height, width), bool)
    for b in range(batch):
        for k in range(boxes):
            p, u = share[b, k], exponent[b, k]
            fy, fx = (p**0.5, p**0.5) if aspect == "fixed" else (p**u, p ** (1 - u))
            h, w = (int(np.round(f * n / np.sqrt(boxes))) for f, n in ((fy, height), (fx, width)))
            if p == 0:
                h = w = 0
            if inside:
                top, left = int(np.round((height - h) * vertical[b, k])), int(np.round((width - w) * horizontal[b, k]))
            else:
                top = int(np.round(height * vertical[b, k])) - h // 2
                left = int(np.round(width * horizontal[b, k])) - w // 2
            if wrap:
                left = int(width * horizontal[b, k])
            for row in range(max(top, 0), min(top + h, height)):
                for column in range(left, left + w):
                    if wrap:
                        mask[b, row, column % width] ^= True
                    elif 0 <= column < width:
                        mask[b, row, column] ^= True
    return mask


@pytest.mark.parametrize("boxes", [1, 3])
@pytest.mark.parametrize("aspect", ["log-uniform", "fixed"])
@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("area", [0.5, (0.0, 1.0)])
def test_equals_the_sampler_written_pixel_by_pixel(
    boxes: int, aspect: Aspect, inside: bool, wrap: bool, area: float | tuple[float, float]
) -> None:
    mask = box_mask(seeded(7), 5, 16, 41, area=area, boxes=boxes, aspect=aspect, inside=inside, wrap=wrap)
    low, high = area if isinstance(area, tuple) else (area, area)
    expected = oracle(7, 5, 16, 41, low, high, boxes, aspect, inside, wrap)
    assert mask.dtype == torch.bool
    np.testing.assert_array_equal(mask.numpy(), expected)


@pytest.mark.parametrize("boxes", [1, 2])
@pytest.mark.parametrize("aspect", ["log-uniform", "fixed"])
def test_by_size_the_sides_themselves_are_drawn(aspect: Aspect, boxes: int) -> None:
    low, high, height, width = 0.2, 0.9, 24, 40
    mask = box_mask(seeded(4), 6, height, width, area=(low, high), by="size", aspect=aspect, boxes=boxes, wrap=True)
    rng = seeded(4)
    tall, wide, vertical, horizontal = (
        torch.rand(6, boxes, generator=rng, dtype=torch.float64).numpy() for _ in range(4)
    )
    expected = np.zeros((6, height, width), bool)
    for b in range(6):
        for k in range(boxes):
            fy = low + (high - low) * tall[b, k]
            fx = fy if aspect == "fixed" else low + (high - low) * wide[b, k]
            h, w = int(np.round(fy * height / np.sqrt(boxes))), int(np.round(fx * width / np.sqrt(boxes)))
            top, left = int(np.round((height - h) * vertical[b, k])), int(width * horizontal[b, k])
            expected[b, top : top + h, (left + np.arange(w)) % width] ^= True
    np.testing.assert_array_equal(mask.numpy(), expected)


@pytest.mark.parametrize(("aspect", "mean"), [("log-uniform", 0.25), ("fixed", 1 / 3)])
def test_mean_area_by_size_is_that_of_products_and_squares(aspect: Aspect, mean: float) -> None:
    mask = box_mask(seeded(), 12000, 64, 128, area=(0, 1), by="size", aspect=aspect)
    assert mask.float().mean().item() == pytest.approx(mean, abs=0.005)


def test_same_generator_state_gives_the_same_mask_and_the_next_draw_another() -> None:
    rng = seeded(3)
    state = rng.get_state()
    first = box_mask(rng, 4, 32, 64, boxes=2, wrap=True)
    second = box_mask(rng, 4, 32, 64, boxes=2, wrap=True)
    rng.set_state(state)
    assert torch.equal(first, box_mask(rng, 4, 32, 64, boxes=2, wrap=True))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("aspect", ["log-uniform", "fixed"])
@pytest.mark.parametrize(("area", "mean"), [(0.5, 0.5), (0.1, 0.1), (0.9, 0.9), ((0.2, 0.6), 0.4)])
def test_mean_area_is_the_share_asked_for(
    area: float | tuple[float, float], mean: float, aspect: Aspect, wrap: bool
) -> None:
    mask = box_mask(seeded(), 4000, 64, 256, area=area, aspect=aspect, wrap=wrap)
    assert mask.float().mean().item() == pytest.approx(mean, abs=0.005)


def test_cutmix_box_is_half_the_image_every_time_and_no_side_is_less_than_half() -> None:
    mask = box_mask(seeded(), 1000, 321, 321)
    assert (mask.float().mean((1, 2)) - 0.5).abs().max() < 0.004
    tall, wide = mask.any(2).sum(1), mask.any(1).sum(1)
    for side in (tall, wide):
        assert side.min() >= 160
        assert side.float().mean().item() == pytest.approx(231.6, abs=3)  # 321 (1 - p) / -ln p with p = 0.5
    aspect = (tall.double() / wide).log()
    assert aspect.std().item() == pytest.approx(2 * np.log(2) / np.sqrt(12), abs=0.02)  # uniform in +-ln 2


def test_cutmix_box_inside_the_image_always_holds_its_centre() -> None:
    mask = box_mask(seeded(), 1000, 63, 127)
    assert mask[:, 31, 63].all()
    assert mask[:, 0, 0].float().mean() < 0.05


def test_boxes_add_up_to_the_area_when_they_do_not_overlap() -> None:
    # Two boxes of p/2 each: XOR leaves p minus twice the overlap.
    rng, boxes = seeded(), 2
    mask = box_mask(rng, 4000, 64, 64, area=0.02, boxes=boxes, aspect="fixed", wrap=True)
    single = box_mask(seeded(), 4000, 64, 64, area=0.02 / boxes, aspect="fixed", wrap=True).float().mean()
    assert mask.float().mean().item() == pytest.approx(boxes * single.item(), rel=0.05)


def test_wrapped_boxes_cover_all_columns_alike_and_cross_the_seam() -> None:
    mask = box_mask(seeded(), 20000, 8, 32, area=0.25, wrap=True)
    per_column = mask.float().mean((0, 1))
    assert per_column.std() < 0.006
    crosses = mask[:, :, 0].any(1) & mask[:, :, -1].any(1) & ~mask.any(1).all(1)
    assert crosses.float().mean() > 0.2
    # One run of columns on the cylinder: one step up on the way round.
    columns = mask.any(1)
    steps_up = (columns & ~columns.roll(1, 1)).sum(1)
    assert ((steps_up == 1) | columns.all(1)).all()


def test_without_wrap_no_box_crosses_the_seam() -> None:
    columns = box_mask(seeded(), 2000, 8, 32, area=0.25).any(1)
    inner_steps_up = (columns[:, 1:] & ~columns[:, :-1]).sum(1) + columns[:, 0].int()
    assert (inner_steps_up == 1).all()


def test_boxes_that_may_leave_the_image_leave_it_on_all_four_sides_alike() -> None:
    mask = box_mask(seeded(), 20000, 32, 32, aspect="fixed", inside=False).float().mean(0)
    assert mask.min() > 0.05
    corners = mask[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.max() - corners.min() < 0.06
    torch.testing.assert_close(mask.flip(0), mask, atol=0.06, rtol=0)


@pytest.mark.parametrize(("area", "value"), [(0.0, False), (1.0, True), ((0, 0), False), ([1, 1], True)])
def test_nothing_and_everything(area: float | tuple[float, float], value: bool) -> None:
    mask = box_mask(seeded(), 50, 16, 24, area=area)
    assert (mask == value).all()


def test_draws_do_not_depend_on_the_size_of_the_image() -> None:
    small, large = seeded(), seeded()
    box_mask(small, 3, 8, 8)
    box_mask(large, 3, 64, 2048)
    assert torch.equal(small.get_state(), large.get_state())


@pytest.mark.parametrize(
    "bad",
    [
        {"area": 1.5},
        {"area": -0.1},
        {"area": (0.6, 0.4)},
        {"area": float("nan")},
        {"boxes": 0},
        {"aspect": "square"},
        {"by": "side"},
        {"by": "size", "aspect": "square"},
    ],
)
def test_bad_settings_say_what_to_do(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"box_mask got \w+=.*; (give|choose)"):
        box_mask(seeded(), 2, 8, 8, **bad)
