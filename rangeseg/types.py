"""Types that all parts of rangeseg share. A `View` refers to pixels, not to beams or metres.

Torch is imported only by code that makes tensors.

Shapes: N points (or photo pixels), C channels, H rows (beams), W columns (azimuth), B views in a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor

IGNORE: int = 255
"""The label of elements without a label. No loss and no metric counts them."""


@dataclass(frozen=True)
class Scan:
    """One revolution of a LiDAR in the sensor's frame: x forward, y left, z up.

    Args:
        xyz: (N, 3) float32, metres. Non-finite points and points at the origin are no returns; they stay in the scan.
        remission: (N,) float32 in [0, 1]; None becomes zeros.
        ring: (N,) integers, 0 is the topmost beam; None if unknown.
        label: (N,) train ids 0..K-1 or IGNORE; None if the scan has no labels.
        where: file of the scan, or a position in it, for messages.
        carried: (N,) float32: weight in (0, 1] of a label carried from other scans, and 0 for all other points; None if
            carried labels are not treated differently.

    Raises:
        ValueError: a field's shape does not fit `xyz`, or there are no points.
    """

    xyz: NDArray[np.float32]
    remission: NDArray[np.float32] = None  # type: ignore[assignment] # of a made scan it is never None
    ring: NDArray[np.integer] | None = None
    label: NDArray[np.integer] | None = None
    where: str = ""
    carried: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.xyz.ndim != 2 or self.xyz.shape[1] != 3:
            raise ValueError(f"Scan.xyz has shape {self.xyz.shape}; give (N, 3), one row per point.")
        if len(self.xyz) == 0:
            raise ValueError("Scan.xyz holds no points; leave empty scans out.")
        if self.remission is None:
            object.__setattr__(self, "remission", np.zeros(len(self.xyz), np.float32))
        for name in ("remission", "ring", "label", "carried"):
            value = getattr(self, name)
            if value is not None and value.shape != (len(self.xyz),):
                raise ValueError(f"Scan.{name} has shape {value.shape} for {len(self.xyz)} points; give (N,).")

    def __len__(self) -> int:
        return len(self.xyz)


@dataclass(frozen=True)
class SensorPose:
    """Pose of the sensor at the time of a scan.

    Args:
        matrix: (4, 4) float64, from the sensor's frame to that of the first scan of the sequence, metres.
        time_s: seconds since the start of the sequence; None if unknown.
    """

    matrix: NDArray[np.float64]
    time_s: float | None


@dataclass(frozen=True)
class Photo:
    """One photograph.

    Args:
        image: (H, W, 3) uint8, RGB.
        label: (H, W) integer train ids 0..K-1 or IGNORE; None if the photograph has no labels.
        where: file of the photograph, for messages.

    Raises:
        ValueError: a field has another shape or dtype, or there are no pixels.
    """

    image: NDArray[np.uint8]
    label: NDArray[np.integer] | None = None
    where: str = ""

    def __post_init__(self) -> None:
        image, label = self.image, self.label
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"Photo.image is {image.dtype} of shape {image.shape}; give uint8 of (H, W, 3), RGB.")
        if image.size == 0:
            raise ValueError(f"Photo.image of shape {image.shape} has no pixels; leave empty photographs out.")
        if label is not None and (label.shape != image.shape[:2] or label.dtype.kind not in "iu"):
            raise ValueError(
                f"Photo.label is {label.dtype} of shape {label.shape} for an image of {image.shape[0]} x "
                f"{image.shape[1]} pixels; give one integer per pixel."
            )


@dataclass(frozen=True)
class View:
    """The input of a network: one image, or a batch with a leading B on every field.

    Args:
        image: (C, H, W) float32, normalised, zero where not valid.
        valid: (H, W) bool, True at pixels with a return (or a pixel of the photograph).
        label: (H, W) int64 train ids, IGNORE where unlabelled or not valid.
        carried: (H, W) float32: weight in (0, 1] of a label carried from other scans, and 0 at all other pixels; None
            if there are no carried labels, or they are not treated differently.

    Raises:
        ValueError: the shape of a field does not fit `image`.
    """

    image: Tensor
    valid: Tensor
    label: Tensor
    carried: Tensor | None = None

    def __post_init__(self) -> None:
        pixels = self.image.shape[:-3] + self.image.shape[-2:]
        for name in ("valid", "label", "carried"):
            field = getattr(self, name)
            shape = pixels if field is None else field.shape
            if shape != pixels:
                raise ValueError(
                    f"View.{name} has shape {tuple(shape)}; image {tuple(self.image.shape)} needs {tuple(pixels)}."
                )

    def to(self, device: torch.device | str) -> View:
        """The same view on another device."""
        return self.map(lambda field: field.to(device, non_blocking=True))

    def map(self, change: Callable[[Tensor], Tensor]) -> View:
        """The view with `change` applied to every field."""
        carried = None if self.carried is None else change(self.carried)
        image, valid, label = (change(field) for field in (self.image, self.valid, self.label))
        return View(image, valid, label, carried)

    def chunk(self, parts: int, first: int | None = None) -> list[View]:
        """Split a batch into up to `parts` batches, each of at most ceil(B / parts) views.

        Args:
            parts: number of batches.
            first: split the first `first` views and the remaining ones separately; each part has a share of both. None:
                split them together.
        """
        if first is not None and parts > 1:
            own, other = self.map(lambda field: field[:first]), self.map(lambda field: field[first:])
            return [View.join(pair) for pair in zip(own.chunk(parts), other.chunk(parts), strict=True)]
        fields = (field for field in (self.image, self.valid, self.label, self.carried) if field is not None)
        return [View(*tensors) for tensors in zip(*(field.chunk(parts) for field in fields), strict=True)]

    def part(self, start: int, columns: int) -> View:
        """The given number of columns from `start` on; the first column follows the last one."""
        import torch

        chosen = torch.arange(start, start + columns) % self.valid.shape[-1]
        return self.map(lambda field: field.index_select(-1, chosen))

    @staticmethod
    def stack(views: Sequence[View]) -> View:
        """Stack B views of equal size to one batch."""
        import torch

        return View(*(torch.stack(field) for field in fields_of(views) if field))

    @staticmethod
    def join(views: Sequence[View]) -> View:
        """Concatenate batches of views of equal size."""
        import torch

        return View(*(torch.cat(field) for field in fields_of(views) if field))


def fields_of(views: Sequence[View]) -> list[list[Tensor]]:
    """The tensors of each field of the views. The fourth, `carried`, is 0 in views without it; [] if no view has it."""
    fields = [[getattr(view, name) for view in views] for name in ("image", "valid", "label")]
    if all(view.carried is None for view in views):
        return [*fields, []]
    carried = [view.image.new_zeros(view.label.shape) if view.carried is None else view.carried for view in views]
    return [*fields, carried]


@dataclass(frozen=True)
class PseudoLabelled:
    """Views with the target that the student should match: the input and output of perturbations.

    Args:
        image: (B, C, H, W), normalised, 0 where not valid.
        target: (B, K, H, W) probabilities, without a gradient.
        target_logits: (B, K, H, W) if the loss compares logits, otherwise None.
        valid: (B, H, W) bool, True at pixels that the consistency loss uses.
    """

    image: Tensor
    target: Tensor
    target_logits: Tensor | None
    valid: Tensor


class Raster(Protocol):
    """Maps pixels back to elements: `RangeImage` (points), `PaddedImage` (pixels of a photograph)."""

    def back_project(self, pixels: np.ndarray) -> np.ndarray:
        """(..., H, W) values of pixels -> (..., N) values of elements."""
        ...


@dataclass(frozen=True)
class Sample:
    """One sample to evaluate: its view, the back-projection to its elements, and their labels.

    Args:
        name: name of the sample in reports, e.g. ``08/000123``.
        view: the network's input, without a batch axis.
        raster: maps pixels back to the elements.
        label: (N,) train ids or IGNORE of the elements; None if unknown.
        distance_m: (N,) metres from the sensor, for results by distance; None for photographs.
    """

    name: str
    view: View
    raster: Raster
    label: NDArray[np.integer] | None = None
    distance_m: NDArray[np.floating] | None = None
