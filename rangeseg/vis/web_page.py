"""Scans on one HTML page that opens without a network, with the canvas and panels of reports."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from rangeseg.files import write_atomically
from rangeseg.labels import LabelMap
from rangeseg.types import IGNORE
from rangeseg.vis.explorer import Frame
from rangeseg.vis.report import ReportSample, heading, page, scans
from rangeseg.vis.show import show_scan


def write_page(path: Path, frames: Iterable[Frame], label_map: LabelMap, title: str) -> None:
    """Write scans as a page.

    Args:
        path: path of the file.
        frames: the scans.
        label_map: the classes.
        title: title of the page.

    Raises:
        ValueError: the name does not end in .html.
    """
    if path.suffix != ".html":
        raise ValueError(f"{path}: give a file name that ends in .html.")
    shown = [as_sample(frame, label_map) for frame in frames]
    words = "Drag to rotate, shift and drag to move, wheel to zoom; the buttons select what the colours show."
    write_atomically(path, page(title, [heading("Scans", words), scans(shown, label_map)], shown, label_map))


def as_sample(frame: Frame, label_map: LabelMap) -> ReportSample:
    """A scan as a sample of a report: its panels, and its points with label and prediction."""
    scan = frame.image.given
    both = {"label": scan.label, "prediction": frame.prediction}
    known = {name: ids for name, ids in both.items() if ids is not None}
    words = f"{len(scan):,} points"
    if frame.confidence is not None and (~frame.image.no_return).any():
        words += f", mean confidence {frame.confidence[~frame.image.no_return].mean():.2f}"
    panel = np.asarray(show_scan(frame.image, frame.prediction, label_map).convert("RGB"))
    colorings = known or {"points": np.full(len(scan), IGNORE, np.uint8)}
    return ReportSample(frame.name, words, panel, scan.xyz, colorings)
