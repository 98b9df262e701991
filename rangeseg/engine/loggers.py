"""Loggers for a run's numbers and pictures besides its own files: Weights & Biases, MLflow, trackio, or your own class.

`runtime.loggers: [{name: wandb, project: lidar}]`; ``name: module:Class`` selects your own class, which must be a
`Logger`.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rangeseg.files import write_atomically

Flat = Mapping[str, str | int | float | bool]
"""Full path of each key of a config -> its value."""


class Logger(Protocol):
    """A receiver of a run's numbers and pictures. The constructor takes the keys of the entry in `runtime.loggers`."""

    def start(self, folder: Path, config: Flat, step: int) -> None:
        """Called when a run starts or is resumed; `step` is the number of steps done."""
        ...

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers of one step; nan if nothing was measured."""
        ...

    def image(self, step: int, name: str, image: NDArray[np.uint8]) -> None:
        """Log a picture, (H, W, 3) RGB."""
        ...

    def close(self) -> None:
        """Called when the run has ended or was stopped."""
        ...


def stored_id(folder: Path, tool: str, step: int) -> str | None:
    """The id of the run in a tool, if the training is resumed and the run folder has the id; otherwise None."""
    path = folder / f"{tool}_id.txt"
    return path.read_text().strip() if step and path.is_file() else None


def store_id(folder: Path, tool: str, run_id: str) -> str:
    """Write the id of the run in a tool to the run folder, so that a resumed training continues the same run."""
    write_atomically(folder / f"{tool}_id.txt", run_id.encode())
    return run_id


class Wandb:
    """Weights & Biases (extra `wandb`). The run is named after its folder.

    wandb's service writes the last records after `close`. The file is complete when the process ends, or after
    `wandb.teardown()`.

    Args:
        project: wandb's `project`.
        mode: online, offline or disabled; offline keeps all records in the run folder, for `wandb sync`.
        entity: wandb's `entity`.
    """

    def __init__(self, project: str = "rangeseg", mode: str = "online", entity: str | None = None) -> None:
        self._wandb: Any = _import("wandb", "wandb")
        self._project, self._mode, self._entity = project, mode, entity

    def start(self, folder: Path, config: Flat, step: int) -> None:
        """Start the run, or continue it if the training is resumed."""
        run_id = stored_id(folder, "wandb", step) or store_id(folder, "wandb", uuid.uuid4().hex)
        self._run = self._wandb.init(
            project=self._project, entity=self._entity, mode=self._mode, dir=str(folder), config=dict(config),
            name=folder.name, id=run_id, resume="allow", settings=self._wandb.Settings(silent=True),
        )  # fmt: skip

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers."""
        self._run.log(dict(values), step=step)

    def image(self, step: int, name: str, image: NDArray[np.uint8]) -> None:
        """Log a picture."""
        self._run.log({name: self._wandb.Image(image)}, step=step)

    def close(self) -> None:
        """End the run."""
        self._run.finish()


class Mlflow:
    """MLflow (extra `mlflow`).

    Args:
        experiment: name of the MLflow experiment.
        uri: URI of the tracking server; None: a SQLite file, mlflow.db, in the run folder.
    """

    def __init__(self, experiment: str = "rangeseg", uri: str | None = None) -> None:
        self._client_of: Any = _import("mlflow", "mlflow").MlflowClient
        self._experiment, self._uri = experiment, uri

    def start(self, folder: Path, config: Flat, step: int) -> None:
        """Start a run, named after the folder, or continue it if the training is resumed."""
        self._client: Any = self._client_of(self._uri or f"sqlite:///{folder.absolute() / 'mlflow.db'}")
        found = self._client.get_experiment_by_name(self._experiment)
        number = found.experiment_id if found else self._client.create_experiment(
            self._experiment, artifact_location=None if self._uri else (folder.absolute() / "mlflow").as_uri()
        )  # fmt: skip
        if known := stored_id(folder, "mlflow", step):
            self._id = known
            return
        self._id = store_id(folder, "mlflow", self._client.create_run(number, run_name=folder.name).info.run_id)
        for key, value in config.items():
            self._client.log_param(self._id, key.replace("[", "_").replace("]", "_"), str(value)[:6000])

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers."""
        for name, value in values.items():
            self._client.log_metric(self._id, name, float(value), step=step)

    def image(self, step: int, name: str, image: NDArray[np.uint8]) -> None:
        """Log a picture as an artifact."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{step:08d}.png"
            Image.fromarray(image).save(path)
            self._client.log_artifact(self._id, str(path), name)

    def close(self) -> None:
        """End the run."""
        self._client.set_terminated(self._id)


class Trackio:
    """trackio (extra `trackio`): a database on this machine, shown by `trackio show`.

    Args:
        project: trackio's `project`.
    """

    def __init__(self, project: str = "rangeseg") -> None:
        self._trackio: Any = _import("trackio", "trackio")
        self._project = project

    def start(self, folder: Path, config: Flat, step: int) -> None:
        """Start a run, named after the folder, or continue it; trackio renames a run whose name is in use."""
        known = stored_id(folder, "trackio", step)
        name, resume = known or folder.name, "allow" if known else "never"
        self._run: Any = self._trackio.init(project=self._project, name=name, config=dict(config), resume=resume)
        store_id(folder, "trackio", self._run.name)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log the finite numbers; trackio's database does not accept nan."""
        self._trackio.log({name: value for name, value in values.items() if np.isfinite(value)}, step=step)

    def image(self, step: int, name: str, image: NDArray[np.uint8]) -> None:
        """Log a picture."""
        self._trackio.log({name: self._trackio.Image(image)}, step=step)

    def close(self) -> None:
        """End the run."""
        self._trackio.finish()


def _import(module: str, extra: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"{module} cannot be imported ({error}); pip install 'rangeseg[{extra}]'.") from error
