"""The trainer of every method: supervised and consistency loss, optimiser, teacher, checkpoints.

One step, with a labelled view (x, y) and two unlabelled views a, b (French et al., BMVC 2020, section 3):

    L_s = ce * CE(S(x), y) + lovasz * Lovász(softmax S(x), y)            supervised_loss; more in supervision.py
    x', q, v = perturbation(a, T(a), b, T(b))    q mixes T(a), T(b) as x' mixes a, b; T depends on the method
    L_c = weight * rampup(step) * consistency(S(x'), q, v)               consistency_loss
    S <- S - lr(step) * clip(dL_s + dL_c)    two backward passes, one graph in memory at a time
    T <- decay * T + (1 - decay) * S                                     teacher.update

Every random choice of step k on rank r depends only on (seed, k, r), so a resumed run equals one that never stopped.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from rangeseg.config import Config
from rangeseg.config.checks import AS_TARGETS
from rangeseg.data.loading import Batch
from rangeseg.engine.checkpoint import check_classes, load_weights, read_training, write_checkpoint
from rangeseg.engine.fabric import average_buffers, from_first
from rangeseg.engine.labelled_mix import LabelledMix
from rangeseg.engine.loss_guard import LossGuard
from rangeseg.engine.methods import Method
from rangeseg.engine.optimizer import load_optimizer, make_optimizer, rate_multiplier
from rangeseg.engine.run_logger import RunLogger
from rangeseg.engine.stopping import Stopped, StopRequest
from rangeseg.engine.supervised_step import SupervisedLoss
from rangeseg.engine.supervision import add_weak_heads, no_loss_of_heads
from rangeseg.engine.update_bn import update_bn
from rangeseg.losses import confidence_rate, consistency_loss
from rangeseg.mixing import concat
from rangeseg.networks.base import Network
from rangeseg.perturbations import Channels, Perturbation
from rangeseg.schedules import sigmoid_rampup
from rangeseg.teacher import EmaTeacher, Teacher, pseudo_labels
from rangeseg.types import PseudoLabelled, View

Batches = tuple[Batch, Batch | None, Batch | None]
"""The labelled batch of a step and its batches a and b, which are None if training is supervised only."""


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation during training: the score that selects `best`, and all metrics to log."""

    score: float
    metrics: dict[str, float]


