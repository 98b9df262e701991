"""Laws of mixing and erasing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rangeseg.masks import box_mask
from rangeseg.mixing import erase, mix, mix_probabilities, where
from rangeseg.types import IGNORE, View


def random_views(seed: int, batch: int = 3, channels: int = 5, height: int = 8, width: int = 16) -> View:
    rng = torch.Generator().manual_seed(seed)
    valid = torch.rand(batch, height, width, generator=rng) < 0.8
    image = torch.randn(batch, channels, height, width, generator=rng) * valid[:, None]
    label = torch.randint(0, 4, (batch, height, width), generator=rng).masked_fill(~valid, IGNORE)
    return View(image, valid, label)


def assert_same(first: View, second: View) -> None:
    for name in ("image", "valid", "label"):
        one, other = getattr(first, name), getattr(second, name)
        assert one.dtype == other.dtype
        assert torch.equal(one, other), name


@pytest.fixture
def a() -> View:
    return random_views(1)


@pytest.fixture
def b() -> View:
    return random_views(2)


@pytest.fixture
def mask(generator: torch.Generator) -> torch.Tensor:
    return box_mask(generator, 3, 8, 16, boxes=2)


def test_every_pixel_comes_from_exactly_one_source(a: View, b: View, mask: torch.Tensor) -> None:
    mixed = mix(a, b, mask)
    for name in ("image", "valid", "label"):
        rows = np.moveaxis(getattr(mixed, name).numpy(), 1, -1) if name == "image" else getattr(mixed, name).numpy()
        first, second = (
            np.moveaxis(getattr(v, name).numpy(), 1, -1) if name == "image" else getattr(v, name).numpy()
            for v in (a, b)
        )
        np.testing.assert_array_equal(rows[mask.numpy()], second[mask.numpy()])
        np.testing.assert_array_equal(rows[~mask.numpy()], first[~mask.numpy()])


def test_mix_with_the_complement_swaps_the_arguments(a: View, b: View, mask: torch.Tensor) -> None:
    assert_same(mix(a, b, mask), mix(b, a, ~mask))


def test_mixing_a_view_with_itself_changes_nothing(a: View, mask: torch.Tensor) -> None:
    assert_same(mix(a, a, mask), a)


def test_all_and_nothing(a: View, b: View, mask: torch.Tensor) -> None:
    assert_same(mix(a, b, torch.ones_like(mask)), b)
    assert_same(mix(a, b, torch.zeros_like(mask)), a)


def test_mixing_is_taken_back_by_mixing_again(a: View, b: View, mask: torch.Tensor) -> None:
    assert_same(mix(mix(a, b, mask), a, mask), a)


def test_what_is_not_taken_does_not_matter_not_even_nan(a: View, b: View, mask: torch.Tensor) -> None:
    poisoned = replace(b, image=b.image.masked_fill(~mask[:, None], float("nan")))
    assert_same(mix(a, poisoned, mask), mix(a, b, mask))


def test_empty_pixels_stay_empty(a: View, b: View, mask: torch.Tensor) -> None:
    mixed = mix(a, b, mask)
    assert (mixed.image[~mixed.valid[:, None].expand_as(mixed.image)] == 0).all()
    assert (mixed.label[~mixed.valid] == IGNORE).all()


def test_mixing_commutes_with_a_roll_in_azimuth(a: View, b: View, mask: torch.Tensor) -> None:
    def rolled(view: View) -> View:
        return View(*(t.roll(5, -1) for t in (view.image, view.valid, view.label)))

    assert_same(mix(rolled(a), rolled(b), mask.roll(5, -1)), rolled(mix(a, b, mask)))


def test_erased_pixels_are_nothing_and_the_others_as_before(a: View, mask: torch.Tensor) -> None:
    left = erase(a, mask)
    assert (left.image.movedim(1, -1)[mask] == 0).all()
    assert not left.valid[mask].any()
    assert (left.label[mask] == IGNORE).all()
    assert_same(mix(a, left, mask), left)
    assert_same(mix(left, a, mask), a)


def test_erasing_one_side_and_the_other_leaves_nothing(a: View, mask: torch.Tensor) -> None:
    assert not erase(erase(a, mask), ~mask).valid.any()


def test_probabilities_mixed_stay_probabilities_and_logits_mix_the_same(mask: torch.Tensor) -> None:
    first, second = torch.randn(2, 3, 4, 8, 16)
    probabilities = mix_probabilities(first.softmax(1), second.softmax(1), mask)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(3, 8, 16))
    torch.testing.assert_close(mix_probabilities(first, second, mask).softmax(1), probabilities)
    assert torch.equal(mix_probabilities(second, first, ~mask), mix_probabilities(first, second, mask))


def test_the_arguments_are_left_alone(a: View, b: View, mask: torch.Tensor) -> None:
    before = random_views(1)
    mix(a, b, mask)
    erase(a, mask)
    assert_same(a, before)


def test_bad_masks_say_what_to_do(a: View, b: View, mask: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"dtype torch.float32; give bool"):
        mix(a, b, mask.float())
    with pytest.raises(ValueError, match=r"shape \(3, 8, 15\).*\(3, 8, 16\); give one bool"):
        mix(a, b, mask[..., 1:])
    with pytest.raises(ValueError, match="give one bool"):
        mix(a, random_views(2, width=32), mask)
    with pytest.raises(ValueError, match="give one bool"):
        erase(a, mask[:2])
    with pytest.raises(ValueError, match="give one bool"):
        mix_probabilities(torch.rand(3, 4, 8, 16), torch.rand(3, 4, 8, 16), mask[:, :4])


def drawn(dtype: torch.dtype, seed: int) -> torch.Tensor:
    values = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(seed))
    return (values > 0) if dtype == torch.bool else (100 * values).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.bool, torch.bfloat16])
@pytest.mark.parametrize("layout", ["contiguous", "channels last", "a part"])
def test_choosing_is_torchs_where_for_every_kind_of_value_and_layout(dtype: torch.dtype, layout: str) -> None:
    a, b = drawn(dtype, 1), drawn(dtype, 2)
    mask = torch.rand(2, 5, 7, generator=torch.Generator().manual_seed(3)) < 0.5
    if layout == "channels last":
        a, b = (side.to(memory_format=torch.channels_last) for side in (a, b))
    if layout == "a part":
        a, b, mask = a[..., 1:], b[..., 1:], mask[..., 1:]
    expected = torch.where(mask[:, None], b, a)
    assert torch.equal(where(mask, b, a), expected)
    memory = torch.empty_like(expected, memory_format=torch.contiguous_format)
    assert where(mask, b, a, out=memory) is memory
    assert torch.equal(memory, expected)
    if layout == "contiguous":  # into one of its own sources
        assert where(mask, b, a, out=a) is a
        assert torch.equal(a, expected)


def test_views_are_mixed_into_memory_that_is_given() -> None:
    a, b, out = (
        View(drawn(torch.float32, seed), drawn(torch.bool, seed)[:, 0], drawn(torch.int64, seed)[:, 0])
        for seed in (1, 2, 3)
    )
    mask = torch.rand(2, 5, 7, generator=torch.Generator().manual_seed(4)) < 0.5
    expected, made = mix(a, b, mask), mix(a, b, mask, out=out)
    for name in ("image", "valid", "label"):
        assert getattr(made, name).data_ptr() == getattr(out, name).data_ptr()
        assert torch.equal(getattr(made, name), getattr(expected, name))


def test_memory_of_another_kind_never_takes_bits_for_values() -> None:
    a, b = drawn(torch.float32, 1), drawn(torch.float32, 2)
    mask = torch.rand(2, 5, 7, generator=torch.Generator().manual_seed(3)) < 0.5
    with pytest.raises(RuntimeError, match="Expected out type"):
        where(mask, b, a, out=torch.empty(2, 3, 5, 7, dtype=torch.int32))
