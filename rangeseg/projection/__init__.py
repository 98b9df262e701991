"""Scans to range images and back: the projections and `RangeImage`."""

from rangeseg.projection.range_image import CHANNELS, RangeImage
from rangeseg.projection.spherical import SphericalProjection

PROJECTIONS = {"spherical": SphericalProjection}

__all__ = ["CHANNELS", "PROJECTIONS", "RangeImage", "SphericalProjection"]
