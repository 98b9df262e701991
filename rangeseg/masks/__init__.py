"""Masks for mixing: (B, H, W) bool, True = taken from `b` (or erased).

    box_mask      boxes                                   CutMix, CutOut (reference_box_mask: as the paper's code)
    beam_mask     every other band of rows                FrustumMix
    grid_mask     every other cell of bands x sectors     LaserMix, RangeMix
    sector_mask   one run of columns                      PolarMix, FrustumMix
    cow_mask      blobs: blurred noise above a threshold  CowMix, CowOut
    class_mask    half of the predicted classes           ClassMix
    classes_mask  given classes                           PolarMix, RangePaste

Random masks are drawn from a CPU generator and filled in on any device.
"""

from rangeseg.masks.boxes import Aspect, By, box_mask
from rangeseg.masks.classes import class_mask, classes_mask
from rangeseg.masks.cow import cow_mask
from rangeseg.masks.reference import reference_box_mask
from rangeseg.masks.strips import beam_mask, grid_mask, sector_mask

__all__ = [
    "Aspect",
    "By",
    "beam_mask",
    "box_mask",
    "class_mask",
    "classes_mask",
    "cow_mask",
    "grid_mask",
    "reference_box_mask",
    "sector_mask",
]
