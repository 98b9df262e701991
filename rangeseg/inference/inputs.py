"""Inputs of a segmenter: a scan or a photograph, or objects that can be converted to one."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from rangeseg.engine.experiment import Experiment
from rangeseg.photos.dataset import PhotoDataset
from rangeseg.scan_formats.fields import find_fields
from rangeseg.types import Photo, Sample, Scan

AnySample = Scan | Photo | Sample
InputLike = AnySample | str | PathLike[str] | ArrayLike
"""A scan or a photograph, projected or not; or its file, or an array of its points or pixels; see `as_sample`."""


@runtime_checkable
class PclCloud(Protocol):
    """A cloud of a PCL wrapper."""

    def to_array(self) -> ArrayLike:
        """The (N, 3) or (N, 4) array of the points, or a structured array."""
        ...


@runtime_checkable
class TensorCloud(Protocol):
    """`open3d.t.geometry.PointCloud`."""

    point: Any


@runtime_checkable
class LegacyCloud(Protocol):
    """`open3d.geometry.PointCloud`."""

    points: Any


def as_sample(given: InputLike, experiment: Experiment) -> AnySample:
    """Convert an input to a scan or a photograph.

    Args:
        given: a scan or photograph; or a file, which the run's dataset reads; or an array. An array of a scan is (N,
            4): x, y, z in metres and remission with the scale of the run's dataset, or (N, 3) without remission. An
            array of a photograph is (H, W, 3) uint8, RGB. Structured arrays with named fields, clouds of Open3D (legacy
            or tensor), and objects with `to_array()`, such as clouds of PCL wrappers, are also accepted.
        experiment: the experiment of the run.

    Raises:
        ValueError: the file cannot be read, or the array has a wrong shape.
    """
    if isinstance(given, Scan | Photo | Sample):
        return given
    if isinstance(given, str | PathLike):
        sample: AnySample = experiment.prediction_files.read(Path(given))
        return sample
    given = given.to_array() if isinstance(given, PclCloud) else given
    if (cloud := _of_cloud(given)) is not None:
        return cloud
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


def _of_cloud(given: Any) -> Scan | None:
    """The scan of a structured array or of another library's cloud; None for anything else."""
    if isinstance(given, np.ndarray) and given.dtype.names:
        columns = {name: given[name].reshape(-1) for name in given.dtype.names if given.dtype[name].kind in "iuf"}
    elif isinstance(given, TensorCloud):
        point = given.point
        columns = {axis: point.positions.numpy()[:, k] for k, axis in enumerate("xyz")}
        columns |= {name: point[name].numpy()[:, 0] for name in point if point[name].shape[1:] == (1,)}
    elif isinstance(given, LegacyCloud):
        columns = dict(zip("xyz", np.asarray(given.points).T, strict=True))
    else:
        return None
    where = "the cloud that was given"
    return find_fields(where, columns, {}).scan(where, columns)
