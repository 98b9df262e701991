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
        projection: one of the sensor's others: spherical, beam, ring, unfolding or organised.

    Raises:
        ValueError: no such sensor, a section it does not have, or arguments that its projection does not take.
    """
    return projection_of(read_sensor(sensor), width=width, projection=projection)


def projection_of(model: SensorModel, *, width: int | None = None, projection: str | None = None) -> Any:
    """As `sensor_projection`, of a sensor that was read already. A sensor's file never names code."""
    arguments = model.arguments(projection, width)
    refuse_code(arguments, model.sensor)
    return build(GEOMETRIES, arguments, f"{model.sensor}: {arguments['name']}")
