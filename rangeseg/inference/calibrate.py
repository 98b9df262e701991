"""A run's temperature: fitted on labelled scans, and written into its checkpoint.

Shapes: n elements that were drawn, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.engine.checkpoint import amend_checkpoint
from rangeseg.evaluation.reliability import fit_temperature
from rangeseg.inference.run import Run, checkpoint_of
from rangeseg.inference.segmenter import PixelImage, Segmenter
from rangeseg.networks.exported import EXPORTED
from rangeseg.parallel import Progress, no_progress
from rangeseg.projection.range_image import RangeImage
from rangeseg.types import IGNORE
from rangeseg.weights import find_weights

MOST = 1_000_000
"""Elements that a temperature is fitted on, drawn evenly from all scans."""


@dataclass(frozen=True)
class Drawing:
    """Which labelled elements of each scan count: `count` of each, by a generator of the scan's number."""

    segmenter: Segmenter
    views: Any
    count: int

    def __call__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """(n, K) logits at the elements' pixels, (n,) labels.

        Raises:
            ValueError: the sample has no labels, or the network's answer holds nan.
        """
        sample = self.views.sample(index)
        if sample.label is None:
            raise ValueError(f"{sample.name} has no labels to fit a temperature on. Choose a labelled split.")
        image = self.segmenter.project(sample)
        logits = self.segmenter.logits(image).float().cpu().numpy()
        visible, pixel = _pixels(image)
        known = np.flatnonzero(visible & (sample.label != IGNORE))
        chosen = np.random.default_rng(index).permutation(known)[: self.count]
        return logits.reshape(len(logits), -1)[:, pixel[chosen]].T, sample.label[chosen]


def _pixels(image: PixelImage) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """(N,) which elements have a pixel, and which pixel, row by row."""
    if isinstance(image, RangeImage):
        return ~image.no_return, image.row.astype(np.intp) * image.width + image.col
    pixel = image.back_project(np.arange(image.height * image.width).reshape(image.height, image.width))
    return np.ones(len(pixel), bool), pixel


def calibrated(run: Run, views: Any, *, progress: Progress = no_progress) -> Run:
    """The run with a temperature that is fitted on labelled views.

    Args:
        run: loaded.
        views: of `rangeseg.inference.scoring.open_views`.
        progress: shows the progress.

    Raises:
        ValueError: a sample has no labels, or there are none at all.
    """
    segmenter, indices = Segmenter(run), range(len(views))
    draw = Drawing(segmenter, views, max(1, MOST // max(1, len(views))))
    drawn = list(progress(map(draw, indices), "calibrating", len(indices)))
    if not drawn:
        raise ValueError("Nothing to fit a temperature on: the split has no samples.")
    logits, label = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    return replace(run, temperature=fit_temperature(logits, label))


def checkpoint_to_write(path: Path) -> Path:
    """The checkpoint that gets the temperature.

    Raises:
        ValueError: weights or exported files, which stay as they are.
    """
    file = checkpoint_of(path)
    if file.suffix in EXPORTED:
        raise ValueError(f"{path}: an exported file stays as it is. Calibrate its run and export that again.")
    if find_weights(path) is not None:
        raise ValueError(
            f"{path}: weights stay as they are. Make a checkpoint of them (rangeseg export {path} --out run.pt) and "
            "calibrate that."
        )
    return file


def write_temperature(file: Path, temperature: float) -> None:
    """Put the temperature into a checkpoint; all else in it stays.

    Raises:
        ValueError: no whole checkpoint.
    """
    amend_checkpoint(file, {"temperature": temperature})
