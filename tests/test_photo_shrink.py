"""Smaller photographs: against plain NumPy, on whole numbers and in float64."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest

from rangeseg.photos.shrink import halve_image, halve_label, mean_of_areas


def test_half_an_image_is_the_mean_of_four_cut_off(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (12, 22, 3), np.uint8)
    expected = image.reshape(6, 2, 11, 2, 3).astype(np.float64).mean(axis=(1, 3))
    half = halve_image(image)
    assert half.dtype == np.uint8
    np.testing.assert_array_equal(half, np.floor(expected))
    assert (np.floor(expected) < expected).any()  # something was cut off
    assert halve_image(np.full((2, 2, 3), 255, np.uint8)).tolist() == [[[255, 255, 255]]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_half_a_label_is_the_majority_of_four_and_of_equals_the_lowest(dtype: type) -> None:
    blocks = np.array(list(product([3, 0, 33, 7], repeat=4)), dtype)  # every way in which four can agree
    raw = blocks.reshape(16, 16, 2, 2).transpose(0, 2, 1, 3).reshape(32, 32)
    expected = [min(Counter(b), key=lambda i: (-Counter(b)[i], i)) for b in blocks.tolist()]
    half = halve_label(raw)
    assert half.dtype == dtype
    assert half.reshape(-1).tolist() == expected


def test_half_of_a_view_into_memory_is_that_of_its_copy(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (8, 8, 3), np.uint8)[::-1, ::-1]
    np.testing.assert_array_equal(halve_image(image), halve_image(image.copy()))
    raw = rng.integers(0, 3, (8, 8), np.uint8).T
    np.testing.assert_array_equal(halve_label(raw), halve_label(raw.copy()))


@pytest.mark.parametrize("shape", [(3, 4), (4, 3)])
def test_odd_sizes_cannot_be_halved(shape: tuple[int, int]) -> None:
    said = rf"{shape[0]} x {shape[1]} pixels \(rows x columns\) cannot be halved"
    with pytest.raises(ValueError, match=said):
        halve_image(np.zeros((*shape, 3), np.uint8))
    with pytest.raises(ValueError, match=said):
        halve_label(np.zeros(shape, np.uint8))


def parts(size: int, small: int) -> np.ndarray:
    """(small, size) share of each pixel in the area of each smaller one, in float64."""
    edges, pixels = np.arange(small + 1) * size / small, np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.clip(overlap, 0, None) * small / size


@pytest.mark.parametrize(
    ("size", "small"), [((12, 20), (6, 5)), ((13, 17), (5, 7)), ((9, 9), (9, 9)), ((40, 31), (8, 30))]
)
def test_an_area_has_its_mean(rng: np.random.Generator, size: tuple[int, int], small: tuple[int, int]) -> None:
    image = rng.integers(0, 256, (*size, 3), np.uint8)
    exact = np.einsum("ri,ijc,sj->rsc", parts(size[0], small[0]), image.astype(np.float64), parts(size[1], small[1]))
    squashed = mean_of_areas(image, *small)
    assert squashed.dtype == np.uint8
    assert np.abs(squashed - exact).max() <= 0.5 + 1e-9
    np.testing.assert_array_equal(mean_of_areas(image[..., 1], *small), squashed[..., 1])
    np.testing.assert_array_equal(mean_of_areas(np.full(size, 77, np.uint8), *small), np.full(small, 77))
