"""A second, weak head on a network's last features, for labels that are less sure than a person's.

Shapes: B views, F channels of the last features, K' of the logits; h, w their rows and columns.

Source: PLE (2410.06893): the weak head learns labels that were carried by poses, and is dropped after the training.
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
        classifier: the layer beside it, whose first convolution says how many channels come in and go out.
        width: channels between the two; 512 in the paper.

    Raises:
        ValueError: the classifier has no convolution.
    """

    def __init__(self, classifier: nn.Module, width: int) -> None:
        super().__init__()
        found = [module for module in classifier.modules() if isinstance(module, nn.Conv2d)]
        if not found:
            raise ValueError(f"A weak head goes beside a convolution; a {type(classifier).__name__} has none.")
        self.layers = nn.Sequential(
            nn.Conv2d(found[0].in_channels, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(width, found[0].out_channels, 1),
        )
        self.asked = False

    def forward(self, features: Tensor) -> Tensor:
        """(B, F, h, w) -> (B, K', h, w)."""
        logits: Tensor = self.layers(features)
        return logits

    def join(self, classifier: nn.Module, features: tuple[Any, ...], logits: Tensor) -> Tensor | None:
        """The classifier's logits, and where this head is asked, its own behind them: 2B views. A forward hook."""
        return torch.cat([logits, self(features[0])]) if self.asked else None


@contextmanager
def asked(heads: Sequence[WeakHead]) -> Iterator[None]:
    """Inside the block, a network's answer has 2B views: the strong head's, then the weak head's."""
    for head in heads:
        head.asked = True
    try:
        yield
    finally:
        for head in heads:
            head.asked = False
