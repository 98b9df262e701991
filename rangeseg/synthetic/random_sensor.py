"""Random sensors: beams, mounting and response, drawn within stated bounds.

They are meant for networks that must not depend on the beams, height, tilt, noise or remission of one sensor.

Shapes: H beams, W firings, N returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rangeseg.synthetic.beams import HEIGHT_M, Beams, read_beams
from rangeseg.synthetic.raycast import Poses, Returns

RANDOM = "random"
"""The sensor's name in a config and on the command line."""

BOUNDS: dict[str, tuple[float, float]] = {
    "height_m": (1.2, 2.6),
    "pitch_deg": (-4.0, 4.0),
    "roll_deg": (-3.0, 3.0),
    "up_deg": (2.0, 22.5),
    "down_deg": (-32.0, -14.0),
    "dense": (1.0, 2.5),
    "stretch": (0.85, 1.15),
    "shift_deg": (-2.0, 2.0),
    "reach_m": (60.0, 150.0),
    "near_m": (0.5, 1.5),
    "noise_m": (0.005, 0.05),
    "divergence_rad": (5e-4, 3e-3),
    "weak_beams": (0.0, 0.15),
    "dropout": (0.0, 0.15),
    "gain": (0.6, 1.4),
    "gamma": (0.5, 2.0),
    "view_deg": (90.0, 300.0),
}
"""(lowest, highest) value of each number; it is drawn uniformly."""

BEAMS = (16, 24, 32, 40, 48, 64, 80, 96, 128)
FIRINGS = (512, 720, 1024, 1440, 1800, 2048)
RAYS = 140_000
"""Largest number of rays per turn; a sensor with many beams gets fewer firings."""

SHIPPED = ("hdl64e", "hdl32e", "vlp16", "vls128", "os0_64", "os1_64", "os2_64", "pandar64", "pandaset", "pandora40")
"""Sensors of `datasets/sensors`. Half of the drawn sensors have the beams of one of these, stretched and shifted."""

PARTIAL, EGO = 0.2, 0.5
"""Chance of a horizontal field of view of less than a turn; chance that the vehicle hides what KITTI's hides."""


@dataclass(frozen=True)
class RandomSensor:
    """A drawn sensor.

    Args:
        beams: its beams and firings.
        height_m: height above the road.
        pitch: pitch of its mount, radians; positive is downwards.
        roll: roll of its mount, radians.
        ego: True if the vehicle hides what KITTI's vehicle hides.
        dropout: chance that a return is lost.
        gain: a remission r becomes gain * r^gamma, at most 1.
        gamma: see `gain`.
        view: (first, number) of the firings in its field of view, the others have no returns; None for a full turn.
    """

    beams: Beams
    height_m: float = HEIGHT_M
    pitch: float = 0.0
    roll: float = 0.0
    ego: bool = True
    dropout: float = 0.0
    gain: float = 1.0
    gamma: float = 1.0
    view: tuple[int, int] | None = None

    def mounted(self, poses: Poses) -> Poses:
        """Poses of KITTI's sensor -> poses of this sensor on the same vehicle."""
        cos, sin = np.cos, np.sin
        nod = np.array([[cos(self.pitch), 0, sin(self.pitch)], [0, 1, 0], [-sin(self.pitch), 0, cos(self.pitch)]])
        lean = np.array([[1, 0, 0], [0, cos(self.roll), -sin(self.roll)], [0, sin(self.roll), cos(self.roll)]])
        origin = poses.origin + np.array([0, 0, self.height_m - HEIGHT_M], np.float32)
        return Poses(origin, np.ascontiguousarray(poses.turn @ (nod @ lean).astype(np.float32)), poses.still)

    def received(self, returns: Returns, rng: np.random.Generator) -> Returns:
        """Returns of a perfect sensor -> those that this sensor receives, with its remission."""
        kept = rng.random(len(returns.ring), np.float32) >= self.dropout
        if self.view is not None:
            kept &= (returns.firing - self.view[0]) % self.beams.firings < self.view[1]
        kept[:1] |= not kept.any()  # a scan has at least one point
        remission = np.minimum(self.gain * returns.remission[kept] ** np.float32(self.gamma), 1).astype(np.float32)
        return Returns(returns.xyz[kept], remission, returns.raw[kept], returns.ring[kept], returns.firing[kept])


def draw_sensor(rng: np.random.Generator) -> RandomSensor:
    """Draw a sensor within `BOUNDS`.

    Args:
        rng: the only source of randomness.
    """
    drawn = {name: float(rng.uniform(*bounds)) for name, bounds in BOUNDS.items()}
    shipped, partial, ego = rng.random(3) < (0.5, PARTIAL, EGO)
    table, count, firings = (int(rng.integers(len(each))) for each in (SHIPPED, BEAMS, FIRINGS))
    inclination = _shipped(SHIPPED[table]) if shipped else _ladder(BEAMS[count], drawn)
    if shipped:
        middle = inclination.mean()
        inclination = middle + (inclination - middle) * drawn["stretch"] + np.deg2rad(drawn["shift_deg"])
    turn = min(FIRINGS[firings], RAYS // len(inclination))
    beams = Beams(
        f"random {len(inclination)} x {turn}", inclination.astype(np.float32), np.zeros(len(inclination), np.float32),
        turn, drawn["reach_m"], near_m=drawn["near_m"], divergence_rad=drawn["divergence_rad"],
        noise_m=drawn["noise_m"], gain=drawn["weak_beams"],
    )  # fmt: skip
    first = int(rng.integers(turn))
    view = (first, round(turn * drawn["view_deg"] / 360)) if partial else None
    return RandomSensor(
        beams, drawn["height_m"], float(np.deg2rad(drawn["pitch_deg"])), float(np.deg2rad(drawn["roll_deg"])),
        bool(ego), drawn["dropout"], drawn["gain"], drawn["gamma"], view,
    )  # fmt: skip


def _ladder(count: int, drawn: dict[str, float]) -> NDArray[np.float64]:
    """(count,) radians, descending: beams between the drawn ends, `dense` times as dense at the horizon as far off."""
    up, down = np.deg2rad(drawn["up_deg"]), np.deg2rad(drawn["down_deg"])
    fine = np.linspace(up, down, 2000)
    density = 1 + (drawn["dense"] - 1) * np.exp(-((fine / np.deg2rad(6)) ** 2))
    share = np.cumsum(density) / density.sum()
    return np.interp((np.arange(count) + 0.5) / count, share, fine)


@lru_cache
def _shipped(name: str) -> NDArray[np.float64]:
    return read_beams(name).inclination.astype(np.float64)
