"""Losses: supervised ones on labels, and the consistency loss on the teacher's target.

    s   student's logits          P = softmax(s)
    t   teacher's (mixed) logits  Q   its (mixed) probabilities, the target

Shapes: B views, K classes, H rows, W columns. Every loss is a scalar. No loss copies a value from the device to the
host; only `lovasz_softmax` on the CPU reads values, which costs nothing there.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from rangeseg.losses.lovasz import lovasz_softmax
from rangeseg.losses.numbers import as_planes, at_least_float32, divide
from rangeseg.types import IGNORE

__all__ = [
    "CONSISTENCY_KINDS",
    "boundary_loss",
    "confidence_rate",
    "consistency_loss",
    "cross_entropy",
    "focal_loss",
    "lovasz_softmax",
    "ohem_cross_entropy",
]


def cross_entropy(
    logits: Tensor, label: Tensor, *, weight: Tensor | None = None, pixel: Tensor | None = None
) -> Tensor:
    """Mean of -w_y ln P_y over the labelled pixels, divided by the sum of their w_y; 0 if no pixel is labelled.

    Args:
        logits: (B, K, H, W).
        label: (B, H, W) int64, IGNORE where it does not count.
        weight: (K,) class weights, or None for 1 each.
        pixel: (B, H, W) by which w_y is multiplied, at least 0; None for 1.

    Returns:
        Scalar.

    Source:
        Milioto et al., RangeNet++, IROS 2019.
    """
    logits, labelled = at_least_float32(logits), label != IGNORE
    share = labelled if weight is None else weight[label.where(labelled, 0)] * labelled
    if pixel is None:
        return divide(F.cross_entropy(logits, label, weight, ignore_index=IGNORE, reduction="sum"), share.sum())
    each = F.cross_entropy(logits, label, weight, ignore_index=IGNORE, reduction="none")
    return divide((each * pixel).sum(), (share * pixel).sum())


def focal_loss(
    logits: Tensor, label: Tensor, *, gamma: float = 2.0, weight: Tensor | None = None, pixel: Tensor | None = None
) -> Tensor:
    """Mean of -w_y (1 - P_y)^gamma ln P_y over the labelled pixels, divided by the sum of their w_y; 0 if none is.

    Args:
        logits: (B, K, H, W).
        label: (B, H, W) int64, IGNORE where it does not count.
        gamma: the larger, the less a pixel counts at which the network is already confident; 0 is `cross_entropy`.
        weight: (K,) class weights, or None for 1 each.
        pixel: (B, H, W) by which w_y is multiplied, at least 0; None for 1.

    Returns:
        Scalar.

    Source:
        Lin et al., ICCV 2017, equation 5; RangeViT (Ando et al., CVPR 2023) with gamma 2.
    """
    labelled = label != IGNORE
    known = label.where(labelled, 0)
    log_probability = at_least_float32(logits).log_softmax(1).gather(1, known[:, None])[:, 0]
    # From the logarithm, because 1 - P is inexact near P = 1; above 0, because a power of 0 may have no gradient.
    doubt = (-torch.expm1(log_probability)).clamp(min=torch.finfo(log_probability.dtype).tiny)
    share = labelled if weight is None else weight[known] * labelled
    share = share if pixel is None else share * pixel
    return divide((share * doubt**gamma * -log_probability).sum(), share.sum())


def ohem_cross_entropy(
    logits: Tensor, label: Tensor, *, share: float, weight: Tensor | None = None, factor: Tensor | None = None
) -> Tensor:
    """Mean of the largest losses -w_y f ln P_y of the pixels (online hard example mining).

    Args:
        logits: (B, K, H, W).
        label: (B, H, W) int64, IGNORE where it does not count.
        share: share of the labelled pixels that count; their number is rounded up.
        weight: (K,) class weights w, or None for 1 each; the mean is not divided by them.
        factor: (B, H, W) f, at least 0, or None for 1.

    Returns:
        Scalar; 0 if no pixel is labelled.

    Source:
        Zhao et al., FIDNet, 2021, and its code: share 0.15 (there of all pixels), f the range in units of 100 m.
    """
    each = F.cross_entropy(at_least_float32(logits), label, weight, ignore_index=IGNORE, reduction="none")
    if factor is not None:
        each = each * factor
    labelled = label != IGNORE
    ranked = each.where(labelled, 0).flatten().sort(descending=True).values
    count = (share * labelled.sum().double()).ceil()
    return divide((ranked * (torch.arange(len(ranked), device=label.device) < count)).sum(), count.to(ranked.dtype))


def boundary_loss(logits: Tensor, label: Tensor) -> Tensor:
    """1 - F1 of the classes' edges, averaged over all classes and over the views with labels.

    x is a class's probability P or its truth y (0 or 1). A pixel is an edge as far as x is above its least value in the
    3x3 labelled neighbours: e = max_3x3(1 - x) - (1 - x). In each view, the precision is sum(e_P e_y) / sum(e_P) and
    the recall sum(e_P e_y) / sum(e_y). As published, a class without an edge in a view gives 1 there.

    Args:
        logits: (B, K, H, W).
        label: (B, H, W) int64, IGNORE where it does not count.

    Returns:
        Scalar; 0 if no pixel is labelled.

    Source:
        Bokhovkin and Burnaev, Boundary Loss for Remote Sensing Imagery Semantic Segmentation, ISNN 2019, equations 1 to
        5; CENet (Cheng et al., ICME 2022) and its code, with windows of 3 pixels for both the edges and their match.
    """
    probability = at_least_float32(logits).softmax(1)
    labelled = (label != IGNORE)[:, None]
    classes = torch.arange(logits.shape[1], device=label.device)[:, None, None]
    predicted = _edges(probability, labelled)
    true = _edges((label[:, None] == classes).to(probability.dtype), labelled)
    hit, epsilon = (predicted * true).sum((2, 3)), 1e-7
    precision, recall = (hit / (edges.sum((2, 3)) + epsilon) for edges in (predicted, true))
    score = 2 * precision * recall / (precision + recall + epsilon)
    present = labelled.flatten(1).any(1)
    return divide(((1 - score).mean(1) * present).sum(), present.sum())


def _edges(values: Tensor, labelled: Tensor) -> Tensor:
    """(B, K, H, W) in [0, 1] -> each labelled pixel's value minus the least of its labelled neighbours; elsewhere 0."""
    inverse = (1 - values) * labelled
    return (F.max_pool2d(inverse, 3, stride=1, padding=1) - inverse) * labelled


