"""One shown scan: read with its labels and its prediction, and projected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.nuscenes_predictions import ENDING, read_predictions
from rangeseg.data.prediction_files import ScanFiles
from rangeseg.engine.experiment import dataset_class
from rangeseg.inference.segmenter import Segmenter
from rangeseg.labels import LabelMap
from rangeseg.notices import notify
from rangeseg.paths import inside
from rangeseg.projection.range_image import RangeImage
from rangeseg.projection.spherical import SphericalProjection
from rangeseg.registry import accepted_kwargs
from rangeseg.scan_formats.labelled import LABELLED, read_labelled
from rangeseg.scan_io import home_of, read_labels, stem_of
from rangeseg.types import Scan
from rangeseg.vis.explorer import Frame


def read_shown(
    scan: Path, labels: Path | None, segmenter: Segmenter | None, dataset: str, label_map: LabelMap,
    fields: Mapping[str, str | None] | None = None,
) -> Scan:  # fmt: skip
    """A scan with its labels: the given ones, or those at ``../labels/NAME.label``.

    The dataset of the run, or `dataset`, reads them. If labels that were not given cannot be read, for example because
    they are of another dataset, a notice says so, and the scan has none.

    Raises:
        ValueError: the scan or the given labels cannot be read, or do not fit each other.
    """
    read: Any = with_fields(segmenter.run.experiment.read if segmenter else dataset_class(dataset).read, fields)
    beside = home_of(scan) / "labels" / f"{stem_of(scan)}.label"
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

    Args:
        path: the file, or a folder in which `find_prediction` finds it.
        label_map: the classes.
        points: the scan.
        scan: file of the scan.

    Raises:
        ValueError: it cannot be read, or has another number of points.
    """
    if path.is_dir():
        name = scan_name(ScanFiles(label_map).target(scan, scan.parent))
        found = find_prediction(path, name, label_map)
    else:
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
        ValueError: the dataset does not accept `fields`, because its files name their columns.
    """
    if not fields:
        return read
    if not accepted_kwargs(read, {"fields": fields}):
        raise ValueError("--fields: this dataset's files name their columns themselves; leave it out.")
    return partial(read, fields=fields)


def scan_name(target: Path) -> str:
    """The name of a scan, such as 08/000000 or 000000, from the path of its prediction below the output folder."""
    parts = target.with_suffix("").parts
    if len(parts) == 4 and (parts[0], parts[2]) == ("sequences", "predictions"):
        return f"{parts[1]}/{parts[3]}"
    return "/".join(parts)


def projection_of(segmenter: Segmenter | None, label_map: LabelMap) -> Callable[[Scan], RangeImage]:
    """The run's projection, or that of the dataset's sensor.

    Raises:
        ValueError: there is no run, and the dataset names no sensor.
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
    """A scan with the given prediction, or else with the segmenter's and the confidence of each label.

    Raises:
        ValueError: the prediction has another number of points.
    """
    if prediction is not None and len(prediction) != len(scan):
        raise ValueError(f"{name}: {len(prediction)} predicted labels for {len(scan)} points.")
    image = project(scan)
    if prediction is not None or segmenter is None:
        return Frame(name, image, prediction)
    found = segmenter.segmentation(image, segmenter.logits(image))
    return Frame(name, image, found.labels, found.confidence)


def find_prediction(folder: Path, name: str, label_map: LabelMap) -> NDArray[np.integer]:
    """(N,) train ids of a scan from a folder of label files.

    Args:
        folder: contains ``sequences/SS/predictions/FFFFFF.label``, ``SS/FFFFFF.label`` or ``FFFFFF.label``, or points
            with labels in one of `LABELLED`'s formats at these places.
        name: SS/FFFFFF or FFFFFF.
        label_map: the classes.

    Raises:
        ValueError: there is no such file, or it cannot be read.
    """
    sequence, _, frame = name.rpartition("/")
    places = (("sequences", sequence, "predictions"), (sequence,), ()) if sequence else ((),)
    endings = (".label", *LABELLED)
    tried = [inside(folder, Path(*place, f"{frame}{ending}")) for ending in endings for place in places]
    found = next((path for path in tried if path.is_file()), None)
    if found is None:
        raise ValueError(
            f"No prediction for {name}; looked for {', '.join(map(str, tried[: len(places)]))}, and labelled points."
        )
    return label_map.to_train(_raw_of(found))
