"""Calibration: fits the temperature of a run on labelled data, and writes it into the checkpoint.

Shapes: n sampled elements, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.engine.checkpoint import amend_checkpoint
from rangeseg.evaluation.reliability import COLDEST, HOTTEST, fit_temperature
from rangeseg.inference.run import Run, checkpoint_of
from rangeseg.inference.segmenter import PixelImage, Segmenter
from rangeseg.networks.exported import EXPORTED
from rangeseg.notices import notify
from rangeseg.parallel import Progress, no_progress
from rangeseg.projection.range_image import RangeImage
from rangeseg.types import IGNORE
from rangeseg.weights import find_weights

MOST = 1_000_000
"""Number of sampled elements for the fit of a temperature; each scan or photograph gives at most an equal share."""


@dataclass(frozen=True)
class Drawing:
    """Samples at most `count` labelled elements of a scan or photograph, with its index as the random seed."""

    segmenter: Segmenter
    views: Any
    count: int

    def __call__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """(n, K) logits at the elements' pixels, (n,) labels.

        Raises:
            ValueError: the sample has no labels, or the logits contain nan.
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
    """(N,) bool, True for elements that have a pixel; and the (N,) index of this pixel, row by row."""
    if isinstance(image, RangeImage):
        return ~image.no_return, image.row.astype(np.intp) * image.width + image.col
    pixel = image.back_project(np.arange(image.height * image.width).reshape(image.height, image.width))
    return np.ones(len(pixel), bool), pixel


def calibrated(run: Run, views: Any, *, progress: Progress = no_progress) -> Run:
    """The run with a temperature that is fitted on labelled views.

    Args:
        run: a loaded run.
        views: from `rangeseg.inference.scoring.open_views`.
        progress: shows the progress.

    Raises:
        ValueError: a sample has no labels, there are no labelled elements, or the logits are not finite.
    """
    segmenter, indices = Segmenter(run), range(len(views))
    draw = Drawing(segmenter, views, max(1, MOST // max(1, len(views))))
    drawn = list(progress(map(draw, indices), "calibrating", len(indices)))
    if not drawn:
        raise ValueError("Nothing to fit a temperature on: the split has no samples.")
    logits, label = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    temperature = fit_temperature(logits, label)
    if temperature < 1.01 * COLDEST:
        notify(
            f"temperature {temperature:.3f}: the lowest allowed, because the run labels all {len(label)} sampled "
            f"elements right. Calibrate it on other scans or photographs than those of its training."
        )
    if temperature > 0.99 * HOTTEST:
        notify(
            f"temperature {temperature:.3f}: the highest allowed, because the run is no better than chance on these "
            "labels. Check that the labels, classes and sensor are those of its training."
        )
    return replace(run, temperature=temperature)


def checkpoint_to_write(path: Path) -> Path:
    """The checkpoint to which the temperature is written.

    Raises:
        ValueError: `path` names weights or an exported file, which must not change.
    """
    file = checkpoint_of(path)
    if file.suffix in EXPORTED:
        raise ValueError(
            f"{path}: an exported file cannot be calibrated. Calibrate the run that it was made from, and export "
            "it again."
        )
    if find_weights(path) is not None:
        raise ValueError(
            f"{path}: these weights cannot be changed. Write them as a checkpoint (rangeseg export {path} --out "
            "run.pt) and calibrate the checkpoint."
        )
    return file


def write_temperature(file: Path, temperature: float) -> None:
    """Write the temperature into a checkpoint; its other entries do not change.

    Raises:
        ValueError: the file is not a complete checkpoint.
    """
    amend_checkpoint(file, {"temperature": temperature})
