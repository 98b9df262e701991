"""Schedules over the steps: the ramp-up of the consistency loss, and learning rate multipliers.

All take (step, length) in steps of the optimiser, and keep their last value after `length` steps.
"""

from __future__ import annotations

from collections.abc import Callable
from math import cos, exp, pi


def sigmoid_rampup(step: float, length: float) -> float:
    """Weight of the consistency loss: rises from exp(-5) to 1 over `length` steps; 1 if `length` is not positive.

    Args:
        step: number of finished steps.
        length: steps until the weight is 1.

    Returns:
        exp(-5 (1 - step / length)^2), in (0, 1].

    Source:
        Laine and Aila, ICLR 2017.
    """
    left = 1 - _progress(step, length)
    return exp(-5 * left * left)


def constant(step: float, length: float) -> float:
    """1 at every step.

    Args:
        step: number of finished steps.
        length: number of steps of the training.

    Returns:
        1.
    """
    return 1.0


def poly_decay(step: float, length: float, power: float = 0.9) -> float:
    """Fall from 1 to 0 along a power.

    Args:
        step: number of finished steps.
        length: number of steps of the training.
        power: 1 is a straight line.

    Returns:
        (1 - step / length)^power, in [0, 1].

    Source:
        Chen et al., DeepLab, 2018.
    """
    return float((1 - _progress(step, length)) ** power)


def one_cycle(step: float, length: float, warmup: float = 0.3, start: float = 1 / 25, end: float = 1e-4) -> float:
    """Rise from `start` to 1, then fall to `end`, both along half a cosine.

    Args:
        step: number of finished steps.
        length: number of steps of the training.
        warmup: share of `length` with a rising multiplier.
        start: the first multiplier.
        end: the last multiplier.

    Returns:
        The multiplier, between `end` or `start` and 1.

    Source:
        Smith and Topin, 2018, with cosine instead of straight lines.
    """
    progress = _progress(step, length)
    if progress >= warmup >= 1:
        return 1.0
    if progress < warmup:
        first, last, share = start, 1.0, progress / warmup
    else:
        first, last, share = 1.0, end, (progress - warmup) / (1 - warmup)
    return last + (first - last) * (1 + cos(pi * share)) / 2


SCHEDULES: dict[str, Callable[..., float]] = {"constant": constant, "poly": poly_decay, "one_cycle": one_cycle}
"""Learning-rate multipliers, each a function of (step, length)."""


def _progress(step: float, length: float) -> float:
    """The share of `length` that is done, in [0, 1]; 1 if `length` is not positive."""
    return min(max(step / length, 0.0), 1.0) if length > 0 else 1.0
