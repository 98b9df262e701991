"""The loss on labelled views, and auxiliary heads (deep supervision), which only this loss uses.

A network with such heads lists them in `auxiliary_heads()`. `network(image, auxiliary=True)` returns (logits, [logits
of each head]), all of the image's size; `network(image)` returns the logits alone. So evaluation, export, the
consistency loss and the teacher never use the heads, and `supervised.auxiliary` is the only key of deep supervision.

    L_s = loss(logits, y) + auxiliary * sum over heads of loss(logits of the head, y)
    loss = ce * CE + lovasz * Lovász + boundary * boundary loss

Shapes: B views, K classes, H rows, W columns.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rangeseg.config import Config, SupervisedConfig
from rangeseg.config.checks import WEAK
from rangeseg.losses import boundary_loss, cross_entropy, focal_loss, lovasz_softmax, ohem_cross_entropy
from rangeseg.losses.numbers import as_planes, at_least_float32
from rangeseg.networks.base import Network
from rangeseg.perturbations import Channels
from rangeseg.registry import ConfigError
from rangeseg.types import View


def prepare_heads(network: Network, weight: float) -> None:
    """Check that a network has auxiliary heads if the config trains them, and freeze them if it does not.

    Args:
        network: (B, C, H, W) -> (B, K, H, W) logits.
        weight: `supervised.auxiliary`.

    Raises:
        ConfigError: the weight is not 0, and the network has no auxiliary heads.
    """
    heads = network.auxiliary_heads()
    if weight and not heads:
        raise ConfigError(
            f"supervised.auxiliary: {weight} weights auxiliary heads, but this {type(network).__name__} has "
            "none. Set it to 0, or use a network with heads, e.g. {name: cenet, auxiliary: true}."
        )
    for head in heads:
        head.requires_grad_(weight > 0)  # otherwise several processes would wait for its gradient


def add_weak_heads(network: Network, config: Config) -> Network:
    """Add a weak head to the network if `data.carried_as` requires one.

    Raises:
        ConfigError: the network cannot have a weak head.
    """
    if config.data.carried != "none" and config.data.carried_as in WEAK:
        torch.manual_seed(config.runtime.seed)
        try:
            network.add_weak_head(config.supervised.weak_width)
        except ValueError as error:
            raise ConfigError(f"data.carried_as: {error}") from error
    return network


def no_loss_of_heads(network: Network) -> Tensor | int:
    """0, with zero gradients for heads that a loss does not use, because several processes wait for all gradients."""
    heads = [*network.auxiliary_heads(), *network.weak_heads()]
    return 0 * sum((weight.sum() for head in heads for weight in head.parameters() if weight.requires_grad), start=0)


def supervised_loss(
    settings: SupervisedConfig,
    output: Any,
    label: Tensor,
    class_weights: Tensor | None = None,
    factor: Tensor | None = None,
    pixel: Tensor | None = None,
) -> Tensor:
    """The supervised loss of a network's output.

    Args:
        settings: `supervised`.
        output: (B, K, H, W) logits; with `auxiliary`, (logits, [logits of each head]).
        label: (B, H, W) int64, IGNORE where it does not count.
        class_weights: (K,) weights of the cross-entropy; None for 1.
        factor: result of `range_weight`, used only with `ohem_ratio`; None for 1.
        pixel: (B, H, W) weight of each label in the cross-entropy and the Lovász loss; None for 1.

    Returns:
        Scalar.
    """
    logits, heads = output if settings.auxiliary else (output, ())
    loss = _loss(settings, logits, label, class_weights, factor, pixel)
    for head in heads:
        loss = loss + settings.auxiliary * _loss(settings, head, label, class_weights, factor, pixel)
    return loss


def range_weight(settings: SupervisedConfig, channels: Channels, labelled: View) -> Tensor:
    """(B, H, W) range / `supervised.range_weight_m`."""
    return channels.read(labelled.image, "range").clamp(min=0) / settings.range_weight_m


def _loss(
    settings: SupervisedConfig, logits: Tensor, label: Tensor, weights: Tensor | None, factor: Tensor | None,
    pixel: Tensor | None,
) -> Tensor:  # fmt: skip
    logits = as_planes(at_least_float32(logits))
    if settings.ohem_ratio:
        if factor is not None:  # the labels of a pair of networks are repeated, the factor is not
            factor = factor.repeat(len(label) // len(factor), 1, 1)
        factor = pixel if factor is None else factor if pixel is None else factor * pixel
        loss = ohem_cross_entropy(logits, label, share=settings.ohem_ratio, weight=weights, factor=factor)
    elif settings.focal_gamma:
        loss = focal_loss(logits, label, gamma=settings.focal_gamma, weight=weights, pixel=pixel)
    else:
        loss = cross_entropy(logits, label, weight=weights, pixel=pixel)
    loss = settings.cross_entropy * loss
    if settings.lovasz:
        loss = loss + settings.lovasz * lovasz_softmax(logits, label, pixel)
    if settings.boundary:
        loss = loss + settings.boundary * boundary_loss(logits, label)
    return loss
