"""`RangeImage`: the point that each pixel shows, and the pixel that each point falls into.

Shapes: N points, H rows, W columns, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from rangeseg.kernels.projection import fill_view, gather_pixels, spread_pixels
from rangeseg.types import IGNORE, Scan, View

CHANNELS: tuple[str, ...] = ("range", "x", "y", "z", "remission")
"""Names of a view's possible channels: range, x, y and z in metres, remission in [0, 1]."""


@dataclass(frozen=True)
class Expected:
    """Facts of a projection that its scans are checked with.

    Args:
        fov: inclinations of the image's upper and lower edge, radians; None if the projection does not use them.
        rows_found: number of rows that scan unfolding found; None for other projections.
    """

    fov: tuple[float, float] | None = None
    rows_found: int | None = None


@dataclass(frozen=True)
class RangeImage:
    """The pixels and points of one scan, with maps in both directions. Projections create it.

    Args:
        scan: the N points, in the sensor's frame.
        row: (N,) int32 pixel row of each point, -1 for points without a return.
        col: (N,) int32 pixel column of each point, -1 for points without a return.
        range: (N,) float32 distance of each point to the sensor, metres, 0 for points without a return.
        point_index: (H, W) int32 index of the point that each pixel shows, the nearest point in it; -1 if empty.
        expected: what `rangeseg.projection.checks.misfits` compares the scan with.
        given: the scan as the projection got it, in the frame of its file and its poses; None becomes `scan`.

    Raises:
        ValueError: the shape of a field does not fit the scan.
    """

    scan: Scan
    row: NDArray[np.int32]
    col: NDArray[np.int32]
    range: NDArray[np.float32]
    point_index: NDArray[np.int32]
    expected: Expected = field(default_factory=Expected, repr=False, compare=False)
    given: Scan = field(default=None, repr=False, compare=False)  # type: ignore[assignment] # never None once made

    def __post_init__(self) -> None:
        if self.given is None:
            object.__setattr__(self, "given", self.scan)
        for name in ("row", "col", "range"):
            shape = getattr(self, name).shape
            if shape != (len(self.scan),):
                raise ValueError(f"RangeImage.{name} has shape {shape} for {len(self.scan)} points; give (N,).")
        if self.point_index.ndim != 2:
            raise ValueError(f"RangeImage.point_index has shape {self.point_index.shape}; give (H, W).")

    @property
    def height(self) -> int:
        """H, pixels."""
        return self.point_index.shape[0]

    @property
    def width(self) -> int:
        """W, pixels."""
        return self.point_index.shape[1]

    @cached_property
    def valid(self) -> NDArray[np.bool_]:
        """(H, W) bool: pixels that show a return."""
        return self.point_index >= 0

    @cached_property
    def no_return(self) -> NDArray[np.bool_]:
        """(N,) bool: points without a return, non-finite or at the origin; they are on no pixel."""
        return self.row < 0

    @property
    def no_return_count(self) -> int:
        """Number of points without a return."""
        return int(np.count_nonzero(self.no_return))

    @cached_property
    def hidden(self) -> NDArray[np.bool_]:
        """(N,) bool: returns whose pixel shows a nearer point."""
        hidden = ~self.no_return
        hidden[self.point_index[self.valid]] = False
        return hidden

    def gather(self, per_point: NDArray, fill: float | int = 0) -> NDArray:
        """Values of points -> values of pixels, those of the point that each pixel shows.

        Args:
            per_point: (N, ...) any dtype.
            fill: the value of empty pixels.

        Returns:
            (H, W, ...) of the same dtype.

        Raises:
            ValueError: the first axis is not N.
        """
        if per_point.ndim == 0 or len(per_point) != len(self.scan):
            raise ValueError(f"gather got shape {per_point.shape} for {len(self.scan)} points; give (N, ...).")
        pixels = np.full(self.point_index.shape + per_point.shape[1:], fill, per_point.dtype)
        gather_pixels(self.point_index, per_point, pixels)
        return pixels

    def back_project(self, pixels: NDArray, fill: float | int | None = None) -> NDArray:
        """Pixel values -> point values; every point takes the value of its pixel, hidden or not.

        Args:
            pixels: (..., H, W) any dtype.
            fill: the value of points without a return. None: IGNORE for integers, nan for floats, False for bool.

        Returns:
            (..., N) of the same dtype.

        Raises:
            ValueError: the last axes are not H, W, or the dtype cannot hold the fill.
        """
        if pixels.shape[-2:] != self.point_index.shape:
            raise ValueError(
                f"back_project got shape {pixels.shape} for a range image of {self.height} x {self.width}; "
                f"give (..., {self.height}, {self.width})."
            )
        lead = pixels.shape[:-2]
        points = np.full((int(np.prod(lead)), len(self.scan)), _fill_of(pixels.dtype, fill), pixels.dtype)
        spread_pixels(self.row, self.col, pixels.reshape(-1, *self.point_index.shape), points)
        return points.reshape(*lead, len(self.scan))

    def view(self, channels: Sequence[str], mean: ArrayLike, std: ArrayLike) -> View:
        """The network input: normalised channels, zero in empty pixels.

        Args:
            channels: C names among range, x, y, z (metres) and remission, in the network's order.
            mean: (C,) subtracted from each channel.
            std: (C,) by which each channel is then divided.

        Returns:
            The view with the scan's labels; IGNORE in empty pixels, and everywhere if the scan has no labels.

        Raises:
            ValueError: an unknown channel, a mean or std of another length, or a std that is not positive.

        Source:
            Order of operations of RangeNet++ (Milioto et al., IROS 2019).
        """
        kind, mean32, std32 = normalisation(CHANNELS, channels, mean, std)
        shape = self.point_index.shape
        image = torch.empty((len(channels), *shape), dtype=torch.float32)
        valid, label = torch.empty(shape, dtype=torch.bool), torch.empty(shape, dtype=torch.int64)
        scan = self.scan
        sources = (
            self.range,
            np.ascontiguousarray(scan.xyz, np.float32),
            np.ascontiguousarray(scan.remission, np.float32),
            np.empty(0, np.uint8) if scan.label is None else scan.label,
        )
        fill_view(
            self.point_index, sources, (kind, mean32, std32), (image.numpy(), valid.numpy(), label.numpy()), IGNORE
        )
        carried = None if scan.carried is None else torch.from_numpy(self.gather(scan.carried))
        return View(image, valid, label, carried)


