"""Teachers and their pseudo-labels for unlabelled views: a network itself, or the moving average of the student.

Shapes: B views, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from rangeseg.networks.modes import evaluating
from rangeseg.types import IGNORE, PseudoLabelled, View


class Teacher(Protocol):
    """Predicts unlabelled views without a gradient, for example `EmaTeacher`."""

    def __call__(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W) probabilities."""
        ...

    def logits(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W) logits."""
        ...


def pseudo_labels(
    teacher: Teacher, *views: View, joint: bool = True, logits: bool = False, labels: bool = False,
    unsure_below: float | None = None,
) -> list[PseudoLabelled]:  # fmt: skip
    """The views with the teacher's predictions as their targets.

    Args:
        teacher: makes the predictions.
        views: one or two batches of B views.
        joint: predict all batches in one forward pass. Two passes give other predictions if the teacher runs in train
            mode and takes BatchNorm statistics from the batch, as in the paper's code.
        logits: also keep the logits, for a loss on logits.
        labels: at pixels with a label, the target is the label (mixing labelled with unlabelled views).
        unsure_below: carried labels are targets only where the teacher's largest probability is below this; None: at
            all pixels.

    Returns:
        One batch for each of the views.
    """
    if joint:
        predicted = teacher.logits(torch.cat([view.image for view in views])).chunk(len(views))
    else:
        predicted = tuple(teacher.logits(view.image) for view in views)
    labelled = []
    for view, prediction in zip(views, predicted, strict=True):
        target = prediction.softmax(1)
        target = with_labels(target, view, unsure_below) if labels else target
        labelled.append(PseudoLabelled(view.image, target, prediction if logits else None, view.valid))
    return labelled


def with_labels(target: Tensor, view: View, unsure_below: float | None = None) -> Tensor:
    """Replace the target by the label at labelled pixels, fully or, for carried labels, by their weight.

    Args:
        target: (B, K, H, W) probabilities.
        view: B views. A carried label of weight w gives w * label + (1 - w) * target.
        unsure_below: carried labels replace only targets whose largest probability is below this; None: all.

    Returns:
        (B, K, H, W) probabilities.
    """
    known = view.label != IGNORE
    share = None
    if view.carried is not None:
        was_carried = view.carried > 0
        share = view.carried.where(was_carried, 1)[:, None].to(target.dtype)
        if unsure_below is not None:
            known = known & (~was_carried | (target.amax(1) < unsure_below))
    known = known[:, None]
    certain = torch.zeros_like(target).scatter_(1, view.label[:, None].where(known, 0), 1)
    return torch.where(known, certain if share is None else share * certain + (1 - share) * target, target)


class NetworkTeacher:
    """Predicts with a network's current weights in eval mode, without a copy or an average (FixMatch, CPS).

    Args:
        network: (B, C, H, W) -> (B, K, H, W) logits; its mode does not change, nor do its statistics in eval mode.
        own_mode: predict in the present mode of the network instead of eval mode.
    """

    def __init__(self, network: nn.Module, *, own_mode: bool = False) -> None:
        self.network = network
        self._own_mode = own_mode

    def __call__(self, image: Tensor) -> Tensor:
        """Predict the views.

        Args:
            image: (B, C, H, W).

        Returns:
            (B, K, H, W) probabilities, at least float32, without a gradient.
        """
        return self.logits(image).softmax(1)

    @torch.no_grad()
    def logits(self, image: Tensor) -> Tensor:
        """Predict the logits of the views.

        Args:
            image: (B, C, H, W).

        Returns:
            (B, K, H, W), at least float32, without a gradient.
        """
        with nullcontext() if self._own_mode else evaluating(self.network):
            logits: Tensor = self.network(image)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))


class EmaTeacher(NetworkTeacher):
    """Predicts with the average of the student's past weights: t <- decay t + (1 - decay) s after every optimiser step.

    Args:
        student: the network to copy; the copy requires no gradient. In low precision, small differences are lost by
            rounding: keep the student's weights in float32 and use autocast for low precision.
        decay: weight of the old teacher in the average.
        warmup: the decay is min(decay, 1 - 1 / (step + 1)): the mean of all students until `decay` is reached.
        buffers: floating-point buffers (BatchNorm's running statistics). "ema": averaged like the weights; "copy":
            copied from the student; "own": updated only by the teacher's forward passes, which needs mode "train".
            Integer buffers (counters) are copied, except with "own".
        mode: mode of the teacher's network: "eval", or "train" (dropout, statistics of the batch).

    Raises:
        ValueError: decay is not within [0, 1], or `buffers` or `mode` is unknown.

    Source:
        Tarvainen and Valpola, NeurIPS 2017; French et al., BMVC 2020 (decay 0.99, mode "train").
    """

    def __init__(
        self,
        student: nn.Module,
        decay: float = 0.99,
        *,
        warmup: bool = False,
        buffers: str = "ema",
        mode: str = "eval",
    ) -> None:
        if not 0 <= decay <= 1:
            raise ValueError(
                f"EmaTeacher got decay={decay}; give the weight of the old teacher in [0, 1], usually 0.99 or 0.999."
            )
        if buffers not in ("ema", "copy", "own"):
            raise ValueError(f"EmaTeacher got buffers={buffers!r}; choose 'ema', 'copy' or 'own'.")
        if mode not in ("eval", "train"):
            raise ValueError(f"EmaTeacher got mode={mode!r}; choose 'eval' or 'train'.")
        self.decay = decay
        self.warmup = warmup
        self.buffers = buffers
        super().__init__(copy.deepcopy(student).requires_grad_(False).train(mode == "train"), own_mode=True)
        self._averaged, self._copied = self._split_state()

    @torch.no_grad()
    def update(self, student: nn.Module, step: int) -> None:
        """Average the student's weights into the teacher; call it once after each step of the optimiser.

        Args:
            student: the trained network, or a wrapper of it with the same keys in `state_dict`.
            step: number of updates before this one, 0 for the first; only used with `warmup`.

        Raises:
            ValueError: the student's state lacks a key of the teacher's state.
        """
        own, other = self.network.state_dict(), student.state_dict()
        missing = own.keys() - other.keys()
        if missing:
            raise ValueError(
                f"The student's state has no {sorted(missing)[0]!r} (and {len(missing) - 1} more keys); "
                "give the module that the teacher was made from; unwrap torch.compile or DistributedDataParallel first."
            )
        decay = min(self.decay, 1 - 1 / (step + 1)) if self.warmup else self.decay
        # One fused call per dtype and device instead of one per tensor.
        torch._foreach_lerp_([own[key] for key in self._averaged], [other[key] for key in self._averaged], 1 - decay)
        for key in self._copied:
            own[key].copy_(other[key], non_blocking=True)

    def state_dict(self) -> dict[str, Tensor]:
        """The network's state, for a checkpoint."""
        return self.network.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load the result of `state_dict`; every key must exist."""
        self.network.load_state_dict(state)

    def _split_state(self) -> tuple[list[str], list[str]]:
        """Keys to average and keys to copy. Keys, because tensors may be re-allocated; shared weights occur once."""
        state = self.network.state_dict()
        weights = [name for name, _ in self.network.named_parameters()]
        buffers = [name for name, _ in self.network.named_buffers() if name in state and self.buffers != "own"]
        average = {name: state[name].is_floating_point() for name in weights + buffers}
        if self.buffers == "copy":
            average.update(dict.fromkeys(buffers, False))
        return [name for name in average if average[name]], [name for name in average if not average[name]]
