"""Sensors as YAML: rows, columns, and the arguments of every projection that fits them.

    sensor: Velodyne HDL-32E      name of the sensor
    source: ...                   source of the numbers
    height: 32                    rows
    width: 1088                   columns
    projection: organised         the section below that {name: sensor} uses
    spherical: {fov_up_deg: 11.33, fov_down_deg: -31.33}
    organised: {order: column}    a section contains the other arguments of its projection

The shipped sensors are `datasets/sensors/<name>.yaml`; `rangeseg fit-sensor` writes others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rangeseg.files import write_atomically
from rangeseg.resources import resource
from rangeseg.yaml_file import read_yaml

KINDS = ("organised", "ring", "unfolding", "beam", "spherical")
"""Projections of the sections of a sensor. If two of them hide the same number of points, the first is preferred."""


@dataclass(frozen=True)
class SensorModel:
    """A sensor's geometry.

    Args:
        sensor: name of the sensor.
        source: source of the numbers.
        height: rows.
        width: columns.
        projection: name of the default section.
        sections: projection -> its arguments besides height and width.

    Raises:
        ValueError: an unknown projection, or one without a section.
    """

    sensor: str
    source: str
    height: int
    width: int
    projection: str
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := [name for name in self.sections if name not in KINDS]:
            raise ValueError(
                f"{self.sensor}: {', '.join(unknown)} are not projections of a sensor; use {', '.join(KINDS)}."
            )
        if self.projection not in self.sections:
            raise ValueError(
                f"{self.sensor}: projection {self.projection!r} has no section; write one, or use "
                f"{' or '.join(self.sections) or 'another file'}."
            )

    def arguments(self, projection: str | None = None, width: int | None = None) -> dict[str, Any]:
        """The section of a projection, in the form of `data.projection` in a config.

        Args:
            projection: name of the projection; None: the default of the sensor.
            width: number of columns; None: that of the sensor.

        Raises:
            ValueError: the sensor has no section for the projection.
        """
        name = projection or self.projection
        if name not in self.sections:
            raise ValueError(f"{self.sensor} has no section {name!r}; choose from {', '.join(self.sections)}.")
        size = {"width": width or self.width} | ({} if name == "beam" else {"height": self.height})
        return {"name": name} | size | dict(self.sections[name])


def read_sensor(name: str | Path) -> SensorModel:
    """Read a sensor.

    Args:
        name: name of a shipped sensor, e.g. ``hdl64e``, or a YAML file.

    Raises:
        ValueError: there is no such sensor or file, or its form is not that in the module's docstring.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = resource("datasets", "sensors", f"{name}.yaml")
    try:
        content = read_yaml(path)
        facts = {key: content.pop(key) for key in ("sensor", "source", "height", "width", "projection")}
        return SensorModel(**facts, sections=content)
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be read ({error.strerror}); give the name of a sensor or a YAML file."
        ) from error
    except KeyError as error:
        raise ValueError(f"{path}: lacks {error}; see datasets/sensors/hdl64e.yaml.") from error
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: {error} (compare datasets/sensors/hdl64e.yaml)") from error


def write_sensor(path: str | Path, model: SensorModel, comment: str = "") -> None:
    """Write a sensor as YAML that `read_sensor` reads.

    Args:
        path: path of the file.
        model: the sensor.
        comment: lines written as comments at the top of the file.
    """
    content: dict[str, Any] = {
        key: getattr(model, key) for key in ("sensor", "source", "height", "width", "projection")
    }
    content |= {name: dict(section) for name, section in model.sections.items()}
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=140, allow_unicode=True)
    write_atomically(path, (head + text).encode())