def _fill_of(dtype: np.dtype, fill: float | int | None) -> float | int:
    """The value of points without a return, checked to fit into `dtype`."""
    if fill is None:
        fill = np.nan if dtype.kind == "f" else IGNORE if dtype.kind in "iu" else 0
    if dtype.kind in "iu" and not np.iinfo(dtype).min <= fill <= np.iinfo(dtype).max:
        raise ValueError(
            f"{dtype} cannot hold {fill}, the value of points without a return; use uint8 or int64, or give "
            "another fill."
        )
    return fill


def normalisation(
    known: Sequence[str], channels: Sequence[str], mean: ArrayLike, std: ArrayLike
) -> tuple[NDArray, NDArray, NDArray]:
    """Check the channels and their statistics: (C,) int64 indices into `known`, (C,) float32 mean and std.

    Raises:
        ValueError: an unknown channel, a mean or std of another length, or a std that is not positive.
    """
    unknown = [name for name in channels if name not in known]
    if unknown or not channels:
        raise ValueError(f"view got channels {tuple(channels)}; choose from {', '.join(known)}.")
    mean32, std32 = np.asarray(mean, np.float32), np.asarray(std, np.float32)
    for name, value in (("mean", mean32), ("std", std32)):
        if value.shape != (len(channels),):
            raise ValueError(
                f"view got {name} of shape {value.shape} for {len(channels)} channels; give one per channel."
            )
    if not ((std32 > 0) & (std32 < np.inf)).all():
        raise ValueError(
            f"view got std {std32.tolist()}; each must be positive and finite (1 leaves a channel unscaled)."
        )
    return np.array([known.index(name) for name in channels], np.int64), mean32, std32
