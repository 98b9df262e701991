"""Scans to range images and back, photographs to padded images and back: the projections and what they make."""

from collections.abc import Callable
from typing import Any

from rangeseg.projection.beam import BeamProjection
from rangeseg.projection.organised import OrganisedProjection
from rangeseg.projection.padded_image import PaddedImage, PhotoPadding
from rangeseg.projection.range_image import CHANNELS, RangeImage
from rangeseg.projection.ring import RingProjection
from rangeseg.projection.sensor import GEOMETRIES, sensor_projection
from rangeseg.projection.spherical import SphericalProjection
from rangeseg.projection.unfolding import ScanUnfolding
from rangeseg.projection.window import COLORS, Window

PROJECTIONS: dict[str, Callable[..., Any]] = GEOMETRIES | {"sensor": sensor_projection}

__all__ = [
    "CHANNELS",
    "COLORS",
    "PROJECTIONS",
    "BeamProjection",
    "OrganisedProjection",
    "PaddedImage",
    "PhotoPadding",
    "RangeImage",
    "RingProjection",
    "ScanUnfolding",
    "SphericalProjection",
    "Window",
    "sensor_projection",
]
