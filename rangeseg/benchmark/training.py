"""Cost of a training step without its networks: masks, mixes, losses, optimiser, average of the weights.

Shapes: B views, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Generator, Tensor, nn

from rangeseg.benchmark.timing import Comparison, Row, compare
from rangeseg.config import Config, read_config
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.trainer import Trainer
from rangeseg.masks import box_mask
from rangeseg.mixing import where
from rangeseg.types import View


def benchmark_mix(
    *, shape: tuple[int, int, int, int] = (8, 5, 64, 2048), classes: int = 20, repeats: int = 20
) -> list[Row]:
    """Time drawing a box mask and mixing two batches with it: of images and of teacher predictions.

    Args:
        shape: B, C, H, W.
        classes: K.
        repeats: rounds.

    Returns:
        The table's lines; the baseline makes the full mask and blends, x0 (1 - m) + x1 m.
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
        "rangeseg": lambda: where(mask(), b, a),
        "rangeseg, memory given": lambda: where(mask(), b, a, out=out),
        "copy_ of one batch": lambda: out.copy_(a),
    }
    return compare(candidates, repeats)


@dataclass(frozen=True)
class StepParts:
    """A trainer with the views of one step, for timing the step and the networks alone on the same views.

    Args:
        trainer: a trainer that is ready for a step.
        labelled: B views.
        unlabelled: the two batches of B views for the perturbation; None if the config uses none.
    """

    trainer: Trainer
    labelled: View
    unlabelled: tuple[View, View] | None

    @staticmethod
    def of(config: Config) -> StepParts:
        """Make the trainer of a config, and views of the first scans of its training split.

        Args:
            config: an experiment; its data must exist.
        """
        experiment = Experiment(config)
        views, rng = experiment.views(experiment.open("train")), np.random.default_rng(0)
        counts = (config.data.batch_labelled, config.data.batch_unlabelled, config.data.batch_unlabelled)
        numbers = iter(range(sum(counts)))
        labelled, a, b = (
            View.stack([views.view(next(numbers) % len(views), rng) for _ in range(count)]) for count in counts
        )
        trainer = Trainer(
            Fabric(accelerator="cpu", devices=1),
            experiment.make_network(),
            experiment.perturbation,
            config,
            method=experiment.method,
            labelled_mix=experiment.labelled_mix,
        )
        pair = (labelled if config.consistency.pair == "labelled" else a, b)
        return StepParts(trainer, labelled, pair if config.consistency.weight else None)

    def step(self) -> None:
        """The whole training step."""
        self.trainer.train_step(self.labelled, self.unlabelled)

    def networks(self) -> None:
        """Student forward and backward on the labelled and on the mixed views, teacher forward on both batches."""
        pair = self.unlabelled or ()
        for view in (self.labelled, *pair[:1]):
            logits: Tensor = self.trainer.network(view.image)
            logits.backward(torch.full_like(logits, 1e-6))
        if pair:
            with torch.no_grad():
                self.trainer.teacher.network(torch.cat([view.image for view in pair]))
        _forget(self.trainer.network)


def _forget(network: nn.Module) -> None:
    for parameter in network.parameters():
        parameter.grad = None


def benchmark_step(root: Path, *, overrides: Sequence[str] = (), repeats: int = 20, warm_up: int = 2) -> list[Row]:
    """Time one CutMix step of mini_kitti against its networks alone.

    Args:
        root: SemanticKITTI's folder.
        overrides: `key.path=value` for the config.
        repeats: number of timed rounds.
        warm_up: number of untimed rounds before them.

    Returns:
        The table's lines; a ratio of 0.9 means that a tenth of the step is spent outside student and teacher.
    """
    path = "mini_kitti+cutmix"
    parts = StepParts.of(read_config(path, [f"data.root={root}", *overrides]))
    weights = sum(p.numel() for p in parts.trainer.network.parameters())
    size = "x".join(str(length) for length in parts.labelled.valid.shape)
    candidates = {"student and teacher alone": parts.networks, "whole step": parts.step}
    return compare(candidates, repeats, warm_up=warm_up).rows(f"CutMix step {size}, {weights / 1e6:.2f} M weights")


def benchmark_configs(
    root: Path, words: Sequence[str | Path], *, overrides: Sequence[str] = (), repeats: int = 10
) -> list[Row]:
    """Time one training step of each of several configs, in turns, on the same scans.

    Args:
        root: SemanticKITTI's folder.
        words: experiments, as in `read_config`; the first is the baseline.
        overrides: `key.path=value` for all.
        repeats: rounds.

    Returns:
        The table's lines.
    """
    steps = {str(one): StepParts.of(read_config(one, [f"data.root={root}", *overrides])).step for one in words}
    return compare(steps, repeats).rows("training step")
