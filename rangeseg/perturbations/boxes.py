"""CutMix and CutOut: box masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Generator, Tensor

from rangeseg.masks import Aspect, By, box_mask, reference_box_mask
from rangeseg.perturbations.bases import Erasing, Keep, Mixing

Sampler = Literal["rangeseg", "reference"]


@dataclass(frozen=True)
class CutMix(Mixing):
    """A box of `b`, and of its target, pasted into `a`.

    Args:
        area: the boxes' share of the image, or (low, high) to draw it uniformly.
        boxes: how many boxes.
        aspect: "log-uniform" or "fixed" (see `box_mask`).
        inside: boxes lie within the image; False: they may cross the border and are clipped.
        wrap: the views are cylinders: column 0 touches column W-1.
        by: "area": `area` is the boxes' area; "size": `area` is the length of their sides, as shares of the image's.
        sampler: "rangeseg" (`box_mask`), or "reference" (`reference_box_mask`): as in the paper's code, including its
            mistakes, and never across a seam.

    Raises:
        ValueError: a setting is not valid for `box_mask`, or `sampler` is unknown.

    Source:
        French et al., BMVC 2020.
    """

    area: float | tuple[float, float] = 0.5
    boxes: int = 1
    aspect: Aspect = "log-uniform"
    inside: bool = True
    wrap: bool = False
    by: By = "area"
    sampler: Sampler = "rangeseg"

    def draw_mask(self, generator: Generator, valid: Tensor, target: Tensor) -> Tensor:
        """Draw boxes."""
        return _boxes(self, generator, valid)


@dataclass(frozen=True)
class CutOut(Erasing):
    """Part of `a` erased: inside or outside a box. `b` is not used.

    Args:
        area: the box's share of the image, or (low, high) to draw it uniformly.
        keep: "inside" keeps the box and erases everything outside it, as the paper's code does; "outside" erases the
            box, as the original CutOut does.
        boxes: how many boxes.
        aspect: "log-uniform" or "fixed" (see `box_mask`).
        inside: boxes lie within the image; False: they may cross the border and are clipped.
        wrap: the views are cylinders: column 0 touches column W-1.
        by: "area": `area` is the boxes' area; "size": `area` is the length of their sides, as shares of the image's.
        sampler: "rangeseg" (`box_mask`), or "reference" (`reference_box_mask`): as in the paper's code, including its
            mistakes, and never across a seam.

    Raises:
        ValueError: `keep` is neither "inside" nor "outside", a setting is not valid for `box_mask`, or
            `sampler` is unknown.

    Source:
        French et al., BMVC 2020; DeVries and Taylor, 2017.
    """

    area: float | tuple[float, float] = (0.0, 1.0)
    keep: Keep = "inside"
    boxes: int = 1
    aspect: Aspect = "log-uniform"
    inside: bool = True
    wrap: bool = False
    by: By = "area"
    sampler: Sampler = "rangeseg"

    def draw_mask(self, generator: Generator, valid: Tensor) -> Tensor:
        """Draw boxes."""
        return _boxes(self, generator, valid)


def _boxes(settings: CutMix | CutOut, generator: Generator, like: Tensor) -> Tensor:
    """Box masks of the shape (B, H, W) and on the device of `like`."""
    names = ("area", "by", "boxes", "aspect", "inside")
    chosen: dict[str, Any] = {name: getattr(settings, name) for name in names} | {"device": like.device}
    if settings.sampler == "reference":
        return reference_box_mask(generator, *like.shape, **chosen)
    if settings.sampler != "rangeseg":
        raise ValueError(f"A box perturbation got sampler={settings.sampler!r}; choose 'rangeseg' or 'reference'.")
    return box_mask(generator, *like.shape, wrap=settings.wrap, **chosen)
