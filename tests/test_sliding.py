"""Sliding windows: a network that looks at single pixels sees nothing of them, and every pixel is seen."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rangeseg.config import Config
from rangeseg.engine.experiment import Experiment
from rangeseg.networks.sliding import SlidingWindow
from rangeseg.registry import ConfigError


@settings(deadline=None, max_examples=50)
@given(
    rows=st.integers(1, 20), columns=st.integers(1, 20), window=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    overlap=st.floats(0, 0.9),
)  # fmt: skip
def test_a_network_of_single_pixels_gives_the_same(
    rows: int, columns: int, window: tuple[int, int], overlap: float
) -> None:
    image = torch.randn(2, 3, rows, columns, dtype=torch.float64)

    def network(part: Tensor) -> Tensor:
        assert part.shape[-2] == min(window[0], rows)
        assert part.shape[-1] == min(window[1], columns)
        return part[:, :2] * 2

    torch.testing.assert_close(SlidingWindow(network, window, overlap)(image), network_of_pixels(image))


def network_of_pixels(image: Tensor) -> Tensor:
    return image[:, :2] * 2


def test_the_overlap_is_at_least_what_was_asked_for_and_logits_are_averaged() -> None:
    parts: list[Tensor] = []

    def network(part: Tensor) -> Tensor:
        parts.append(part)
        return torch.full((1, 2, *part.shape[-2:]), float(len(parts)))

    columns = torch.arange(10.0).expand(1, 1, 4, 10)
    logits = SlidingWindow(network, (4, 6), 0.5)(columns)
    assert [part[0, 0, 0, 0].item() for part in parts] == [0, 2, 4]  # 3 would do; two steps of at most 3, evenly
    assert logits[0, 0, 0].tolist() == [1, 1, 1.5, 1.5, 2, 2, 2.5, 2.5, 3, 3]


@pytest.mark.parametrize(("size", "overlap"), [((4,), 0.5), ((0, 4), 0.5), ((4, 4), 1.0), ((4, 4), -0.1)])
def test_bad_windows_are_refused(size: tuple[int, ...], overlap: float) -> None:
    with pytest.raises(ValueError, match="give"):
        SlidingWindow(network_of_pixels, size, overlap)  # type: ignore[arg-type]


def test_a_config_opens_windows_on_photographs_alone(photo_config: Config, tiny_config: Config) -> None:
    network = Experiment(photo_config).make_network(11)
    assert Experiment(photo_config).inference_model(network) is network
    photo_config.evaluation.window = {"size": [32, 48], "overlap": 0.25}
    assert Experiment(photo_config).inference_model(network) == SlidingWindow(network, (32, 48), 0.25)
    photo_config.evaluation.window = {"sizes": [32, 48]}
    with pytest.raises(ConfigError, match=r"evaluation\.window"):
        Experiment(photo_config).inference_model(network)
    tiny_config.evaluation.window = {"size": [32, 48]}
    with pytest.raises(ConfigError, match="do not support range images with wrap"):
        Experiment(tiny_config).inference_model(Experiment(tiny_config).make_network(5))
