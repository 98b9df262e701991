"""One scan, drawn: as a picture, or in a window."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rangeseg.engine.segmenter import Segmenter
from rangeseg.files import write_atomically
from rangeseg.labels import LabelMap
from rangeseg.projection import SphericalProjection
from rangeseg.resources import resource
from rangeseg.scan_io import read_labels, read_scan
from rangeseg.vis.panels import colorise
from rangeseg.vis.show import show_scan
from rangeseg.vis.viewer import show_points


def show(
    scan: Path,
    *,
    labels: Path | None = None,
    run: Path | None = None,
    prediction: Path | None = None,
    dataset: str = "semantic_kitti",
    png: Path | None = None,
    overrides: Sequence[str] = (),
) -> None:
    """Draw a scan with its labels and a prediction.

    Args:
        scan: the file.
        labels: its labels; found by itself at ``../labels/NAME.label``.
        run: a run that predicts now.
        prediction: or a .label file, of rangeseg or of any other tool.
        dataset: whose classes, where no run tells.
        png: the picture to write; None opens Open3D's window with the points.
        overrides: `key.path=value` above the run's config.

    Raises:
        ValueError: a file is missing or does not fit the scan.
    """
    segmenter = Segmenter.load(run, overrides=overrides) if run else None
    label_map = segmenter.label_map if segmenter else LabelMap.read(resource("datasets", dataset, "labels.yaml"))
    beside = scan.parent.parent / "labels" / f"{scan.stem}.label"
    points = read_scan(scan, labels=labels or (beside if beside.is_file() else None), label_map=label_map)
    predicted = segmenter(points) if segmenter else None
    if prediction is not None:
        predicted = label_map.to_train(read_labels(prediction)[0])
        if len(predicted) != len(points):
            raise ValueError(
                f"{prediction}: {len(predicted)} labels for the {len(points)} points of {scan}. "
                "Give the labels of this scan."
            )
    if png is None:
        shown = predicted if predicted is not None else points.label
        colors = colorise(shown, label_map) if shown is not None else np.full((len(points), 3), 160, np.uint8)
        show_points(points.xyz, colors)
        return
    image = segmenter.project(points) if segmenter else SphericalProjection(**label_map.sensor)(points)
    picture = io.BytesIO()
    show_scan(image, predicted, label_map).save(picture, "PNG")
    write_atomically(png, picture.getvalue())
