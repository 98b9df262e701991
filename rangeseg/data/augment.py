"""Weak augmentation of scans: one random affine motion, and randomly dropped points.

Labelled and unlabelled scans get the same augmentation. The draws depend only on the state of the generator that the
caller passes, and switching one kind of augmentation off does not change the draws of the others.

Shapes: N points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rangeseg.kernels.augment import drop, move
from rangeseg.types import Scan


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a scan before it is projected, and the columns of its range image that training reads.

    Args:
        rotate_deg: half-width of the uniform rotation about z, degrees.
        flip_x: probability that x becomes -x.
        flip_y: probability that y becomes -y.
        scale: (low, high) of the uniform factor on all coordinates.
        shift_m: standard deviation of the normal translation along each axis, metres.
        drop: maximum fraction of dropped points. The fraction is uniform in [0, drop), and each point is dropped
            independently.
        drop_remission: probability that all remissions of a scan become 0, as in a file without remission.
        remission_gain: (low, high) of the log-uniform factor on all remissions. The network then relies less on
            absolute remissions, which differ between sensors, lenses and surfaces.
        columns: width of the part of the range image that is used for training, at a random azimuth; None: all columns.

    Raises:
        ValueError: a field is out of its range.

    Source:
        Flips, scale and translation: LaserMix's weak augmentation; dropping: SalsaNext's and CENet's.
    """

    rotate_deg: float = 180.0
    flip_x: float = 0.5
    flip_y: float = 0.5
    scale: tuple[float, float] = (0.95, 1.05)
    shift_m: float = 0.1
    drop: float = 0.0
    columns: int | None = None
    drop_remission: float = 0.0
    remission_gain: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        for name in ("flip_x", "flip_y", "drop_remission"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"Augmentation.{name} is {value}; give a probability in [0, 1].")
        for name in ("scale", "remission_gain"):
            value = getattr(self, name)
            if len(value) != 2 or not 0 < value[0] <= value[1] < math.inf:
                raise ValueError(f"Augmentation.{name} is {value}; give (low, high) with 0 < low <= high.")
        for name in ("rotate_deg", "shift_m"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"Augmentation.{name} is {value}; give a number >= 0 (0 switches it off).")
        if not 0 <= self.drop < 1:
            raise ValueError(f"Augmentation.drop is {self.drop}; give a fraction in [0, 1), so that points remain.")
        if self.columns is not None and self.columns < 1:
            raise ValueError(
                f"Augmentation.columns is {self.columns}; give a width in pixels, or null for all columns."
            )

    def draw(self, rng: np.random.Generator) -> Motion:
        """Draw one motion; the number of draws from `rng` is always the same."""
        turn, flip_x, flip_y, stretch, dropped = rng.random(5)
        shift = rng.standard_normal(3) * self.shift_m
        angle = math.radians(self.rotate_deg) * (2 * turn - 1)
        factor = self.scale[0] + (self.scale[1] - self.scale[0]) * stretch
        x, y = factor * (-1 if flip_x < self.flip_x else 1), factor * (-1 if flip_y < self.flip_y else 1)
        cos, sin = math.cos(angle), math.sin(angle)
        matrix = np.array([[x * cos, -x * sin, 0], [y * sin, y * cos, 0], [0, 0, factor]])
        seed = int(rng.integers(2**63))
        return Motion(matrix, shift, self.drop * dropped, seed, self._draw_gain(seed))

    def _draw_gain(self, seed: int) -> float:
        """The factor on the remissions, drawn from a separate generator."""
        low, high = self.remission_gain
        if self.drop_remission == 0 and low == high == 1:
            return 1.0
        dark, gain = np.random.default_rng(seed).random(2)
        return 0.0 if dark < self.drop_remission else low * (high / low) ** gain

    def __call__(self, scan: Scan, rng: np.random.Generator) -> Scan:
        """Augment a scan. The given scan is not changed.

        Args:
            scan: N points.
            rng: the only source of randomness.

        Returns:
            A scan of 1 to N of the points in the same order, with their ring and label. Their remissions are multiplied
            by the drawn factor.
        """
        return self.draw(rng)(scan)


@dataclass(frozen=True)
class Motion:
    """One drawn augmentation: returns move to ``matrix @ p + shift``; points without a return do not change.

    Args:
        matrix: (3, 3) rotation, flips and scale.
        shift: (3,) metres.
        dropped: probability that a point is dropped, in [0, 1).
        seed: seed of the draws that drop points.
        gain: factor on all remissions.
    """

    matrix: NDArray[np.float64]
    shift: NDArray[np.float64]
    dropped: float = 0.0
    seed: int = 0
    gain: float = 1.0

    def __call__(self, scan: Scan) -> Scan:
        """The moved scan; fields that do not change are shared with the given one."""
        xyz = np.empty((len(scan), 3), np.float32)
        flat = np.ascontiguousarray(scan.xyz, np.float32).reshape(-1)
        move(flat, self.matrix.astype(np.float32), self.shift.astype(np.float32), xyz.reshape(-1))
        remission = scan.remission if self.gain == 1 else scan.remission * np.float32(self.gain)
        if self.dropped == 0:
            return replace(scan, xyz=xyz, remission=remission)
        kept = np.empty(len(scan), np.intp)
        kept = kept[: drop(np.uint64(self.seed), self.dropped, xyz.reshape(-1), kept)]
        ring, label = (None if field is None else field.take(kept) for field in (scan.ring, scan.label))
        carried = None if scan.carried is None else scan.carried.take(kept)
        return Scan(xyz[: len(kept)], remission.take(kept), ring, label, scan.where, carried)
