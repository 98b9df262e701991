"""What a config trains on: labelled views, unlabelled ones of one or more sources, and what is scored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

from rangeseg.config import Config
from rangeseg.data.concat import ConcatViews
from rangeseg.data.loading import Views
from rangeseg.data.source import Source
from rangeseg.data.sparse import SparseLabels
from rangeseg.engine.experiment import lookup_label_map, make_projection, make_views, modality, open_source
from rangeseg.labels import LabelMap
from rangeseg.registry import ConfigError, did_you_mean

NOTHING = "none"
"""What `data.labelled` (or `data.unlabelled`) is where only `data.labelled_from` (`data.unlabelled_from`) counts."""

OTHER = ("root", "dataset", "split", "frames", "projection")
"""Keys of an entry of `data.labelled_from` and `data.unlabelled_from`."""


@dataclass(frozen=True)
class TrainingData:
    """What `train` reads, opened and checked before anything is trained."""

    label_map: LabelMap
    labelled: Views
    unlabelled: Views
    validation: Source

    @staticmethod
    def open(config: Config) -> TrainingData:
        """Open the labelled, unlabelled and validation data of a config."""
        classes = lookup_label_map(config)
        labelled, unlabelled = _open(config, "labelled", classes), _open(config, "unlabelled")
        return TrainingData(classes, labelled, unlabelled, open_source(config, config.evaluation.split))


def _open(config: Config, kind: str, classes: LabelMap | None = None) -> Views:
    """The training split, or the list of it, and what `data.<kind>_from` adds; labelled where there are classes."""
    listed: str = getattr(config.data, kind)
    parts: list[Any] = [] if listed == NOTHING else [_views(config, "train", listed, classes)]
    for number, section in enumerate(getattr(config.data, f"{kind}_from")):
        parts.append(_open_other(config, section, f"data.{kind}_from[{number}]", classes))
    if not parts:
        raise ConfigError(f"data.{kind}: none leaves nothing {kind}. Name sources in data.{kind}_from.")
    return cast(Views, parts[0]) if len(parts) == 1 else ConcatViews(parts)


def _views(config: Config, split: str, frames: str | None, classes: LabelMap | None) -> Any:
    source: Any = open_source(config, split, frames, labels=classes is not None)
    if classes is None:
        return make_views(config, source, labelled=False, augment=True)
    if source.label_map.names != classes.names:
        raise ConfigError(
            f"{config.data.root}: its classes are {', '.join(source.label_map.names)}; those that are scored are "
            f"{', '.join(classes.names)}. Labelled sources need the classes of data.dataset, in its order."
        )
    if config.data.label_fraction < 1:
        source = SparseLabels(source, make_projection(config), config.data.label_fraction, config.data.label_seed)
    return make_views(config, source, augment=True)


def _open_other(config: Config, section: dict[str, Any], path: str, classes: LabelMap | None) -> Any:
    """Views of another dataset or sensor, as one network reads them with the config's own."""
    if unknown := sorted(set(section) - set(OTHER)):
        raise ConfigError(f"{path}: unknown key {unknown[0]}. {did_you_mean(unknown[0], list(OTHER))}")
    if missing := [key for key in ("root", "dataset") if key not in section]:
        raise ConfigError(f"{path}.{missing[0]}: missing. Write root and dataset.")
    here = {key: section[key] for key in ("root", "dataset", "projection") if key in section}
    other = replace(config, data=replace(config.data, **here))
    views = _views(other, section.get("split", "train"), section.get("frames"), classes)
    if modality(config).things == "scans":
        sizes = [(made.height, made.width) for made in (make_projection(config), make_projection(other))]
        if sizes[0] != sizes[1]:
            raise ConfigError(
                f"{path}.projection: makes {sizes[1][0]} x {sizes[1][1]} pixels, data.projection {sizes[0][0]} x "
                f"{sizes[0][1]}. Give both one size."
            )
    return views
