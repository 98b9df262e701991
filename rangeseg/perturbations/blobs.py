"""CowMix and CowOut: blob masks."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor

from rangeseg.masks import cow_mask
from rangeseg.perturbations.bases import Erasing, Keep, Mixing


@dataclass(frozen=True)
class CowMix(Mixing):
    """Blobs of `b`, and of its target, pasted into `a`.

    Args:
        area: the blobs' share of the image, or (low, high) to draw it uniformly.
        sigma: standard deviation of the noise's blur, pixels, or (low, high) to draw it log-uniformly.
        wrap: the views are cylinders: column 0 touches column W-1.

    Raises:
        ValueError: a setting is not valid for `cow_mask`.

    Source:
        French, Oliver, Salimans, "Milking CowMask", 2020: areas from 0.2 to 0.8, sigma from 4 to 16 (in their code).
    """

    area: float | tuple[float, float] = (0.2, 0.8)
    sigma: float | tuple[float, float] = (4.0, 16.0)
    wrap: bool = False

    def draw_mask(self, generator: Generator, valid: Tensor, target: Tensor) -> Tensor:
        """Draw blobs."""
        return _blobs(self, generator, valid)


@dataclass(frozen=True)
class CowOut(Erasing):
    """Blobs of `a` erased. `b` is not used.

    Args:
        area: the blobs' share of the image, or (low, high) to draw it uniformly.
        sigma: standard deviation of the noise's blur, pixels, or (low, high) to draw it log-uniformly.
        keep: "outside" erases the blobs, "inside" everything else.
        wrap: the views are cylinders: column 0 touches column W-1.

    Raises:
        ValueError: `keep` is neither "inside" nor "outside", or a setting is not valid for `cow_mask`.

    Source:
        French, Oliver, Salimans, "Milking CowMask", 2020: areas from 0.25 to 1, sigma from 4 to 16 (in their code;
        there erased pixels are filled with noise, here they are empty).
    """

    area: float | tuple[float, float] = (0.25, 1.0)
    sigma: float | tuple[float, float] = (4.0, 16.0)
    keep: Keep = "outside"
    wrap: bool = False

    def draw_mask(self, generator: Generator, valid: Tensor) -> Tensor:
        """Draw blobs."""
        return _blobs(self, generator, valid)


def _blobs(settings: CowMix | CowOut, generator: Generator, like: Tensor) -> Tensor:
    """Blob masks of the shape (B, H, W) and on the device of `like`."""
    return cow_mask(
        generator, *like.shape, area=settings.area, sigma=settings.sigma, wrap=settings.wrap, device=like.device
    )
