"""Scans for the window: a single file, a folder of scans, the evaluation split of a run, or a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rangeseg.apps.shown_scan import find_prediction, make_frame, projection_of, read_prediction, read_shown, scan_name
from rangeseg.catalog import DATASETS
from rangeseg.data.dataset import Dataset, ScanDataset
from rangeseg.data.kitti_poses import pose_of
from rangeseg.data.prediction_files import PredictionFiles
from rangeseg.engine.experiment import dataset_class
from rangeseg.inference.predict import find_tasks
from rangeseg.inference.segmenter import Segmenter
from rangeseg.labels import LabelMap
from rangeseg.registry import Trust, build
from rangeseg.resources import resource
from rangeseg.vis.explorer import Explorer, Frame

NO_PHOTOS = "The window shows only scans. Draw photographs with --png FILE."


def explore_run(
    run: Path,
    *,
    split: str | None = None,
    predictions: Path | None = None,
    overrides: Sequence[str] = (),
    trust: Trust = False,
) -> Explorer:
    """The scans of a run's evaluation split with the run's predictions.

    Args:
        run: run folder or checkpoint.
        split: name of the split; None: the run's evaluation split.
        predictions: folder of label files that are shown instead of the run's predictions.
        overrides: `key.path=value`, replaces values of the run's config.
        trust: see `Run.load`.

    Raises:
        ValueError: the run or the split does not exist, or contains photographs.
    """
    segmenter = Segmenter.load(run, overrides=overrides, trust=trust)
    source = segmenter.run.experiment.open(split or segmenter.run.config.evaluation.split)
    return explore_source(source, segmenter=segmenter, predictions=predictions)


def explore_dataset(
    root: Path, *, dataset: str, split: str = "val", predictions: Path | None = None,
    fields: Mapping[str, str | None] | None = None,
) -> Explorer:  # fmt: skip
    """The scans of a dataset, with their labels if they have any.

    Args:
        root: folder of the dataset.
        dataset: name of the dataset.
        split: name of the split.
        predictions: folder of label files, of rangeseg or of any other tool.
        fields: columns by name, see `rangeseg.scan_formats.fields`.

    Raises:
        ValueError: the dataset or the split does not exist, or its columns are fixed but `fields` are given.
    """
    section = {"name": dataset} | ({"fields": dict(fields)} if fields else {})
    source: Dataset = build(DATASETS, section, "dataset", root=str(root), split=split, subset=None, labels=True)
    return explore_source(source, predictions=predictions)


def explore_file(
    scan: Path,
    *,
    labels: Path | None = None,
    prediction: Path | None = None,
    fields: Mapping[str, str | None] | None = None,
    **source: Any,
) -> Explorer:
    """A single scan with the prediction of a run or of a file.

    Args:
        scan: file of the scan.
        labels: its label file; None: ``../labels/NAME.label`` if it exists.
        prediction: a file of raw ids, or a folder of them, that is shown instead of the run's prediction.
        fields: columns by name, see `rangeseg.scan_formats.fields`.
        source: `run`, `dataset`, `overrides` and `trust`, see `scan_source`.

    Raises:
        ValueError: a file cannot be read or does not fit the scan, or there is no sensor to project it with.
    """
    segmenter, label_map, dataset = scan_source(**source)
    points = read_shown(scan, labels, segmenter, dataset, label_map, fields)
    given = None if prediction is None else read_prediction(prediction, label_map, points, scan)
    frame = make_frame(str(scan), points, projection_of(segmenter, label_map), segmenter, given)
    frame = replace(frame, pose=pose_of(scan))
    return Explorer(lambda index: frame, 1, label_map)


def explore_folder(
    folder: Path,
    *,
    predictions: Path | None = None,
    fields: Mapping[str, str | None] | None = None,
    **source: Any,
) -> Explorer:
    """The scans below a folder, as `rangeseg predict FOLDER` finds them.

    Args:
        folder: contains scans.
        predictions: folder that `rangeseg predict FOLDER` wrote, or of another tool's label files.
        fields: columns by name, see `rangeseg.scan_formats.fields`.
        source: `run`, `dataset`, `overrides` and `trust`, see `scan_source`.

    Raises:
        ValueError: there is no scan, a file cannot be read, or there is no sensor to project the scans with.
    """
    segmenter, label_map, dataset = scan_source(**source)
    tasks = find_tasks([folder], scan_files(segmenter, dataset, label_map))
    project = projection_of(segmenter, label_map)

    def load(index: int) -> Frame:
        file, name = tasks[index].file, scan_name(tasks[index].target)
        points = read_shown(file, None, segmenter, dataset, label_map, fields)
        given = None if predictions is None else find_prediction(predictions, name, label_map)
        return replace(make_frame(name, points, project, segmenter, given), pose=pose_of(file))

    return Explorer(load, len(tasks), label_map)


def scan_source(
    run: Path | None = None,
    dataset: str = "semantic_kitti",
    overrides: Sequence[str] = (),
    trust: Trust = False,
) -> tuple[Segmenter | None, LabelMap, str]:
    """The network of a run, the classes, and the name of the dataset.

    Args:
        run: run folder or checkpoint; None: no network.
        dataset: the dataset whose classes and sensor are used if there is no run.
        overrides: `key.path=value`, replaces values of the run's config.
        trust: see `Run.load`.

    Raises:
        ValueError: the run or the dataset does not exist.
    """
    if run is None:
        return None, LabelMap.read(resource("datasets", dataset, "labels.yaml")), dataset
    segmenter = Segmenter.load(run, overrides=overrides, trust=trust)
    return segmenter, segmenter.label_map, dataset


def scan_files(segmenter: Segmenter | None, dataset: str, label_map: LabelMap) -> PredictionFiles:
    """How the dataset of the run, or `dataset`, names scans and their predictions.

    Raises:
        ValueError: it is a dataset of photographs.
    """
    shown = segmenter.run.experiment.dataset if segmenter else dataset_class(dataset)
    if not issubclass(shown, ScanDataset):
        raise ValueError(NO_PHOTOS)
    return segmenter.run.experiment.prediction_files if segmenter else shown.prediction_files(label_map, {})


def explore_source(source: Dataset, *, segmenter: Segmenter | None = None, predictions: Path | None = None) -> Explorer:
    """Scans of an opened dataset.

    Args:
        source: the dataset.
        segmenter: predicts the scans if `predictions` is None.
        predictions: folder of label files.

    Raises:
        ValueError: it contains photographs, or there is no sensor to project its scans with.
    """
    if not isinstance(source, ScanDataset):
        raise ValueError(NO_PHOTOS)
    project = projection_of(segmenter, source.label_map)

    def load(index: int) -> Frame:
        name = source.name(index)
        given = None if predictions is None else find_prediction(predictions, name, source.label_map)
        frame = make_frame(name, source.scan(index), project, segmenter, given)
        try:
            path = source.scan_path(index)
        except ValueError:  # its scans are not files
            return frame
        return replace(frame, pose=pose_of(path))

    return Explorer(load, len(source), source.label_map)
