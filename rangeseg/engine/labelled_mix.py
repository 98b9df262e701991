"""Strong augmentation of labelled views: `supervised.mix`, perturbations applied to views and their labels.

    with labelled     (x, y) <- mix of (x, y) with the next view of the batch, before the supervised loss L_s
    with unlabelled   L_mix = supervised loss of mixes of (x, y) with (u, confident predictions of the teacher), a
                      further loss besides L_s

Shapes: B views, K classes, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor, nn

from rangeseg.config import SupervisedConfig
from rangeseg.perturbations import Perturbation, Sequential
from rangeseg.perturbations.bases import NO_EFFECT
from rangeseg.registry import ConfigError
from rangeseg.teacher import Teacher
from rangeseg.types import IGNORE, PseudoLabelled, View


@dataclass(frozen=True)
class LabelledMix:
    """Applies a perturbation to views with labels; each label is a target with probability 1.

    Args:
        perturbation: a pure function of a generator and of two batches with targets.
        num_classes: K.
        unlabelled: mix with unlabelled views instead of labelled ones.
        threshold: least probability at which the teacher's prediction is used as a label of an unlabelled view.

    Source:
        Kong et al., RangeFormer, ICCV 2023 (labelled pairs); Kong et al., LaserMix, CVPR 2023 (labelled with
        unlabelled views: the loss of both mixes in the released training loop).
    """

    perturbation: Perturbation
    num_classes: int
    unlabelled: bool = False
    threshold: float = 0.9

    def with_network(self, network: nn.Module) -> LabelledMix:
        """The same with the teacher's network, which VAT needs."""
        return replace(self, perturbation=self.perturbation.with_network(network))

    def among(self, generator: Generator, labelled: View) -> View:
        """Mix each view with the next one of its batch, and the last one with the first.

        Args:
            generator: the only source of randomness.
            labelled: B views.
        """
        a = self._certain(labelled)
        b = PseudoLabelled(a.image.roll(-1, 0), a.target.roll(-1, 0), None, a.valid.roll(-1, 0))
        return self._mixed(generator, a, b)

    def with_unlabelled(self, generator: Generator, labelled: View, unlabelled: View, teacher: Teacher) -> View:
        """Mix each view with an unlabelled one, whose labels are the confident predictions of the teacher.

        Args:
            generator: the only source of randomness.
            labelled: B views.
            unlabelled: B views.
            teacher: predicts the unlabelled views.
        """
        confidence, label = teacher(unlabelled.image).max(1)
        label = label.masked_fill((confidence < self.threshold) | ~unlabelled.valid, IGNORE)
        b = self._certain(View(unlabelled.image, unlabelled.valid, label))
        return self._mixed(generator, self._certain(labelled), b)

    def _mixed(self, generator: Generator, a: PseudoLabelled, b: PseudoLabelled) -> View:
        mixed = self.perturbation(generator, a, b)
        label = torch.full_like(mixed.valid, IGNORE, dtype=torch.int64)
        for train_id in range(self.num_classes):  # argmax along a middle axis takes ten times as long on a CPU
            label.masked_fill_(mixed.target[:, train_id] > 0.5, train_id)
        return View(mixed.image, mixed.valid, label.masked_fill_(~mixed.valid, IGNORE))

    def _certain(self, view: View) -> PseudoLabelled:
        """Targets of ones and zeros, with an additional last class, K, for pixels without a label."""
        label: Tensor = view.label.masked_fill(view.label == IGNORE, self.num_classes)
        shape = (len(label), self.num_classes + 1, *label.shape[1:])
        target = torch.zeros(shape, device=label.device).scatter_(1, label[:, None], 1)
        return PseudoLabelled(view.image, target, None, view.valid)


def make_labelled_mix(
    settings: SupervisedConfig, num_classes: int, build: Callable[[dict[str, Any], str], Perturbation]
) -> LabelledMix | None:
    """`supervised.mix`, with its perturbations in the order of the config; None if it has none.

    Args:
        settings: `supervised`.
        num_classes: K.
        build: (section, its path in the config) -> the perturbation.

    Raises:
        ConfigError: a section does not fit its perturbation, or the perturbation could not change the views.
    """
    chosen = {name: arguments for name, arguments in settings.mix.items() if arguments is not None}
    parts = tuple(build({"name": name} | arguments, f"supervised.mix.{name}") for name, arguments in chosen.items())
    for name, part in zip(chosen, parts, strict=True):
        if not part.has_effect:
            raise ConfigError(
                f"supervised.mix.{name}: it, or a part of it, {NO_EFFECT}. Remove it, or set it to null if a lower "
                "file has it."
            )
    if not parts:
        return None
    return LabelledMix(Sequential(parts), num_classes, settings.mix_with == "unlabelled", settings.mix_threshold)