def _var(logits: Tensor, target: Tensor) -> Tensor:
    return (logits.softmax(1) - target).square().sum(1)


def _logits_var(logits: Tensor, target_logits: Tensor) -> Tensor:
    return (logits - target_logits).square().sum(1) / logits.shape[1] ** 0.5


def _logits_smoothl1(logits: Tensor, target_logits: Tensor) -> Tensor:
    return F.smooth_l1_loss(logits, target_logits, reduction="none").sum(1) / logits.shape[1] ** 0.5


def _bce(logits: Tensor, target: Tensor, epsilon: float = 1e-6) -> Tensor:
    probability = logits.softmax(1)
    return -(target * (probability + epsilon).log() + (1 - target) * (1 - probability + epsilon).log()).sum(1)


def _kld(logits: Tensor, target: Tensor) -> Tensor:
    return torch.xlogy(target, target).sum(1) - (target * logits.log_softmax(1)).sum(1)


def _ce(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target.argmax(1), reduction="none")


CONSISTENCY_KINDS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "var": _var,
    "logits_var": _logits_var,
    "logits_smoothl1": _logits_smoothl1,
    "bce": _bce,
    "kld": _kld,
    "ce": _ce,
}
"""Name -> function of (student's logits, target) to (B, H, W); the target of logits_... is the teacher's logits."""


def consistency_loss(
    student_logits: Tensor,
    target: Tensor,
    valid: Tensor,
    *,
    kind: str = "var",
    threshold: float = 0.97,
    confidence: str = "mean",
    normalise: str = "valid",
    target_logits: Tensor | None = None,
) -> Tensor:
    """Distance of the student from the target over the valid pixels, weighted by the confidence of the target.

    Args:
        student_logits: (B, K, H, W) s.
        target: (B, K, H, W) Q; gets no gradient.
        valid: (B, H, W) bool; pixels that are not valid give no gradient.
        kind: summed over the classes, on probabilities "var" (P - Q)^2, "kld" Q (ln Q - ln P) and
            "bce" -Q ln(P + 1e-6) - (1 - Q) ln(1 - P + 1e-6); "ce" is -ln P of the pseudo label argmax Q;
            on logits, divided by sqrt(K), "logits_var" (s - t)^2 and "logits_smoothl1".
        threshold: a pixel is confident if max Q is at least this; with 0, every target is confident.
        confidence: "mean" weights every pixel by the share of confident ones among the valid pixels or, with
            `normalise` "all", among all pixels; "pixel" drops the pixels that are not confident.
        normalise: divide the sum by the number of "valid" pixels, of "confident" valid pixels, or of "all" pixels.
        target_logits: (B, K, H, W) t, for the kinds on logits; gets no gradient.

    Returns:
        Scalar; 0 if no pixel counts.

    Raises:
        ValueError: `kind`, `confidence` or `normalise` is unknown, or a kind on logits has no `target_logits`.

    Source:
        French et al., BMVC 2020, and the authors' code (confidence "mean", normalise "all").
    """
    if kind not in CONSISTENCY_KINDS:
        raise ValueError(f"consistency_loss got kind={kind!r}; choose one of {', '.join(CONSISTENCY_KINDS)}.")
    compared = target_logits if kind.startswith("logits_") else target
    if compared is None:
        raise ValueError(
            f"consistency_loss of kind {kind!r} needs target_logits; get them with pseudo_labels(logits=True)."
        )
    distance = CONSISTENCY_KINDS[kind](as_planes(at_least_float32(student_logits)), at_least_float32(compared.detach()))
    confident = target.detach().amax(1) >= threshold
    counted = {"valid": valid, "confident": valid & confident, "all": torch.ones_like(valid)}
    if normalise not in counted:
        raise ValueError(f"consistency_loss got normalise={normalise!r}; choose one of {', '.join(counted)}.")
    if confidence == "mean":
        among = counted["all"] if normalise == "all" else valid
        weight = valid * divide((confident & among).sum().to(distance.dtype), among.sum())
    elif confidence == "pixel":
        weight = (valid & confident).to(distance.dtype)
    else:
        raise ValueError(f"consistency_loss got confidence={confidence!r}; choose 'mean' or 'pixel'.")
    return divide((weight * distance).sum(), counted[normalise].sum())


def confidence_rate(target: Tensor, valid: Tensor, threshold: float = 0.97, *, normalise: str = "valid") -> Tensor:
    """The share of confident pixels, with which `consistency_loss` with confidence "mean" weights every pixel.

    Args:
        target: (B, K, H, W) probabilities.
        valid: (B, H, W) bool.
        threshold: least value of the largest probability of a confident pixel.
        normalise: that of the loss; "all": the share of all pixels, otherwise of the valid ones.

    Returns:
        Scalar in [0, 1], without a gradient; 0 if no pixel is counted.
    """
    among = torch.ones_like(valid) if normalise == "all" else valid
    confident = (target.detach().amax(1) >= threshold) & among
    return divide(confident.sum().float(), among.sum())
