"""The data of a training: labelled views, unlabelled views of one or more sources, and the scored split."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from rangeseg.data.carried import CarriedLabels
from rangeseg.data.concat import ConcatViews
from rangeseg.data.dataset import Dataset
from rangeseg.data.loading import Views
from rangeseg.data.sparse import SparseLabels
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.inputs import ScanInput, WholeViews
from rangeseg.labels import LabelMap
from rangeseg.registry import ConfigError, did_you_mean

NOTHING = "none"
"""What `data.labelled` (or `data.unlabelled`) is where only `data.labelled_from` (`data.unlabelled_from`) counts."""

Kind = Literal["labelled", "unlabelled"]

OTHER = ("root", "dataset", "split", "frames", "projection")
"""Keys of an entry of `data.labelled_from` and `data.unlabelled_from`."""


@dataclass(frozen=True)
class TrainingData:
    """The data that `train` reads, opened and checked before training starts."""

    labelled: Views
    unlabelled: Views
    validation: Dataset

    @staticmethod
    def open(experiment: Experiment) -> TrainingData:
        """Open the labelled, unlabelled and validation data of an experiment.

        Raises:
            ConfigError: a part of it is missing, or does not fit the others.
        """
        labelled, unlabelled = _open(experiment, "labelled"), _open(experiment, "unlabelled")
        return TrainingData(labelled, unlabelled, experiment.open(experiment.config.evaluation.split))


def _open(experiment: Experiment, kind: Kind) -> Views:
    """The training split, or the list of it, and what `data.<kind>_from` adds."""
    data = experiment.config.data
    listed, others = {
        "labelled": (data.labelled, data.labelled_from), "unlabelled": (data.unlabelled, data.unlabelled_from)
    }[kind]  # fmt: skip
    classes = experiment.label_map if kind == "labelled" else None
    parts: list[Any] = [] if listed == NOTHING else [_views(experiment, "train", listed, classes)]
    for number, section in enumerate(others):
        parts.append(_open_other(experiment, section, f"data.{kind}_from[{number}]", classes))
    if not parts:
        raise ConfigError(f"data.{kind}: none leaves no {kind} data. Name sources in data.{kind}_from.")
    return cast(Views, parts[0]) if len(parts) == 1 else ConcatViews(parts)


def _views(experiment: Experiment, split: str, subset: str | None, classes: LabelMap | None) -> WholeViews:
    """Augmented views, labelled where there are classes, or where carried labels answer in the teacher's place."""
    data = experiment.config.data
    as_labels = data.carried_as == "labels"
    carried = data.carried != NOTHING and as_labels == (classes is not None)
    source: Any = experiment.open(split, subset, labels=classes is not None and not carried)
    if carried:
        source = CarriedLabels(source, data.root, data.carried, within_m=data.carried_within_m, every=not as_labels)
    if classes is None:
        return experiment.views(source, labelled=carried, augment=True)
    if source.label_map.names != classes.names:
        raise ConfigError(
            f"{data.root}: its classes are {', '.join(source.label_map.names)}; the scored classes are "
            f"{', '.join(classes.names)}. Labelled sources need the classes of data.dataset in the same order."
        )
    if data.label_fraction < 1 and not carried and isinstance(experiment.input, ScanInput):
        source = SparseLabels(source, experiment.input.projection, data.label_fraction, data.label_seed)
    return experiment.views(source, augment=True)


def _open_other(experiment: Experiment, section: dict[str, Any], path: str, classes: LabelMap | None) -> WholeViews:
    """Views of another dataset or sensor, which one network reads together with the config's own."""
    if unknown := sorted(set(section) - set(OTHER)):
        raise ConfigError(f"{path}: unknown key {unknown[0]}. {did_you_mean(unknown[0], list(OTHER))}")
    if missing := [key for key in ("root", "dataset") if key not in section]:
        raise ConfigError(f"{path}.{missing[0]}: missing. Write root and dataset.")
    config = experiment.config
    here: dict[str, Any] = {key: section[key] for key in ("root", "dataset", "projection") if key in section}
    here["carried"] = NOTHING
    other = Experiment(replace(config, data=replace(config.data, **here)))
    views = _views(other, section.get("split", "train"), section.get("frames"), classes)
    if isinstance(experiment.input, ScanInput) and isinstance(other.input, ScanInput):
        ours, theirs = experiment.input.size, other.input.size
        if ours != theirs:
            raise ConfigError(
                f"{path}.projection: makes {theirs[0]} x {theirs[1]} pixels, but data.projection makes "
                f"{ours[0]} x {ours[1]}. Give both the same size."
            )
    return views
