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
"""A key that every experiment must give (OmegaConf's word)."""


@dataclass(frozen=True)
class Range:
    """The finite numbers that a key may have.

    Args:
        least: the smallest; None: no bound.
        most: the largest; None: no bound.
        above: all are larger than this; None: no bound.
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
    """A number, or a key that must be given, with its range beside it."""
    return field(default=default, metadata={"range": Range(**bounds)})


def numbers(default_factory: Callable[[], Any], **bounds: float) -> Any:
    """A list or mapping of numbers, with the range of each."""
    return field(default_factory=default_factory, metadata={"range": Range(**bounds)})


def text(default: Any) -> Any:
    """Free text: a path, or a name that is looked up elsewhere."""
    return field(default=default, metadata={"text": True})


def choice(default: str, *words: str) -> Any:
    """One of a few words; the default is among them."""
    return field(default=default, metadata={"choices": words})


@dataclass
class DataConfig:
    """Which scans or photographs, which of their labels, and how they become views."""

    root: str = text(MISSING)
    """Folder of the dataset, in its official layout."""
    dataset: Component = field(default_factory=lambda: dict(name="semantic_kitti"))
    labelled: str = text("all")
    """List of the labelled scans (a file, or a name in datasets/<dataset>/splits); all: the whole training split;
    none: only those of `labelled_from`."""
    unlabelled: str = text("all")
    """The same for the unlabelled scans; none: only those of `unlabelled_from`."""
    unlabelled_from: list[dict[str, Any]] = field(default_factory=list)
    """More unlabelled scans, of other datasets or sensors: {root, dataset, split, frames, projection} each; the last
    three default to train, the whole split, and `projection`."""
    labelled_from: list[dict[str, Any]] = field(default_factory=list)
    """The same for labelled scans, of the same classes; evaluation stays with `dataset`."""
    label_fraction: float = number(1.0, above=0, most=1)
    """Share of each labelled scan's pixels whose labels are kept, drawn by `label_seed`."""
    label_seed: int = number(0, least=0)
    projection: Component = field(
        default_factory=lambda: dict(name="spherical", height=64, width=2048, fov_up_deg=3.0, fov_down_deg=-25.0)
    )
    channels: list[str] = field(default_factory=lambda: ["range", "x", "y", "z", "remission"])
    mean: list[float] = numbers(lambda: [12.12, -0.1, 0.5, -1.04, 0.21])
    std: list[float] = numbers(lambda: [12.32, 12.3, 9.43, 0.86, 0.16], above=0)
    augmentation: Component = field(default_factory=dict)
    """Arguments of `rangeseg.data.augment.Augmentation`, of photographs `photo_augment.PhotoAugmentation`."""
    batch_labelled: int = number(2, least=1)
    batch_unlabelled: int = number(2, least=1)
    """Views in each of the two unlabelled batches a and b."""
    memory_mb: int = number(1000, least=0)
    """Megabytes of decoded photographs that each of the labelled and the unlabelled keep, in every process."""


@dataclass
class SupervisedConfig:
    """The loss on labelled views: cross_entropy * CE + lovasz * Lovász-softmax + boundary * boundary loss.

    With `auxiliary`, that much of the same on each auxiliary head is added.
    """

    cross_entropy: float = number(1.0, least=0)
    lovasz: float = number(1.0, least=0)
    boundary: float = number(0.0, least=0)
    focal_gamma: float = number(0.0, least=0)
    """The cross-entropy counts a pixel (1 - P_y)^focal_gamma times; 0: each fully."""
    ohem_ratio: float = number(0.0, least=0, most=1)
    """Share of the labelled pixels, those of the largest cross-entropy, that it is the mean of; 0: all."""
    range_weight_m: float = number(0.0, least=0)
    """With `ohem_ratio`: a pixel's cross-entropy counts range / range_weight_m times; 0: range does not matter."""
    auxiliary: float = number(0.0, least=0)
    """Weight of each auxiliary head of the network, which only training asks (deep supervision); 0: without them."""
    class_weights: str = choice("none", "none", "inverse", "root", "log")
    """none; inverse: 1 / (f + 0.001); root: its square root, mean 1; log: ln(1 + inverse), largest 1."""
    frequencies: dict[str, float] = numbers(dict, least=0, most=1)
    """Class -> f, as `rangeseg stats` writes them; none: those of the dataset's labels.yaml."""


