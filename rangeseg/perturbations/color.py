"""Colour jitter of photographs, the counterpart of `Jitter` for range images.

Shapes: B views, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from rangeseg.perturbations.bases import SingleViewPerturbation
from rangeseg.perturbations.channels import NAMELESS, Channels
from rangeseg.types import PseudoLabelled

RGB = ("red", "green", "blue")
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Color(SingleViewPerturbation):
    """Each student view is jittered with one probability and made grey with another; the target does not change.

    Brightness, contrast, saturation and hue are changed in random order, the first three by factors drawn
    uniformly from 1 +- the argument (at least 0), hue by a shift drawn uniformly from +- the argument. Contrast is
    changed about the mean grey of the valid pixels. Views without channels red, green and blue are not changed.

    Args:
        brightness: largest change of the factor.
        contrast: the same.
        saturation: the same.
        hue: largest shift, turns of the colour circle, at most 0.5.
        probability: probability that a view is jittered.
        grey: probability that a view is made grey.
        channels: which channels are red, green and blue, of values 0 to 1; set by the experiment.

    Raises:
        ValueError: a probability is not within [0, 1], a change is negative, or `hue` above 0.5.

    Source:
        The colour augmentation in the code of French et al., BMVC 2020, after MoCo (Chen et al., 2020).
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    probability: float = 0.8
    grey: float = 0.2
    channels: Channels = NAMELESS

    def __post_init__(self) -> None:
        for name in ("probability", "grey"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"Color got {name}={getattr(self, name)}; give a probability in [0, 1].")
        for name in ("brightness", "contrast", "saturation", "hue"):
            if not 0 <= getattr(self, name) <= (0.5 if name == "hue" else float("inf")):
                raise ValueError(
                    f"Color got {name}={getattr(self, name)}; give a change >= 0, and at most 0.5 for hue."
                )

    @property
    def has_effect(self) -> bool:
        """Whether the views have colours."""
        return all(name in self.channels for name in RGB)

    def perturb(self, generator: Generator, views: PseudoLabelled) -> PseudoLabelled:
        """Change the colours; target and validity do not change."""
        if not self.has_effect:
            return views
        colors = torch.stack([self.channels.read(views.image, name) for name in RGB], 1)
        changed = torch.stack([self._one(generator, *view) for view in zip(colors, views.valid, strict=True)])
        values = dict(zip(RGB, changed.unbind(1), strict=True))
        return replace(views, image=self.channels.replace(views.image, values, views.valid))

    def _one(self, generator: Generator, color: Tensor, valid: Tensor) -> Tensor:
        """(3, H, W) colours and (H, W) valid -> (3, H, W) colours; only random numbers are on the CPU."""
        jittered, made_grey, *drawn = torch.rand(6, generator=generator, dtype=torch.float64).tolist()
        order = torch.randperm(4, generator=generator).tolist()
        if jittered < self.probability:
            for step in order:
                color = self._steps[step](color, self._amount(step, drawn[step]), valid)
        return grey(color).expand_as(color) if made_grey < self.grey else color

    @property
    def _steps(self) -> tuple[Callable[[Tensor, float, Tensor], Tensor], ...]:
        return (
            lambda color, factor, valid: (color * factor).clamp(0, 1),
            lambda color, factor, valid: _blend(color, _mean(grey(color), valid), factor),
            lambda color, factor, valid: _blend(color, grey(color), factor),
            lambda color, shift, valid: shift_hue(color, shift),
        )

    def _amount(self, step: int, drawn: float) -> float:
        if step == 3:
            return self.hue * (2 * drawn - 1)
        change = (self.brightness, self.contrast, self.saturation)[step]
        low = max(0.0, 1 - change)
        return low + (1 + change - low) * drawn


def grey(color: Tensor) -> Tensor:
    """(3, H, W) in [0, 1] -> (1, H, W), the luma of ITU-R BT.601."""
    red, green, blue = (weight * plane for weight, plane in zip(_LUMA, color, strict=True))
    return (red + green + blue)[None]


def shift_hue(color: Tensor, shift: float) -> Tensor:
    """Rotate colours about the grey axis of the hexcone model (HSV); value and saturation do not change.

    Args:
        color: (3, H, W) in [0, 1].
        shift: turns.

    Returns:
        (3, H, W) in [0, 1].

    Source:
        Smith, SIGGRAPH 1978.
    """
    value, largest = color.max(0)
    chroma = value - color.amin(0)
    red, green, blue = color
    step = torch.where(chroma > 0, chroma, 1)
    sixth = torch.stack([(green - blue) / step, 2 + (blue - red) / step, 4 + (red - green) / step])
    hue = sixth.gather(0, largest[None])[0] + 6 * shift
    edges = torch.stack([(corner + hue).remainder(6) for corner in (5, 3, 1)])
    return value - chroma * torch.minimum(edges, 4 - edges).clamp(0, 1)


def _blend(color: Tensor, other: Tensor, factor: float) -> Tensor:
    return (factor * color + (1 - factor) * other).clamp(0, 1)


def _mean(plane: Tensor, valid: Tensor) -> Tensor:
    return (plane * valid).sum() / valid.sum().clamp(min=1)
