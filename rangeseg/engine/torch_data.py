"""The data of a config as ordinary torch datasets, for your own training loop.

The items are the package's types `View` and `Sample`; `TorchData.collate` makes batches of them. Augmentation draws
from torch's generator, which a `DataLoader` seeds in each worker and epoch, so `torch.manual_seed` makes it
reproducible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from rangeseg.config import Config, read_config
from rangeseg.data.files import FileList, FileOrPair
from rangeseg.data.loading import Views
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.inputs import WholeViews
from rangeseg.engine.training_data import keep_fraction, open_views
from rangeseg.labels import LabelMap
from rangeseg.types import Sample, View

Kind = Literal["labelled", "unlabelled", "evaluation"]


class ViewDataset(Dataset[View]):
    """Augmented training views, with labels or with IGNORE everywhere.

    Args:
        views: views of a config's data.
    """

    def __init__(self, views: Views) -> None:
        self.views = views

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: int) -> View:
        return self.views.view(_checked(index, len(self)), np.random.default_rng(_draw(2**62)))


class PairDataset(Dataset[tuple[View, View]]):
    """Two views to be mixed: one by its index, and a random one.

    Args:
        views: views of a config's data.
    """

    def __init__(self, views: Views) -> None:
        self._one = ViewDataset(views)

    def __len__(self) -> int:
        return len(self._one)

    def __getitem__(self, index: int) -> tuple[View, View]:
        return self._one[index], self._one[_draw(len(self))]


class SampleDataset(Dataset[Sample]):
    """Whole scans or photographs with the map from pixels to their elements and, if there are any, their labels.

    Args:
        views: views of a config's data.
    """

    def __init__(self, views: WholeViews) -> None:
        self.views = views

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: int) -> Sample:
        return self.views.sample(_checked(index, len(self)))


@dataclass(frozen=True)
class TorchData:
    """The datasets of a config; made by `torch_data`.

    Args:
        label_map: the classes.
        config: complete.
    """

    label_map: LabelMap
    config: Config
    _experiment: Experiment
    _files: Mapping[Kind, Sequence[FileOrPair] | None]

    @property
    def labelled(self) -> ViewDataset:
        """Views with labels."""
        return ViewDataset(self._views("labelled"))

    @property
    def unlabelled(self) -> PairDataset:
        """Pairs of views without labels."""
        return PairDataset(self._views("unlabelled"))

    @property
    def evaluation(self) -> SampleDataset:
        """Whole scans or photographs of `evaluation.split`."""
        return SampleDataset(self._views("evaluation"))

    @staticmethod
    def collate(items: Sequence[Any]) -> Any:
        """B views -> a batch; B pairs -> a pair of batches; B samples -> (a batch of their views, the samples).

        Raises:
            TypeError: the items are neither views, samples nor tuples of them.
        """
        first = items[0]
        if isinstance(first, View):
            return View.stack(items)
        if isinstance(first, Sample):
            return View.stack([sample.view for sample in items]), list(items)
        if isinstance(first, tuple):
            return tuple(TorchData.collate(part) for part in zip(*items, strict=True))
        raise TypeError(f"collate got {type(first).__name__}; it makes batches of View, Sample, and tuples of them.")

    def _views(self, kind: Kind) -> Any:
        """Views of the named files, or of those of the config if none are named."""
        experiment, files = self._experiment, self._files[kind]
        if files is None:
            if kind == "evaluation":
                return experiment.views(experiment.open(self.config.evaluation.split))
            return open_views(experiment, kind)
        source: Any = FileList(files, self.label_map, experiment.read)
        if kind == "labelled":
            source = keep_fraction(experiment, source)
        return experiment.views(source, labelled=kind != "unlabelled", augment=kind != "evaluation")


def torch_data(
    config: Config | str | Path,
    overrides: Sequence[str] = (),
    *,
    labelled: Sequence[tuple[str | Path, str | Path]] | None = None,
    unlabelled: Sequence[str | Path] | None = None,
    evaluation: Sequence[FileOrPair] | None = None,
) -> TorchData:
    """Torch datasets of a config's training and evaluation data; each one is opened at each use of its property.

    Args:
        config: a config, or the name or file of one.
        overrides: `key.path=value` for a config by name or file, for instance ``data.root=/data/semantic_kitti``.
        labelled: (file, label file) pairs instead of those of the config; `data.label_fraction` applies to them.
        unlabelled: files instead of those of the config.
        evaluation: files, or (file, label file) pairs, instead of `evaluation.split`.

    Raises:
        ConfigError: the config is wrong or, at the first use, does not fit the data.
        ValueError: `overrides` are given for a `Config` or, at the first use, a named file does not exist.
    """
    if not isinstance(config, Config):
        config = read_config(str(config), list(overrides))
    elif overrides:
        raise ValueError(
            "overrides can only be used with the name or file of a config. Change a Config with dataclasses.replace."
        )
    files: dict[Kind, Sequence[FileOrPair] | None] = {
        "labelled": labelled, "unlabelled": unlabelled, "evaluation": evaluation
    }  # fmt: skip
    experiment = Experiment(config)
    return TorchData(experiment.label_map, config, experiment, files)


def _draw(end: int) -> int:
    return int(torch.randint(end, ()))


def _checked(index: int, count: int) -> int:
    """The index, counted from 0; the IndexError beyond the end is what ends `for view in dataset`."""
    if not -count <= index < count:
        raise IndexError(f"index {index} is out of range for {count} items")
    return index % count
