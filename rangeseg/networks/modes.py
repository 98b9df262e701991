"""Training and evaluation mode of a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put the network in eval mode inside the block, and back in its former mode afterwards."""
    training = network.training
    network.train(False)
    try:
        yield
    finally:
        network.train(training)
