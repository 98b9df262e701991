"""An experiment as typed values, read strictly from YAML.

Sections that describe a component (`COMPONENTS`) hold a `name` and that component's constructor arguments. Everything
else is a dataclass here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from rangeseg.registry import Component

MISSING: Any = "???"
"""Value of a required key without a default (OmegaConf's term)."""


@dataclass(frozen=True)
class Range:
    """The range of a numeric key. All values must be finite.

    Args:
        least: inclusive lower bound; None: no bound.
        most: inclusive upper bound; None: no bound.
        above: exclusive lower bound; None: no bound.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None

    def __contains__(self, value: float) -> bool:
        low = (self.least is None or value >= self.least) and (self.above is None or value > self.above)
        return isfinite(value) and low and (self.most is None or value <= self.most)

    def __str__(self) -> str:
        bounds = {"above": self.above, "at least": self.least, "at most": self.most}
        given = [f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None]
        return " and ".join(given) or "a finite number"


def number(default: Any, **bounds: float) -> Any:
    """A numeric key with its default, or `MISSING`, and its range."""
    return field(default=default, metadata={"range": Range(**bounds)})


def numbers(default_factory: Callable[[], Any], **bounds: float) -> Any:
    """A list or mapping of numbers, each within the range."""
    return field(default_factory=default_factory, metadata={"range": Range(**bounds)})


def text(default: Any) -> Any:
    """Free text: a path, or a name that other code looks up."""
    return field(default=default, metadata={"text": True})


def choice(default: str, *words: str) -> Any:
    """A key with a fixed set of values, including the default."""
    return field(default=default, metadata={"choices": words})


@dataclass
class DataConfig:
    """The scans or photographs, their labels, and the steps that turn them into views."""

    root: str = text(MISSING)
    """Folder of the dataset, in its official layout."""
    dataset: Component = field(default_factory=lambda: dict(name="semantic_kitti"))
    labelled: str = text("all")
    """List of labelled scans (a file, or a name in datasets/<dataset>/splits); all: the whole training split;
    with_labels: those of it that have a label file; none: only scans of `labelled_from`."""
    unlabelled: str = text("all")
    """List of unlabelled scans, as for `labelled`; none: only scans of `unlabelled_from`."""
    unlabelled_from: list[dict[str, Any]] = field(default_factory=list)
    """Further unlabelled scans of other datasets or sensors: {root, dataset, split, subset, projection, share} each. By
    default, split is train, subset the whole split, and projection `projection`. share: about this share of the views
    comes from this source (0.5: half); without it, every scan is read equally often."""
    labelled_from: list[dict[str, Any]] = field(default_factory=list)
    """Further labelled scans with the same classes, in the same form; evaluation uses only `dataset`."""
    label_fraction: float = number(1.0, above=0, most=1)
    """Share of the pixels of each labelled scan that keep their labels, drawn with `label_seed`."""
    label_seed: int = number(0, least=0)
    label_spread: str = choice("pixels", "pixels", "classes")
    """How these pixels are drawn. pixels: each one is equally likely. classes: the classes of a scan take turns, so
    that rare ones get as many labels as others, as if a person looked for them."""
    carried: str = text("none")
    """Folder of labels that `rangeseg propagate` wrote for scans of the training split."""
    carried_as: str = choice("labels", "labels", "targets", "weak_head", "both")
    """The use of carried labels. labels: the scans of the folder are the labelled scans, in place of those of
    `labelled`. With the other choices, `labelled` still selects the labelled scans. targets: at each pixel of an
    unlabelled scan, the target is the carried label if there is one, and the teacher's prediction otherwise. weak_head:
    a second head, used only in training, learns the carried labels; the network's own head learns the dataset's labels
    and the teacher's predictions. both: targets and weak_head. With these three, the labels must have been carried from
    the labels of `labelled` only."""
    carried_within_m: float = number(0.0, least=0)
    """Use only carried labels within this distance, in metres, of the nearest labelled point that agrees; 0: use all.
    Labels given by people always count."""
    carried_weight: str = choice("none", "none", "distance", "agreement", "scans", "all")
    """Weight of a carried label, computed from its evidence. distance: 2^(-d / carried_half_m), with d metres to the
    nearest labelled point that agrees; agreement: a n / (n + 1), where a share a of n labelled points agrees; scans:
    2^(-s / 10), with s scans to the labelled scan; all: the product of the three."""
    carried_half_m: float = number(0.5, above=0)
    """Distance in metres to the nearest labelled point at which the weight of a carried label is 0.5."""
    carried_classes: str = choice("same", "same", "balanced")
    """balanced: multiply the weight by the root of (points of the mean carried class / points of this class) in the
    scan, at most 1. same: no factor."""
    carried_edges: str = choice("same", "same", "less", "more")
    """less: multiply the weight by 0.25 at pixels next to another class or a jump in range. more: multiply it by 0.25
    at all other pixels. same: no factor."""
    carried_where: str = choice("all", "all", "unsure")
    """The pixels at which carried labels are targets. unsure: only pixels at which the teacher's largest probability is
    below `consistency.threshold`."""
    projection: Component = field(
        default_factory=lambda: dict(name="spherical", height=64, width=2048, fov_up_deg=3.0, fov_down_deg=-25.0)
    )
    channels: list[str] = field(default_factory=lambda: ["range", "x", "y", "z", "remission"])
    mean: list[float] = numbers(lambda: [12.12, -0.1, 0.5, -1.04, 0.21])
    std: list[float] = numbers(lambda: [12.32, 12.3, 9.43, 0.86, 0.16], above=0)
    augmentation: Component = field(default_factory=dict)
    """Arguments of `rangeseg.data.augment.Augmentation`, or of `rangeseg.photos.augment.PhotoAugmentation`."""
    batch_labelled: int = number(2, least=1)
    batch_unlabelled: int = number(2, least=1)
    """Views in each of the two unlabelled batches a and b."""
    batch_carried: int = number(2, least=1)
    """Number of additional views per step for the weak head."""
    memory_mb: int = number(1000, least=0)
    """Megabytes of decoded photographs to cache, separately for labelled and unlabelled ones, in every process."""


@dataclass
class SupervisedConfig:
    """The loss on labelled views: cross_entropy * CE + lovasz * Lovász-softmax + boundary * boundary loss.

    `auxiliary` adds the same loss on each auxiliary head with this weight.
    """

    cross_entropy: float = number(1.0, least=0)
    lovasz: float = number(1.0, least=0)
    boundary: float = number(0.0, least=0)
    focal_gamma: float = number(0.0, least=0)
    """The cross-entropy of a pixel is weighted by (1 - P_y)^focal_gamma; 0: no weighting."""
    ohem_ratio: float = number(0.0, least=0, most=1)
    """The cross-entropy is the mean over this share of the labelled pixels with the largest loss; 0: all pixels."""
    range_weight_m: float = number(0.0, least=0)
    """With `ohem_ratio`: the cross-entropy of a pixel is weighted by range / range_weight_m; 0: no weighting."""
    auxiliary: float = number(0.0, least=0)
    """Weight of the loss on each auxiliary head of the network (deep supervision); 0: heads are not trained."""
    class_weights: str = choice("none", "none", "inverse", "root", "log")
    """none; inverse: 1 / (f + 0.001); root: its square root, mean 1; log: ln(1 + inverse), largest 1."""
    frequencies: dict[str, float] = numbers(dict, least=0, most=1)
    """Class -> f, as written by `rangeseg stats`; default: the frequencies in the dataset's labels.yaml."""
    carried_weight: float = number(1.0, least=0)
    """Weight of carried labels relative to labels given by people. Carried labels used as targets have
    `consistency.weight` instead."""
    carried_term: str = choice("shared", "shared", "own")
    """With `data.carried_as: labels`. shared: the loss is one mean over all labels. own: the loss of carried labels is
    averaged separately and added. The weak head always has a separate loss."""
    weak_width: int = number(128, least=1)
    """Number of channels inside the weak head; PLE uses 512."""
    mix: dict[str, Any] = field(default_factory=dict)
    """Strong augmentation of labelled views: perturbations by name, each with its arguments, applied one after another:
    {range_mix: {}, range_shift: {}}. null turns off a perturbation of a `base` config."""
    mix_with: str = choice("labelled", "labelled", "unlabelled")
    """The second view of `mix`. labelled: the next view of the batch; the mix replaces the view. unlabelled: an
    unlabelled view with labels from the teacher; the loss on the mixes is added to the loss on the labelled views."""
    mix_threshold: float = number(0.9, least=0, most=1)
    """With `mix_with: unlabelled`: least probability at which the teacher's prediction is used as a label."""


@dataclass
class ConsistencyConfig:
    """The loss on unlabelled views; weight 0 gives supervised training."""

    weight: float = number(1.0, least=0)
    kind: str = choice("var", "var", "logits_var", "logits_smoothl1", "bce", "kld", "ce")
    threshold: float = number(0.97, least=0, most=1)
    confidence: str = choice("mean", "mean", "pixel")
    normalise: str = choice("valid", "valid", "confident", "all")
    rampup: int = number(0, least=0)
    """Steps of the sigmoid ramp-up of the weight; 0: none."""
    rampup_share: float = number(0.0, least=0, most=1)
    """The same as a share of `optim.steps`; 0: use `rampup`."""
    pair: str = choice("unlabelled", "unlabelled", "labelled")
    """The batches a and b of the perturbation. unlabelled: two unlabelled batches; labelled: a labelled batch, whose
    labels are the targets, and an unlabelled one."""

    def rampup_steps(self, steps: int) -> float:
        """The length of the ramp-up of the weight in a training of `steps` steps."""
        return self.rampup or self.rampup_share * steps


@dataclass
class TeacherConfig:
    """The EMA teacher; see `rangeseg.teacher.EmaTeacher`."""

    decay: float = number(0.99, least=0, most=1)
    warmup: bool = False
    buffers: str = choice("ema", "ema", "copy", "own")
    mode: str = choice("eval", "eval", "train")
    joint: bool = True
    """Predict both batches of a mix in one forward pass; in mode train the BatchNorm statistics are those of both."""
    update_bn: int = number(0, least=0)
    """Number of steps whose training views are used to recompute the BatchNorm statistics when training ends; 0: keep
    the averaged statistics. Short trainings need it, because averaged statistics lag behind the weights."""


@dataclass
class OptimConfig:
    """The optimiser of the student."""

    name: str = choice("adamw", "adamw", "adam", "sgd")
    lr: float = number(1e-3, above=0)
    steps: int = number(MISSING, least=1)
    weight_decay: float = number(0.01, least=0)
    momentum: float = number(0.9, least=0, most=1)
    """Momentum of SGD, in Nesterov's form if `nesterov`."""
    nesterov: bool = False
    schedule: str = choice("one_cycle", "one_cycle", "poly", "constant")
    one_cycle_end: float = number(1e-4, least=0, most=1)
    """Last learning rate of `one_cycle`, as a share of its largest; torch's default ends at 4e-6."""
    decay_all: bool = False
    """Also apply weight decay to biases and normalisation layers, as torch's optimisers do by default."""
    clip: float | None = number(10.0, above=0)
    """Maximum norm of the gradient; null: no clipping."""
    lr_multipliers: dict[str, float] = numbers(dict, least=0)
    """Part of the network (backbone, head) -> multiplier of its learning rate."""
    accumulate: int = number(1, least=1)
    """Parts of a batch, each with its own backward pass: less memory. The gradient is the mean of theirs. That of the
    whole batch differs with BatchNorm, Lovász loss or OHEM, and if parts have different numbers of labelled pixels."""


@dataclass
class EvaluationConfig:
    """The scored split, the interval, and the back-projection from pixels to points or to the photograph's pixels."""

    split: str = text("val")
    every: int = number(0, least=0)
    """Steps between evaluations during training; 0: only at the end."""
    back_projection: Component = field(default_factory=lambda: dict(name="knn"))
    batch: int = number(1, least=1)
    scale: float = number(1.0, above=0)
    """Size of a photograph in the network relative to the size at which it is scored."""
    window: Component = field(default_factory=dict)
    """Sliding windows over an image: {size: [rows, columns], overlap: 0.33}; {}: the whole image."""


@dataclass
class RuntimeConfig:
    """Devices, processes, precision, threads, logging and the run folder.

    `seed`, `precision`, `initialise_from`, `sync_batchnorm` and the number of processes (each reads its own batch)
    change the trained weights. `compile`, `channels_last` and the device change rounding. Other keys do not change the
    result.
    """

    out: str = text(MISSING)
    """Run folder; default: runs/CONFIG/NETWORK_METHOD_LABELS."""
    initialise_from: str | None = text(None)
    """Initial weights of student and teacher: a run folder or checkpoint (its teacher), or the name or URL of weights,
    e.g. kitti; null: random weights."""
    seed: int = number(0, least=0)
    precision: str = choice("32-true", "32-true", "bf16-mixed", "16-mixed")
    accelerator: str = text("auto")
    devices: int = number(1, least=1)
    num_nodes: int = number(1, least=1)
    threads: int = number(0, least=0)
    """Torch threads of a process on a CPU; 0: torch's default."""
    workers: int = number(2, least=0)
    """Threads that load views; 0: none."""
    compile: bool = False
    channels_last: bool = False
    deterministic: bool = False
    sync_batchnorm: bool = False
    log_every: int = number(10, least=1)
    checkpoint_every: int = number(500, least=1)
    log_images: int = number(2, least=0)
    """Number of validation views drawn in TensorBoard at each evaluation."""
    loggers: list[dict[str, Any]] = field(default_factory=list)
    """Loggers besides metrics.csv and TensorBoard: {name: wandb}, mlflow, trackio, or your own module:Class."""


@dataclass
class Config:
    """A complete experiment."""

    preset: str = choice("none", "none", "reference")
    """reference: the settings of the paper's code; overrides `base`, but not the keys of this file; see `PRESETS`.
    none: also leaves out the presets of lower files."""
    data: DataConfig = field(default_factory=DataConfig)
    network: Component = field(default_factory=lambda: dict(name="fidnet"))
    supervised: SupervisedConfig = field(default_factory=SupervisedConfig)
    perturbation: Component = field(default_factory=lambda: dict(name="cutmix"))
    method: Component = field(default_factory=lambda: dict(name="mean_teacher"))
    consistency: ConsistencyConfig = field(default_factory=ConsistencyConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
