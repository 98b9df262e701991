"""Weak augmentation of photographs: one random window with size, position, reflection and rotation.

The same for labelled and unlabelled photographs. The random generator is an argument. Every window takes the same
number of draws, so switching one kind of augmentation off does not change the draws of the others.

Shapes: H0, W0 rows and columns of a photograph; H, W of the crop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rangeseg.photos.window import Window

HUNG_SCALES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5)


@dataclass(frozen=True)
class PhotoAugmentation:
    """Random changes of a photograph before a network reads a crop of it.

    For each photograph: draw a scale f, cut round(H / f) x round(W / f) pixels anywhere, enlarge or shrink them to
    H x W, mirror. A photograph smaller than the cut is in its middle, an odd pixel of padding below or on the right. A
    stretch changes the size of the cut before its place is drawn, so that the cut can be anywhere in the photograph.

    Args:
        crop: (H, W) pixels.
        scales: the factors f to draw from, with equal probability; ``[1.0]``: no scaling.
        per_axis: draw scale and stretch separately for rows and columns.
        flip_x: probability that left and right change places.
        flip_y: probability that top and bottom change places.
        transpose: probability that rows and columns change places after the flips; the crop must be square.
        rotate_deg: half-width of the uniform rotation about the crop's centre, degrees.
        stretch: s of a further factor, drawn log-uniformly from 1 / s to s, about the crop's centre; 1: no stretch.
        reflect: pad a photograph with its mirror image; False pads with 0. No pixel there is valid.

    Raises:
        ValueError: a field is out of its range.

    Source:
        French et al., BMVC 2020, and its code: Hung et al.'s scales for Pascal VOC, rotation and stretch for ISIC.
    """

    crop: tuple[int, int]
    scales: tuple[float, ...] = HUNG_SCALES
    per_axis: bool = False
    flip_x: float = 0.5
    flip_y: float = 0.0
    transpose: float = 0.0
    rotate_deg: float = 0.0
    stretch: float = 1.0
    reflect: bool = False

    def __post_init__(self) -> None:
        if len(self.crop) != 2 or min(self.crop) < 1:
            raise ValueError(f"PhotoAugmentation.crop is {self.crop}; give (height, width) in pixels, e.g. (321, 321).")
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales):
            raise ValueError(f"PhotoAugmentation.scales is {self.scales}; give positive factors, e.g. (0.5, 1.0, 1.5).")
        for name in ("flip_x", "flip_y", "transpose"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"PhotoAugmentation.{name} is {value}; give a probability in [0, 1].")
        if self.transpose and self.crop[0] != self.crop[1]:
            raise ValueError(
                f"PhotoAugmentation.transpose is {self.transpose} with a crop of {self.crop}; give a square crop, or "
                "transpose 0."
            )
        if not 0 <= self.rotate_deg < math.inf:
            raise ValueError(f"PhotoAugmentation.rotate_deg is {self.rotate_deg}; give degrees >= 0 (0: no rotation).")
        if not 1 <= self.stretch < math.inf:
            raise ValueError(f"PhotoAugmentation.stretch is {self.stretch}; give a factor >= 1 (1: no stretch).")

    def draw(self, height: int, width: int, rng: np.random.Generator) -> Window:
        """One window over a photograph.

        Args:
            height: H0, pixels.
            width: W0, pixels.
            rng: the only source of randomness.
        """
        scale, place, flip, stretch, (transpose, turn) = rng.random((5, 2))
        if not self.per_axis:
            scale, stretch = scale[:1].repeat(2), stretch[:1].repeat(2)
        crop, factors = np.array(self.crop), np.array(self.scales)
        cut = np.maximum(1, np.rint(crop / factors[(scale * len(factors)).astype(int)]))
        enlarged = self.stretch ** (1 - 2 * stretch)  # factor of the cut's size
        extra = np.array([height, width]) - cut * enlarged
        first = np.where(extra > 0, extra * place, extra / 2)
        if self.stretch == 1:  # the cut begins at a whole pixel
            first = np.where(extra > 0, np.rint(first), np.ceil(first))
        middle = first + cut * enlarged / 2
        step = np.diag(cut / crop)
        turned = _rotation(math.radians(self.rotate_deg) * (2 * turn - 1)) @ np.diag(enlarged)
        mirror = self._mirror(flip, bool(transpose < self.transpose))
        window = _about(middle, turned) @ _affine(step, middle - cut / 2) @ mirror
        return Window(*self.crop, window[:2], self.reflect)

    def _mirror(self, flip: NDArray[np.float64], transposed: bool) -> NDArray[np.float64]:
        """(3, 3) places in the view -> places in the crop before it was mirrored."""
        flipped = flip < np.array([self.flip_y, self.flip_x])
        mirror = _affine(np.diag(np.where(flipped, -1.0, 1.0)), np.where(flipped, self.crop, 0))
        return mirror @ _affine(np.eye(2)[::-1], np.zeros(2)) if transposed else mirror


def _affine(matrix: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) p -> matrix @ p + shift."""
    whole = np.eye(3)
    whole[:2, :2], whole[:2, 2] = matrix, shift
    return whole


def _about(centre: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) p -> centre + matrix @ (p - centre)."""
    return _affine(matrix, centre - matrix @ centre)


def _rotation(angle: float) -> NDArray[np.float64]:
    """(2, 2) rotation by an angle, radians."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])
