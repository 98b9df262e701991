"""The requests of `rangeseg propagate --config`: carry the labels that a config trains on, along all its drives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from rangeseg.config import Config
from rangeseg.data.dataset import ScanDataset
from rangeseg.data.sparse import SparseLabels
from rangeseg.drive.layouts import Drive, DriveScan, open_drive
from rangeseg.drive.request import Request
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.inputs import ScanInput
from rangeseg.types import IGNORE

CLICKS = "clicks"
"""Folder of the labels of the drawn pixels, below the folder of the carried labels, in the dataset's layout."""


def requests_of(config: Config, usual: Request) -> list[Request]:
    """One request for each drive that has labelled scans.

    If `data.label_fraction` is below 1, only the labels of the drawn pixels are carried. They are written below
    `CLICKS`.

    Args:
        config: its `data` determines the labelled scans and the labelled pixels.
        usual: all other arguments: the folder of the carried labels, the rules.

    Raises:
        ConfigError: the config's data do not exist.
        ValueError: the data are photographs or not drives, or a drive has other classes than the data.
    """
    experiment = Experiment(config)
    source, image = experiment.open("train", config.data.labelled), experiment.input
    if not isinstance(source, ScanDataset) or not isinstance(image, ScanInput):
        raise ValueError("--config: its data are photographs; labels are carried from scan to scan.")
    files = {source.scan_path(index): index for index in range(len(source))}
    data = config.data
    drawn = (data.label_fraction, data.label_seed, data.label_spread)
    sparse = SparseLabels(source, image.projection, *drawn) if data.label_fraction < 1 else None
    requests = []
    for folder in sorted({file.parent.parent for file in files}):
        drive = open_drive(folder)
        if drive.label_map.names != source.label_map.names:
            raise ValueError(f"{folder}: its layout has other classes than --config; carry it alone, with --dataset.")
        scans = [entry for entry in drive.scans if entry.file in files]
        for entry in scans if sparse is not None else ():
            label = cast(SparseLabels, sparse).scan(files[entry.file]).label
            _write_clicks(drive, entry, cast(NDArray, label), usual.out / CLICKS)
        labels = usual.out / CLICKS if sparse else None
        requests.append(replace(usual, drive=folder, labels=labels, labelled=tuple(entry.name for entry in scans)))
    return requests


def _write_clicks(drive: Drive, entry: DriveScan, label: NDArray, folder: Path) -> None:
    """Write the raw ids of the points whose label is not IGNORE; the other points get no label."""
    raw = drive.labels_of(entry)
    if raw is None:
        raise ValueError(f"{drive.root / entry.label_path}: missing; {entry.file} counts as labelled.")
    drive.write_raw(folder / entry.label_path, np.where(label != IGNORE, raw, drive.label_map.ignore_raw), entry.file)
