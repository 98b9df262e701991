"""FoldNet's own: what it folds it unfolds in place, and bad shapes are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rangeseg.networks.foldnet import FoldNet, unfold_azimuth


def test_unfolding_puts_runs_of_channels_into_neighbouring_columns(generator: torch.Generator) -> None:
    image = torch.randn(2, 12, 3, 5, generator=generator)
    unfolded = unfold_azimuth(image, 4).numpy()
    expected = np.empty((2, 3, 3, 20), np.float32)
    for channel in range(3):
        for column in range(20):
            expected[:, channel, :, column] = image[:, channel + 3 * (column % 4), :, column // 4].numpy()
    np.testing.assert_array_equal(unfolded, expected)
    folded = image.contiguous(memory_format=torch.channels_last)
    same = unfold_azimuth(folded, 4)
    assert torch.equal(same, torch.from_numpy(unfolded))
    assert same.data_ptr() == folded.data_ptr()


def test_every_column_of_a_fold_has_weights_of_its_own(generator: torch.Generator) -> None:
    network = FoldNet(2, 3, fold=4, widths=(8,), blocks=(1,), hidden=(8, 8)).eval()
    image = torch.randn(1, 2, 8, 16, generator=generator)
    with torch.no_grad():
        network.head.classify.bias += torch.arange(12.0) // 3 * 100  # of the fourth column most
        logits = network(image)
    levels = logits.mean((0, 1, 2)).view(4, 4)
    assert (levels.diff(dim=1) > 50).all()


def test_the_default_is_as_small_as_it_says() -> None:
    network = FoldNet(5, 19)
    assert 1.9e6 < sum(weight.numel() for weight in network.parameters()) < 2.0e6
    assert network.stride == (8, 32)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"widths": ()}, "0 widths and 4 blocks"),
        ({"blocks": (1,)}, "4 widths and 1 blocks"),
        ({"hidden": (8,)}, "1 hidden widths; give two"),
        ({"hidden": (8, 8, 8)}, "3 hidden widths; give two"),
        ({"fold": 0}, "fold=0; give the number of columns to fold into one"),
    ],
)
def test_what_cannot_be_built_is_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FoldNet(5, 19, **wrong)
