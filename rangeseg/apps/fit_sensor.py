"""`rangeseg fit-sensor`: fits a sensor to scan files, compares its projections on them, and draws them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.prediction_files import ScanFiles
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.inference.predict import find_tasks
from rangeseg.projection.fit import SensorFit, fit_sensor, projection_stats
from rangeseg.projection.sensor import projection_of
from rangeseg.scan_io import home_of, read_labels, read_scan, stem_of
from rangeseg.sensors import read_sensor, write_sensor
from rangeseg.types import Scan
from rangeseg.vis.png import write_png
from rangeseg.vis.sensor import sensor_picture


@dataclass(frozen=True)
class ProjectionScore:
    """How well one projection preserves the scans.

    Args:
        name: name of the projection.
        height: H.
        width: W.
        filled: share of the pixels that show a point.
        hidden: share of the returns that are hidden.
        ceiling: share of the returns of labelled scans that keep their label if the label of each pixel is that of its
            visible point and each point takes the label of its pixel; None if no scan has labels.
    """

    name: str
    height: int
    width: int
    filled: float
    hidden: float
    ceiling: float | None


def fit(
    inputs: Sequence[Path],
    out: Path,
    *,
    png: Path | None = None,
    max_scans: int = 8,
    name: str | None = None,
    fields: Mapping[str, str | None] | None = None,
    rows: int | None = None,
) -> tuple[SensorFit, list[Scan], list[NDArray | None]]:
    """Fit a sensor to files or folders of scans, write its YAML and draw it.

    Args:
        inputs: scan files or folders of them.
        out: the YAML of the sensor.
        png: file of the picture; None: no picture.
        max_scans: maximum number of scans, evenly chosen.
        name: name of the sensor; default: the name of the YAML.
        fields: column names that replace the common ones, see `rangeseg.scan_formats.fields`.
        rows: number of beams; required if the scans do not determine it.

    Returns:
        The fit, the scans, and for each scan the (N,) raw ids of its label file, or None if there is none.

    Raises:
        ValueError: there are no scans, a scan cannot be read, or the beams cannot be told apart.
    """
    paths = [task.file for task in find_tasks(inputs, ScanFiles(SemanticKitti.read_label_map()))]  # any classes will do
    paths = paths[:: -(-len(paths) // max_scans)]
    scans = [read_scan(path, fields=fields) for path in paths]
    fitted = fit_sensor(scans, name=name or out.stem, source=f"rangeseg fit-sensor on {len(scans)} scans", rows=rows)
    write_sensor(out, fitted.model, "\n".join(fitted.words))
    if png is not None:
        write_png(png, draw(fitted, scans[0]))
    return fitted, scans, [find_labels(path, len(scan)) for path, scan in zip(paths, scans, strict=True)]


def find_labels(scan: Path, points: int) -> NDArray | None:
    """(N,) raw ids of ``../labels/NAME.label``; None if the file does not exist or has another number of labels.

    Args:
        scan: the file of the scan.
        points: number of points of the scan, N.
    """
    path = home_of(scan) / "labels" / f"{stem_of(scan)}.label"
    labels = read_labels(path)[0] if path.is_file() else None
    return labels if labels is not None and len(labels) == points else None


def candidates(fitted: SensorFit, others: Sequence[str] = ()) -> dict[str, Any]:
    """Name -> projection: all projections of the fitted sensor and of the sensors to compare with.

    Args:
        fitted: the fitted sensor.
        others: names or files of sensors.
    """
    made = {kind: projection_of(fitted.model, projection=kind) for kind in fitted.model.sections}
    for name in others:
        model = read_sensor(name)
        made |= {f"{name}: {kind}": projection_of(model, projection=kind) for kind in model.sections}
    return made


def compare(
    projections: Mapping[str, Any], scans: Sequence[Scan], labels: Sequence[NDArray | None] | None = None
) -> list[ProjectionScore]:
    """What each projection preserves of the scans; projections that do not support them are skipped.

    Args:
        projections: name -> scan -> range image.
        scans: scans of one sensor.
        labels: for each scan (N,) ids of any kind, or None.
    """
    lines = []
    for name, projection in projections.items():
        try:
            kept = projection_stats(projection, scans)
        except ValueError:  # a scan has no rings, or is not organised
            continue
        lines.append(
            ProjectionScore(
                name,
                projection.height,
                projection.width,
                1 - kept.empty / kept.pixels,
                kept.hidden / kept.returns,
                _ceiling(projection, scans, labels or [None] * len(scans)),
            )
        )
    return lines


def _ceiling(projection: Any, scans: Sequence[Scan], labels: Sequence[NDArray | None]) -> float | None:
    right = counted = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for scan, label in zip(scans, labels, strict=True):
            if label is None:
                continue
            image = projection(scan)
            kept = ~image.no_return
            back = image.back_project(image.gather(label.astype(np.int64)))
            right += int((back == label)[kept].sum())
            counted += int(kept.sum())
    return right / counted if counted else None


def draw(fitted: SensorFit, scan: Scan) -> NDArray[np.uint8]:
    """(rows, columns, 3) RGB: the beams, and a scan in each of the sensor's projections."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images = {kind: projection(scan) for kind, projection in candidates(fitted).items()}
    return sensor_picture(images, fitted.inclinations_deg)
