"""OpenVINO models of a run, in float32 or quantised to int8 by NNCF. Shapes: B images, C channels, H rows, W columns.

NNCF quantises a trained network from its activations on real scans. The first four convolutions and the classifier stay
in float32, because quantising them costs most of the accuracy (results/engines.md).
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.networks.exported import KEY
from rangeseg.networks.openvino import WEIGHTS, digest_of_weights, import_openvino

FLOAT_FIRST = 4
"""Number of first convolutions that stay in float32; the last convolution also does."""

Input = dict[str, NDArray[Any]]
"""channels (1, C, H, W) float32 and valid (1, H, W) bool."""


def to_openvino(
    onnx: bytes, description: dict[str, Any], path: Path, calibration: Iterable[Input] | None = None
) -> None:
    """Write a network as an OpenVINO model: an .xml and a .bin file.

    Args:
        onnx: the content of its ONNX file.
        description: from `rangeseg.inference.export.describe`.
        path: ends in ``.xml``.
        calibration: inputs from real scans, for int8; None: float32.

    Raises:
        ValueError: OpenVINO or NNCF is missing, or there are no inputs for the calibration.
    """
    openvino = import_openvino(path)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "network.onnx"
        draft.write_bytes(onnx)
        model = openvino.convert_model(draft)
    if calibration is not None:
        inputs = list(calibration)
        if not inputs:
            raise ValueError(f"{path}: int8 needs scans for the calibration. Give --calibrate SCANS.")
        model = quantised(model, inputs, path)
    openvino.save_model(model, path, compress_to_fp16=False)
    model.set_rt_info(json.dumps(description | {WEIGHTS: digest_of_weights(path)}), [KEY])
    openvino.save_model(model, path, compress_to_fp16=False)


def quantised(model: Any, inputs: list[Input], path: Path) -> Any:
    """The model with int8 convolutions, except the first ones and the last one.

    Raises:
        ValueError: NNCF is missing.
    """
    try:
        import nncf
    except ImportError as error:
        raise ValueError(f"{path}: int8 needs NNCF ({error}). Install it: pip install 'rangeseg[int8]'") from error
    nncf.set_log_level(logging.ERROR)
    kinds = ("Convolution", "GroupConvolution")
    names = [op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() in kinds]
    ends = nncf.IgnoredScope(names=list(dict.fromkeys([*names[:FLOAT_FIRST], names[-1]])))
    return nncf.quantize(model, nncf.Dataset(inputs), subset_size=len(inputs), ignored_scope=ends)


def as_input(channels: Any, valid: Any) -> Input:
    """(C, H, W) measured channels and (H, W) valid mask -> one input."""
    return {"channels": np.ascontiguousarray(channels[None], np.float32), "valid": np.ascontiguousarray(valid[None])}
