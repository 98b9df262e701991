"""Weights of the classes in the cross-entropy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rangeseg.config import SupervisedConfig
from rangeseg.labels import LabelMap
from rangeseg.registry import ConfigError


def class_weights(settings: SupervisedConfig, label_map: LabelMap) -> Tensor | None:
    """(K,) float32 weights of the cross-entropy; None if `supervised.class_weights` is none.

    Args:
        settings: `supervised.class_weights` and `supervised.frequencies` are read.
        label_map: the classes, and their frequencies if the config gives none.

    Raises:
        ConfigError: weights need frequencies, and the dataset has none, or those of the config are not one share in
            [0, 1] for each class.
    """
    if settings.class_weights == "none":
        return None
    if shares := settings.frequencies:
        if odd := sorted(set(shares) ^ set(label_map.names)):
            raise ConfigError(
                f"supervised.frequencies: {', '.join(odd)}: missing or not a class of {label_map.dataset}. Give "
                "one for each class. Measure them with rangeseg stats."
            )
        if wrong := [name for name, share in shares.items() if not 0 <= share <= 1]:
            raise ConfigError(f"supervised.frequencies: {', '.join(wrong)}: not shares; give numbers from 0 to 1.")
        label_map = replace(label_map, frequencies=np.array([shares[name] for name in label_map.names]))
    try:
        weights = loss_weights(label_map, settings.class_weights)
    except ValueError as error:
        raise ConfigError(f"supervised.class_weights: {error}") from error
    return torch.as_tensor(weights, dtype=torch.float32)


def loss_weights(label_map: LabelMap, kind: str) -> NDArray[np.float64]:
    """(K,) weights of a dataset's classes.

    Args:
        label_map: its frequencies are read.
        kind: inverse, root or log, see `supervised.class_weights`.

    Raises:
        ValueError: the dataset has no frequencies.
    """
    weights = label_map.class_weights()
    if kind == "root":
        weights = np.sqrt(weights)
        weights = weights / weights.mean()
    if kind == "log":
        weights = np.log1p(weights)
        weights = weights / weights.max()
    return weights
