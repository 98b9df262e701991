"""A network in OpenVINO's format (IR: an .xml and a .bin file) that replaces the network it was exported from.

Needs the extra `openvino`. Shapes: B images, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rangeseg.networks.exported import KEY, ExportedNetwork, parse_description

WEIGHTS = "sha256 of .bin"
"""Key of the description whose value ties the .xml to its .bin."""

MOST_SIZES = 8
"""Largest number of compiled networks that are kept, one for each size of input."""


def read_openvino(path: Path, device: str = "auto") -> ExportedNetwork:
    """Read an OpenVINO file, which is compiled for each size of input; arithmetic is float32 except for int8 layers.

    Args:
        path: the .xml; its .bin must be in the same folder.
        device: auto, cpu, or the name of an OpenVINO device, e.g. GPU for an Intel GPU.

    Raises:
        ValueError: OpenVINO is not installed, the device is unknown, this is no complete file of `rangeseg export`, or
            the .bin is that of another export.
    """
    openvino = import_openvino(path)
    core = openvino.Core()
    name = "CPU" if device in ("auto", "cpu") else device.upper()
    if name not in core.available_devices:
        raise ValueError(f"OpenVINO has no device {device!r} here; use auto or {', '.join(core.available_devices)}.")
    if not path.with_suffix(".bin").is_file():
        raise ValueError(f"{path}: {path.with_suffix('.bin').name} is not in the same folder; copy both files.")
    try:
        model = core.read_model(path)
        text = model.get_rt_info([KEY]).value
    except (RuntimeError, ValueError) as error:
        reason = next(filter(None, reversed(str(error).splitlines())), type(error).__name__)
        raise ValueError(
            f"{path}: is not a complete file from rangeseg export ({reason}); export the run again."
        ) from error
    description = parse_description(text, str(path))
    if description.get(WEIGHTS, digest := digest_of_weights(path)) != digest:
        raise ValueError(
            f"{path}: {path.with_suffix('.bin').name} belongs to another network. Copy the .xml and the .bin of one "
            "export, or export the run again."
        )
    return ExportedNetwork(_Compiled(core, model, name), description, "cpu")


def digest_of_weights(path: Path) -> str:
    """SHA-256 of the .bin beside an .xml."""
    return hashlib.sha256(path.with_suffix(".bin").read_bytes()).hexdigest()


def import_openvino(path: Path) -> Any:
    """Import OpenVINO.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise ValueError(f"{path}: needs OpenVINO ({error}). Install it: pip install 'rangeseg[openvino]'") from error
    return openvino


class _Compiled:
    """(B, C, H, W) channels and (B, H, W) valid -> logits; several threads may call it at once."""

    def __init__(self, core: Any, model: Any, device: str) -> None:
        self._core, self._model, self._device = core, model, device
        self._sizes: dict[tuple[int, ...], Any] = {}
        self._lock = threading.Lock()
        self._local = threading.local()

    def __call__(self, channels: Tensor, valid: Tensor) -> Tensor:
        request = self._request(tuple(channels.shape))
        inputs = {"channels": channels.contiguous().numpy(), "valid": valid.contiguous().numpy()}
        return torch.from_numpy(request.infer(inputs, share_inputs=True)["logits"].copy())

    def _request(self, shape: tuple[int, ...]) -> Any:
        """This thread's inference request for this input shape."""
        with self._lock:
            if shape not in self._sizes:
                if len(self._sizes) >= MOST_SIZES:
                    self._sizes.pop(next(iter(self._sizes)))
                self._model.reshape({"channels": list(shape), "valid": [shape[0], *shape[2:]]})
                settings = {
                    "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32",
                    "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                }  # fmt: skip
                self._sizes[shape] = self._core.compile_model(self._model, self._device, settings)
            compiled = self._sizes[shape]
            mine: dict[tuple[int, ...], tuple[Any, Any]] = vars(self._local).setdefault("requests", {})
            for old in mine.keys() - self._sizes.keys():  # a request keeps its compiled network in memory
                del mine[old]
        if shape not in mine or mine[shape][0] is not compiled:
            mine[shape] = (compiled, compiled.create_infer_request())
        return mine[shape][1]
