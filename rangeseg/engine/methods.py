"""Methods of semi-supervised training. They share the loop, the perturbations and the loss, and differ as follows.

                 teacher                      student           pixels in the loss
    mean teacher the average of the student   the student       as `consistency` says
    FixMatch     the student itself           the student       the same; hard pseudo-labels with `kind: ce`
    CPS          each of two networks         the other one     the same; hard pseudo-labels with `kind: ce`
    CBST         the average of the student   the student       the most confident share of each class, hard labels

Shapes: B views, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from rangeseg.networks.base import Network
from rangeseg.teacher import NetworkTeacher
from rangeseg.types import PseudoLabelled, View


class Method:
    """The mean teacher; the other methods override what they change.

    Source:
        Tarvainen and Valpola, NeurIPS 2017.
    """

    def make_network(self, make: Callable[[int], Network]) -> Network:
        """Create the network to train.

        Args:
            make: number -> a network; each number gives different initial weights.
        """
        return make(0)

    def supervised(self, student: Callable[..., Any], labelled: View) -> tuple[Any, Tensor]:
        """The student's logits (B, K, H, W) of labelled views, and the labels for the loss.

        Args:
            student: the trained network; with auxiliary heads it returns (logits, [logits of each head]).
            labelled: B views.
        """
        return student(labelled.image), labelled.label

    def teachers(self, network: nn.Module, average: NetworkTeacher) -> tuple[NetworkTeacher, ...]:
        """The networks that predict the targets: one teacher for each network that learns.

        Args:
            network: the trained network, made by `make_network`.
            average: its exponential moving average.
        """
        return (average,)

    def select(self, mixed: PseudoLabelled, progress: float) -> PseudoLabelled:
        """The pixels and targets that the loss counts.

        Args:
            mixed: the output of the perturbation.
            progress: the share of the training that is done, in [0, 1).
        """
        return mixed


class FixMatch(Method):
    """The student's own prediction of the unperturbed view is the target for the perturbed view.

    The paper's other parts are settings: `consistency: {kind: ce, threshold: 0.95, confidence: pixel}`. As in the
    paper, the average of the student is evaluated.

    Source:
        Sohn et al., NeurIPS 2020.
    """

    def teachers(self, network: nn.Module, average: NetworkTeacher) -> tuple[NetworkTeacher, ...]:
        """The student itself."""
        return (NetworkTeacher(network),)


class Pair(Network):
    """Two networks that train together; the first one is used for inference.

    Args:
        first: (B, C, H, W) -> (B, K, H, W) logits.
        second: the same architecture with other initial weights.
    """

    def __init__(self, first: Network, second: Network) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.stride = first.stride

    @property
    def least_views(self) -> int:
        """That of the first network; both are of one architecture and get as many views."""
        return self.first.least_views

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The parts of the architecture, each with the weights of both networks."""
        second = self.second.parameter_groups()
        return {name: [*part, *second[name]] for name, part in self.first.parameter_groups().items()}

    def classifier(self) -> nn.Module | None:
        """The classifiers of both networks; None if the architecture does not name its own."""
        first, second = self.first.classifier(), self.second.classifier()
        return None if first is None or second is None else nn.ModuleList([first, second])

    def auxiliary_heads(self) -> list[nn.Module]:
        """The auxiliary heads of both networks."""
        return [*self.first.auxiliary_heads(), *self.second.auxiliary_heads()]

    def add_weak_head(self, width: int) -> None:
        """Add a weak head to both networks."""
        self.first.add_weak_head(width)
        self.second.add_weak_head(width)

    def forward(self, image: Tensor, other: Tensor | None = None, auxiliary: bool = False) -> Any:
        """The first network's logits of `image`; with `other`, followed by the second network's logits of `other`.

        With `auxiliary`, (logits, [logits of each auxiliary head]), each of them concatenated in the same way.
        """
        options = {"auxiliary": True} if auxiliary else {}
        first = self.first(image, **options)
        if other is None:
            return first
        second = self.second(other, **options)
        if not auxiliary:
            return torch.cat([first, second])
        heads = [torch.cat(pair) for pair in zip(first[1], second[1], strict=True)]
        return torch.cat([first[0], second[0]]), heads


