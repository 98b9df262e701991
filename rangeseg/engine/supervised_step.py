"""The supervised part of a step. Some labels may be carried along a drive; see `data.carried_as`.

    labels, one mean    L = loss of all labels, with weight carried_weight * w for carried labels and 1 for others
    labels, own term    L = loss(other labels) + carried_weight * loss(carried labels with weight w)
    weak head           L = loss(strong head, other labels) + carried_weight * loss(weak head, carried labels)

`rangeseg.data.carried_weights` computes w from the evidence of a label.

Shapes: B views, H rows, W columns.

Source: PLE (2410.06893) for the weak head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rangeseg.config import SupervisedConfig
from rangeseg.engine.methods import Method
from rangeseg.engine.supervision import range_weight, supervised_loss
from rangeseg.networks.weak_head import WeakHead, weak_logits
from rangeseg.perturbations import Channels
from rangeseg.types import IGNORE, View


@dataclass(frozen=True)
class SupervisedLoss:
    """The loss on labelled views.

    Args:
        student: the trained network.
        method: computes the student's logits of labelled views.
        settings: section `supervised` of the config.
        channels: channels of the views.
        class_weights: (K,) weights of the cross-entropy; None: all 1.
        weak_heads: the weak heads of the student.
    """

    student: Callable[..., Any]
    method: Method
    settings: SupervisedConfig
    channels: Channels
    class_weights: Tensor | None
    weak_heads: Sequence[WeakHead]

    def __call__(self, labelled: View) -> dict[str, Tensor]:
        """The loss `supervised`; with weak heads or a separate term also its part `carried`."""
        settings, carried = self.settings, labelled.carried
        student = partial(self.student, auxiliary=True) if settings.auxiliary else self.student
        with weak_logits(self.weak_heads):
            answer, label = self.method.supervised(student, labelled)
        factor = range_weight(settings, self.channels, labelled) if settings.range_weight_m else None
        if carried is None and not self.weak_heads:
            return {"supervised": supervised_loss(settings, answer, label, self.class_weights, factor)}

        def loss(settings: SupervisedConfig, answer: Any, label: Tensor, pixel: Tensor | None) -> Tensor:
            return supervised_loss(settings, answer, label, self.class_weights, factor, pixel)

        carried = torch.zeros_like(labelled.label, dtype=torch.float32) if carried is None else carried
        return carried_loss(loss, settings, answer, label, carried, weak=bool(self.weak_heads))


Loss = Callable[[SupervisedConfig, Any, Tensor, Tensor | None], Tensor]
"""(section `supervised`, output of the network, labels, weights of the labels) -> scalar."""


def carried_loss(
    loss: Loss, settings: SupervisedConfig, answer: Any, label: Tensor, carried: Tensor, *, weak: bool
) -> dict[str, Tensor]:
    """The loss of carried labels and of all other labels.

    Args:
        loss: the supervised loss.
        settings: section `supervised` of the config.
        answer: output of the student, for n networks: (n B, K, H, W) logits, or (n 2 B, K, H, W) with those of weak
            heads; with auxiliary heads, a pair of these logits and a list of the auxiliary logits.
        label: (n B, H, W) int64.
        carried: (B, H, W), see `View.carried`.
        weak: the logits contain those of weak heads.

    Returns:
        `supervised`, the total; `carried`, the part of the carried labels if it is separate.
    """
    networks = len(label) // len(carried)
    carried = carried.repeat(networks, 1, 1)
    was_carried = carried > 0
    if not weak and settings.carried_term == "shared":
        label = label if settings.carried_weight else label.masked_fill(was_carried, IGNORE)
        pixel = torch.where(was_carried, carried * settings.carried_weight, 1)
        return {"supervised": loss(settings, answer, label, pixel)}
    own, other = label.masked_fill(was_carried, IGNORE), label.masked_fill(~was_carried, IGNORE)
    if weak:
        answer, weak_logits = _without_weak(answer, networks, bool(settings.auxiliary))
        second = loss(replace(settings, auxiliary=0.0), weak_logits, other, carried)
    else:
        second = loss(settings, answer, other, carried)
    second = settings.carried_weight * second
    return {"supervised": loss(settings, answer, own, None) + second, "carried": second}


def _without_weak(answer: Any, networks: int, auxiliary: bool) -> tuple[Any, Tensor]:
    """The output without the weak heads, and the logits of the weak heads."""
    logits = answer[0] if auxiliary else answer
    parts = logits.chunk(2 * networks)  # for each network, first its own logits, then those of its weak head
    strong, weak = torch.cat(parts[0::2]), torch.cat(parts[1::2])
    return ((strong, answer[1]) if auxiliary else strong), weak
