"""An exported network, run by ONNX Runtime in the place of the one it was made from.

Shapes: B images, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

PROVIDERS = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""What a device is to ONNX Runtime. `auto` is CUDA where there is one, else the CPU."""

KEY = "rangeseg"
"""The entry of the file's metadata that says, as JSON, all there is to know; see `rangeseg.engine.export`."""


class OnnxNetwork(nn.Module):
    """(B, C, H, W) normalised images -> (B, K, H, W) logits, as the network that was exported.

    The file's graph normalises by itself, for the sake of other programs; here its input is made from the normalised
    image. A pixel that is 0 in all channels is told to be not valid, which it is, or is as good as.

    Args:
        content: of the file.
        name: of the file, for errors.
        device: auto, cpu, cuda or tensorrt.

    Raises:
        ValueError: no ONNX Runtime, an unknown device or one that it lacks, or not a file of `rangeseg export`.
    """

    def __init__(self, content: bytes, name: str, *, device: str = "auto") -> None:
        super().__init__()
        try:
            import onnxruntime
        except ImportError as error:
            raise ValueError(
                f"{name}: needs ONNX Runtime ({error}). Install it: pip install rangeseg[export]"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=_providers(device, onnxruntime))
            self.description: dict[str, Any] = json.loads(self._session.get_modelmeta().custom_metadata_map[KEY])
        except KeyError as error:
            raise ValueError(f"{name}: is ONNX, but not written by rangeseg export; export the run again.") from error
        except ValueError:
            raise
        except Exception as error:  # ONNX Runtime's own, which have no common class
            raise ValueError(f"{name}: is no whole ONNX file ({error}); export the run again.") from error
        self.stride = tuple(self.description["stride"])
        self._mean, self._std = (torch.tensor(self.description[key]).view(-1, 1, 1) for key in ("mean", "std"))

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W), on the CPU."""
        image = image.cpu()
        feed = {"channels": (image * self._std + self._mean).numpy(), "valid": (image != 0).any(1).numpy()}
        return torch.from_numpy(self._session.run(None, feed)[0])


def read_onnx(path: Path, *, device: str = "auto") -> OnnxNetwork:
    """The network of a file that `rangeseg export` wrote.

    Raises:
        ValueError: the file cannot be read, or see `OnnxNetwork`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}).") from error
    return OnnxNetwork(content, str(path), device=device)


def _providers(device: str, onnxruntime: Any) -> list[str]:
    there = onnxruntime.get_available_providers()
    if device == "auto":
        return [PROVIDERS[name] for name in ("cuda", "cpu") if PROVIDERS[name] in there]
    if device not in PROVIDERS or PROVIDERS[device] not in there:
        able = [name for name, provider in PROVIDERS.items() if provider in there]
        raise ValueError(f"ONNX Runtime has no device {device!r} here; use auto or {', '.join(able)}.")
    return list(dict.fromkeys([PROVIDERS[device], PROVIDERS["cpu"]]))
