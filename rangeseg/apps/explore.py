"""Scans for the window: single files, the evaluation split of a run, or a dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from rangeseg.catalog import DATASETS
from rangeseg.data.dataset import Dataset, ScanDataset
from rangeseg.data.kitti_poses import pose_of
from rangeseg.data.nuscenes_predictions import ENDING, read_predictions
from rangeseg.engine.experiment import dataset_class
from rangeseg.files import inside
from rangeseg.inference.segmenter import Segmenter
from rangeseg.labels import LabelMap
from rangeseg.notices import notify
from rangeseg.projection.range_image import RangeImage
from rangeseg.projection.spherical import SphericalProjection
from rangeseg.registry import Trust, accepted_kwargs, build
from rangeseg.resources import resource
from rangeseg.scan_formats.labelled import LABELLED, read_labelled
from rangeseg.scan_io import read_labels
from rangeseg.types import Scan
from rangeseg.vis.explorer import Explorer, Frame


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
        split: another split.
        predictions: a folder of `.label` files, shown instead of the run's answers.
        overrides: `key.path=value` above the run's config.
        trust: of the run, see `Run.load`.

    Raises:
        ValueError: no such run or split, or one of photographs.
    """
    segmenter = Segmenter.load(run, overrides=overrides, trust=trust)
    source = segmenter.run.experiment.open(split or segmenter.run.config.evaluation.split)
    return explore_source(source, segmenter=segmenter, predictions=predictions)


def explore_dataset(root: Path, *, dataset: str, split: str = "val", predictions: Path | None = None) -> Explorer:
    """The scans of a dataset, with their labels if they have any.

    Args:
        root: of the dataset.
        dataset: its name.
        split: which.
        predictions: a folder of `.label` files, of rangeseg or of any other tool.

    Raises:
        ValueError: no such dataset or split.
    """
    source: Dataset = build(
        DATASETS, {"name": dataset}, "dataset", root=str(root), split=split, subset=None, labels=True
    )
    return explore_source(source, predictions=predictions)


def explore_file(
    scan: Path,
    *,
    labels: Path | None = None,
    run: Path | None = None,
    prediction: Path | None = None,
    dataset: str = "semantic_kitti",
    fields: Mapping[str, str | None] | None = None,
    overrides: Sequence[str] = (),
    trust: Trust = False,
) -> Explorer:
    """A single scan with what a run or a file says of it.

    Args:
        scan: the file.
        labels: its labels; else they are found at ``../labels/NAME.label``.
        run: run folder or checkpoint, or None.
        prediction: a file of raw ids that is shown instead of the run's answer.
        dataset: whose classes and sensor, where no run tells.
        fields: columns by name, see `rangeseg.scan_formats.fields`.
        overrides: `key.path=value` above the run's config.
        trust: of the run, see `Run.load`.

    Raises:
        ValueError: a file cannot be read or does not fit the scan, or nothing tells how to draw it.
    """
    segmenter = Segmenter.load(run, overrides=overrides, trust=trust) if run else None
    label_map = segmenter.label_map if segmenter else LabelMap.read(resource("datasets", dataset, "labels.yaml"))
    points = read_shown(scan, labels, segmenter, dataset, label_map, fields)
    given = None if prediction is None else read_prediction(prediction, label_map, points, scan)
    frame = make_frame(str(scan), points, projection_of(segmenter, label_map), segmenter, given)
    frame = replace(frame, pose=pose_of(scan))
    return Explorer(lambda index: frame, 1, label_map)


def read_shown(
    scan: Path, labels: Path | None, segmenter: Segmenter | None, dataset: str, label_map: LabelMap,
    fields: Mapping[str, str | None] | None = None,
) -> Scan:  # fmt: skip
    """A scan with its labels, the given ones or those beside it, read as the run's dataset, or `dataset`, reads them.

    Labels beside the scan that cannot be read, for example those of another dataset, give a notice and are left out.

    Raises:
        ValueError: the scan or the given labels cannot be read, or do not fit each other.
    """
    read: Any = with_fields(segmenter.run.experiment.read if segmenter else dataset_class(dataset).read, fields)
    beside = scan.parent.parent / "labels" / f"{scan.stem}.label"
    points: Scan
    if labels is None and beside.is_file():
        try:
            points = read(scan, beside, label_map=label_map)
        except ValueError as error:
            points = read(scan, None, label_map=label_map)
            notify(f"{error} The scan is shown without labels; --labels gives others.")
    else:
        points = read(scan, labels, label_map=label_map)
    return points


