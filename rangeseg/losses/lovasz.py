"""The Lovász-softmax loss, plain and weighted by pixel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rangeseg.kernels.lovasz import gather_errors, lovasz_grad, spread_errors
from rangeseg.losses.numbers import at_least_float32, divide
from rangeseg.types import IGNORE

WHOLE = 1024
"""Count of a pixel of weight 1 in the weighted Lovász loss, whose counts are integers."""


def lovasz_softmax(logits: Tensor, label: Tensor, pixel: Tensor | None = None) -> Tensor:
    """The Lovász extension of the Jaccard loss 1 - IoU, averaged over the classes present in the batch's labels.

    Args:
        logits: (B, K, H, W).
        label: (B, H, W) int64, IGNORE where it does not count.
        pixel: (B, H, W) weight of each label in intersection and union, at least 0, rounded up to a multiple of
            1 / `WHOLE`; None for 1.

    Returns:
        Scalar; 0 if no pixel is labelled.

    Source:
        Berman et al., CVPR 2018.
    """
    probability = at_least_float32(logits).softmax(1)
    flat = label.flatten()
    weight = None if pixel is None else (pixel.flatten() * WHOLE).ceil()
    if logits.device.type == "cpu":
        # Sorts only labelled pixels and present classes; a GPU would first have to copy their numbers to the host.
        place = (flat != IGNORE).nonzero()[:, 0]
        flat, weight = flat[place], None if weight is None else weight[place]
        classes = flat.unique()
        truth = flat == classes[:, None]
        error: Tensor = _Errors.apply(probability, flat, place, classes)
        counted = torch.ones_like(flat, dtype=torch.bool) if weight is None else weight
    else:
        classes, labelled = torch.arange(logits.shape[1], device=label.device), flat != IGNORE
        truth = flat == classes[:, None]
        share = probability.transpose(0, 1).flatten(1)
        error = torch.where(truth, 1 - share, share) * labelled
        counted = labelled if weight is None else weight * labelled
    loss = (error * _jaccard_slope(error.detach(), truth, counted)).sum(1)
    present = (truth & (counted > 0)).any(1)
    return divide((loss * present).sum(), present.sum())


class _Errors(torch.autograd.Function):
    """(B, K', H, W) probabilities -> (K, P) errors of labelled pixels for the classes present, see `gather_errors`."""

    @staticmethod
    def forward(context: Any, probability: Tensor, label: Tensor, place: Tensor, classes: Tensor) -> Tensor:
        context.save_for_backward(label, place, classes)
        context.shape = probability.shape
        return torch.from_numpy(
            gather_errors(probability.flatten(2).contiguous().numpy(), label.numpy(), place.numpy(), classes.numpy())
        )

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        label, place, classes = context.saved_tensors
        spread = gradient.new_zeros(context.shape)
        known = (label.numpy(), place.numpy(), classes.numpy())
        spread_errors(gradient.contiguous().numpy(), *known, spread.flatten(2).numpy())
        return spread, None, None, None


@torch.no_grad()
def _jaccard_slope(error: Tensor, truth: Tensor, counted: Tensor) -> Tensor:
    """(K, P) growth of 1 - IoU when each pixel becomes a mistake, one after the other in the order of decreasing error.

    Args:
        error: (K, P), 0 where not labelled.
        truth: (K, P) bool, True where the label is this class.
        counted: (P,) bool, True where labelled; or whole numbers, how often each pixel counts.

    Returns:
        (K, P); 0 where not counted.
    """
    if error.device.type == "cpu" and error.dtype == torch.float32:
        return torch.from_numpy(lovasz_grad(error.numpy(), truth.numpy(), counted.numpy()))  # bit-identical, and faster
    order = error.argsort(dim=1, descending=True, stable=True)
    # Counts in integers: exact beyond 2^24 pixels, and deterministic on every device.
    counts = counted if counted.dtype == torch.bool else counted.long()
    size = (truth * counts).sum(1, keepdim=True)
    missed = (truth * counts).gather(1, order).cumsum(1)
    invented = (~truth * counts).gather(1, order).cumsum(1)
    jaccard = 1 - (size - missed).to(error.dtype) / (size + invented).clamp_(min=1)
    jaccard[:, 1:] -= jaccard[:, :-1].clone()
    return torch.empty_like(error).scatter_(1, order, jaccard)
