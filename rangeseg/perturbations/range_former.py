"""RangeFormer's four augmentations of range images: RangeMix, RangeUnion, RangePaste, RangeShift.

They are made for labelled views (`supervised.mix`). Like all perturbations, they are pure functions of a generator and
two batches, so they also work for pseudo-labelled views.

Shapes: B views, K classes, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from rangeseg.masks import classes_mask
from rangeseg.mixing import mix
from rangeseg.perturbations.bases import Mixing
from rangeseg.perturbations.channels import NAMELESS, Channels
from rangeseg.perturbations.geometric import Geometric
from rangeseg.perturbations.strips import LaserMix
from rangeseg.types import PseudoLabelled


@dataclass(frozen=True)
class RangeMix(LaserMix):
    """LaserMix's checkerboard of inclination and azimuth, of two to five bands and two to five sectors.

    Args:
        bands: numbers of bands to draw from.
        sectors: numbers of sectors to draw from.
        probability: probability that a pair of views is mixed.

    Raises:
        ValueError: as `LaserMix`.

    Source:
        Kong et al., RangeFormer, ICCV 2023; numbers and probability as RangeRet's code sets them.
    """

    bands: tuple[int, ...] = (2, 3, 4, 5)
    sectors: tuple[int, ...] = (2, 3, 4, 5)
    probability: float = field(default=0.9, kw_only=True)


@dataclass(frozen=True)
class RangeUnion(Mixing):
    """Empty pixels of `a`, filled with the pixels of `b`: a denser image, of two scans.

    Args:
        fraction: probability that an empty pixel is filled if `b` has a return there.
        probability: probability that a pair of views is united.

    Raises:
        ValueError: `fraction` is not within [0, 1].

    Source:
        Kong et al., RangeFormer, ICCV 2023; half of the empty pixels, with probability 0.2, as RangeRet's code does.
    """

    fraction: float = 0.5
    probability: float = field(default=0.2, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.fraction <= 1:
            raise ValueError(f"RangeUnion got fraction={self.fraction}; give the share of empty pixels, in [0, 1].")

    def draw_mask(self, generator: Generator, valid: Tensor, target: Tensor) -> Tensor:
        """Draw each pixel with probability `fraction`; `combine` uses those that only the other view has."""
        return (torch.rand(valid.shape, generator=generator) < self.fraction).to(valid.device, non_blocking=True)

    def combine(self, generator: Generator, a: PseudoLabelled, b: PseudoLabelled, mask: Tensor) -> PseudoLabelled:
        """Fill empty pixels of `a`."""
        return mix(a, b, mask & b.valid & ~a.valid)


@dataclass(frozen=True)
class RangePaste(Mixing):
    """Pixels of rare classes of `b`, pasted into `a` at the same positions, over any pixels.

    Args:
        tails: train ids of the rare classes; set by the experiment to those with less than 1 % of all points.
        probability: probability that a pair of views is changed.

    Raises:
        ValueError: there are no rare classes.

    Source:
        Kong et al., RangeFormer, ICCV 2023; probability 0.9 as RangeRet's code sets it. On SemanticKITTI, it
        pastes bicycle to motorcyclist, trunk, pole and traffic-sign; by the share of points, other-ground is rare, too.
    """

    tails: tuple[int, ...] = ()
    probability: float = field(default=0.9, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tails:
            raise ValueError(
                "RangePaste does not know the rare classes, because the dataset's labels.yaml has no frequencies. Give "
                "the train ids of rare classes as tails."
            )

    def draw_mask(self, generator: Generator, valid: Tensor, target: Tensor) -> Tensor:
        """The pixels of rare classes in `b`."""
        return classes_mask(target.argmax(1), valid, self.tails)


@dataclass(frozen=True)
class RangeShift(Geometric):
    """The scan, rotated about the sensor by a quarter to three quarters of a turn, with x and y.

    Args:
        mirror: the probability of mirroring.
        channels: which channels are x and y; set by the experiment.
        turn: (least, largest) rotation, as shares of a full turn.

    Raises:
        ValueError: as `Geometric`.

    Source:
        Kong et al., RangeFormer, ICCV 2023; RangeRet's code always rolls by 25 to 75 % of the columns.
    """

    mirror: float = 0.0
    channels: Channels = NAMELESS
    turn: tuple[float, float] = (0.25, 0.75)
