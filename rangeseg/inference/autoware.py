"""The classes of Autoware's semantic segmentation, and the mapping from datasets' classes to them.

Source: `PointCloudClassification` of autoware_core; its message has this class for each point.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rangeseg.labels import LabelMap
from rangeseg.types import IGNORE

INVALID = 255
CLASSES = (
    *("car", "truck", "bus", "motorcycle", "bicycle", "pedestrian", "animal", "hazard", "flat_surface", "structure"),
    *("vegetation", "noise"),
)
"""Names by id, 0 to 11; `INVALID` means no class."""

MEMBERS = {
    "car": ("car", "vehicle"),
    "truck": ("truck", "trailer", "construction vehicle", "other vehicle"),
    "bus": ("bus", "train"),
    "motorcycle": ("motorcycle", "motorcyclist", "motorbike", "minibike"),
    "bicycle": ("bicycle", "bicyclist", "bike", "rider"),
    "pedestrian": ("pedestrian", "person"),
    "animal": ("animal",),
    "hazard": ("traffic cone", "cone", "construction cone", "barrier", "other object", "trashcan", "log", "rubble"),
    "flat_surface": (
        *("road", "driveable surface", "parking", "sidewalk", "other ground", "other flat", "ground", "driveway"),
        *("terrain", "curb", "lane marker", "walkable", "pavement", "concrete", "mud", "puddle", "water", "grass"),
    ),
    "structure": (
        *("building", "fence", "manmade", "pole", "sign", "traffic sign", "traffic light", "wall", "cone stone"),
    ),
    "vegetation": ("vegetation", "trunk", "tree trunk", "tree", "plants", "bush"),
}
"""Autoware's class -> names of datasets' classes, separated by spaces. This mapping is our own choice."""


def autoware_ids(label_map: LabelMap) -> NDArray[np.uint8]:
    """(256,) train id -> Autoware's class; `INVALID` for ids without a class.

    Raises:
        ValueError: the mapping lacks a class of the dataset.
    """
    known = {name: CLASSES.index(kind) for kind, names in MEMBERS.items() for name in names}
    plain = [name.lower().replace("-", " ").replace("_", " ") for name in label_map.names]
    if strange := [name for name, word in zip(label_map.names, plain, strict=True) if word not in known]:
        raise ValueError(
            f"{label_map.dataset}: no class of Autoware corresponds to {', '.join(strange)}. "
            "Write the dataset's own ids: --class-ids train."
        )
    table = np.full(IGNORE + 1, INVALID, np.uint8)
    table[: len(plain)] = [known[word] for word in plain]
    return table
