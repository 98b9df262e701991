"""What a config reads, as ordinary torch datasets: for a training loop of one's own.

The items are the package's own values, `View` and `Sample`; `collate` makes batches of them. Augmentation draws from
torch's generator, which a `DataLoader` seeds in each worker and epoch, so `torch.manual_seed` repeats it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from rangeseg.config import Config, read_config
from rangeseg.data.files import FileList, FileOrPair
from rangeseg.data.loading import Views
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.inputs import WholeViews
from rangeseg.engine.training_data import open_views
from rangeseg.labels import LabelMap
from rangeseg.types import Sample, View


class ViewDataset(Dataset[View]):
    """Views to learn from: augmented, with labels or all IGNORE.

    Args:
        views: of a config's data.
    """

    def __init__(self, views: Views) -> None:
        self.views = views

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: int) -> View:
        return self.views.view(_checked(index, len(self)), np.random.default_rng(_draw(2**62)))


class PairDataset(Dataset[tuple[View, View]]):
    """Two views to be mixed: one by its index, and another that is drawn.

    Args:
        views: of a config's data.
    """

    def __init__(self, views: Views) -> None:
        self._one = ViewDataset(views)

    def __len__(self) -> int:
        return len(self._one)

    def __getitem__(self, index: int) -> tuple[View, View]:
        return self._one[index], self._one[_draw(len(self))]


class SampleDataset(Dataset[Sample]):
    """Whole scans or photographs with the way back to their elements and, where there are some, their labels.

    Args:
        views: of a config's data.
    """

    def __init__(self, views: WholeViews) -> None:
        self.views = views

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: int) -> Sample:
        return self.views.sample(_checked(index, len(self)))


@dataclass(frozen=True)
class TorchData:
    """A config's data; `torch_data` makes it.

    Args:
        label_map: the classes.
        config: complete.
    """

    label_map: LabelMap
    config: Config
    _views: Callable[[str], Any]

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
        """B views -> one view of a batch; B pairs -> a pair of them; B samples -> (their views as one, they)."""
        return collate(items)


def torch_data(
    config: Config | str | Path,
    overrides: Sequence[str] = (),
    *,
    labelled: Sequence[tuple[str | Path, str | Path]] | None = None,
    unlabelled: Sequence[str | Path] | None = None,
    evaluation: Sequence[FileOrPair] | None = None,
) -> TorchData:
    """Torch datasets of what a config trains on and is scored on; each is opened when it is asked for.

    Args:
        config: a config, or the name or file of one.
        overrides: `key.path=value` above a name or file, for instance ``data.root=/data/semantic_kitti``.
        labelled: (file, its labels) instead of what the config lists.
        unlabelled: files instead of what the config lists.
        evaluation: files, or (file, its labels), instead of `evaluation.split`.

    Raises:
        ConfigError: the config is wrong, or with the first use does not fit the data.
        ValueError: with the first use, a file that was named is not there.
    """
    if not isinstance(config, Config):
        config = read_config(str(config), list(overrides))
    elif overrides:
        raise ValueError("overrides are for the name or the file of a config; change a Config by dataclasses.replace.")
    named = {"labelled": labelled, "unlabelled": unlabelled, "evaluation": evaluation}
    experiment = Experiment(config)
    return TorchData(experiment.label_map, config, partial(_views, experiment, named))


def collate(items: Sequence[Any]) -> Any:
    """See `TorchData.collate`.

    Raises:
        TypeError: items of another kind.
    """
    first = items[0]
    if isinstance(first, View):
        return View.stack(items)
    if isinstance(first, Sample):
        return View.stack([sample.view for sample in items]), list(items)
    if isinstance(first, tuple):
        return tuple(collate(part) for part in zip(*items, strict=True))
    raise TypeError(f"collate got {type(first).__name__}; it makes batches of View, Sample, and tuples of them.")


def _views(experiment: Experiment, named: dict[str, Sequence[FileOrPair] | None], kind: str) -> Any:
    files = named[kind]
    if files is None and kind == "evaluation":
        return experiment.views(experiment.open(experiment.config.evaluation.split))
    if files is None:
        return open_views(experiment, "labelled" if kind == "labelled" else "unlabelled")
    source: Any = FileList(files, experiment.label_map, experiment.read)
    return experiment.views(source, labelled=kind != "unlabelled", augment=kind != "evaluation")


def _draw(end: int) -> int:
    return int(torch.randint(end, ()))


def _checked(index: int, count: int) -> int:
    """What `for view in dataset` needs to end."""
    if not -count <= index < count:
        raise IndexError(f"there are {count}, not {index + 1}")
    return index % count
