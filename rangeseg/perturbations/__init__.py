"""Perturbations of unlabelled views and of their targets.

The teacher always reads unperturbed views. What is done to the student's view is also done to the target.

    a, b      two batches of unlabelled views         m: a mask (B, H, W)
    mixing    student reads mix(a, b, m)              target: T(a) and T(b) mixed by m
              CutMix boxes, CowMix blobs, LaserMix bands or a grid, PolarMix sectors and things, FrustumMix bands or
              sectors, ClassMix the pixels of half of the predicted classes
    ICT       student reads (1 - l) a + l b           target: T(a) and T(b) averaged likewise
    erasing   student reads a, one side of m erased   target: T(a), where `a` is not erased
              CutOut boxes, CowOut blobs
    VAT       student reads a + r d                   target: T(a); d is the direction that changes it most
    Geometric student reads a, turned or mirrored     target: T(a), turned or mirrored
    Affine    student reads a, moved and scaled       target: T(a), warped alike (photographs)
    Jitter    student reads a with sensor noise       target: T(a), where pixels are not dropped
    Color     student reads a in other colours        target: T(a) (photographs)
    Identity  student reads a                         target: T(a)
    Range...  RangeFormer's four: RangeMix mixes a checkerboard, RangeUnion fills empty pixels, RangePaste pastes rare
              classes, RangeShift rotates the scan
    Compose   one of these, with others before and after it; OneOf draws one at each step, AllOf applies all its parts,
              Sequential applies each part to the result of the part before it

Shapes: B views, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

from rangeseg.perturbations.affine import Affine
from rangeseg.perturbations.bases import Erasing, Identity, Mixing, Perturbation, SingleViewPerturbation
from rangeseg.perturbations.blobs import CowMix, CowOut
from rangeseg.perturbations.boxes import CutMix, CutOut
from rangeseg.perturbations.channels import Channels
from rangeseg.perturbations.classmix import ClassMix
from rangeseg.perturbations.color import Color
from rangeseg.perturbations.combined import AllOf, Compose, OneOf, Sequential
from rangeseg.perturbations.geometric import Geometric
from rangeseg.perturbations.ict import ICT
from rangeseg.perturbations.jitter import Jitter
from rangeseg.perturbations.polarmix import PolarMix
from rangeseg.perturbations.range_former import RangeMix, RangePaste, RangeShift, RangeUnion
from rangeseg.perturbations.strips import FrustumMix, LaserMix
from rangeseg.perturbations.vat import VAT

__all__ = [
    "ICT",
    "VAT",
    "Affine",
    "AllOf",
    "Channels",
    "ClassMix",
    "Color",
    "Compose",
    "CowMix",
    "CowOut",
    "CutMix",
    "CutOut",
    "Erasing",
    "FrustumMix",
    "Geometric",
    "Identity",
    "Jitter",
    "LaserMix",
    "Mixing",
    "OneOf",
    "Perturbation",
    "PolarMix",
    "RangeMix",
    "RangePaste",
    "RangeShift",
    "RangeUnion",
    "Sequential",
    "SingleViewPerturbation",
]
