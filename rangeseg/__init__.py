"""rangeseg: a few labelled LiDAR scans and many unlabelled ones -> a segmenter that labels every point.

scan = read_scan("000000.bin")
labels = Segmenter.load("runs/cutmix")(scan)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rangeseg.version import __version__

if TYPE_CHECKING:
    from rangeseg.config import Config, read_config
    from rangeseg.engine.torch_data import TorchData, torch_data
    from rangeseg.engine.trainer import Trainer
    from rangeseg.engine.training import train
    from rangeseg.evaluation.backprojection import knn_vote, nearest_label, nearest_pixel
    from rangeseg.evaluation.evaluate import evaluate
    from rangeseg.evaluation.metrics import ConfusionMatrix
    from rangeseg.inference.segmentation import Segmentation
    from rangeseg.inference.segmenter import Segmenter
    from rangeseg.labels import LabelMap
    from rangeseg.losses import consistency_loss, cross_entropy, lovasz_softmax
    from rangeseg.masks import beam_mask, box_mask, sector_mask
    from rangeseg.mixing import erase, mix, mix_probabilities
    from rangeseg.networks import create_network
    from rangeseg.perturbations import CutMix, CutOut, Identity, Perturbation
    from rangeseg.photos.io import read_photo
    from rangeseg.photos.padded_image import PaddedImage
    from rangeseg.projection.beam import BeamProjection
    from rangeseg.projection.organised import OrganisedProjection
    from rangeseg.projection.range_image import RangeImage
    from rangeseg.projection.ring import RingProjection
    from rangeseg.projection.spherical import SphericalProjection
    from rangeseg.projection.unfolding import ScanUnfolding
    from rangeseg.registry import ConfigError
    from rangeseg.scan_io import read_scan, write_labels
    from rangeseg.schedules import poly_decay, sigmoid_rampup
    from rangeseg.teacher import EmaTeacher, pseudo_labels
    from rangeseg.types import IGNORE, Photo, PseudoLabelled, Raster, Sample, Scan, View

_PLACES = {
    "BeamProjection": "rangeseg.projection.beam",
    "Config": "rangeseg.config",
    "ConfigError": "rangeseg.registry",
    "ConfusionMatrix": "rangeseg.evaluation.metrics",
    "CutMix": "rangeseg.perturbations",
    "CutOut": "rangeseg.perturbations",
    "EmaTeacher": "rangeseg.teacher",
    "IGNORE": "rangeseg.types",
    "Identity": "rangeseg.perturbations",
    "LabelMap": "rangeseg.labels",
    "OrganisedProjection": "rangeseg.projection.organised",
    "PaddedImage": "rangeseg.photos.padded_image",
    "Perturbation": "rangeseg.perturbations",
    "Photo": "rangeseg.types",
    "PseudoLabelled": "rangeseg.types",
    "RangeImage": "rangeseg.projection.range_image",
    "Raster": "rangeseg.types",
    "RingProjection": "rangeseg.projection.ring",
    "Sample": "rangeseg.types",
    "Scan": "rangeseg.types",
    "ScanUnfolding": "rangeseg.projection.unfolding",
    "Segmentation": "rangeseg.inference.segmentation",
    "Segmenter": "rangeseg.inference.segmenter",
    "SphericalProjection": "rangeseg.projection.spherical",
    "TorchData": "rangeseg.engine.torch_data",
    "Trainer": "rangeseg.engine.trainer",
    "View": "rangeseg.types",
    "beam_mask": "rangeseg.masks",
    "box_mask": "rangeseg.masks",
    "consistency_loss": "rangeseg.losses",
    "create_network": "rangeseg.networks",
    "cross_entropy": "rangeseg.losses",
    "erase": "rangeseg.mixing",
    "evaluate": "rangeseg.evaluation.evaluate",
    "knn_vote": "rangeseg.evaluation.backprojection",
    "lovasz_softmax": "rangeseg.losses",
    "mix": "rangeseg.mixing",
    "mix_probabilities": "rangeseg.mixing",
    "nearest_label": "rangeseg.evaluation.backprojection",
    "nearest_pixel": "rangeseg.evaluation.backprojection",
    "poly_decay": "rangeseg.schedules",
    "pseudo_labels": "rangeseg.teacher",
    "read_config": "rangeseg.config",
    "read_photo": "rangeseg.photos.io",
    "read_scan": "rangeseg.scan_io",
    "sector_mask": "rangeseg.masks",
    "sigmoid_rampup": "rangeseg.schedules",
    "torch_data": "rangeseg.engine.torch_data",
    "train": "rangeseg.engine.training",
    "write_labels": "rangeseg.scan_io",
}
"""Public name -> the module that it is imported from when it is first used (PEP 562)."""

__all__ = [
    "IGNORE",
    "BeamProjection",
    "Config",
    "ConfigError",
    "ConfusionMatrix",
    "CutMix",
    "CutOut",
    "EmaTeacher",
    "Identity",
    "LabelMap",
    "OrganisedProjection",
    "PaddedImage",
    "Perturbation",
    "Photo",
    "PseudoLabelled",
    "RangeImage",
    "Raster",
    "RingProjection",
    "Sample",
    "Scan",
    "ScanUnfolding",
    "Segmentation",
    "Segmenter",
    "SphericalProjection",
    "TorchData",
    "Trainer",
    "View",
    "__version__",
    "beam_mask",
    "box_mask",
    "consistency_loss",
    "create_network",
    "cross_entropy",
    "erase",
    "evaluate",
    "knn_vote",
    "lovasz_softmax",
    "mix",
    "mix_probabilities",
    "nearest_label",
    "nearest_pixel",
    "poly_decay",
    "pseudo_labels",
    "read_config",
    "read_photo",
    "read_scan",
    "sector_mask",
    "sigmoid_rampup",
    "torch_data",
    "train",
    "write_labels",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'rangeseg' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
