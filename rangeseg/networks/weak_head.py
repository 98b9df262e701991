"""A second, weak head on the last features of a network, for labels that are less reliable than those of people.

Shapes: B views, F channels of the last features, K' channels of the logits; h rows, w columns.

Source: PLE (2410.06893). The weak head learns carried labels and is removed after training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

SLOPE = 0.1


class WeakHead(nn.Module):
    """Two 1x1 convolutions from the last features to logits.

    Args:
        classifier: layer of the network that maps the last features to logits; its first convolution gives F and K'.
        width: number of channels between the two convolutions; 512 in the paper.

    Raises:
        ValueError: the classifier has no convolution.
    """

    def __init__(self, classifier: nn.Module, width: int) -> None:
        super().__init__()
        found = [module for module in classifier.modules() if isinstance(module, nn.Conv2d)]
        if not found:
            raise ValueError(f"A weak head needs a classifier with a Conv2d, but {type(classifier).__name__} has none.")
        self.layers = nn.Sequential(
            nn.Conv2d(found[0].in_channels, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(width, found[0].out_channels, 1),
        )
        self.active = False

    def forward(self, features: Tensor) -> Tensor:
        """(B, F, h, w) -> (B, K', h, w)."""
        logits: Tensor = self.layers(features)
        return logits

    def join(self, classifier: nn.Module, features: tuple[Any, ...], logits: Tensor) -> Tensor | None:
        """Forward hook: if this head is active, append its logits to those of the classifier (2B views)."""
        return torch.cat([logits, self(features[0])]) if self.active else None


@contextmanager
def weak_logits(heads: Sequence[WeakHead]) -> Iterator[None]:
    """Inside the block, the output of a network has 2B views: logits of the strong head, then of the weak head."""
    for head in heads:
        head.active = True
    try:
        yield
    finally:
        for head in heads:
            head.active = False