class Trainer:
    """Trains a student with its EMA teacher and its optimiser.

    Args:
        fabric: launched; gives devices, precision and processes.
        network: the student, (B, C, H, W) -> (B, K, H, W) logits, made by `method`.
        perturbation: changes unlabelled views and their targets.
        config: all of it is read, except the sources of `data` and the sections of components.
        class_weights: (K,) weights of the cross-entropy; None for 1.
        method: selects the teachers and the pixels of the consistency loss; None: the mean teacher.
        labelled_mix: strong augmentation of labelled views; None for none.
    """

    def __init__(
        self,
        fabric: Fabric,
        network: Network,
        perturbation: Perturbation,
        config: Config,
        class_weights: Tensor | None = None,
        method: Method | None = None,
        labelled_mix: LabelledMix | None = None,
    ) -> None:
        self.fabric, self.config, self.perturbation = fabric, config, perturbation
        self.method = method or Method()
        if config.runtime.sync_batchnorm and fabric.world_size > 1:
            network = cast(Network, nn.SyncBatchNorm.convert_sync_batchnorm(network))
        if config.runtime.channels_last:
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = cast(Network, fabric.to_device(network))
        ema = config.teacher
        self.teacher = EmaTeacher(self.network, ema.decay, warmup=ema.warmup, buffers=ema.buffers, mode=ema.mode)
        self.network = cast(Network, fabric.to_device(add_weak_heads(self.network, config)))  # the teacher has none
        if config.runtime.compile:
            self.network.compile()
            self.teacher.network.compile()
        self.teachers = self.method.teachers(self.network, self.teacher)
        self.labelled_mix = labelled_mix and labelled_mix.with_network(self.teachers[0].network)
        self.perturbations = [perturbation.with_network(teacher.network) for teacher in self.teachers]
        self.student, self.optimizer = fabric.setup(self.network, make_optimizer(self.network, config.optim))
        self.class_weights = None if class_weights is None else fabric.to_device(class_weights)
        self.rampup_steps = config.consistency.rampup_steps(config.optim.steps)
        channels = Channels(tuple(config.data.channels), tuple(config.data.mean), tuple(config.data.std))
        self.supervised_loss = SupervisedLoss(
            self.student, self.method, config.supervised, channels, self.class_weights, self.network.weak_heads()
        )
        self.step, self.best, self.evaluated = 0, -1.0, 0
        self.statistics: dict[str, Any] | None = None  # statistics of the training scans
        self.classes: dict[str, Any] = {}  # see `stored_classes`
        self._guard = LossGuard(fabric, config.runtime.log_every)

    def train_step(self, labelled: View, unlabelled: tuple[View, View] | None) -> dict[str, Tensor]:
        """One optimiser step.

        Args:
            labelled: B views with labels; with a weak head, `batch_labelled` views and then those with carried labels.
            unlabelled: two batches of views, equal in size; None trains supervised only.

        Returns:
            Scalars on the device: `supervised`, and if computed `carried`, `mixed`, `consistency` and `confidence`.
        """
        optim, losses = self.config.optim, dict[str, Tensor]()
        seed = zlib.crc32(f"{self.config.runtime.seed}/{self.step}/{self.fabric.global_rank}".encode())
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        rate = optim.lr * rate_multiplier(optim, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("multiplier", 1.0)  # missing in the first checkpoints of format 1
        self.optimizer.zero_grad()
        pairs = [view.chunk(optim.accumulate) for view in unlabelled or ()]
        if (mix := self.labelled_mix) and mix.unlabelled:
            for x, u in zip(labelled.chunk(optim.accumulate), pairs[1] if pairs else (), strict=True):
                self._backward(losses, self.mix_loss(generator, mix, x, u))
        elif mix:
            labelled = mix.among(generator, labelled)
        own = self.config.data.batch_labelled if self.network.weak_heads() else None  # the others have carried labels
        for x in labelled.chunk(optim.accumulate, own):
            self._backward(losses, self.supervised_loss(x))
        for a, b in zip(*pairs, strict=True):
            self._backward(losses, self.consistency_loss(generator, a, b))
        if optim.clip is not None:
            self.fabric.clip_gradients(self.student, self.optimizer, max_norm=optim.clip, error_if_nonfinite=False)
        self.optimizer.step()
        if self.fabric.world_size > 1:
            average_buffers(self.fabric, self.network)
        self.teacher.update(self.network, self.step)
        self._guard.note(self.step, losses)
        return losses

    def _backward(self, losses: dict[str, Tensor], new: dict[str, Tensor]) -> None:
        """Back-propagate the first of the `new` losses of a part of the batch, and add all of them to `losses`."""
        parts = self.config.optim.accumulate
        self.fabric.backward(next(iter(new.values())) / parts)
        for name, value in new.items():
            losses[name] = losses.get(name, torch.zeros_like(value)) + value.detach() / parts

    def mix_loss(self, generator: torch.Generator, mix: LabelledMix, x: View, u: View) -> dict[str, Tensor]:
        """The supervised loss on mixes of labelled views `x` with unlabelled views `u`, which the teacher labels."""
        with self.fabric.autocast():
            mixed = mix.with_unlabelled(generator, x, u, self.teachers[0])
        return {"mixed": self.supervised_loss(mixed)["supervised"]}

    def consistency_loss(self, generator: torch.Generator, a: View, b: View) -> dict[str, Tensor]:
        """The weighted loss on unlabelled views, and the share of confident pixels."""
        settings = self.config.consistency
        with self.fabric.autocast():
            mixed = []
            for teacher, perturbation in zip(self.teachers, self.perturbations, strict=True):  # two for CPS
                target_a, target_b = self.targets(teacher, a, b)
                mixed.append(perturbation(generator, target_a, target_b))
        logits = self.student(*(views.image for views in mixed))
        target = self.method.select(concat(mixed), self.step / self.config.optim.steps)
        loss = consistency_loss(
            logits, target.target, target.valid, kind=settings.kind, threshold=settings.threshold,
            confidence=settings.confidence, normalise=settings.normalise, target_logits=target.target_logits,
        )  # fmt: skip
        if self.fabric.world_size > 1:
            loss = loss + no_loss_of_heads(self.network)
        weight = settings.weight * sigmoid_rampup(self.step, self.rampup_steps)
        rate = confidence_rate(target.target, target.valid, settings.threshold, normalise=settings.normalise)
        return {"consistency": weight * loss, "confidence": rate}

    def targets(self, teacher: Teacher, a: View, b: View) -> tuple[PseudoLabelled, PseudoLabelled]:
        """Both batches with the teacher's predictions; `a` twice if the perturbation does not use `b`."""
        settings = self.config.consistency
        both = (a, b) if self.perturbation.uses_b else (a,)
        labelled = pseudo_labels(
            teacher, *both, joint=self.config.teacher.joint, logits=settings.kind.startswith("logits"),
            labels=settings.pair == "labelled" or self.config.data.carried_as in AS_TARGETS,
            unsure_below=settings.threshold if self.config.data.carried_where == "unsure" else None,
        )  # fmt: skip
        return labelled[0], labelled[-1]

    def fit(
        self, batches: Iterator[Batches], logger: RunLogger, evaluate: Callable[[], Evaluation], request: StopRequest
    ) -> None:
        """Train from step `step` to `optim.steps`.

        Args:
            batches: batches of the steps from `step` on.
            logger: logs numbers and gives the paths of checkpoints.
            evaluate: scores the teacher.
            request: is checked after every step, with several processes every `log_every` steps.

        Raises:
            Stopped: `request` has a signal; `logger.last` is written.
            NotFiniteError: a loss is NaN or infinite; nothing is saved after it.
        """
        runtime, steps = self.config.runtime, self.config.optim.steps
        if self.evaluation_pending:
            self._evaluate(logger, evaluate, save=True)
        with logger.progress(self.step, steps) as progress:
            while self.step < steps:
                labelled, a, b = next(batches)
                self._guard.reading(self.step, (name for batch in (labelled, a, b) if batch for name in batch.names))
                pair = (self._on_device(a), self._on_device(b)) if a and b else None
                losses = self.train_step(self._on_device(labelled), pair)
                self.step += 1
                last = self.step == steps
                if last and self.config.teacher.update_bn:
                    self.update_bn(batches)
                if last or self.step % runtime.log_every == 0:
                    self._guard.check(logger.last)
                    rate = {"lr": float(self.optimizer.param_groups[0]["lr"])}
                    logger.scalars(self.step, {k: float(v) for k, v in losses.items()} | rate)
                if not last and (number := request.agreed(self.fabric, due=self.step % runtime.log_every == 0)):
                    self.save(logger.last)
                    raise Stopped(f"stopped at step {self.step}; use --resume to continue", number)
                if due := last or self.step % runtime.checkpoint_every == 0:  # before an evaluation, which may fail
                    self.save(logger.last)
                if self.evaluation_pending:
                    self._evaluate(logger, evaluate, save=due)
                progress(self.step, losses)

    @property
    def evaluation_pending(self) -> bool:
        """True if this step needs an evaluation and has none yet, for example because the run was stopped before it."""
        every = self.config.evaluation.every
        due = self.step == self.config.optim.steps or bool(every and self.step % every == 0)
        return due and self.evaluated != self.step > 0

    def update_bn(self, batches: Iterator[Batches]) -> None:
        """Recompute the teacher's BatchNorm statistics over the views of the next `teacher.update_bn` steps."""
        steps = islice(batches, self.config.teacher.update_bn)
        images = (self._on_device(batch).image for step in steps for batch in step if batch)
        with self.fabric.autocast():
            update_bn(self.teacher.network, images)
        if self.fabric.world_size > 1:
            average_buffers(self.fabric, self.teacher.network)

    def save(self, path: Path) -> None:
        """Check the losses, and write what `resume` needs and the statistics, atomically, from the first process."""
        self._guard.check(path)
        state = {
            "step": self.step,
            "best": self.best,
            "evaluated": self.evaluated,
            "network": self.network.state_dict(),
            "teacher": self.teacher.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "statistics": self.statistics,
            **self.classes,
        }
        if self.fabric.is_global_zero:
            write_checkpoint(path, state, self.config)
        self.fabric.barrier()

    def resume(self, path: Path) -> None:
        """Load a checkpoint of `save`, read by the first process for all, and continue from it.

        Raises:
            ConfigError, ValueError: see `read_training`, `check_classes` and `load_weights`.
        """
        state = from_first(self.fabric, lambda: read_training(path, self.config))
        check_classes(state, self.classes, path)
        load_weights(self.network, state["network"], path)
        load_weights(self.teacher.network, state["teacher"], path)
        load_optimizer(self.optimizer, state["optimizer"])
        if state["precision"]:  # empty without a gradient scaler
            self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.step, self.best = state["step"], state["best"]
        self.evaluated = state.get("evaluated", self.step)  # not in checkpoints of version 0.1

    def _evaluate(self, logger: RunLogger, evaluate: Callable[[], Evaluation], *, save: bool) -> None:
        self._guard.check(logger.last)
        result = evaluate()
        logger.scalars(self.step, result.metrics)
        self.evaluated = self.step
        if result.score > self.best:
            self.best = result.score
            self.save(logger.best)
        if save:
            self.save(logger.last)  # again, with the best score and the evaluated step

    def _on_device(self, batch: Batch) -> View:
        return batch.view.to(self.fabric.device)
