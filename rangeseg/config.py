"""An experiment as typed values, read strictly from YAML.

Sections that describe a component (`COMPONENTS`) hold a `name` and that component's constructor arguments. Everything
else is a dataclass here.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from rangeseg.components import Component, ConfigError, suggest
from rangeseg.config_checks import check


@dataclass
class DataConfig:
    """Which scans or photographs, which of their labels, and how they become views."""

    root: str = MISSING
    """Folder of the dataset, in its official layout."""
    dataset: Component = field(default_factory=lambda: dict(name="semantic_kitti"))
    labelled: str | None = None
    """List of the labelled scans (a file, or a name in datasets/<dataset>/splits); null: the whole training split;
    none: only those of `labelled_from`."""
    unlabelled: str | None = None
    """The same for the unlabelled scans; none: only those of `unlabelled_from`."""
    unlabelled_from: list[dict[str, Any]] = field(default_factory=list)
    """More unlabelled scans, of other datasets or sensors: {root, dataset, split, frames, projection} each; the last
    three default to train, the whole split, and `projection`."""
    labelled_from: list[dict[str, Any]] = field(default_factory=list)
    """The same for labelled scans, of the same classes; evaluation stays with `dataset`."""
    label_fraction: float = 1.0
    """Share of each labelled scan's pixels whose labels are kept, drawn by `label_seed`."""
    label_seed: int = 0
    projection: Component = field(
        default_factory=lambda: dict(name="spherical", height=64, width=2048, fov_up_deg=3.0, fov_down_deg=-25.0)
    )
    channels: list[str] = field(default_factory=lambda: ["range", "x", "y", "z", "remission"])
    mean: list[float] = field(default_factory=lambda: [12.12, -0.1, 0.5, -1.04, 0.21])
    std: list[float] = field(default_factory=lambda: [12.32, 12.3, 9.43, 0.86, 0.16])
    augmentation: Component = field(default_factory=dict)
    """Arguments of `rangeseg.data.augment.Augmentation`, of photographs `photo_augment.PhotoAugmentation`."""
    batch_labelled: int = 2
    batch_unlabelled: int = 2
    """Views in each of the two unlabelled batches a and b."""
    memory_mb: int = 1000
    """Megabytes of decoded photographs that each of the labelled and the unlabelled keep, in every process."""


@dataclass
class SupervisedConfig:
    """The loss on labelled views: cross_entropy * CE + lovasz * Lovász-softmax + boundary * boundary loss.

    With `auxiliary`, that much of the same on each auxiliary head is added.
    """

    cross_entropy: float = 1.0
    lovasz: float = 1.0
    boundary: float = 0.0
    focal_gamma: float = 0.0
    """The cross-entropy counts a pixel (1 - P_y)^focal_gamma times; 0: each fully."""
    hardest: float = 0.0
    """Share of the labelled pixels, those of the largest cross-entropy, that it is the mean of; 0: all."""
    far_m: float = 0.0
    """With `hardest`: a pixel's cross-entropy counts range / far_m times; 0: range does not matter."""
    auxiliary: float = 0.0
    """Weight of each auxiliary head of the network, which only training asks (deep supervision); 0: without them."""
    class_weights: str = "none"
    """none; inverse: 1 / (f + 0.001); root: its square root, mean 1; log: ln(1 + inverse), largest 1."""
    frequencies: dict[str, float] = field(default_factory=dict)
    """Class -> f, as `rangeseg stats` writes them; none: those of the dataset's labels.yaml."""


@dataclass
class ConsistencyConfig:
    """The loss on unlabelled views; weight 0 is supervised-only training."""

    weight: float = 1.0
    kind: str = "var"
    threshold: float = 0.97
    confidence: str = "mean"
    normalise: str = "valid"
    rampup: int = 0
    """Steps of the sigmoid ramp-up of the weight; 0: none."""
    pair: str = "unlabelled"
    """What the perturbation is given as a and b: two unlabelled batches; or labelled, whose labels are then the answer,
    and unlabelled."""


