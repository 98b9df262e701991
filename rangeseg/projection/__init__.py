"""Scans to range images and back, photographs to padded images and back: the projections and what they make."""

from rangeseg.projection.padded_image import PaddedImage, PhotoPadding
from rangeseg.projection.range_image import CHANNELS, RangeImage
from rangeseg.projection.spherical import SphericalProjection
from rangeseg.projection.window import COLORS, Window

PROJECTIONS = {"spherical": SphericalProjection}

__all__ = [
    "CHANNELS",
    "COLORS",
    "PROJECTIONS",
    "PaddedImage",
    "PhotoPadding",
    "RangeImage",
    "SphericalProjection",
    "Window",
]
