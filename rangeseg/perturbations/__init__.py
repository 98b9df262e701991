"""What turns unlabelled views into a question for the student: its input, the answer it should give, where it counts.

The teacher always reads unperturbed views; what is done to the student's view is done to the teacher's answer.

    a, b      two batches of unlabelled views         m: a mask (B, H, W)
    mixing    student reads mix(a, b, m)              target: the teacher's answers to a and b, mixed by m
              CutMix boxes, CowMix blobs, LaserMix bands or a grid, PolarMix sectors and things, FrustumMix bands or
              sectors, ClassMix what the teacher takes for half of the classes
    ICT       student reads (1 - l) a + l b           target: the teacher's answers, averaged likewise
    erasing   student reads a, one side of m erased   target: the teacher's answer to a, where something is left
              CutOut boxes, CowOut blobs
    VAT       student reads a + r d, d the worst      target: the teacher's answer to a
    Geometric student reads a, turned or mirrored     target: the teacher's answer to a, turned or mirrored
    Affine    student reads a, moved and scaled       target: the teacher's answer to a, warped alike (photographs)
    Jitter    student reads a with a worse sensor     target: the teacher's answer to a, where something is left
    Color     student reads a in other colours        target: the teacher's answer to a (photographs)
    none      student reads a                         target: the teacher's answer to a
    Combined  one of all these, others of one view before it on its sources and on top of it; OneOf draws one at each
              step, Several takes all of its parts

Shapes: B views, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

from rangeseg.perturbations.affine import Affine
from rangeseg.perturbations.bases import Asking, Erasing, Mixing, NoPerturbation, OneView
from rangeseg.perturbations.blobs import CowMix, CowOut
from rangeseg.perturbations.boxes import CutMix, CutOut
from rangeseg.perturbations.channels import Channels
from rangeseg.perturbations.classmix import ClassMix
from rangeseg.perturbations.color import Color
from rangeseg.perturbations.combined import Combined, OneOf, Several
from rangeseg.perturbations.geometric import Geometric
from rangeseg.perturbations.ict import ICT
from rangeseg.perturbations.jitter import Jitter
from rangeseg.perturbations.polarmix import PolarMix
from rangeseg.perturbations.protocol import Perturbation, Perturbed, Student, Teacher
from rangeseg.perturbations.strips import FrustumMix, LaserMix
from rangeseg.perturbations.vat import VAT

__all__ = [
    "ICT",
    "VAT",
    "Affine",
    "Asking",
    "Channels",
    "ClassMix",
    "Color",
    "Combined",
    "CowMix",
    "CowOut",
    "CutMix",
    "CutOut",
    "Erasing",
    "FrustumMix",
    "Geometric",
    "Jitter",
    "LaserMix",
    "Mixing",
    "NoPerturbation",
    "OneOf",
    "OneView",
    "Perturbation",
    "Perturbed",
    "PolarMix",
    "Several",
    "Student",
    "Teacher",
]
