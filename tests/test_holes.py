"""Filling holes: against a search by whole sweeps, and its laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rangeseg.catalog import BACK_PROJECTIONS
from rangeseg.evaluation.backprojection import FillHoles
from rangeseg.kernels.fill_holes import fill_holes
from rangeseg.photos.padded_image import PhotoPadding
from rangeseg.types import Photo


def by_sweeps(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Water on all borders flows over the outside until nothing changes."""
    padded = np.pad(inside, 1)
    water = np.zeros_like(padded)
    water[0], water[-1], water[:, 0], water[:, -1] = True, True, True, True
    while True:
        flowed = water.copy()
        flowed[1:] |= water[:-1]
        flowed[:-1] |= water[1:]
        flowed[:, 1:] |= water[:, :-1]
        flowed[:, :-1] |= water[:, 1:]
        flowed &= ~padded
        if (flowed == water).all():
            return ~water[1:-1, 1:-1]
        water = flowed


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0.2, 0.8), st.integers(0, 2**32 - 1))
def test_it_is_what_water_cannot_reach(rows: int, columns: int, share: float, seed: int) -> None:
    inside = np.random.default_rng(seed).random((rows, columns)) < share
    filled = fill_holes(inside)
    np.testing.assert_array_equal(filled, by_sweeps(inside))
    np.testing.assert_array_equal(fill_holes(filled), filled)
    np.testing.assert_array_equal(fill_holes(inside.T), filled.T)
    assert (filled | ~inside).all()


def test_a_ring_is_filled_with_its_class_and_an_open_one_is_not() -> None:
    prediction = np.zeros((7, 16), np.uint8)
    prediction[1:6, 1:6] = 1
    prediction[2:5, 2:5] = 2  # another class in the hole
    prediction[1:6, 9:14] = 1
    prediction[2:5, 10:14] = 0
    image = PhotoPadding()(Photo(np.zeros((7, 16, 3), np.uint8)))
    labels = BACK_PROJECTIONS["fill_holes"](train_id=1)(image, prediction, 3).reshape(7, 16)
    assert (labels[1:6, 1:6] == 1).all()
    np.testing.assert_array_equal(labels[:, 7:], prediction[:, 7:])


def test_an_unknown_class_is_refused() -> None:
    image = PhotoPadding()(Photo(np.zeros((2, 2, 3), np.uint8)))
    with pytest.raises(ValueError, match=r"train_id is 2; give a class of 0 to 1"):
        FillHoles(2)(image, np.zeros((2, 2), np.uint8), 2)
