"""A dataset's classes: raw ids of its files <-> train ids 0..K-1 and IGNORE, names, colours, splits, sensor.

Training and evaluation use train ids only. Shapes: N points, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rangeseg.types import IGNORE
from rangeseg.yaml_file import check_entries, check_spelling, read_yaml

_UNKNOWN = IGNORE - 1
_RAW_IDS = 1 << 16

RARE = 0.01
"""Share of all points below which a class is rare."""


class Sensor(TypedDict):
    """Arguments of `SphericalProjection`: rows and columns in pixels, and the field of view in degrees."""

    height: int
    width: int
    fov_up_deg: float
    fov_down_deg: float


@dataclass(frozen=True, eq=False)
class LabelMap:
    """A dataset's classes. A train id is an index into `names`; raw ids without a class are IGNORE.

    Args:
        dataset: name of the dataset.
        names: K class names.
        colors: (K, 3) uint8, RGB.
        raw_ids: the raw id that `to_raw` writes for each of the K classes.
        raw_names: raw id -> its name in the dataset, for every raw id that the files may contain.
        learning_map: raw id -> train id or IGNORE, for the same raw ids.
        frequencies: (K,) float64, share of each class in all points (pixels) of the training split; None if unknown.
        splits: train, val, test -> sequences; for photographs, the folders or lists of the split.
        scan_counts: sequence -> number of its scans in the complete dataset; empty for photographs.
        split_counts: split -> number of its scans or photographs in the complete dataset, if known.
        sensor: size and field of view of the range image; None for a camera.
        ignore_raw: the raw id that `to_raw` writes for IGNORE.
        things: train ids of the classes of countable objects.
        moving: raw ids of objects that move or may move; their labels are valid only in their own scan.
        raw_colors: raw id -> RGB colour in label images that contain colours instead of ids.

    Raises:
        ValueError: the fields do not fit each other, or a raw id does not fit 16 bits.
    """

    dataset: str
    names: tuple[str, ...]
    colors: NDArray[np.uint8]
    raw_ids: tuple[int, ...]
    raw_names: Mapping[int, str]
    learning_map: Mapping[int, int]
    frequencies: NDArray[np.float64] | None
    splits: Mapping[str, tuple[str, ...]]
    scan_counts: Mapping[str, int] = field(repr=False, default_factory=dict)
    sensor: Sensor | None = field(repr=False, default=None)
    ignore_raw: int = 0
    things: tuple[int, ...] = ()
    moving: tuple[int, ...] = ()
    raw_colors: Mapping[int, tuple[int, int, int]] = field(repr=False, default_factory=dict)
    split_counts: Mapping[str, int] = field(repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < len(self.names) < _UNKNOWN:
            raise ValueError(f"{self.dataset} has {len(self.names)} classes; give 1 to {_UNKNOWN - 1}.")
        if outside := [raw for raw in self.raw_names if not 0 <= raw < _RAW_IDS]:
            raise ValueError(f"{self.dataset}: raw ids {outside} do not fit 16 bits; use 0 to {_RAW_IDS - 1}.")
        if set(self.raw_names) != set(self.learning_map):
            odd = sorted(set(self.raw_names) ^ set(self.learning_map))
            raise ValueError(
                f"{self.dataset}: raw ids {odd} have a name without a class, or a class without a name; give both."
            )
        for train, raw in enumerate(self.raw_ids):
            if self.learning_map.get(raw) != train:
                raise ValueError(f"{self.dataset}: raw id {raw} of class {self.names[train]!r} is not mapped to it.")
        if self.learning_map.get(self.ignore_raw, IGNORE) != IGNORE:
            raise ValueError(
                f"{self.dataset}: raw id {self.ignore_raw} has a class; set ignore to a raw id without a class."
            )

    @classmethod
    def read(cls, path: str | Path) -> LabelMap:
        """Read `datasets/<name>/labels.yaml`.

        Raises:
            ValueError: the file cannot be read, lacks an entry, has a key twice, or its entries do not fit each other.
        """
        try:
            return _from_yaml(read_yaml(path))
        except OSError as error:
            raise ValueError(f"{path}: cannot be read ({error.strerror}); give a dataset's labels.yaml.") from error
        except KeyError as error:
            raise ValueError(f"{path}: lacks {error}; see datasets/semantic_kitti/labels.yaml.") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: {error} (compare datasets/semantic_kitti/labels.yaml)") from error

    @property
    def num_classes(self) -> int:
        """K, without IGNORE."""
        return len(self.names)

    @property
    def tails(self) -> tuple[int, ...]:
        """Train ids of the rare classes, with less than 1 % of all points; empty if the frequencies are unknown."""
        shares = () if self.frequencies is None else self.frequencies
        return tuple(train for train, share in enumerate(shares) if share < RARE)

    @cached_property
    def _train_of_raw(self) -> NDArray[np.uint8]:
        table = np.full(_RAW_IDS, _UNKNOWN, np.uint8)
        table[list(self.learning_map)] = list(self.learning_map.values())
        return table

    @cached_property
    def _raw_of_train(self) -> NDArray[np.uint32]:
        table = np.full(IGNORE + 1, self.ignore_raw, np.uint32)
        table[: self.num_classes] = self.raw_ids
        return table

    def to_train(self, raw: ArrayLike) -> NDArray[np.uint8]:
        """Convert raw ids of the files to train ids.

        Args:
            raw: (...) integers. The low 16 bits are the class; an instance id in higher bits is ignored.

        Returns:
            (...) uint8, 0..K-1 or IGNORE.

        Raises:
            ValueError: raw ids that the dataset does not have.
        """
        raw = _integers(raw, "raw ids")
        semantic = raw.astype(np.uint16)  # keeps the low 16 bits
        train = np.asarray(self._train_of_raw.take(semantic))
        if (train == _UNKNOWN).any():
            raise ValueError(self._describe_unknown(semantic[train == _UNKNOWN]))
        return train

    def to_raw(self, train: ArrayLike) -> NDArray[np.uint32]:
        """Convert train ids to the raw ids that the dataset's benchmark expects; IGNORE becomes `ignore_raw`.

        Args:
            train: (...) integers, 0..K-1 or IGNORE.

        Returns:
            (...) uint32.

        Raises:
            ValueError: other values.
        """
        train = _integers(train, "train ids")
        wrong = ((train < 0) | (train >= self.num_classes)) & (train != IGNORE)
        if wrong.any():
            raise ValueError(
                f"{np.count_nonzero(wrong)} labels are not train ids of {self.dataset}: "
                f"{_few(np.unique(train[wrong]))}. Give 0 to {self.num_classes - 1}, or {IGNORE} for no label."
            )
        return self._raw_of_train[train]

    def class_weights(self, epsilon: float = 1e-3) -> NDArray[np.float64]:
        """(K,) weights of a cross-entropy that weights rare classes more: 1 / (frequency + epsilon).

        Raises:
            ValueError: the frequencies of the classes are unknown.

        Source: RangeNet++ (Milioto et al., IROS 2019) and its code; SalsaNext and CENet use the same.
        """
        if self.frequencies is None:
            raise ValueError(
                f"{self.dataset}'s labels.yaml has no class frequencies; set class_weights: none, or "
                "run `rangeseg stats CONFIG --out stats.yaml` and include that file in base."
            )
        return 1.0 / (self.frequencies + epsilon)

    def _describe_unknown(self, raw: NDArray[np.uint16]) -> str:
        ids, counts = np.unique(raw, return_counts=True)
        return (
            f"{len(raw)} labels have raw ids that {self.dataset} does not know: {_few(ids)} "
            f"(most often {ids[counts.argmax()]}, {counts.max()} times). "
            "Use the labels.yaml of the dataset the file is from, or add the ids to its raw ids."
        )


def _integers(values: ArrayLike, what: str) -> NDArray[np.integer]:
    array = np.asarray(values)
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{what} are {array.dtype}; give integers.")
    return array


def _few(ids: NDArray[np.integer]) -> str:
    return ", ".join(map(str, ids[:8])) + (", ..." if len(ids) > 8 else "")


def _colors(colors: list[list[int]]) -> NDArray[np.uint8]:
    for color in colors:
        if len(color) != 3 or not all(0 <= value <= 255 for value in color):
            raise ValueError(f"color {color} is not [red, green, blue] with values from 0 to 255")
    return np.array(colors, np.uint8).reshape(-1, 3)


def read_splits(splits: Any) -> dict[str, tuple[str, ...]]:
    """Check splits that come from YAML: split -> its sequences, folders or lists.

    Raises:
        ValueError: it is not a mapping of names to lists of names. A number is not a name: YAML reads 007 as 7.
    """
    parts = list(splits.values()) if isinstance(splits, Mapping) else [None]
    if not all(isinstance(names, list | tuple) and all(isinstance(name, str) for name in names) for names in parts):
        raise ValueError(
            f"splits is {splits!r}; give lists of names, for example {{train: [a, b], val: [c]}}, with quotes around "
            'names that are numbers: ["00"].'
        )
    return {split: tuple(names) for split, names in splits.items()}


def _counts(content: Mapping[str, Any], key: str, names: Iterable[str]) -> dict[str, int]:
    """The official counts under a key. A number is no name here either, and counts of other names would not be used."""
    counts, known = dict(content.get(key, {})), set(names)
    if odd := [name for name, count in counts.items() if name not in known or type(count) is not int]:
        raise ValueError(
            f"{key} has {odd[0]!r}: {counts[odd[0]]!r}; give whole numbers for names of splits, with quotes around "
            'names that are numbers: "00": 4541'
        )
    return counts


def _raw_ids(numbers: Any, known: Mapping[int, Any]) -> list[int]:
    if not isinstance(numbers, list) or not all(isinstance(one, int) and one in known for one in numbers):
        raise ValueError(f"moving is {numbers!r}; give a list of the ids under raw")
    return numbers


def _from_yaml(content: dict[str, Any]) -> LabelMap:
    classes, raw = content["classes"], content["raw"]
    check_entries(classes, "name color raw thing frequency", "a class")
    check_spelling(content, "dataset sensor splits scan_counts split_counts classes moving raw ignore")
    check_entries(raw.values(), "name class color", "a raw id")
    train_of_name = {entry["name"]: train for train, entry in enumerate(classes)}
    splits = read_splits(content["splits"])
    if len(train_of_name) != len(classes):
        raise ValueError("two classes have the same name; give each a different name")
    if stray := [entry["class"] for entry in raw.values() if entry["class"] not in (*train_of_name, "ignore")]:
        raise ValueError(
            f"raw ids belong to {sorted(set(stray))}, which are not classes; use ignore or {[*train_of_name]}"
        )
    return LabelMap(
        dataset=content["dataset"],
        names=tuple(train_of_name),
        colors=_colors([entry["color"] for entry in classes]),
        raw_ids=tuple(entry["raw"] for entry in classes),
        raw_names={raw_id: entry["name"] for raw_id, entry in raw.items()},
        learning_map={raw_id: train_of_name.get(entry["class"], IGNORE) for raw_id, entry in raw.items()},
        # all or none, because a class without a frequency would get a wrong weight
        frequencies=np.array([entry["frequency"] for entry in classes], np.float64)
        if any("frequency" in entry for entry in classes)
        else None,
        splits=splits,
        scan_counts=_counts(content, "scan_counts", chain(*splits.values())),
        split_counts=_counts(content, "split_counts", splits),
        sensor=_sensor(content["sensor"]) if "sensor" in content else None,
        ignore_raw=int(content.get("ignore", 0)),
        things=tuple(train for train, entry in enumerate(classes) if entry.get("thing")),
        moving=tuple(_raw_ids(content.get("moving", []), raw)),
        raw_colors=_raw_colors(classes, raw),
    )


def _raw_colors(classes: list[dict[str, Any]], raw: dict[int, dict[str, Any]]) -> dict[int, tuple[int, int, int]]:
    """The colour of each raw id: its own, or that of its class if the class is written as this id."""
    colors = {entry["raw"]: entry["color"] for entry in classes}
    colors |= {raw_id: entry["color"] for raw_id, entry in raw.items() if "color" in entry}
    return {
        raw_id: (int(r), int(g), int(b)) for raw_id, (r, g, b) in zip(colors, _colors([*colors.values()]), strict=True)
    }


def _sensor(entry: dict[str, Any]) -> Sensor:
    return Sensor(
        height=int(entry["height"]),
        width=int(entry["width"]),
        fov_up_deg=float(entry["fov_up_deg"]),
        fov_down_deg=float(entry["fov_down_deg"]),
    )
