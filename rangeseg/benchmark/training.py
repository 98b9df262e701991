"""What a training step does beside running its networks: masks, mixes, losses, optimiser, average.

Shapes: B views, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Generator, Tensor, nn

from rangeseg.benchmark.timing import Comparison, Row, compare
from rangeseg.config import Config, read_config
from rangeseg.engine.experiment import make_network, make_perturbation, make_strategy
from rangeseg.engine.mean_teacher import MeanTeacher
from rangeseg.masks import box_mask
from rangeseg.mix import choose
from rangeseg.resources import resource
from rangeseg.types import IGNORE, View


def benchmark_mix(
    *, shape: tuple[int, int, int, int] = (8, 5, 64, 2048), classes: int = 20, repeats: int = 20
) -> list[Row]:
    """A box mask drawn and two batches mixed by it: images, and what a teacher says of them.

    Args:
        shape: B, C, H, W.
        classes: K.
        repeats: rounds.

    Returns:
        The table's lines; the baseline writes the mask out in full and blends, x0 (1 - m) + x1 m.
    """
    generator = Generator().manual_seed(0)
    batch, channels, height, width = shape
    rows: list[Row] = []
    for what, fields in (("images", channels), ("targets", classes)):
        a, b, out = (torch.rand(batch, fields, height, width, generator=generator) for _ in range(3))
        rows += _compare_mixes(generator, a, b, out, repeats).rows(f"mix {what} {batch}x{fields}x{height}x{width}")
    return rows


def _compare_mixes(generator: Generator, a: Tensor, b: Tensor, out: Tensor, repeats: int) -> Comparison:
    batch, _, height, width = a.shape

    def mask() -> Tensor:
        return box_mask(generator, batch, height, width, wrap=True)

    def blend() -> Tensor:
        m = mask()[:, None].to(a.dtype)
        return a * (1 - m) + b * m

    candidates: dict[str, Callable[[], object]] = {
        "mask, then x0 (1 - m) + x1 m": blend,
        "mask, then torch.where": lambda: torch.where(mask()[:, None], b, a),
        "rangeseg": lambda: choose(mask(), b, a),
        "rangeseg, memory given": lambda: choose(mask(), b, a, out=out),
        "copy_ of one batch": lambda: out.copy_(a),
    }
    return compare(candidates, repeats)


@dataclass(frozen=True)
class StepParts:
    """A trainer with the views of one step, and the same networks run on the same views and nothing else.

    Args:
        trainer: ready to step.
        labelled: B views.
        unlabelled: two batches of B views.
    """

    trainer: MeanTeacher
    labelled: View
    unlabelled: tuple[View, View]

    @staticmethod
    def of(config: Config, classes: int, size: tuple[int, int]) -> StepParts:
        """Random views of a config's batch sizes and channels, four of five pixels valid and labelled.

        Args:
            config: an experiment.
            classes: K.
            size: H, W.
        """
        generator = Generator().manual_seed(0)

        def view(batch: int, labelled: bool) -> View:
            valid = torch.rand(batch, *size, generator=generator) < 0.8
            label = torch.randint(classes, valid.shape, generator=generator).where(valid, IGNORE)
            image = torch.randn(batch, len(config.data.channels), *size, generator=generator) * valid[:, None]
            return View(image, valid, label if labelled else torch.full_like(label, IGNORE))

        trainer = MeanTeacher(
            Fabric(accelerator="cpu", devices=1),
            make_network(config, classes),
            make_perturbation(config),
            config,
            strategy=make_strategy(config),
        )
        count = config.data.batch_unlabelled
        return StepParts(trainer, view(config.data.batch_labelled, True), (view(count, False), view(count, False)))

    def step(self) -> None:
        """The whole of it."""
        self.trainer.train_step(self.labelled, self.unlabelled)

    def networks(self) -> None:
        """Student forward and backward on the labelled and on the mixed views, teacher forward on both batches."""
        a, b = self.unlabelled
        for image in (self.labelled.image, a.image):
            logits: Tensor = self.trainer.network(image)
            logits.backward(torch.full_like(logits, 1e-6))
        with torch.no_grad():
            self.trainer.teacher.network(torch.cat([a.image, b.image]))
        _forget(self.trainer.network)


def _forget(network: nn.Module) -> None:
    for parameter in network.parameters():
        parameter.grad = None


def benchmark_step(
    *,
    overrides: Sequence[str] = (),
    size: tuple[int, int] = (64, 512),
    classes: int = 19,
    repeats: int = 20,
    warm_up: int = 2,
) -> list[Row]:
    """One CutMix step of configs/mini_kitti beside its networks alone.

    Args:
        overrides: `key.path=value`.
        size: H, W.
        classes: K.
        repeats: rounds.
        warm_up: rounds before them.

    Returns:
        The table's lines; a ratio of 0.9 says that a tenth of the step is spent outside student and teacher.
    """
    config = read_config(resource("configs", "mini_kitti") / "few_scenes_cutmix.yaml", overrides)
    parts = StepParts.of(config, classes, size)
    weights = sum(p.numel() for p in parts.trainer.network.parameters())
    candidates = {"student and teacher alone": parts.networks, "whole step": parts.step}
    return compare(candidates, repeats, warm_up=warm_up).rows(
        f"CutMix step {size[0]}x{size[1]}, {weights / 1e6:.2f} M weights"
    )
