"""What a segmenter is given: a scan or a photograph, or what can be made into one."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from rangeseg.engine.experiment import Experiment
from rangeseg.photos.dataset import PhotoDataset
from rangeseg.types import Photo, Sample, Scan

Thing = Scan | Photo | Sample
Given = Thing | str | PathLike[str] | ArrayLike
"""A scan or a photograph, projected already or not; or its file, or an array of its points or pixels: `as_thing`."""


def as_thing(given: Given, experiment: Experiment) -> Thing:
    """The scan or the photograph.

    Args:
        given: one; or a file, which is read as the run's dataset reads it; or an array: of a scan (N, 4) x, y, z in
            metres and remission as the run's dataset has it, or (N, 3) without; of a photograph (H, W, 3) uint8, RGB.
        experiment: of the run.

    Raises:
        ValueError: the file cannot be read, or the array has another shape.
    """
    if isinstance(given, Scan | Photo | Sample):
        return given
    if isinstance(given, str | PathLike):
        thing: Thing = experiment.prediction_files.read(Path(given))
        return thing
    array = np.asarray(given)
    if issubclass(experiment.dataset, PhotoDataset):
        return Photo(array)
    if array.ndim != 2 or array.shape[1] not in (3, 4) or array.dtype.kind not in "fiu":
        raise ValueError(
            f"The array is {array.dtype} of shape {array.shape}; give (N, 4): x, y, z in metres and remission, or "
            "(N, 3) without it."
        )
    table = array.astype(np.float32)
    return Scan(table) if array.shape[1] == 3 else Scan(table[:, :3], table[:, 3])
