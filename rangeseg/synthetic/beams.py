"""The beams that the simulator fires, for the sensors of `datasets/sensors`.

Shapes: H beams, from the topmost down; W firings per turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rangeseg.sensors import SensorModel, read_sensor

HEIGHT_M = 1.73
"""Height of KITTI's sensor above the road, metres."""

REACH_M = {"Velodyne HDL-64E": 80.0, "Velodyne HDL-32E": 80.0, "Velodyne VLP-16": 100.0}
"""Farthest return, metres: that of KITTI's files for the HDL-64E, that of data sheets (from memory) for the others."""

LIFTS_M = {"Velodyne HDL-64E": ((32, 0.205), (32, 0.13))}
"""Sensors whose beams start at different heights: (beam count, metres above the origin), fitted on SemanticKITTI."""

FIRINGS = {"Velodyne HDL-64E": 2170}
"""Firings per turn, if they differ from the image's columns: the points in the fullest row of a SemanticKITTI scan."""

ENCODER_DEG = {"Velodyne HDL-64E": 0.09}
"""Step of the azimuths in a sensor's files, degrees: those of SemanticKITTI lie 0.09, 0.18 or 0.27 apart."""

ANCHOR_M = 24.0
"""Largest distance, about, of the points on which the inclinations of lifted beams were fitted, metres."""


@dataclass(frozen=True)
class Beams:
    """The beams and firings of a sensor.

    Args:
        name: name of the sensor.
        inclination: (H,) radians, from the topmost down.
        lift: (H,) height of each beam's start above the sensor's origin, metres.
        firings: W, evenly spaced over a turn.
        reach_m: farthest return, metres.
        near_m: nearest return, metres.
        divergence_rad: half the width of a beam's footprint, radians.
        noise_m: standard deviation of the range, metres.
        gain: share of beams whose remission is much too weak. All beams also differ a little, in proportion to `gain`.
        encoder_deg: step of the azimuths, degrees, less than the angle between two firings; 0: azimuths have no steps.
        view_deg: azimuth of the left and of the right edge of the horizontal field of view, degrees, positive to the
            left of straight ahead; None: the full turn. Firings beyond it return nothing.

    Raises:
        ValueError: no beams or firings, or a nearest return that is negative or not below the farthest.
    """

    name: str
    inclination: NDArray[np.float32]
    lift: NDArray[np.float32]
    firings: int
    reach_m: float
    near_m: float = 0.9
    divergence_rad: float = 1e-3
    noise_m: float = 0.015
    gain: float = 0.0
    encoder_deg: float = 0.0
    view_deg: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if len(self.inclination) == 0 or self.firings < 1:
            raise ValueError(
                f"{self.name} has {len(self.inclination)} beams and {self.firings} firings; give at least one of each."
            )
        if not 0 <= self.near_m < self.reach_m:
            raise ValueError(
                f"{self.name} sees from {self.near_m} to {self.reach_m} m; give a far limit beyond the near limit."
            )

    @property
    def gains(self) -> NDArray[np.float32]:
        """(H,) factor of each beam's remission; always the same for one sensor."""
        rng, count = np.random.default_rng(len(self.inclination)), len(self.inclination)
        weak = np.where(rng.random(count) < self.gain, rng.uniform(0.25, 0.75, count), 1.0)
        return (weak * (1 + rng.normal(0, 0.3 * self.gain, count))).astype(np.float32)

    @property
    def azimuth(self) -> NDArray[np.float32]:
        """(H, W) radians of each firing, counter-clockwise from just left of straight ahead, as KITTI's files begin."""
        count = len(self.inclination)
        if not self.encoder_deg:
            return np.tile(self._evenly(np.full((1, 1), 0.5)), (count, 1))
        step = np.deg2rad(self.encoder_deg)
        began = np.random.default_rng(count).random((count, 1))  # each beam's offset within a firing
        return ((np.floor(self._evenly(began) / step) + 0.5) * step).astype(np.float32)

    @property
    def beyond_view(self) -> NDArray[np.bool_]:
        """(H, W) bool, True for firings beyond the horizontal field of view."""
        left, right = self.view_deg or (180.0, -180.0)
        return np.asarray((np.rad2deg(self.azimuth.astype(np.float64)) - right) % 360 > left - right)

    def _evenly(self, began: NDArray[np.float64]) -> NDArray[np.float32]:
        return ((np.arange(self.firings) + began) * (2 * np.pi / self.firings)).astype(np.float32)


def read_beams(sensor: str, firings: int | None = None) -> Beams:
    """The beams of a shipped sensor or of a YAML file.

    Args:
        sensor: name or file, as in `read_sensor`.
        firings: firings per full turn; None for the sensor's, whose columns cover its horizontal field of view.

    Raises:
        ValueError: the sensor is unknown.
    """
    model = read_sensor(sensor)
    inclination, view = _inclinations(model), _view(model)
    columns = model.width if view is None else round(360 * model.width / (view[0] - view[1]))
    lift = np.zeros_like(inclination)
    if model.sensor in LIFTS_M:
        lift = np.concatenate([np.full(count, up) for count, up in LIFTS_M[model.sensor]])
        typical = np.minimum(ANCHOR_M, HEIGHT_M / np.tan(np.maximum(-inclination, 1e-3)))
        inclination = inclination - np.arctan(lift / typical)
    return Beams(
        model.sensor, inclination.astype(np.float32), lift.astype(np.float32),
        firings or FIRINGS.get(model.sensor, columns), REACH_M.get(model.sensor, 120.0),
        gain=0.15 if model.sensor in LIFTS_M else 0.03, encoder_deg=ENCODER_DEG.get(model.sensor, 0.0), view_deg=view,
    )  # fmt: skip


def _view(model: SensorModel) -> tuple[float, float] | None:
    """Left and right edge of the sensor's horizontal field of view, degrees; None for a full turn."""
    sides = next((one for one in model.sections.values() if "fov_left_deg" in one or "fov_right_deg" in one), {})
    view = float(sides.get("fov_left_deg", 180)), float(sides.get("fov_right_deg", -180))
    return view if 0 < view[0] - view[1] < 360 else None


def _inclinations(model: SensorModel) -> NDArray[np.float64]:
    """(H,) radians: the sensor's table of beams or, without a table, the middles of the rows of its field of view."""
    if "beam" in model.sections:
        return np.deg2rad(np.asarray(model.sections["beam"]["inclinations_deg"], np.float64))
    spherical = model.sections["spherical"]
    up, down = spherical["fov_up_deg"], spherical["fov_down_deg"]
    return np.deg2rad(up - (np.arange(model.height) + 0.5) * (up - down) / model.height)
