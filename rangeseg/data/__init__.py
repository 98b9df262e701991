"""Datasets: where scans and photographs come from, and how they become views."""

from __future__ import annotations

from collections.abc import Callable

from rangeseg.data.ade20k import ADE20K
from rangeseg.data.camvid import CamVid
from rangeseg.data.cityscapes import Cityscapes
from rangeseg.data.isic2017 import ISIC2017
from rangeseg.data.nuscenes import NuScenes
from rangeseg.data.pandaset import PandaSet
from rangeseg.data.pascal_context import PascalContext
from rangeseg.data.pascal_voc import PascalVOC
from rangeseg.data.photo_folder import PhotoFolder
from rangeseg.data.rellis3d import Rellis3D
from rangeseg.data.scan_folder import ScanFolder
from rangeseg.data.scribble_kitti import ScribbleKitti
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.data.semantic_poss import SemanticPOSS
from rangeseg.data.source import Source
from rangeseg.data.synthetic import SyntheticStreets
from rangeseg.data.waymo import Waymo

DATASETS: dict[str, Callable[..., Source]] = {
    "semantic_kitti": SemanticKitti,
    "scribble_kitti": ScribbleKitti,
    "semantic_poss": SemanticPOSS,
    "pandaset": PandaSet,
    "rellis3d": Rellis3D,
    "waymo": Waymo,
    "synthetic": SyntheticStreets,
    "nuscenes": NuScenes,
    "scan_folder": ScanFolder,
    "camvid": CamVid,
    "pascal_voc": PascalVOC,
    "pascal_context": PascalContext,
    "cityscapes": Cityscapes,
    "isic2017": ISIC2017,
    "ade20k": ADE20K,
    "photo_folder": PhotoFolder,
}
"""Every dataset by its name in a config: ``(root, split, *, frames=None, labels=True)`` makes a `ScanSource` or a
`PhotoSource`. A class that has `photo` is of photographs, one that has `scan` is of LiDAR."""