@dataclass
class TeacherConfig:
    """The EMA teacher; see `rangeseg.teacher.EmaTeacher`."""

    decay: float = 0.99
    warmup: bool = False
    buffers: str = "ema"
    mode: str = "eval"
    together: bool = True
    """Ask about both batches of a mix in one forward pass; in mode train its statistics are those of both."""
    recount: int = 0
    """Steps' worth of training views over which BatchNorm's statistics are taken anew when training ends; 0: the
    averaged ones. Short trainings need it, in which averages have not caught up with the weights."""


@dataclass
class OptimConfig:
    """How the student's weights move."""

    name: str = "adamw"
    lr: float = 1e-3
    steps: int = MISSING
    weight_decay: float = 0.01
    momentum: float = 0.9
    """Of SGD."""
    nesterov: bool = False
    schedule: str = "one_cycle"
    clip: float | None = 10.0
    """Largest norm of the gradient; null: unclipped."""
    multipliers: dict[str, float] = field(default_factory=dict)
    """Part of the network (backbone, head) -> what its learning rate is multiplied by."""
    accumulate: int = 1
    """Parts a batch is cut into, one backward pass each: less memory, the same gradient but for BatchNorm."""


@dataclass
class EvaluationConfig:
    """What is scored, when, and how pixels become points, or a photograph's own pixels: {name: nearest}."""

    split: str = "val"
    every: int = 0
    """Steps between evaluations during training; 0: only at the end."""
    back_projection: Component = field(default_factory=lambda: dict(name="knn"))
    batch: int = 1
    scale: float = 1.0
    """Sides of a photograph as the network reads it, against those it is scored at."""
    window: Component = field(default_factory=dict)
    """See an image through overlapping windows: {size: [rows, columns], overlap: 0.33}; {}: whole."""


@dataclass
class RuntimeConfig:
    """Where and on what it runs. Nothing here changes what is learnt, save `seed`, `precision`, `initialise_from`."""

    out: str = MISSING
    initialise_from: str | None = None
    """Run folder or checkpoint whose teacher's weights student and teacher start from; null: fresh ones."""
    seed: int = 0
    precision: str = "32-true"
    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    threads: int = 0
    """Torch threads of a process on a CPU; 0: torch's own choice."""
    workers: int = 2
    """Threads that load views; 0: none."""
    compile: bool = False
    channels_last: bool = False
    deterministic: bool = False
    sync_batchnorm: bool = False
    log_every: int = 10
    checkpoint_every: int = 500
    pictures: int = 2
    """Validation views drawn into TensorBoard at each evaluation."""


@dataclass
class Config:
    """One experiment, complete."""

    preset: str = "none"
    """reference: every choice of the paper's code, above `base` and below this file's own keys; see `PRESETS`."""
    data: DataConfig = field(default_factory=DataConfig)
    network: Component = field(default_factory=lambda: dict(name="fidnet"))
    supervised: SupervisedConfig = field(default_factory=SupervisedConfig)
    perturbation: Component = field(default_factory=lambda: dict(name="cutmix"))
    strategy: Component = field(default_factory=lambda: dict(name="mean_teacher"))
    consistency: ConsistencyConfig = field(default_factory=ConsistencyConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)


COMPONENTS = ("data.dataset", "data.projection", "network", "perturbation", "strategy", "evaluation.back_projection")

PRESETS: dict[str, dict[str, Any]] = {
    "none": {},
    "reference": {
        "strategy": {"name": "mean_teacher"},
        "consistency": {
            "weight": 1.0,
            "kind": "var",
            "threshold": 0.97,
            "confidence": "mean",
            "normalise": "all",
            "rampup": 0,
            "pair": "unlabelled",
        },
        "teacher": {"decay": 0.99, "warmup": False, "buffers": "ema", "mode": "train", "together": False},
        "supervised": {"cross_entropy": 1.0, "lovasz": 0.0, "class_weights": "none"}
        | {"boundary": 0.0, "focal_gamma": 0.0, "hardest": 0.0, "far_m": 0.0, "auxiliary": 0.0},
        "optim": {"clip": None},
    },
}
"""What a preset sets. `reference` is the step of French et al.'s code, which then draws the boxes, too."""


