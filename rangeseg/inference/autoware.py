"""The classes that Autoware's semantic segmentation publishes, and which class of a dataset is which of them.

Source: `PointCloudClassification` of autoware_core, whose message has this class beside each point.
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
"""By their ids, 0 to 11; `INVALID` is none."""

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
"""Autoware's class -> names of datasets' classes, words divided by a blank. The choice is rangeseg's."""


def autoware_ids(label_map: LabelMap) -> NDArray[np.uint8]:
    """(256,) train id -> Autoware's class; `INVALID` for what is no class.

    Raises:
        ValueError: the dataset has classes that nobody assigned.
    """
    known = {name: CLASSES.index(kind) for kind, names in MEMBERS.items() for name in names}
    plain = [name.lower().replace("-", " ").replace("_", " ") for name in label_map.names]
    if strange := [name for name, word in zip(label_map.names, plain, strict=True) if word not in known]:
        raise ValueError(
            f"{label_map.dataset}: no class of Autoware's is known for {', '.join(strange)}. "
            "Write the classes' own ids: --class-ids train."
        )
    table = np.full(IGNORE + 1, INVALID, np.uint8)
    table[: len(plain)] = [known[word] for word in plain]
    return table