def read_prediction(path: Path, label_map: LabelMap, points: Scan, scan: Path) -> NDArray[np.integer]:
    """(N,) train ids of a file of raw ids: ``.label``, nuScenes' ``_lidarseg.bin`` of 1 to 16, or labelled points.

    Raises:
        ValueError: it cannot be read, or is of another number of points.
    """
    found = read_predictions(path) if path.name.endswith(ENDING) else label_map.to_train(_raw_of(path))
    if len(found) != len(points):
        raise ValueError(
            f"{path}: {len(found)} labels for the {len(points)} points of {scan}. Give the labels of this scan."
        )
    return found


def _raw_of(path: Path) -> NDArray[np.integer]:
    return read_labelled(path) if path.suffix in LABELLED else read_labels(path)[0]


def with_fields(read: Callable[..., Scan], fields: Mapping[str, str | None] | None) -> Callable[..., Scan]:
    """A dataset's `read` with the given columns.

    Raises:
        ValueError: its files name their columns themselves.
    """
    if not fields:
        return read
    if not accepted_kwargs(read, {"fields": fields}):
        raise ValueError("--fields: this dataset's files name their columns themselves; leave it out.")
    return partial(read, fields=fields)


def explore_source(source: Dataset, *, segmenter: Segmenter | None = None, predictions: Path | None = None) -> Explorer:
    """Scans of an opened dataset.

    Args:
        source: opened.
        segmenter: predicts where `predictions` does not tell.
        predictions: a folder of `.label` files.

    Raises:
        ValueError: it is of photographs, or names no sensor to draw it by.
    """
    if not isinstance(source, ScanDataset):
        raise ValueError("The window shows only scans. Draw photographs with --png FILE.")
    project = projection_of(segmenter, source.label_map)

    def load(index: int) -> Frame:
        name = source.name(index)
        given = None if predictions is None else find_prediction(predictions, name, source.label_map)
        frame = make_frame(name, source.scan(index), project, segmenter, given)
        try:
            path = source.scan_path(index)
        except ValueError:  # its scans are no files
            return frame
        return replace(frame, pose=pose_of(path))

    return Explorer(load, len(source), source.label_map)


def projection_of(segmenter: Segmenter | None, label_map: LabelMap) -> Callable[[Scan], RangeImage]:
    """The run's projection, or that of the dataset's sensor.

    Raises:
        ValueError: neither is there.
    """
    if segmenter is not None:
        return cast(Callable[[Scan], RangeImage], segmenter.project)
    if label_map.sensor is None:
        raise ValueError(
            f"{label_map.dataset}'s labels.yaml names no sensor, so its scans cannot be projected; give --run."
        )
    return SphericalProjection(**cast(dict, label_map.sensor))


def make_frame(
    name: str,
    scan: Scan,
    project: Callable[[Scan], RangeImage],
    segmenter: Segmenter | None = None,
    prediction: NDArray[np.integer] | None = None,
) -> Frame:
    """A scan with its prediction: the one given, or else the segmenter's, with the confidence of each label.

    Raises:
        ValueError: the prediction is of another number of points.
    """
    if prediction is not None and len(prediction) != len(scan):
        raise ValueError(f"{name}: {len(prediction)} predicted labels for {len(scan)} points.")
    image = project(scan)
    if prediction is not None or segmenter is None:
        return Frame(name, image, prediction)
    found = segmenter.segmentation(image, segmenter.logits(image))
    return Frame(name, image, found.labels, found.confidence)


def find_prediction(folder: Path, name: str, label_map: LabelMap) -> NDArray[np.integer]:
    """The train ids that a folder of `.label` files has for a scan called SS/FFFFFF.

    Raises:
        ValueError: none of the usual places has it.
    """
    sequence, _, frame = name.rpartition("/")
    tried = [
        inside(folder, Path(*place, f"{frame}{ending}"))
        for ending in (".label", *LABELLED)
        for place in (("sequences", sequence, "predictions"), (sequence,), ())
    ]
    found = next((path for path in tried if path.is_file()), None)
    if found is None:
        raise ValueError(f"No prediction for {name}; looked for {', '.join(map(str, tried[:3]))}, and labelled points.")
    return label_map.to_train(_raw_of(found))