@dataclass
class ConsistencyConfig:
    """The loss on unlabelled views; weight 0 is supervised-only training."""

    weight: float = number(1.0, least=0)
    kind: str = choice("var", "var", "logits_var", "logits_smoothl1", "bce", "kld", "ce")
    threshold: float = number(0.97, least=0, most=1)
    confidence: str = choice("mean", "mean", "pixel")
    normalise: str = choice("valid", "valid", "confident", "all")
    rampup: int = number(0, least=0)
    """Steps of the sigmoid ramp-up of the weight; 0: none."""
    pair: str = choice("unlabelled", "unlabelled", "labelled")
    """What the perturbation is given as a and b: two unlabelled batches; or labelled, whose labels are then the answer,
    and unlabelled."""


@dataclass
class TeacherConfig:
    """The EMA teacher; see `rangeseg.teacher.EmaTeacher`."""

    decay: float = number(0.99, least=0, most=1)
    warmup: bool = False
    buffers: str = choice("ema", "ema", "copy", "own")
    mode: str = choice("eval", "eval", "train")
    together: bool = True
    """Ask about both batches of a mix in one forward pass; in mode train its statistics are those of both."""
    update_bn: int = number(0, least=0)
    """Steps' worth of training views over which BatchNorm's statistics are taken anew when training ends; 0: the
    averaged ones. Short trainings need it, in which averages have not caught up with the weights."""


@dataclass
class OptimConfig:
    """How the student's weights move."""

    name: str = choice("adamw", "adamw", "adam", "sgd")
    lr: float = number(1e-3, above=0)
    steps: int = number(MISSING, least=1)
    weight_decay: float = number(0.01, least=0)
    momentum: float = number(0.9, least=0, most=1)
    """Of SGD."""
    nesterov: bool = False
    schedule: str = choice("one_cycle", "one_cycle", "poly", "constant")
    clip: float | None = number(10.0, above=0)
    """Largest norm of the gradient; null: unclipped."""
    lr_multipliers: dict[str, float] = numbers(dict, least=0)
    """Part of the network (backbone, head) -> what its learning rate is multiplied by."""
    accumulate: int = number(1, least=1)
    """Parts a batch is cut into, one backward pass each: less memory, the same gradient but for BatchNorm."""


@dataclass
class EvaluationConfig:
    """What is scored, when, and how pixels become points, or a photograph's own pixels: {name: nearest}."""

    split: str = text("val")
    every: int = number(0, least=0)
    """Steps between evaluations during training; 0: only at the end."""
    back_projection: Component = field(default_factory=lambda: dict(name="knn"))
    batch: int = number(1, least=1)
    scale: float = number(1.0, above=0)
    """Sides of a photograph as the network reads it, against those it is scored at."""
    window: Component = field(default_factory=dict)
    """See an image through overlapping windows: {size: [rows, columns], overlap: 0.33}; {}: whole."""


@dataclass
class RuntimeConfig:
    """Where and on what it runs.

    `seed`, `precision`, `initialise_from`, `sync_batchnorm`, and the number of processes (each reads a batch of its
    own) change what is learnt. `compile`, `channels_last` and the device change rounding. The rest changes nothing.
    """

    out: str = text(MISSING)
    """Run folder; named by what is run if not given: runs/CONFIG/NETWORK_METHOD_LABELS."""
    initialise_from: str | None = text(None)
    """Run folder or checkpoint whose teacher's weights student and teacher start from; null: fresh ones."""
    seed: int = number(0, least=0)
    precision: str = choice("32-true", "32-true", "bf16-mixed", "16-mixed")
    accelerator: str = text("auto")
    devices: int = number(1, least=1)
    num_nodes: int = number(1, least=1)
    threads: int = number(0, least=0)
    """Torch threads of a process on a CPU; 0: torch's own choice."""
    workers: int = number(2, least=0)
    """Threads that load views; 0: none."""
    compile: bool = False
    channels_last: bool = False
    deterministic: bool = False
    sync_batchnorm: bool = False
    log_every: int = number(10, least=1)
    checkpoint_every: int = number(500, least=1)
    log_images: int = number(2, least=0)
    """Validation views drawn into TensorBoard at each evaluation."""


@dataclass
class Config:
    """One experiment, complete."""

    preset: str = choice("none", "none", "reference")
    """reference: every choice of the paper's code, above `base` and below this file's own keys; see `PRESETS`."""
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
