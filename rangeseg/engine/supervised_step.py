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
        """The loss `supervised`; with weak heads or a separate term also its part `carried`.

        Args:
            labelled: B views. For n networks, the method returns outputs and labels of n B views, network by network.
        """
        settings, carried, weak = self.settings, labelled.carried, bool(self.weak_heads)
        student = partial(self.student, auxiliary=True) if settings.auxiliary else self.student
        with weak_logits(self.weak_heads):
            output, label = self.method.supervised(student, labelled)
        factor = range_weight(settings, self.channels, labelled) if settings.range_weight_m else None
        loss = partial(supervised_loss, class_weights=self.class_weights, factor=factor)
        if carried is None and not weak:
            return {"supervised": loss(settings, output, label)}
        networks = len(label) // len(labelled.label)
        carried = torch.zeros_like(labelled.valid, dtype=torch.float32) if carried is None else carried
        carried = carried.repeat(networks, 1, 1)
        was_carried = carried > 0
        if not weak and settings.carried_term == "shared":
            label = label if settings.carried_weight else label.masked_fill(was_carried, IGNORE)
            pixel = torch.where(was_carried, carried * settings.carried_weight, 1)
            return {"supervised": loss(settings, output, label, pixel=pixel)}
        own, other = label.masked_fill(was_carried, IGNORE), label.masked_fill(~was_carried, IGNORE)
        if weak:
            output, weak_output = _without_weak(output, networks, bool(settings.auxiliary))
            second = loss(replace(settings, auxiliary=0.0), weak_output, other, pixel=carried)
        else:
            second = loss(settings, output, other, pixel=carried)
        second = settings.carried_weight * second
        return {"supervised": loss(settings, output, own) + second, "carried": second}


def _without_weak(output: Any, networks: int, auxiliary: bool) -> tuple[Any, Tensor]:
    """The output for n B views without the weak heads, and the (n B, K, H, W) logits of the weak heads."""
    logits = output[0] if auxiliary else output
    parts = logits.chunk(2 * networks)  # for each network, first its own logits, then those of its weak head
    strong, weak = torch.cat(parts[0::2]), torch.cat(parts[1::2])
    return ((strong, output[1]) if auxiliary else strong), weak
