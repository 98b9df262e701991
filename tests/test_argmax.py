"""The class of most logit is torch's argmax."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rangeseg.evaluation.argmax import argmax_uint8
from rangeseg.kernels.argmax import BLOCK


@pytest.mark.parametrize("shape", [(1, 19, 64, 100), (2, 1, 3, 5), (3, 255, 1, BLOCK + 1), (0, 4, 2, 2), (1, 3, 0, 4)])
def test_it_is_argmax(shape: tuple[int, ...], generator: torch.Generator) -> None:
    logits = torch.randn(shape, generator=generator)
    expected = logits.argmax(1).to(torch.uint8).numpy()
    found = argmax_uint8(logits)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(argmax_uint8(logits.double()), expected)
    np.testing.assert_array_equal(argmax_uint8(logits.contiguous(memory_format=torch.channels_last)), expected)


def test_the_first_of_equal_classes_wins(generator: torch.Generator) -> None:
    logits = torch.randint(0, 3, (2, 6, 8, 9), generator=generator).float()
    np.testing.assert_array_equal(argmax_uint8(logits), np.argmax(logits.numpy(), 1))


def test_logits_that_a_loss_still_needs_can_be_read() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    assert argmax_uint8(logits).shape == (1, 4, 4)
