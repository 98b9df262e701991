"""Plain implementations for comparison, which compute what public range-view code computes.

They are written from the published algorithms without optimisation, and keep the known faults of the originals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class ArgsortImage:
    """The result of `argsort_projection`; empty pixels hold -1.

    Args:
        range: (H, W) float32.
        xyz: (H, W, 3) float32.
        remission: (H, W) float32.
        point_index: (H, W) int32.
        mask: (H, W) int32; 0 for empty pixels and, a fault of the original, for the pixel of point 0.
        row: (N,) int32.
        col: (N,) int32.
        point_range: (N,) float32.
    """

    range: NDArray[np.float32]
    xyz: NDArray[np.float32]
    remission: NDArray[np.float32]
    point_index: NDArray[np.int32]
    mask: NDArray[np.int32]
    row: NDArray[np.int32]
    col: NDArray[np.int32]
    point_range: NDArray[np.float32]


def argsort_projection(
    xyz: NDArray[np.float32],
    remission: NDArray[np.float32],
    height: int,
    width: int,
    fov_up_deg: float,
    fov_down_deg: float,
) -> ArgsortImage:
    """Spherical projection in NumPy float32: the points are written from the farthest to the nearest.

    Args:
        xyz: (N, 3) float32, metres.
        remission: (N,) float32.
        height: H, rows.
        width: W, columns.
        fov_up_deg: inclination of the upper edge, degrees.
        fov_down_deg: inclination of the lower edge, degrees.

    Returns:
        The images and the points' pixels.

    Source:
        RangeNet++ (Milioto et al., IROS 2019), eq. 1.
    """
    fov_up, fov_down = math.radians(fov_up_deg), math.radians(fov_down_deg)
    image_range = np.full((height, width), -1, np.float32)
    image_xyz = np.full((height, width, 3), -1, np.float32)
    image_remission = np.full((height, width), -1, np.float32)
    image_index = np.full((height, width), -1, np.int32)
    point_range = np.linalg.norm(xyz, 2, axis=1)
    azimuth = -np.arctan2(xyz[:, 1], xyz[:, 0])
    inclination = np.arcsin(xyz[:, 2] / point_range)
    u = 0.5 * (azimuth / np.pi + 1.0) * width
    v = (1.0 - (inclination + abs(fov_down)) / (abs(fov_up) + abs(fov_down))) * height
    col = np.clip(np.floor(u), 0, width - 1).astype(np.int32)
    row = np.clip(np.floor(v), 0, height - 1).astype(np.int32)
    order = np.argsort(point_range)[::-1]
    row_order, col_order = row[order], col[order]
    image_range[row_order, col_order] = point_range[order]
    image_xyz[row_order, col_order] = xyz[order]
    image_remission[row_order, col_order] = remission[order]
    image_index[row_order, col_order] = np.arange(len(xyz))[order]
    mask = (image_index > 0).astype(np.int32)
    return ArgsortImage(image_range, image_xyz, image_remission, image_index, mask, row, col, point_range)


def _gaussian(side: int, sigma: float) -> Tensor:
    """(S, S) float32 Gaussian kernel of sum 1, S = side."""
    line = torch.arange(side).float()
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)
    squares = ((grid - (side - 1) / 2.0) ** 2).sum(-1)
    kernel = (1.0 / (2.0 * math.pi * sigma**2)) * torch.exp(-squares / (2 * sigma**2))
    return kernel / kernel.sum()


def unfold_knn(
    image_range: Tensor,
    point_range: Tensor,
    prediction: Tensor,
    pixel: tuple[Tensor, Tensor],
    num_classes: int,
    *,
    k: int = 5,
    window: int = 5,
    sigma: float = 1.0,
    cutoff_m: float = 1.0,
) -> Tensor:
    """The KNN vote as in RangeNet++: windows unfolded in torch, with the quirks of the original (see `knn_vote`).

    Args:
        image_range: (H, W) float32, -1 in empty pixels.
        point_range: (N,) float32.
        prediction: (H, W) int64 in 0..K-1.
        pixel: the points' row and col, (N,) int64 each.
        num_classes: K.
        k: number of neighbours that vote.
        window: the window's side, pixels, odd.
        sigma: standard deviation of the Gaussian, pixels.
        cutoff_m: neighbours with a larger weighted difference of range, metres, do not vote.

    Returns:
        (N,) int64; never class 0.

    Source:
        RangeNet++ (Milioto et al., IROS 2019), algorithm 1.
    """
    row, col = pixel
    flat, pad, cells = row * image_range.shape[1] + col, window // 2, window * window
    near = F.unfold(image_range[None, None], (window, window), padding=(pad, pad))[:, :, flat]
    near[near < 0] = float("inf")
    near[:, cells // 2] = point_range
    distance = (near - point_range).abs() * (1 - _gaussian(window, sigma)).view(1, cells, 1)
    _, nearest = distance.topk(k, dim=1, largest=False, sorted=False)
    labels = F.unfold(prediction[None, None].float(), (window, window), padding=(pad, pad))[:, :, flat]
    voted = labels.gather(1, nearest).long()
    voted[distance.gather(1, nearest) > cutoff_m] = num_classes
    votes = torch.zeros(1, num_classes + 1, len(flat)).scatter_add_(1, voted, torch.ones(voted.shape))
    return votes[0, 1:-1].argmax(0) + 1


def loop_nearest_label(
    image_range: Tensor, point_range: Tensor, prediction: Tensor, pixel: tuple[Tensor, Tensor], *, window: int = 5
) -> Tensor:
    """Nearest label assignment as a Python loop over the points, border and empty pixels not masked.

    Args:
        image_range: (H, W) float32, -1 in empty pixels.
        point_range: (N,) float32.
        prediction: (H, W) int64.
        pixel: the points' row and col, (N,) int64 each.
        window: the window's side, pixels, odd.

    Returns:
        (N,) int64.

    Source:
        FIDNet (Zhao et al., IROS 2021), section III-C.
    """
    row, col = pixel
    flat, pad = row * image_range.shape[1] + col, window // 2
    near = F.unfold(image_range[None, None], (window, window), padding=(pad, pad))[0][:, flat].numpy()
    labels = F.unfold(prediction[None, None].float(), (window, window), padding=(pad, pad))[0][:, flat].numpy()
    own, shown, shown_label = point_range.numpy(), image_range[row, col].numpy(), prediction[row, col].numpy()
    result = np.empty(len(own), np.int64)
    for i in range(len(own)):
        if own[i] == shown[i]:
            result[i] = shown_label[i]
        else:
            result[i] = labels[np.abs(near[:, i] - own[i]).argmin(), i]
    return torch.from_numpy(result)
