"""Reflection of surfaces: variation of the remission, its decrease with the angle, and the probability of no return.

Fitted by eye to the remission of SemanticKITTI's classes, see `results/synthetic.md`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Material:
    """A surface.

    Args:
        spread: standard deviation of the remission from point to point, relative to the remission.
        mirror: share of the light that is lost at a glancing angle: 0 for a matt surface, 1 for a mirror.
        lost: share of beams without a return, because the surface swallows or deflects them: glass, water, black paint.
        rough_m: standard deviation of the range, metres, which is added to the sensor's.
    """

    spread: float
    mirror: float
    lost: float
    rough_m: float = 0.0


MATERIALS: dict[str, Material] = {
    "asphalt": Material(spread=0.13, mirror=0.10, lost=0.003),
    "paving": Material(spread=0.11, mirror=0.05, lost=0.002),
    "soil": Material(spread=0.10, mirror=0.0, lost=0.002, rough_m=0.03),
    "wall": Material(spread=0.12, mirror=0.1, lost=0.003),
    "wood": Material(spread=0.25, mirror=0.1, lost=0.01, rough_m=0.01),
    "leaf": Material(spread=0.20, mirror=0.0, lost=0.02, rough_m=0.05),
    "paint": Material(spread=0.6, mirror=0.75, lost=0.10),
    "glass": Material(spread=0.8, mirror=0.9, lost=0.9),
    "rubber": Material(spread=0.5, mirror=0.2, lost=0.10),
    "metal": Material(spread=0.5, mirror=0.3, lost=0.05),
    "cloth": Material(spread=0.25, mirror=0.0, lost=0.01, rough_m=0.01),
    "reflector": Material(spread=0.25, mirror=0.0, lost=0.0),
}
"""Every material by its name; a mesh stores indices into this table."""
