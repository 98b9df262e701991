"""Image-sized noise drawn on a given device, reproducible from the state of a CPU generator.

One integer is drawn on the CPU and seeds a generator on the device, so that nothing large is copied. Devices of one
kind draw the same numbers; a CPU and a GPU draw different ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Generator, Tensor


def normal(generator: Generator, shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """Draw normal numbers with mean 0 and variance 1.

    Args:
        generator: a CPU generator; one integer is drawn.
        shape: shape of the result.
        device: device of the result.

    Returns:
        `shape`, float32.
    """
    return torch.randn(tuple(shape), generator=_generator_on(generator, device), device=device)


def uniform(generator: Generator, shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """Draw uniform numbers in [0, 1).

    Args:
        generator: a CPU generator; one integer is drawn.
        shape: shape of the result.
        device: device of the result.

    Returns:
        `shape`, float32.
    """
    return torch.rand(tuple(shape), generator=_generator_on(generator, device), device=device)


def beta(generator: Generator, shape: Sequence[int], alpha: float) -> Tensor:
    """Samples of Beta(alpha, alpha), drawn on the CPU, because torch's sampler accepts no generator.

    Args:
        generator: a CPU generator; one integer is drawn.
        shape: shape of the result.
        alpha: above 0. Near 0, the samples are near 0 or 1; at 1, they are uniform.

    Returns:
        `shape`, float32.
    """
    return torch.from_numpy(np.random.default_rng(_seed(generator)).beta(alpha, alpha, tuple(shape)).astype(np.float32))


def _seed(generator: Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator))


def _generator_on(generator: Generator, device: torch.device | str) -> Generator:
    return torch.Generator(device).manual_seed(_seed(generator))