def read_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read an experiment, its `base:` (at most one level) beneath it and `key.path=value` overrides above it.

    Args:
        path: a YAML file; `base:` in it is another, relative to it, or a list of some, later ones above.
        overrides: as ``optim.lr=1e-3`` or ``perturbation.name=cutout``. A component whose name changes starts
            from its own defaults.

    Raises:
        ConfigError: an unreadable file, unknown key, wrong type, missing field, or value outside its choices.
    """
    path = Path(path)
    layers = [_read_yaml(path)]
    bases = layers[0].pop("base", None) or []
    for base in reversed([bases] if isinstance(bases, str) else bases):
        below = _read_yaml(path.parent / base)
        if "base" in below:
            raise ConfigError(f"{path}: its base {base} has a base too. One level is allowed: fold one into the other.")
        layers.insert(0, below)
    layers.append(_overrides(overrides))
    return config_from(layers)


def config_from(layers: Sequence[DictConfig | Mapping[str, Any]]) -> Config:
    """Merge layers over the defaults, later ones above, and check the result.

    Raises:
        ConfigError: as `read_config`.
    """
    merged = OmegaConf.structured(Config)
    for layer in layers:
        layer = layer if isinstance(layer, DictConfig) else OmegaConf.create(dict(layer))
        merged = _merge(_merge(merged, OmegaConf.create(PRESETS.get(layer.get("preset"), {}))), layer)
    missing = sorted(OmegaConf.missing_keys(merged))
    if missing:
        raise ConfigError(f"{missing[0]}: missing. Write it into the file or give {missing[0]}=VALUE.")
    config = OmegaConf.to_object(merged)
    assert isinstance(config, Config)
    check(config)
    return config


def config_from_yaml(text: str, overrides: Sequence[str] = ()) -> Config:
    """A config from the text `write_config` made, with `key.path=value` overrides above it.

    Raises:
        ConfigError: as `read_config`.
    """
    layer = OmegaConf.create(text)
    assert isinstance(layer, DictConfig)
    return config_from([layer, _overrides(overrides)])


def write_config(config: Config) -> str:
    """The config as YAML that `read_config` takes, every key present."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def _read_yaml(path: Path) -> DictConfig:
    if not path.is_file():
        raise ConfigError(f"{path}: no such config file.")
    try:
        loaded = OmegaConf.load(path)
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"{path}: holds a list; a config is a mapping with the keys {_names(Config)}.")
    return loaded


def _overrides(pairs: Sequence[str]) -> DictConfig:
    for pair in pairs:
        if "=" not in pair:
            raise ConfigError(f"{pair!r}: an override is written key.path=value, for instance optim.lr=1e-3.")
    try:
        return OmegaConf.from_dotlist(list(pairs))
    except (YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"{' '.join(pairs)}: not readable as key.path=value: {error}") from error


def _merge(below: DictConfig, above: DictConfig) -> DictConfig:
    for path in COMPONENTS:
        name = OmegaConf.select(above, f"{path}.name")
        if name is not None and name != OmegaConf.select(below, f"{path}.name"):
            OmegaConf.update(below, path, {}, merge=False)
    try:
        merged = OmegaConf.merge(below, above)
    except ConfigKeyError as error:
        raise ConfigError(_unknown_key(str(error.full_key))) from error
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error.msg or error).splitlines()[0]}") from error
    assert isinstance(merged, DictConfig)
    return merged


def _names(owner: type) -> list[str]:
    return [f.name for f in fields(owner)]


def _unknown_key(path: str) -> str:
    owner: Any = Config
    *parents, key = path.split(".")
    for parent in parents:
        hints = typing.get_type_hints(owner)
        if not is_dataclass(hints.get(parent)):
            break
        owner = hints[parent]
    return f"{path}: unknown key. {suggest(key, _names(owner))}"
