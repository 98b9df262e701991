"""The requests of `rangeseg propagate --config`: carry the labels that a config trains on, along all its drives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from rangeseg.config import Config
from rangeseg.data.dataset import ScanDataset
from rangeseg.data.sparse import SparseLabels
from rangeseg.drive.layouts import Drive, DriveScan, open_drive
from rangeseg.drive.request import Request, poses_folder
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.inputs import ScanInput
from rangeseg.paths import absolute
from rangeseg.types import IGNORE, Scan

CLICKS = "clicks"
"""Folder in the output folder for the labels that are carried, if these are not the files that `propagate` reads by
itself: labels of drawn pixels, or labels in another folder of the dataset. It has the layout of `Drive`."""


def requests_of(config: Config, usual: Request) -> list[Request]:
    """One request for each drive that has labelled scans.

    The labels are those that training reads. If `data.label_fraction` is below 1, or if the labels are not where
    `Drive` has them (ScribbleKITTI), they are first written to `CLICKS`, in the output folder.

    Args:
        config: its `data` determines the labelled scans, their labels and the labelled pixels.
        usual: all other arguments: the folder of the carried labels, the rules. `poses` is a folder with one folder
            per drive, named as the drive, or the poses of the only drive.

    Raises:
        ConfigError: the config's data do not exist.
        ValueError: the data are photographs or not drives, a drive has other classes than the data, labels or poses are
            missing, or `usual` names labels or a scene.
    """
    _refuse_labels_of_one_drive(usual)
    experiment = Experiment(config)
    source, image = experiment.open("train", config.data.labelled), experiment.input
    if not isinstance(source, ScanDataset) or not isinstance(image, ScanInput):
        raise ValueError("--config: its data are photographs; labels are carried from scan to scan.")
    files = {absolute(source.scan_path(index)): index for index in range(len(source))}
    data, named = config.data, usual.dataset or config.data.dataset.get("classes")
    fields = data.dataset.get("fields")
    drawn = (data.label_fraction, data.label_seed, data.label_spread)
    sparse = SparseLabels(source, image.projection, *drawn) if data.label_fraction < 1 else None
    requests: list[Request] = []
    folders = sorted({_drive_of(file) for file in files})
    for folder in folders:
        drive = open_drive(folder, dataset=named, fields=fields)
        if drive.label_map.names != source.label_map.names:
            raise ValueError(
                f"{folder}: its classes differ from those of --config. Run propagate for this drive alone, with "
                "--dataset and without --config."
            )
        poses = poses_folder(usual.poses, drive, len(folders))
        if twin := next((one.drive for one in requests if poses is not None and one.poses == poses), None):
            raise ValueError(
                f"{poses}: would be the poses of {twin} and of {folder}, which have the same name. Run propagate for "
                "each drive alone, without --config."
            )
        scans = {entry: files[entry.file] for entry in drive.scans if entry.file in files}
        given = {entry: absolute(source.label_path(index)) for entry, index in scans.items()}
        out = usual.out / _below(drive.root, absolute(data.root))
        labels = None
        if sparse is not None or any(path != drive.root / entry.label_path for entry, path in given.items()):
            labels = out / CLICKS
            for entry, index in scans.items():
                _write_labels(drive, entry, given[entry], labels, None if sparse is None else sparse.scan(index))
        names = tuple(entry.name for entry in scans)
        one = replace(usual, drive=folder, labels=labels, labelled=names, out=out, dataset=named, fields=fields)
        requests.append(replace(one, poses=poses))
    return requests


def _refuse_labels_of_one_drive(usual: Request) -> None:
    own = {"--labelled": usual.labelled, "--labels": usual.labels, "--scene": usual.scene}
    if given := [name for name, value in own.items() if value]:
        raise ValueError(
            f"{given[0]} is for one drive, but --config says which labels are carried. Leave it out: "
            "data.labelled, data.root and data.dataset name the scans and their labels."
        )


def _drive_of(scan: Path) -> Path:
    """The folder of the drive of a scan: the parent of velodyne/ or lidar/, or the folder of the scan."""
    return scan.parent.parent if scan.parent.name in ("velodyne", "lidar") else scan.parent


def _below(root: Path, dataset: Path) -> Path:
    """Path of a drive's root in the folder of the dataset; SemanticKITTI's folder dataset/ is left out."""
    path = root.relative_to(dataset) if root.is_relative_to(dataset) else Path()
    return path.relative_to("dataset") if path.parts[:1] == ("dataset",) else path


def _write_labels(drive: Drive, entry: DriveScan, given: Path, folder: Path, kept: Scan | None) -> None:
    """Write the raw ids of a label file in the layout of the drive, only for the points that have a label in `kept`."""
    if not given.is_file():
        raise ValueError(f"{given}: missing, but the config lists {entry.file} as labelled.")
    raw = drive.read_raw(given, entry.file)
    if kept is not None and kept.label is not None:
        raw = np.where(kept.label != IGNORE, raw, drive.label_map.ignore_raw)
    drive.write_raw(folder / entry.label_path, raw, entry.file)
