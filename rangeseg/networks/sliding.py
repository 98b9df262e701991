"""Inference in overlapping windows of the size that the network was trained on.

Shapes: B images, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SlidingWindow:
    """The mean of a network's logits over all windows that contain a pixel.

    Windows are evenly spaced, the first and the last at the borders, and overlap at least by `overlap`. Along a side
    on which the image is no larger than the window, one window covers the whole side.

    Args:
        network: (B, C, h, w) -> (B, K, h, w) logits.
        size: (h, w) of a window, pixels, divisible by the network's stride.
        overlap: least share of a window that the next one also covers.

    Raises:
        ValueError: `size` is not two positive numbers, or `overlap` is not in [0, 1).

    Source:
        Zhao et al., CVPR 2017, section 5.2 (test images in parts); overlap 1/3 there.
    """

    network: Callable[[Tensor], Tensor]
    size: tuple[int, int]
    overlap: float = 1 / 3

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"SlidingWindow.size is {self.size}; give (height, width) in pixels, e.g. [512, 512].")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"SlidingWindow.overlap is {self.overlap}; give a share in [0, 1), e.g. 0.33.")

    def __call__(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W) mean logits."""
        down, right = (self._starts(*axis) for axis in zip(image.shape[-2:], self.size, strict=True))
        if len(down) == len(right) == 1:
            return self.network(image)
        height, width = self.size
        total, seen = image.new_zeros(()), image.new_zeros(image.shape[-2:])
        for top in down:
            for left in right:
                place = (..., slice(top, top + height), slice(left, left + width))
                logits = self.network(image[place])
                if not total.ndim:
                    total = logits.new_zeros(*logits.shape[:2], *image.shape[-2:])
                total[place] += logits
                seen[place] += 1
        return total / seen

    def _starts(self, length: int, window: int) -> list[int]:
        if length <= window:
            return [0]
        step = max(1, int(window * (1 - self.overlap)))
        count = -(-(length - window) // step) + 1
        places = torch.linspace(0, length - window, count, dtype=torch.float64)
        return [round(place) for place in places.tolist()]
