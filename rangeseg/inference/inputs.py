"""Inputs of a segmenter: a scan or a photograph, or objects that can be converted to one."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from rangeseg.engine.experiment import Experiment
from rangeseg.photos.dataset import PhotoDataset
from rangeseg.scan_formats.checks import NoReturnsError, Where
from rangeseg.scan_formats.fields import FieldNames, Fields, find_fields
from rangeseg.scan_formats.scales import Columns
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
            or tensor), and objects with `to_array()`, such as clouds of PCL wrappers, are also accepted. Named fields
            are those of the run's `data.dataset.fields`, if it has such.
        experiment: the experiment of the run.

    Raises:
        ValueError: the file cannot be read, the array has a wrong shape, or it lacks a column that the run reads.
    """
    if isinstance(given, Scan | Photo | Sample):
        return given
    if isinstance(given, str | PathLike):
        sample: AnySample = experiment.prediction_files.read(Path(given))
        return sample
    given = given.to_array() if isinstance(given, PclCloud) else given
    if (cloud := _of_cloud(given, experiment)) is not None:
        return cloud
    array = np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given)
    if issubclass(experiment.dataset, PhotoDataset):
        return Photo(array)
    if array.ndim != 2 or array.shape[1] not in (3, 4) or array.dtype.kind not in "fiu":
        raise ValueError(
            f"The array is {array.dtype} of shape {array.shape}; give (N, 4): x, y, z in metres and remission, or "
            "(N, 3) without it."
        )
    table = array.astype(np.float32)
    return Scan(table) if array.shape[1] == 3 else Scan(table[:, :3], table[:, 3])


def columns_of_run(
    where: Where, columns: Columns, experiment: Experiment, requested: FieldNames | None = None,
    scale: Callable[[str], float] | None = None, rings: Callable[[str], tuple[int, int]] | None = None,
) -> Fields:  # fmt: skip
    """Match columns to fields as the run does: by its `data.dataset.fields`, which the requested names replace.

    Args:
        where: name of the cloud for errors.
        columns: (N,) arrays.
        experiment: the experiment of the run.
        requested: names of the user.
        scale: see `find_fields`, as for `rings`.
        rings: see `find_fields`.

    Raises:
        ValueError: see `find_fields`; for example, the run reads a column that the cloud does not have.
    """
    own = experiment.config.data.dataset.get("fields") or {}
    try:
        return find_fields(where, columns, {**own, **(requested or {})}, scale, rings)
    except ValueError as error:
        if not own or isinstance(error, NoReturnsError):
            raise
        raise ValueError(
            f"{error} The run reads scans with data.dataset.fields {dict(own)}. If the columns have other names here, "
            "give them with --fields NAME=COLUMN, or as an override of data.dataset.fields."
        ) from error


def _of_cloud(given: Any, experiment: Experiment) -> Scan | None:
    """The scan of a structured array or of another library's cloud; None for anything else."""
    named: FieldNames = {}
    if isinstance(given, np.ndarray) and given.dtype.names:
        columns = {name: given[name].reshape(-1) for name in given.dtype.names if given.dtype[name].kind in "iuf"}
    elif isinstance(given, TensorCloud):
        point = given.point
        columns = {axis: point.positions.numpy()[:, k] for k, axis in enumerate("xyz")}
        columns |= {name: point[name].numpy()[:, 0] for name in point if point[name].shape[1:] == (1,)}
        named = dict(zip("xyz", "xyz", strict=True))
    elif isinstance(given, LegacyCloud):
        columns = dict(zip("xyz", np.asarray(given.points).T, strict=True))
        named = {"x": "x", "y": "y", "z": "z", "remission": None, "ring": None}  # it has positions only
    else:
        return None
    where = "the cloud that was given"
    return columns_of_run(where, columns, experiment, named).scan(where, columns)
