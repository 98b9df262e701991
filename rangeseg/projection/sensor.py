"""The projection of a sensor, by name."""

from __future__ import annotations

from typing import Any

from rangeseg.catalog import GEOMETRIES
from rangeseg.registry import build, refuse_code
from rangeseg.sensors import SensorModel, read_sensor


def sensor_projection(sensor: str, width: int | None = None, projection: str | None = None) -> Any:
    """The projection that fits a sensor.

    Args:
        sensor: the name of a shipped sensor (`datasets/sensors`), or a YAML file as `rangeseg fit-sensor` writes it.
        width: columns; None for the sensor's.
        projection: spherical, beam, ring, unfolding or organised; None for the sensor's default.

    Raises:
        ValueError: an unknown sensor, a projection that it has no section for, or arguments that the projection does
            not take.
    """
    return projection_of(read_sensor(sensor), width=width, projection=projection)


def projection_of(model: SensorModel, *, width: int | None = None, projection: str | None = None) -> Any:
    """As `sensor_projection`, for a sensor that is already read. A sensor file that names code is refused."""
    arguments = model.arguments(projection, width)
    refuse_code(arguments, model.sensor)
    return build(GEOMETRIES, arguments, f"{model.sensor}: {arguments['name']}")
