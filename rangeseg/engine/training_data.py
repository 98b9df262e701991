"""What a config trains on: labelled views, unlabelled ones of one or more sources, and what is scored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

from rangeseg.components import ConfigError, suggest
from rangeseg.config import Config
from rangeseg.data.joined import JoinedViews
from rangeseg.data.loading import Views
from rangeseg.data.source import Source
from rangeseg.data.sparse import SparseLabels
from rangeseg.engine.experiment import make_projection, make_views, modality, open_source
from rangeseg.labels import LabelMap

NOTHING = "none"
"""What `data.unlabelled` is where only `data.unlabelled_from` is unlabelled."""

OTHER = ("root", "dataset", "split", "frames", "projection")
"""Keys of an entry of `data.unlabelled_from`."""


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
        data = config.data
        source: Any = open_source(config, "train", data.labelled)
        if data.label_fraction < 1:
            source = SparseLabels(source, make_projection(config), data.label_fraction, data.label_seed)
        labelled: Any = make_views(config, source, augment=True)
        unlabelled = _open_unlabelled(config)
        return TrainingData(source.label_map, labelled, unlabelled, open_source(config, config.evaluation.split))


def _open_unlabelled(config: Config) -> Views:
    """The training split, or the list of it, and what `data.unlabelled_from` adds."""
    data, parts = config.data, []
    if data.unlabelled != NOTHING:
        own = open_source(config, "train", data.unlabelled, labels=False)
        parts.append(make_views(config, own, labelled=False, augment=True))
    for number, section in enumerate(data.unlabelled_from):
        parts.append(_open_other(config, section, f"data.unlabelled_from[{number}]"))
    if not parts:
        raise ConfigError("data.unlabelled: none leaves nothing unlabelled. Name sources in data.unlabelled_from.")
    return cast(Views, parts[0]) if len(parts) == 1 else JoinedViews(cast(list[Views], parts))


def _open_other(config: Config, section: dict[str, Any], path: str) -> Any:
    """Unlabelled views of another dataset or sensor, as one network reads them with the config's own."""
    if unknown := sorted(set(section) - set(OTHER)):
        raise ConfigError(f"{path}: unknown key {unknown[0]}. {suggest(unknown[0], list(OTHER))}")
    if missing := [key for key in ("root", "dataset") if key not in section]:
        raise ConfigError(f"{path}.{missing[0]}: missing. Write root and dataset.")
    here = {key: section[key] for key in ("root", "dataset", "projection") if key in section}
    other = replace(config, data=replace(config.data, **here))
    source = open_source(other, section.get("split", "train"), section.get("frames"), labels=False)
    views: Any = make_views(other, source, labelled=False, augment=True)
    if modality(config).things == "scans":
        sizes = [(made.height, made.width) for made in (make_projection(config), make_projection(other))]
        if sizes[0] != sizes[1]:
            raise ConfigError(
                f"{path}.projection: makes {sizes[1][0]} x {sizes[1][1]} pixels, data.projection {sizes[0][0]} x "
                f"{sizes[0][1]}. Give both one size."
            )
    return views
