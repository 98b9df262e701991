"""`rangeseg show`: one scan or photograph as a picture, or a scan in a window."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.apps.shown_scan import make_frame, projection_of, read_prediction, read_shown
from rangeseg.engine.experiment import dataset_class
from rangeseg.inference.segmenter import Segmenter
from rangeseg.labels import LabelMap
from rangeseg.photos.dataset import PhotoDataset
from rangeseg.photos.io import read_label_image
from rangeseg.photos.panels import photo_panels
from rangeseg.registry import Trust
from rangeseg.resources import resource
from rangeseg.types import Photo, Scan
from rangeseg.vis.explorer import Explorer
from rangeseg.vis.png import write_png
from rangeseg.vis.show import show_scan
from rangeseg.vis.window import show_window


def show(
    scan: Path,
    *,
    labels: Path | None = None,
    run: Path | None = None,
    prediction: Path | None = None,
    dataset: str = "semantic_kitti",
    png: Path | None = None,
    fields: Mapping[str, str | None] | None = None,
    overrides: Sequence[str] = (),
    trust: Trust = False,
) -> None:
    """Draw a scan, or a photograph, with its labels and a prediction.

    Args:
        scan: file of the scan, or of the photograph if the run or the dataset has photographs.
        labels: its label file; None: ``../labels/NAME.label`` if a scan has it.
        run: run folder or checkpoint that predicts; None: no prediction by a network.
        prediction: file of raw ids, of rangeseg or of any other tool, that is shown instead of the run's prediction:
            .label, points with labels, or nuScenes' _lidarseg.bin of 1 to 16; PNG for photographs. For scans, also a
            folder of such files.
        dataset: the dataset whose classes are used if there is no run.
        png: the picture to write; None: open a window with the points, not possible for photographs.
        fields: columns of a scan by name, see `rangeseg.scan_formats.fields`.
        overrides: `key.path=value`, replaces values of the run's config.
        trust: see `Run.load`.

    Raises:
        ValueError: a file is missing or does not fit the scan.
    """
    segmenter = Segmenter.load(run, overrides=overrides, trust=trust) if run else None
    label_map = segmenter.label_map if segmenter else LabelMap.read(resource("datasets", dataset, "labels.yaml"))
    shown = segmenter.run.experiment.dataset if segmenter else dataset_class(dataset)
    read: Any = segmenter.run.experiment.read if segmenter else shown.read
    if issubclass(shown, PhotoDataset):
        _show_photo(scan, labels, prediction, segmenter, label_map, png, read)
    else:
        points = read_shown(scan, labels, segmenter, dataset, label_map, fields)
        _show_scan(scan, points, prediction, segmenter, label_map, png)


def _show_photo(
    path: Path,
    labels: Path | None,
    prediction: Path | None,
    segmenter: Segmenter | None,
    label_map: LabelMap,
    png: Path | None,
    read: Callable[..., Photo],
) -> None:
    if png is None:
        raise ValueError(f"{path}: the window shows only scans; draw a photograph with --png FILE.")
    photo = read(path, labels, label_map=label_map)
    predicted = segmenter(photo, confidence=False).labels.reshape(photo.image.shape[:2]) if segmenter else None
    if prediction is not None:
        predicted = label_map.to_train(read_label_image(prediction))
    write_png(png, photo_panels(photo, predicted, label_map=label_map))


def _show_scan(
    scan: Path,
    points: Scan,
    prediction: Path | None,
    segmenter: Segmenter | None,
    label_map: LabelMap,
    png: Path | None,
) -> None:
    predicted: NDArray[np.integer] | None = None
    if segmenter and png and prediction is None:
        predicted = segmenter(points, confidence=False).labels
    if prediction is not None:
        predicted = read_prediction(prediction, label_map, points, scan)
    if png is None:
        frame = make_frame(str(scan), points, projection_of(segmenter, label_map), segmenter, predicted)
        show_window(Explorer(lambda index: frame, 1, label_map))
        return
    image = projection_of(segmenter, label_map)(points)
    write_png(png, show_scan(image, predicted, label_map))
