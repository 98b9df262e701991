"""The data of a training: labelled views, unlabelled views of one or more sources, and the scored split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np

from rangeseg.config.checks import AS_TARGETS, WEAK, check_dataset, tells_carried_apart
from rangeseg.data.carried import CarriedLabels
from rangeseg.data.carried_origin import check_origin
from rangeseg.data.carried_weights import CarriedWeights
from rangeseg.data.concat import ConcatViews, times_for_shares
from rangeseg.data.dataset import Dataset, ScanDataset
from rangeseg.data.loading import Views
from rangeseg.data.scan_statistics import MOST_SCANS, measure, with_augmentation
from rangeseg.data.sparse import SparseLabels
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.inputs import ScanInput, WholeViews
from rangeseg.labels import LabelMap
from rangeseg.registry import ConfigError, did_you_mean
from rangeseg.scan_formats.checks import guarded
from rangeseg.types import IGNORE

NOTHING = "none"
"""`data.labelled` or `data.unlabelled`: only the `..._from` sources are used; `data.carried`: no carried labels."""

Kind = Literal["labelled", "unlabelled"]

OTHER = ("root", "dataset", "split", "subset", "projection", "carried", "share")
"""Keys of an entry of `data.labelled_from` and `data.unlabelled_from`."""


@dataclass(frozen=True)
class TrainingData:
    """The data that `train` reads, opened and checked before training starts."""

    labelled: Views
    unlabelled: Views
    validation: Dataset
    statistics: dict[str, Any] | None
    """Statistics of the scans, see `rangeseg.data.scan_statistics`; None for photographs."""
    carried: Views | None = None
    """Views whose carried labels the weak head learns; None without a weak head."""

    @staticmethod
    def open(experiment: Experiment) -> TrainingData:
        """Open the labelled, unlabelled and validation data of an experiment.

        Raises:
            ConfigError: a part of the data is missing, does not fit the others, or has no labelled element.
        """
        data, carried = experiment.config.data, None
        if data.carried == NOTHING and data.carried_as != "labels":
            raise ConfigError(
                f"data.carried_as: {data.carried_as} needs carried labels; name their folder in data.carried "
                "(rangeseg propagate --out writes it), or leave carried_as out."
            )
        labelled = open_views(experiment, "labelled")
        unlabelled = open_views(experiment, "unlabelled", labelled)
        validation = experiment.open(experiment.config.evaluation.split)
        _refuse_without_labels("data.labelled", [part.source for part in parts_of(labelled)])
        _refuse_without_labels("evaluation.split", [validation])
        if data.carried != NOTHING and data.carried_as in WEAK:
            carried = experiment.views(_carried(experiment, "train", None, every=False), augment=True)
            _check_origin([carried], labelled)
            _refuse_without_labels("data.carried", [carried.source])
        statistics = _measured(experiment, labelled, unlabelled)
        return TrainingData(labelled, unlabelled, validation, statistics, carried)


def parts_of(views: Any) -> Sequence[Any]:
    """The parts of joined views, each once, or the views themselves."""
    return views.parts if isinstance(views, ConcatViews) else [views]


def _refuse_without_labels(key: str, sources: Sequence[Any]) -> None:
    """Refuse sources without a label; usually only the first scan or photograph is read.

    Raises:
        ConfigError: no element of any source has a class.
    """
    for source in sources:
        read = source.item if isinstance(source, Dataset) else source.scan
        labels = (read(index).label for index in range(len(source)))
        if any(label is not None and (label != IGNORE).any() for label in labels):
            return
    count = sum(len(source) for source in sources)
    raise ConfigError(
        f"{key}: none of its {count} scans or photographs has a labelled point or pixel. Check that the labels and "
        "classes are those of the dataset; `rangeseg validate` reads every file."
    )


def _measured(experiment: Experiment, *views: Any) -> dict[str, Any] | None:
    """The statistics of some scans of all views; None for photographs."""
    if experiment.dataset.kind != "scan":
        return None
    parts = [part for whole in views for part in parts_of(whole)]
    scans = [(part, index) for part in parts for index in range(len(part))]
    chosen = [scans[k] for k in np.unique(np.linspace(0, len(scans) - 1, MOST_SCANS).astype(int))]
    found = measure(part.projection(guarded(part.source.scan(index))) for part, index in chosen)
    changes = experiment.config.data.augmentation
    return with_augmentation(found, changes.get("drop_remission", 0.0), changes.get("remission_gain", (1.0, 1.0)))


def open_views(experiment: Experiment, kind: Kind, labelled: Views | None = None) -> Views:
    """Views of the training split, or of a list of it, joined with the sources of `data.<kind>_from`.

    Args:
        experiment: determines the data.
        kind: labelled or unlabelled.
        labelled: the labelled views if they are open already; only for unlabelled views.

    Raises:
        ConfigError: there is no source, one does not fit the config, or carried labels that are targets come from other
            labels than those of the labelled scans.
    """
    data = experiment.config.data
    listed, others = {
        "labelled": (data.labelled, data.labelled_from), "unlabelled": (data.unlabelled, data.unlabelled_from)
    }[kind]  # fmt: skip
    classes = experiment.label_map if kind == "labelled" else None
    parts: list[Any] = [] if listed == NOTHING else [_views(experiment, "train", listed, classes)]
    for number, section in enumerate(others):
        parts.append(_open_other(experiment, section, f"data.{kind}_from[{number}]", classes))
    if kind == "unlabelled" and any(isinstance(part.source, CarriedLabels) for part in parts):
        _check_origin(parts, open_views(experiment, "labelled") if labelled is None else labelled)
    if not parts:
        raise ConfigError(
            f"data.{kind}: there is no {kind} data, because data.{kind} is none and data.{kind}_from is empty. Name "
            f"sources in data.{kind}_from."
        )
    shares: list[float | None] = [None] * (len(parts) - len(others))
    shares += [_share(section, f"data.{kind}_from[{number}]") for number, section in enumerate(others)]
    if shares == [None]:
        return cast(Views, parts[0])
    try:
        return ConcatViews(parts, times_for_shares([len(part) for part in parts], shares))
    except ValueError as error:
        raise ConfigError(f"data.{kind}_from: {error}") from error


def _share(section: dict[str, Any], path: str) -> float | None:
    share = section.get("share")
    if share is not None and (isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1):
        raise ConfigError(
            f"{path}.share: {share!r} is not a valid share. Give a number above 0 and below 1, for example 0.5."
        )
    return share


def _views(experiment: Experiment, split: str, subset: str | None, classes: LabelMap | None) -> WholeViews:
    """Augmented views, with labels if `classes` are given or if carried labels are the targets of unlabelled views."""
    data = experiment.config.data
    applies = data.carried_as in AS_TARGETS if classes is None else data.carried_as == "labels"
    carried = data.carried != NOTHING and applies
    source: Any = (
        _carried(experiment, split, None if classes else subset, every=classes is None)
        if carried
        else experiment.open(split, subset, labels=classes is not None)
    )
    if classes is None:
        return experiment.views(source, labelled=carried, augment=True)
    if source.label_map.names != classes.names:
        raise ConfigError(
            f"{data.root}: its classes are {', '.join(source.label_map.names)}; the scored classes are "
            f"{', '.join(classes.names)}. Labelled sources need the classes of data.dataset in the same order."
        )
    return experiment.views(source if carried else keep_fraction(experiment, source), augment=True)


def keep_fraction(experiment: Experiment, source: Any) -> Any:
    """The source with labels only at a share of the pixels of each scan, if `data.label_fraction` says so."""
    data, made = experiment.config.data, experiment.input
    if data.label_fraction == 1 or not isinstance(made, ScanInput):
        return source
    return SparseLabels(source, made.projection, data.label_fraction, data.label_seed, data.label_spread)


def _carried(experiment: Experiment, split: str, subset: str | None, *, every: bool) -> CarriedLabels:
    """Scans with carried labels, and with the weights of these labels if a key of the config needs them."""
    data = experiment.config.data
    if experiment.dataset.kind != "scan":
        raise ConfigError(f"data.carried: {data.carried}: only labels of scans can be carried. Write none.")
    told_apart = tells_carried_apart(experiment.config)
    return CarriedLabels(
        cast(ScanDataset, experiment.open(split, subset, labels=False)), data.root, data.carried,
        within_m=data.carried_within_m, every=every,
        weights=CarriedWeights(data.carried_weight, data.carried_half_m, data.carried_classes == "balanced")
        if told_apart else None,
    )  # fmt: skip


def _check_origin(views: Sequence[Any], labelled: Views) -> None:
    """Refuse carried labels that come from other labels than those of the labelled scans."""
    try:
        for part in views:
            if isinstance(part.source, CarriedLabels):
                check_origin(part.source, [one.source for one in parts_of(labelled)])
    except ValueError as error:
        raise ConfigError(f"data.carried: {error}") from error


def _open_other(experiment: Experiment, section: dict[str, Any], path: str, classes: LabelMap | None) -> WholeViews:
    """Views of another dataset or sensor, read by the same network as those of the config."""
    if unknown := sorted(set(section) - set(OTHER)):
        raise ConfigError(f"{path}: unknown key {unknown[0]}. {did_you_mean(unknown[0], list(OTHER))}")
    if missing := [key for key in ("root", "dataset") if key not in section]:
        raise ConfigError(f"{path}.{missing[0]}: missing. Write root and dataset.")
    check_dataset(section["dataset"], path)
    for key in (key for key in ("root", "split", "subset", "carried") if isinstance(section.get(key), int | float)):
        raise ConfigError(f"{path}.{key}: is text, but YAML reads its value as {section[key]!r}. Put quotes around it.")
    config = experiment.config
    settings: dict[str, Any] = {key: section[key] for key in ("root", "dataset", "projection") if key in section}
    settings["carried"] = section.get("carried") or NOTHING
    other = Experiment(replace(config, data=replace(config.data, **settings)))
    views = _views(other, section.get("split", "train"), section.get("subset"), classes)
    if isinstance(experiment.input, ScanInput) and isinstance(other.input, ScanInput):
        ours, theirs = experiment.input.size, other.input.size
        if ours != theirs:
            raise ConfigError(
                f"{path}.projection: its range images have {theirs[0]} x {theirs[1]} pixels, but those of "
                f"data.projection have {ours[0]} x {ours[1]}. Give both the same size."
            )
        if experiment.input.wrap and not other.input.wrap:
            raise ConfigError(
                f"{path}.projection: its range images are no full turn, but those of data.projection are. The network "
                "and the perturbations would join its first column to its last one, and rotate its points by wrong "
                "angles. Give it the full turn (fov_left_deg: 180, fov_right_deg: -180), or cut all views with "
                "data.augmentation.columns."
            )
    return views