class CPS(Method):
    """Cross pseudo supervision: each of two networks learns from the other's predictions of the unperturbed views.

    The paper's other parts are settings: `consistency: {kind: ce, threshold: 0.0}`, weight 1.5, and CutMix. Each of the
    two networks gets its own mask. The average of the first network is evaluated (in the paper, the network itself).

    Source:
        Chen et al., CVPR 2021.
    """

    def make_network(self, make: Callable[[int], Network]) -> Network:
        """Two networks with different initial weights."""
        return Pair(make(0), make(1))

    def supervised(self, student: Callable[..., Any], labelled: View) -> tuple[Any, Tensor]:
        """Both networks learn the labels: logits and labels of 2B views."""
        return student(labelled.image, labelled.image), torch.cat([labelled.label, labelled.label])

    def teachers(self, network: nn.Module, average: NetworkTeacher) -> tuple[NetworkTeacher, ...]:
        """The second network teaches the first, the first teaches the second."""
        if not isinstance(network, Pair):
            raise ValueError(
                f"CPS trains a Pair, not a {type(network).__name__}; create the network with CPS.make_network."
            )
        return NetworkTeacher(network.second), NetworkTeacher(network.first)


@dataclass(frozen=True)
class CBST(Method):
    """Class-balanced self-training: for each class, only the most confident share of its pseudo-labelled pixels counts.

        k_c = the least confidence of the most confident share p of the pixels with argmax Q = c
        pseudo label = argmax_c Q_c / k_c, for pixels where this ratio is at least 1

    So rare classes count, too, although the teacher is never as sure of them as of road. The paper computes k in one
    pass over all unlabelled images before each round of training; here each batch has its own k, without any state.

    Args:
        start: p at the beginning of the training.
        end: p at its end; linear in between.
        bins: number of bins in which confidences are counted; k is exact to 1 / bins.

    Raises:
        ValueError: a share is not within (0, 1], or `bins` is less than 1.

    Source:
        Zou et al., ECCV 2018, equations 5 to 7; p from 0.2 to 0.5.
    """

    start: float = 0.2
    end: float = 0.5
    bins: int = 1000

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"CBST got {name}={getattr(self, name)}; give a share of the pixels in (0, 1].")
        if self.bins < 1:
            raise ValueError(f"CBST got bins={self.bins}; give 1 or more, usually 1000.")

    def select(self, mixed: PseudoLabelled, progress: float) -> PseudoLabelled:
        """The most confident share of each class, as hard pseudo-labels."""
        return class_balanced(mixed, self.start + (self.end - self.start) * progress, self.bins)


def class_balanced(views: PseudoLabelled, share: float, bins: int = 1000) -> PseudoLabelled:
    """The most confident share of each class as hard pseudo-labels; the loss counts only these pixels.

    Args:
        views: B views with targets.
        share: share of the pixels of each pseudo label that counts.
        bins: number of bins in which confidences are counted.

    Returns:
        The views with targets of zeros and ones, valid where a class reaches its threshold.

    Source:
        Zou et al., ECCV 2018.
    """
    threshold = class_thresholds(views.target, views.valid, share, bins)
    balanced, label = (views.target / threshold[:, None, None]).max(1)
    target = torch.zeros_like(views.target).scatter_(1, label[:, None], 1)
    return replace(views, target=target, valid=views.valid & (balanced >= 1))


def class_thresholds(target: Tensor, valid: Tensor, share: float, bins: int = 1000) -> Tensor:
    """The confidence threshold of each class that keeps the given share; needs no host synchronisation.

    Args:
        target: (B, K, H, W) probabilities.
        valid: (B, H, W) bool; only these pixels count.
        share: in (0, 1].
        bins: number of bins in which confidences are counted.

    Returns:
        (K,), the lower edge of a bin, at least 1 / bins; 2, which no probability reaches, for a class without pixels.
    """
    confidence, label = target.max(1)
    bin_of = (confidence * bins).long().clamp_(1, bins - 1) if bins > 1 else torch.ones_like(label)
    classes, width = target.shape[1], bins + 1
    counts = torch.zeros(classes * width, device=target.device)
    counts.scatter_add_(0, (label * width + bin_of).flatten(), valid.flatten().to(counts.dtype))
    from_above = counts.view(classes, width).flip(1).cumsum(1).flip(1)  # pixels in this bin or a higher one
    total = from_above[:, 0]
    lowest = (from_above >= share * total[:, None]).sum(1) - 1  # the highest bin with the share in it and above
    return torch.where(total > 0, lowest.to(target.dtype) / bins, 2)
