"""A small head that labels points from the probabilities of the pixels around each point and their relative positions.

A learnt kind of KNN. One perceptron gives each neighbour in the window a weight, from its difference to the point in
range, in space, in the image and in remission. A second perceptron corrects the weighted mean of the neighbours'
probabilities, from this mean and the point's own height, range and remission.

Shapes: N points of a range image (H, W), K classes, S the window's side, J = S * S its cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from rangeseg.evaluation.backprojection import BackProjection
from rangeseg.files import load_tensors, write_atomically
from rangeseg.projection.range_image import RangeImage

BETWEEN = 6
"""Features of a neighbour relative to the point: range, distance, remission, row, column, whether it is the centre."""

OWN = 5
"""Features of a point: range, height, remission, range of its pixel minus its own, whether another point hides it."""


@dataclass(frozen=True)
class Neighbours:
    """The cells in the windows of some points.

    Args:
        points: (N,) int64 indices of the points in the scan.
        cells: (N, J) int64 flat indices of pixels in the image.
        valid: (N, J) bool, True if the cell is in the image and shows a return.
        between: (N, J, BETWEEN) float32 features of the neighbours.
        own: (N, OWN) float32 features of the points.
    """

    points: Tensor
    cells: Tensor
    valid: Tensor
    between: Tensor
    own: Tensor


def undecided(image: RangeImage, prediction: NDArray[np.integer], window: int, *, wrap: bool = False) -> NDArray:
    """(M,) int64 indices of the points whose window has several predicted classes; the head labels only these points.

    Args:
        image: the points and their pixels.
        prediction: (H, W) train ids.
        window: S, odd.
        wrap: column 0 touches column W-1.
    """
    valid, label = torch.from_numpy(image.valid), torch.from_numpy(prediction.astype(np.float32))
    margin = window // 2

    def largest(values: Tensor) -> Tensor:
        filled = values.masked_fill(~valid, -torch.inf)[None, None]
        filled = F.pad(filled, (margin, margin, 0, 0), mode="circular") if wrap else filled
        return F.max_pool2d(filled, window, 1, (margin, 0 if wrap else margin))[0, 0]

    mixed = (largest(label) != -largest(-label)).numpy()
    return np.flatnonzero(image.back_project(mixed, fill=False))


def neighbours(image: RangeImage, points: NDArray, window: int, *, wrap: bool = False) -> Neighbours:
    """The inputs of a head: the cells around some returns.

    Args:
        image: the points and their pixels.
        points: (N,) int64 indices of returns.
        window: S, odd.
        wrap: column 0 touches column W-1.
    """
    steps = torch.arange(window) - window // 2
    down, along = (step.reshape(-1) for step in torch.meshgrid(steps, steps, indexing="ij"))
    chosen = torch.from_numpy(points)
    row, col = (torch.from_numpy(of)[chosen].long()[:, None] for of in (image.row, image.col))
    rows, columns = row + down, col + along
    inside = (rows >= 0) & (rows < image.height) & (wrap | ((columns >= 0) & (columns < image.width)))
    cells = rows.clamp(0, image.height - 1) * image.width + (columns % image.width)
    shown = torch.from_numpy(image.point_index).reshape(-1)[cells].long()
    valid = inside & (shown >= 0)
    shown = shown.clamp(min=0)
    xyz = torch.from_numpy(np.ascontiguousarray(image.scan.xyz, np.float32))
    remission = torch.from_numpy(np.ascontiguousarray(image.scan.remission, np.float32))
    metres = torch.from_numpy(image.range)
    behind = metres[shown] - metres[chosen, None]
    apart = (xyz[shown] - xyz[chosen, None]).square().sum(-1).sqrt()
    centre = ((down == 0) & (along == 0)).expand(cells.shape)
    between = torch.stack(
        [
            _compressed(behind), _compressed(apart), remission[shown] - remission[chosen, None],
            (down / max(1, window // 2)).expand(cells.shape), (along / max(1, window // 2)).expand(cells.shape), centre,
        ], -1,
    )  # fmt: skip
    middle = cells.shape[1] // 2
    hidden = shown[:, middle] != chosen
    own = torch.stack(
        [_compressed(metres[chosen]), xyz[chosen, 2], remission[chosen], _compressed(behind[:, middle]), hidden], -1
    )
    return Neighbours(chosen, cells, valid, between.float(), own.float())


def _compressed(metres: Tensor) -> Tensor:
    """sign(m) ln(1 + 10 |m|): fine steps near 0, coarse steps far from it."""
    return metres.sign() * (metres.abs() * 10).log1p()


class PointHead(nn.Module):
    """Maps the probabilities of neighbouring pixels to the logits of a point.

    Args:
        num_classes: K.
        window: S, odd.
        hidden: width of both perceptrons.
        wrap: column 0 touches column W-1.

    Raises:
        ValueError: the window is even or less than 1.
    """

    def __init__(self, num_classes: int, *, window: int = 5, hidden: int = 32, wrap: bool = False) -> None:
        super().__init__()
        if window < 1 or window % 2 == 0:
            raise ValueError(f"PointHead got window={window}; give an odd number of pixels.")
        self.form = {"num_classes": num_classes, "window": window, "hidden": hidden, "wrap": wrap}
        self.num_classes, self.window, self.wrap = num_classes, window, wrap
        last = nn.Linear(hidden, num_classes)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.weigh = nn.Sequential(nn.Linear(BETWEEN, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        self.revise = nn.Sequential(nn.Linear(OWN + num_classes, hidden), nn.ReLU(), last)

    def forward(self, probabilities: Tensor, around: Neighbours) -> Tensor:
        """(H * W, K) probabilities of pixels -> (N, K) logits of points."""
        weight = self.weigh(around.between)[..., 0].masked_fill(~around.valid, -torch.inf).softmax(-1)
        log_probability = torch.einsum("nj,njk->nk", weight, probabilities[around.cells]).clamp_min(1e-6).log()
        revised: Tensor = log_probability + self.revise(torch.cat([around.own, log_probability / 4], -1))
        return revised


def write_head(path: Path, head: PointHead) -> None:
    """Write a head atomically."""
    write_atomically(path, lambda file: torch.save({"point_head": head.form, "weights": head.state_dict()}, file))


def read_head(path: Path) -> PointHead:
    """Read a head, without running code from the file.

    Raises:
        ValueError: the file is missing, truncated, or not a head.
    """
    try:
        content = load_tensors(path)
        head = PointHead(**content["point_head"])
        head.load_state_dict(content["weights"])
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        cause = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"{path}: not a complete point head ({cause}). Fit one with rangeseg fit-head RUN.") from error
    return head.eval()


@dataclass(frozen=True)
class HeadLabels(BackProjection):
    """A `PointHead` as a back-projection. A point keeps the class of its window if the window has only one class.

    Args:
        file: file written by `rangeseg fit-head`.
    """

    file: str
    reads_logits: ClassVar[bool] = True

    @cached_property
    def head(self) -> PointHead:
        """The head, read from the file at its first use."""
        return read_head(Path(self.file))

    def __call__(self, image: RangeImage, prediction: NDArray[np.floating], num_classes: int) -> NDArray[np.integer]:
        """(K, H, W) logits -> (N,) train ids.

        Raises:
            ValueError: the head has another number of classes, or its file cannot be read.
        """
        head = self.head
        if head.num_classes != num_classes:
            raise ValueError(
                f"{self.file}: labels {head.num_classes} classes, but the run has {num_classes}; fit a head to "
                "this run."
            )
        pixels = prediction.argmax(0).astype(np.uint8)
        labels = image.back_project(pixels)
        points = undecided(image, pixels, head.window, wrap=head.wrap)
        if len(points):
            probabilities = torch.from_numpy(prediction.reshape(num_classes, -1)).softmax(0).T.contiguous()
            with torch.inference_mode():
                found = head(probabilities, neighbours(image, points, head.window, wrap=head.wrap)).argmax(1)
            labels[points] = found.numpy().astype(np.uint8)
        return labels
